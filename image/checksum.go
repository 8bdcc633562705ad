package image

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/blake2s"

	"github.com/billet-metal/billet/fetch"
)

// algorithm is a hash function, by the name that Python's hashlib and so Ironic has for it.
type algorithm struct {
	name   string
	digits int
	weak   bool // anybody can make another file of the same sum
	new    func() hash.Hash
}

// algorithms, the strongest first. Of those with equal lengths the first is what a bare sum is taken for.
var algorithms = []algorithm{
	{"sha512", 128, false, sha512.New},
	{"sha3_512", 128, false, func() hash.Hash { return sha3.New512() }},
	{"blake2b", 128, false, func() hash.Hash { h, _ := blake2b.New512(nil); return h }}, // fails with too long a key only
	{"sha384", 96, false, sha512.New384},
	{"sha3_384", 96, false, func() hash.Hash { return sha3.New384() }},
	{"sha256", 64, false, sha256.New},
	{"sha3_256", 64, false, func() hash.Hash { return sha3.New256() }},
	{"blake2s", 64, false, func() hash.Hash { h, _ := blake2s.New256(nil); return h }},
	{"sha224", 56, false, sha256.New224},
	{"sha3_224", 56, false, func() hash.Hash { return sha3.New224() }},
	{"sha1", 40, true, sha1.New},
	{"md5", 32, true, md5.New},
}

func algorithmNamed(name string) (algorithm, bool) {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.name == name })
	if i < 0 {
		return algorithm{}, false
	}
	return algorithms[i], true
}

// Algorithms are the names of all hash algorithms, the strongest first.
func Algorithms() []string {
	var names []string
	for _, a := range algorithms {
		names = append(names, a.name)
	}
	return names
}

// Weak reports whether anybody can make another file of the same sum.
func Weak(algo string) bool {
	a, known := algorithmNamed(algo)
	return !known || a.weak
}

// NewHash returns the hash of an algorithm, one of Algorithms.
func NewHash(algo string) (hash.Hash, error) {
	a, known := algorithmNamed(strings.ToLower(algo))
	if !known {
		return nil, fmt.Errorf("the hash algorithm %q is not supported; allowed are %s", algo, strings.Join(Algorithms(), ", "))
	}
	return a.new(), nil
}

// AlgorithmOf tells a checksum's algorithm by its length; value must be hex.
func AlgorithmOf(value string) (string, error) {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.digits == len(value) })
	if _, err := hex.DecodeString(value); err != nil || i < 0 {
		return "", fmt.Errorf("the checksum %.140q is not one: 64 (sha256), 128 (sha512), 96 (sha384) or 32 (md5) hexadecimal digits are allowed",
			value)
	}
	return algorithms[i].name, nil
}

// asked is what a Ref wants its image to hash to: a sum, or the URL of a file that has it. Without either, all
// fields are empty. A URL may come with the algorithm that is wanted of it.
type asked struct{ algo, value, url string }

// wantedSum reads what ref says of its checksum. Both the newer fields and the older one may hold a URL.
func wantedSum(ref Ref) (asked, error) {
	algo, value := strings.ToLower(strings.TrimSpace(ref.HashAlgo)), strings.TrimSpace(ref.HashValue)
	field := "image_os_hash_value"
	if value == "" && algo == "" {
		field, value = "image_checksum", strings.TrimSpace(ref.Checksum)
		if name, rest, ok := strings.Cut(value, ":"); ok && !isSumURL(value) { // "sha256:…", as registries write it
			algo, value = strings.ToLower(name), rest
		}
	}
	switch {
	case value == "" && algo == "":
		return asked{}, nil
	case algo != "":
		if _, err := NewHash(algo); err != nil {
			return asked{}, err
		}
	}
	switch {
	case isSumURL(value):
		return asked{algo: algo, url: value}, nil
	case value == "" || algo == "" && field == "image_os_hash_value":
		return asked{}, errors.New("image_os_hash_algo and image_os_hash_value go together; one of them is missing")
	case algo == "":
		var err error
		algo, err = AlgorithmOf(value)
		return asked{algo: algo, value: strings.ToLower(value)}, err
	}
	if a, _ := algorithmNamed(algo); len(value) != a.digits {
		return asked{}, fmt.Errorf("%s has %d characters and is not a %s, which has %d hexadecimal digits", field, len(value), algo, a.digits)
	}
	if _, err := hex.DecodeString(value); err != nil {
		return asked{}, fmt.Errorf("%s is neither hexadecimal digits nor the URL of a checksum file", field)
	}
	return asked{algo: algo, value: strings.ToLower(value)}, nil
}

// isSumURL reports whether a checksum is the place of a checksum file.
func isSumURL(s string) bool {
	return fetch.IsURL(s) || strings.HasPrefix(strings.ToLower(s), "file://")
}

func isURL(s string) bool { return fetch.IsURL(s) }
