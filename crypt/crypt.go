// Package crypt owns password hashes as Unix systems keep them: SHA-crypt, "$6$salt$hash" (SHA-512)
// and "$5$salt$hash" (SHA-256). It makes the first and checks both. It refuses every other scheme.
//
// The function itself is go-crypt's; the form, and how much work a hash may ask for, are checked here.
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

	shacrypt "github.com/go-crypt/x/crypt"
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

// scheme is one of the two functions.
type scheme struct {
	id  string
	new func() hash.Hash
}

var schemes = []scheme{{"6", sha512.New}, {"5", sha256.New}}

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

// Check returns nil when the password has this hash, and ErrForm when the hash has not the form of one.
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

// digest is the hash alone. The library has no bounds of its own: parse holds them.
func (s scheme) digest(password, salt string, rounds int) string {
	return string(shacrypt.KeySHACrypt(s.new, []byte(password), []byte(salt), rounds))
}
