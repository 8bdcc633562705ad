// Package crypt owns password hashes as Unix systems keep them: SHA-crypt, "$6$salt$hash" (SHA-512)
// and "$5$salt$hash" (SHA-256). It makes the first and checks both. It refuses every other scheme.
//
// Source: Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", version 0.6.
package crypt

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

const (
	defaultRounds = 5000
	minRounds     = 1000
	// The specification allows 999999999; what takes more than a second is an attack on the checker.
	maxRounds = 500000
	maxSalt   = 16
	maxKey    = 1024 // bytes of a password: the work grows with its square
)

const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// ErrForm is returned for a hash that is not SHA-crypt.
var ErrForm = errors.New("the password hash is not of the form $6$salt$hash or $5$salt$hash")

// scheme is one of the two functions. last is the order in which the digest's bytes are written.
type scheme struct {
	id   string
	new  func() hash.Hash
	last [][]int
}

var schemes = []scheme{
	{"6", sha512.New, triples(21, 21, 64)},
	{"5", sha256.New, triples(10, -10, 32)},
}

// triples is the byte order of the encoding: of each group of three, the next group's bytes are
// those of this one moved on by one and turned round. SHA-512 turns left, SHA-256 right.
func triples(step, turn, size int) [][]int {
	var order [][]int
	g := []int{0, step, 2 * step}
	for i := 0; i < size/3; i++ {
		order = append(order, []int{g[0], g[1], g[2]})
		if turn > 0 {
			g = []int{g[1] + 1, g[2] + 1, g[0] + 1}
		} else {
			g = []int{g[2] + 1, g[0] + 1, g[1] + 1}
		}
	}
	if size == 64 {
		return append(order, []int{63})
	}
	return append(order, []int{31, 30})
}

// Hash returns the SHA-512 crypt hash of a password under a salt of its own.
func Hash(password string) string {
	var b [maxSalt]byte
	rand.Read(b[:]) // never fails since Go 1.24
	salt := make([]byte, maxSalt)
	for i, c := range b {
		salt[i] = alphabet[c&63]
	}
	return "$6$" + string(salt) + "$" + schemes[0].digest(password, string(salt), defaultRounds)
}

// Check returns nil when the password is the hash's. ErrForm says that the hash is none.
func Check(hashed, password string) error {
	s, prefix, salt, rounds, err := parse(hashed)
	if err != nil {
		return err
	}
	if len(password) > maxKey {
		return errWrong
	}
	want := prefix + salt + "$" + s.digest(password, salt, rounds)
	if subtle.ConstantTimeCompare([]byte(want), []byte(hashed)) != 1 {
		return errWrong
	}
	return nil
}

var errWrong = errors.New("the password is wrong")

// Valid reports whether a text has the form of a hash that Check can check.
func Valid(hashed string) bool {
	_, _, _, _, err := parse(hashed)
	return err == nil
}

// parse takes "$6$rounds=N$salt$hash" apart; prefix is all before the salt.
func parse(hashed string) (s scheme, prefix, salt string, rounds int, err error) {
	parts := strings.Split(hashed, "$")
	if len(parts) < 4 || parts[0] != "" {
		return s, "", "", 0, ErrForm
	}
	found := false
	for _, s = range schemes {
		if found = s.id == parts[1]; found {
			break
		}
	}
	rounds, prefix = defaultRounds, "$"+parts[1]+"$"
	rest := parts[2:]
	if n, ok := strings.CutPrefix(rest[0], "rounds="); ok {
		if rounds, err = strconv.Atoi(n); err != nil || rounds < minRounds || rounds > maxRounds {
			return s, "", "", 0, fmt.Errorf("the password hash asks for %q rounds; %d to %d are allowed", n, minRounds, maxRounds)
		}
		prefix += rest[0] + "$"
		rest = rest[1:]
	}
	if !found || len(rest) != 2 || !saltShape(rest[0]) || len(rest[1]) != s.length() || strings.Trim(rest[1], alphabet) != "" {
		return s, "", "", 0, ErrForm
	}
	return s, prefix, rest[0], rounds, nil
}

// saltShape takes what can stand in a line of /etc/shadow.
func saltShape(salt string) bool {
	for i := range len(salt) {
		if c := salt[i]; c <= ' ' || c > '~' || c == ':' {
			return false
		}
	}
	return salt != "" && len(salt) <= maxSalt
}

// length is that of the hash alone: a shorter one has been cut, and no password is its.
func (s scheme) length() int { return (s.new().Size()*8 + 5) / 6 }

// digest is steps 1 to 22 of the specification; the numbers below are its.
func (s scheme) digest(password, salt string, rounds int) string {
	key, pepper := []byte(password), []byte(salt)
	b := s.sum(key, pepper, key)        // 4-8
	a := s.new()                        // 1
	a.Write(key)                        // 2
	a.Write(pepper)                     // 3
	a.Write(stretch(b, len(key)))       // 9-10
	for n := len(key); n > 0; n >>= 1 { // 11
		if n&1 == 1 {
			a.Write(b)
		} else {
			a.Write(key)
		}
	}
	digest := a.Sum(nil) // 12
	dp := s.new()        // 13-15
	for range key {
		dp.Write(key)
	}
	p := stretch(dp.Sum(nil), len(key)) // 16
	ds := s.new()                       // 17-19
	for range 16 + int(digest[0]) {
		ds.Write(pepper)
	}
	q := stretch(ds.Sum(nil), len(pepper)) // 20
	for i := range rounds {                // 21
		digest = s.round(i, digest, p, q)
	}
	return s.encode(digest) // 22
}

func (s scheme) round(i int, before, p, q []byte) []byte {
	c := s.new()
	first, last := before, p
	if i&1 == 1 {
		first, last = p, before
	}
	c.Write(first)
	if i%3 != 0 {
		c.Write(q)
	}
	if i%7 != 0 {
		c.Write(p)
	}
	c.Write(last)
	return c.Sum(nil)
}

func (s scheme) sum(parts ...[]byte) []byte {
	h := s.new()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// stretch repeats b until it is n bytes long.
func stretch(b []byte, n int) []byte {
	out := make([]byte, 0, n+len(b))
	for len(out) < n {
		out = append(out, b...)
	}
	return out[:n]
}

// encode writes three bytes as four characters, least significant six bits first.
func (s scheme) encode(d []byte) string {
	var out strings.Builder
	for _, group := range s.last {
		v := 0
		for _, i := range group {
			v = v<<8 | int(d[i])
		}
		for range (len(group)*8 + 5) / 6 {
			out.WriteByte(alphabet[v&63])
			v >>= 6
		}
	}
	return out.String()
}
