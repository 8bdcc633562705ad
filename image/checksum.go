package image

import (
	"bufio"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"
)

// algorithms by the length of their hex.
var algorithms = map[int]string{32: "md5", 64: "sha256", 128: "sha512"}

// NewHash returns the hash of an algorithm: "md5", "sha256" or "sha512".
func NewHash(algo string) (hash.Hash, error) {
	switch algo {
	case "md5":
		return md5.New(), nil
	case "sha256":
		return sha256.New(), nil
	case "sha512":
		return sha512.New(), nil
	}
	return nil, fmt.Errorf("the hash algorithm %q is not supported; allowed are sha256, sha512 and md5", algo)
}

// AlgorithmOf tells a checksum's algorithm by its length; value must be hex.
func AlgorithmOf(value string) (string, error) {
	algo := algorithms[len(value)]
	if _, err := hex.DecodeString(value); err != nil || algo == "" {
		return "", fmt.Errorf("the checksum %.140q is not one: 64 (sha256), 128 (sha512) or 32 (md5) hexadecimal digits are allowed", value)
	}
	return algo, nil
}

// wantedSum returns the checksum that ref carries itself; both are empty when it has none, or
// only the URL of one.
func wantedSum(ref Ref) (algo, value string, err error) {
	if ref.HashValue == "" && ref.HashAlgo == "" {
		if ref.Checksum == "" || isURL(ref.Checksum) {
			return "", "", nil
		}
		algo, err = AlgorithmOf(ref.Checksum)
		return algo, strings.ToLower(ref.Checksum), err
	}
	if ref.HashValue == "" || ref.HashAlgo == "" {
		return "", "", fmt.Errorf("image_os_hash_algo and image_os_hash_value go together; one of them is missing")
	}
	algo = strings.ToLower(ref.HashAlgo)
	if _, err := NewHash(algo); err != nil {
		return "", "", err
	}
	if got, err := AlgorithmOf(ref.HashValue); err != nil || got != algo {
		return "", "", fmt.Errorf("image_os_hash_value has %d characters and is not a %s", len(ref.HashValue), algo)
	}
	return algo, strings.ToLower(ref.HashValue), nil
}

func isURL(s string) bool {
	kind, _ := sourceKind(s)
	return kind == sourceHTTP
}

// findSum finds the checksum of the file called name in a checksum file: lines as sha256sum
// writes them ("hex  name", "hex *name"), as BSD's tools do ("SHA256 (name) = hex"), or one
// checksum alone. Several algorithms for one name give the strongest.
func findSum(r io.Reader, name string) (string, error) {
	var found, alone []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		value, file := sumLine(lines.Text())
		switch {
		case value == "":
		case file == "":
			alone = append(alone, value)
		case path.Base(file) == name:
			found = append(found, value)
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	if len(found) == 0 && len(alone) == 1 {
		found = alone
	}
	if len(found) == 0 {
		return "", fmt.Errorf("it has no checksum of a file called %q", name)
	}
	return slices.MaxFunc(found, func(a, b string) int { return len(a) - len(b) }), nil
}

// sumLine takes one line of a checksum file apart; value is "" when it holds none.
func sumLine(line string) (value, file string) {
	line = strings.TrimSpace(line)
	if before, after, ok := strings.Cut(line, ") = "); ok {
		_, file, _ = strings.Cut(before, " (")
		value = after
	} else {
		value, file, _ = strings.Cut(line, " ")
		file = strings.TrimPrefix(strings.TrimSpace(file), "*")
	}
	if _, err := AlgorithmOf(value); err != nil {
		return "", ""
	}
	return strings.ToLower(value), file
}
