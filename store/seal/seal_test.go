package seal_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/billet-metal/billet/store/seal"
)

func sealer(t testing.TB, keys ...string) *seal.Sealer {
	t.Helper()
	var sums [][]byte
	for _, k := range keys {
		sums = append(sums, sum(k))
	}
	s, err := seal.New(sums[0], sums[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealer(t *testing.T) {
	s := sealer(t, "old")
	for _, plain := range []string{"", "x", strings.Repeat("password ", 1000)} {
		box := s.Seal([]byte(plain), "here")
		if len(plain) > 1 && bytes.Contains(box, []byte(plain)) {
			t.Error("not sealed")
		}
		if bytes.Equal(box, s.Seal([]byte(plain), "here")) {
			t.Error("sealed twice to the same bytes")
		}
		if got, err := s.Open(box, "here"); err != nil || string(got) != plain {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := s.Open(box, "there"); err == nil || err.Error() != "sealed value of there was changed or moved" {
			t.Errorf("opened elsewhere: %v", err)
		}
		for i := range min(len(box), 64) {
			broken := bytes.Clone(box)
			broken[i] ^= 1
			if _, err := s.Open(broken, "here"); err == nil {
				t.Errorf("opened with byte %d changed", i)
			}
			if _, err := s.Open(box[:i], "here"); err == nil {
				t.Errorf("opened with %d bytes", i)
			}
		}
	}
}

// A new key seals from now on, the old one still opens what it sealed.
func TestSealerKeys(t *testing.T) {
	before, after := sealer(t, "old"), sealer(t, "new", "old")
	box := before.Seal([]byte("secret"), "here")
	if got, err := after.Open(box, "here"); err != nil || string(got) != "secret" {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := before.Open(after.Seal([]byte("secret"), "here"), "here")
	want := "value of here is sealed with key " + after.KeyID() + ", this is key " + before.KeyID()
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if len(before.KeyID()) != 16 || before.KeyID() == after.KeyID() {
		t.Errorf("ids %s and %s", before.KeyID(), after.KeyID())
	}
	if _, err := seal.New([]byte("short")); err == nil || err.Error() != "a sealing key has 32 bytes, this one has 5" {
		t.Errorf("got %v", err)
	}
	if bytes.Equal(before.Digest([]byte("x"), "p"), before.Digest([]byte("x"), "q")) ||
		bytes.Equal(before.Digest([]byte("x"), "p"), after.Digest([]byte("x"), "p")) {
		t.Error("digests tell more than they should")
	}
	if !bytes.Equal(before.Digest([]byte("x"), "p"), before.Digest([]byte("x"), "p")) {
		t.Error("a digest changes")
	}
}

// Whatever a damaged database holds is refused without a panic, unless it is what was sealed.
func FuzzSealerOpen(f *testing.F) {
	s := sealer(f, "key")
	box := s.Seal([]byte("secret"), "here")
	f.Add(box)
	f.Add(box[:20])
	f.Add([]byte{1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if plain, err := s.Open(data, "here"); err == nil && string(plain) != "secret" {
			t.Errorf("opened a forgery: %q", plain)
		}
	})
}

func sum(text string) []byte {
	s := sha256.Sum256([]byte(text))
	return s[:]
}
