package bmc

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"slices"
)

// suite is a cipher suite (spec table 22-20): which algorithms a session uses.
type suite struct {
	id                               int
	auth, integrity, confidentiality byte
	hash                             func() hash.Hash
	code                             int // length of an integrity code
}

// suites, the strongest first: HMAC-SHA256 and HMAC-SHA1, both with AES-CBC-128.
var suites = []suite{
	{id: 17, auth: 3, integrity: 4, confidentiality: 1, hash: sha256.New, code: 16},
	{id: 3, auth: 1, integrity: 1, confidentiality: 1, hash: sha1.New, code: 12},
}

func (s suite) mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(s.hash, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// offered returns the suites this BMC offers.
func (s *Server) offered() []suite {
	if s.CipherSuites == nil {
		return suites
	}
	return slices.DeleteFunc(slices.Clone(suites), func(c suite) bool { return !slices.Contains(s.CipherSuites, c.id) })
}

// key pads a password or BMC key to the 20 bytes that keyed hashes take (spec 13.28).
func key(secret []byte) []byte {
	k := make([]byte, 20)
	copy(k, secret)
	return k
}

// encrypt is AES-CBC with a fresh vector in front and the padding 1, 2, 3…, n behind (spec 13.29), more
// blocks longer than it must be.
func encrypt(k2, plain []byte, more int) []byte {
	b := bytes.Clone(plain)
	pad := (aes.BlockSize-(len(b)+1)%aes.BlockSize)%aes.BlockSize + more*aes.BlockSize
	for i := range pad {
		b = append(b, byte(i+1))
	}
	b = append(b, byte(pad))
	out := make([]byte, aes.BlockSize+len(b))
	rand.Read(out[:aes.BlockSize])
	cipher.NewCBCEncrypter(blockCipher(k2), out[:aes.BlockSize]).CryptBlocks(out[aes.BlockSize:], b)
	return out
}

func decrypt(k2, b []byte) ([]byte, error) {
	if len(b) < 2*aes.BlockSize || len(b)%aes.BlockSize != 0 {
		return nil, errMalformed
	}
	plain := make([]byte, len(b)-aes.BlockSize)
	cipher.NewCBCDecrypter(blockCipher(k2), b[:aes.BlockSize]).CryptBlocks(plain, b[aes.BlockSize:])
	end := len(plain) - 1 - int(plain[len(plain)-1])
	if end < 0 {
		return nil, errMalformed
	}
	return plain[:end], nil
}

func blockCipher(k2 []byte) cipher.Block {
	c, err := aes.NewCipher(k2[:16])
	if err != nil {
		panic(err) // cannot happen: the key is 16 bytes
	}
	return c
}

func random16() (r [16]byte) {
	rand.Read(r[:])
	return r
}
