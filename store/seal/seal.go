// Package seal owns how what is secret is kept: under keys that the database has not. It refuses to open what was changed, or
// moved to another place.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// KeySize is the length of a sealing key in bytes.
const KeySize = 32

const keyIDSize = 8

// Sealer seals values with AES-256-GCM (NIST SP 800-38D) under the current key and opens values
// sealed under it or an older one: a sealed value names its key, so keys can be changed while
// old values wait to be rewritten.
//
// A sealed value is the byte 1, the key's id (8 bytes), the nonce (12 random bytes), and the
// ciphertext with its tag. Random nonces allow 2^32 values per key.
type Sealer struct {
	current string // id
	keys    map[string]sealingKey
}

type sealingKey struct {
	aead   cipher.AEAD
	digest []byte // key of Digest
}

// New returns a Sealer for 32-byte keys, the one to seal with first.
func New(current []byte, older ...[]byte) (*Sealer, error) {
	s := &Sealer{keys: map[string]sealingKey{}}
	for _, key := range append([][]byte{current}, older...) {
		if len(key) != KeySize {
			return nil, fmt.Errorf("a sealing key has %d bytes, this one has %d", KeySize, len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("sealing key: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("sealing key: %w", err)
		}
		id := string(derive(key, "billet key id")[:keyIDSize])
		s.keys[id] = sealingKey{aead, derive(key, "billet digest key")}
		if s.current == "" {
			s.current = id
		}
	}
	return s, nil
}

// KeyID names the current key without telling it: 16 hex digits.
func (s *Sealer) KeyID() string { return hex.EncodeToString([]byte(s.current)) }

// Seal returns plain sealed and bound to where it is kept: Open needs the same place.
func (s *Sealer) Seal(plain []byte, place string) []byte {
	aead := s.keys[s.current].aead
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce) // never fails: crypto/rand
	sealed := append(append([]byte{1}, s.current...), nonce...)
	return aead.Seal(sealed, nonce, plain, []byte(place))
}

// Open returns what was sealed for the same place. The error never holds any of it.
func (s *Sealer) Open(sealed []byte, place string) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte{1})
	if !ok || len(rest) < keyIDSize {
		return nil, fmt.Errorf("sealed value of %s is damaged", place)
	}
	id, rest := string(rest[:keyIDSize]), rest[keyIDSize:]
	key, ok := s.keys[id]
	if !ok {
		return nil, fmt.Errorf("value of %s is sealed with key %x, this is key %s", place, id, s.KeyID())
	}
	if len(rest) < key.aead.NonceSize() {
		return nil, fmt.Errorf("sealed value of %s is damaged", place)
	}
	nonce, ciphertext := rest[:key.aead.NonceSize()], rest[key.aead.NonceSize():]
	plain, err := key.aead.Open(nil, nonce, ciphertext, []byte(place))
	if err != nil {
		return nil, fmt.Errorf("sealed value of %s was changed or moved", place)
	}
	return plain, nil
}

// Digest tells whether a sealed value would change, without telling the value: 32 bytes.
func (s *Sealer) Digest(plain []byte, place string) []byte {
	mac := hmac.New(sha256.New, s.keys[s.current].digest)
	mac.Write([]byte(place + "\x00"))
	mac.Write(plain)
	return mac.Sum(nil)
}

func derive(key []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}
