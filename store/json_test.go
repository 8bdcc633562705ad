package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// What the API takes as JSON comes back as the same JSON, to the last digit of an integer.
func FuzzDocument(f *testing.F) {
	f.Add(`{"a":1,"b":[1.5,true,null,"x"],"c":{"d":12345678901234567890}}`)
	f.Add(`{"big":9007199254740993,"small":-9007199254740992,"exp":1e400,"neg":-0,"f":1E2}`)
	f.Add(`{"":"\u0000\ud800","nul":"\u0000"}`)
	f.Add(`{}`)
	f.Add(`[1]`)
	f.Fuzz(func(t *testing.T, text string) {
		var first node.Document
		if decodeJSON([]byte(text), &first) != nil {
			return
		}
		kept, err := encodeJSON(&first)
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", text, err)
		}
		if kept == nil {
			if len(first) > 0 {
				t.Fatalf("%q was taken for empty", text)
			}
			return
		}
		var second node.Document
		if err := decodeJSON(kept, &second); err != nil {
			t.Fatalf("%q was kept as %q: %v", text, kept, err)
		}
		if d := cmp.Diff(first, second); d != "" {
			t.Fatalf("%q changed: %s", text, d)
		}
	})
}

func TestNames(t *testing.T) {
	for s, want := range map[string][2]bool{ // UUID, MAC
		"1be26c0b-03f2-4d2e-ae87-c02d7f33c123":          {true, false},
		"1BE26C0B-03F2-4D2E-AE87-C02D7F33C123":          {true, false},
		"1be26c0b-03f2-4d2e-ae87-c02d7f33c12":           {},
		"1be26c0b-03f2-4d2e-ae87-c02d7f33c12g":          {},
		"1be26c0b003f2-4d2e-ae87-c02d7f33c123":          {},
		"{1be26c0b-03f2-4d2e-ae87-c02d7f33c12}":         {},
		"{1be26c0b-03f2-4d2e-ae87-c02d7f33c123}":        {},
		"urn:uuid:1be26c0b-03f2-4d2e-ae87-c02d7f33c123": {},
		"1be26c0b03f24d2eae87c02d7f33c123":              {},
		"52:54:00:ab:CD:ef":                             {false, true},
		"52-54-00-ab-cd-ef":                             {},
		"52:54:00:ab:cd:e":                              {},
		"52:54:00:ab:cd:eg":                             {},
		"52:54:00:ab:cd:ef:":                            {},
		"":                                              {},
		"rack1-u07":                                     {},
	} {
		if got := [2]bool{isUUID(s), isMAC(s)}; got != want {
			t.Errorf("%q: UUID and MAC %v, want %v", s, got, want)
		}
	}
	if a, b := newUUID(), newUUID(); !isUUID(a) || a == b || a[14] != '4' {
		t.Errorf("made %s and %s", a, b)
	}
}
