package node

import (
	"encoding/hex"
	"net/netip"
	"strings"
)

// Caller is what is known of a machine that calls, apart from what it says.
type Caller struct {
	// BootKey is the key in the path that it called. A boot's own ramdisk reads it in its kernel parameters; it goes to
	// nobody else. "": it called without one.
	BootKey string
	// Address is where it called from; the zero Addr when nobody knows.
	Address netip.Addr
}

// Equal reports whether two callers are the same.
func (c Caller) Equal(other Caller) bool { return c == other }

// AgentLookup is how a ramdisk asks which node it runs on.
type AgentLookup struct {
	Caller
	MACs      []string
	UUID      string // "": it does not know it
	WantToken bool   // false for a version of the API without tokens
}

// bootKeyPath is in front of the API's paths in the URL that a booted ramdisk is given as the API's.
const bootKeyPath = "/b/"

// WithBootKey puts a boot's key into the base URL of the API. Ramdisks of every make only append to that URL, so they
// show the key without knowing of it.
func WithBootKey(base, key string) string { return strings.TrimSuffix(base, "/") + bootKeyPath + key }

// CutBootKey takes the key off a path; the rest begins with a slash.
func CutBootKey(path string) (key, rest string, ok bool) {
	tail, ok := strings.CutPrefix(path, bootKeyPath)
	if !ok {
		return "", path, false
	}
	key, rest, _ = strings.Cut(tail, "/")
	if raw, err := hex.DecodeString(key); err != nil || len(raw) != bootKeyBytes {
		return "", path, false
	}
	return key, "/" + rest, true
}

// bootKeyBytes of random data are in a boot's key.
const bootKeyBytes = 16

// MaskBootKeys hides the keys of boots in a text: a kernel writes its parameters to its console, and an agent the
// URLs that it cannot reach to its log.
func MaskBootKeys(text string) string {
	from := 0
	for {
		i := strings.Index(text[from:], bootKeyPath)
		if i < 0 {
			return text
		}
		from += i + len(bootKeyPath)
		end := from
		for end < len(text) && strings.IndexByte("0123456789abcdefABCDEF", text[end]) >= 0 {
			end++
		}
		if end-from == 2*bootKeyBytes {
			text = text[:from] + Mask + text[end:]
		}
	}
}
