package disk

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/billet-metal/billet/agent/wire"
)

// checksum is what an image file must hash to.
type checksum struct {
	algo string
	want string // lower-case hex
	sum  hash.Hash
}

var algorithms = map[string]func() hash.Hash{
	"md5": md5.New, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
}

// byLength tells a bare checksum's algorithm by its number of hex digits.
var byLength = map[int]string{32: "md5", 64: "sha256", 96: "sha384", 128: "sha512"}

// newChecksum reads what the image must hash to: os_hash_value with os_hash_algo, or else checksum,
// whose length says the algorithm. MD5 is taken only where the service allows it.
func newChecksum(img wire.ImageInfo, md5Allowed bool) (*checksum, error) {
	algo, want := strings.ToLower(img.HashAlgo), strings.ToLower(strings.TrimSpace(img.HashValue))
	if want == "" {
		want = strings.ToLower(strings.TrimSpace(img.Checksum))
		algo = byLength[len(want)]
	}
	switch {
	case want == "":
		return nil, fmt.Errorf("image %s has no checksum: os_hash_algo with os_hash_value, or checksum, is required", img.ID)
	case algorithms[algo] == nil:
		return nil, fmt.Errorf("image %s has a checksum of an unknown kind (%q, %d digits): sha256, sha384, sha512 and, where allowed, md5 are known", img.ID, algo, len(want))
	case algo == "md5" && !md5Allowed:
		return nil, fmt.Errorf("image %s has only an MD5 checksum, which this service does not allow: give os_hash_algo and os_hash_value", img.ID)
	}
	c := &checksum{algo: algo, want: want, sum: algorithms[algo]()}
	if _, err := hex.DecodeString(want); err != nil || len(want) != 2*c.sum.Size() {
		return nil, fmt.Errorf("image %s has %q as its %s checksum; that must be %d hex digits", img.ID, want, algo, 2*c.sum.Size())
	}
	return c, nil
}

// verify compares once the whole file has been added.
func (c *checksum) verify(url string) error {
	if got := hex.EncodeToString(c.sum.Sum(nil)); got != c.want {
		return fmt.Errorf("the image from %s has the wrong %s checksum: expected %s, got %s; the disk was left unbootable", url, c.algo, c.want, got)
	}
	return nil
}
