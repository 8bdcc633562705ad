package write

import (
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/wire"
)

// checksum is what an image file must hash to.
type checksum struct {
	algo string
	want string // lower-case hex
	sum  hash.Hash
}

// newChecksum reads what the image must hash to: os_hash_value with os_hash_algo, or else checksum,
// whose length says the algorithm. MD5 is taken only where the service allows it.
func newChecksum(img wire.ImageInfo, md5Allowed bool) (*checksum, error) {
	algo, want := strings.ToLower(img.HashAlgo), strings.ToLower(strings.TrimSpace(img.HashValue))
	if want == "" {
		want = strings.ToLower(strings.TrimSpace(img.Checksum))
		if want == "" {
			return nil, fmt.Errorf("image %s has no checksum: os_hash_algo with os_hash_value, or checksum, is required", img.ID)
		}
		var err error
		if algo, err = image.AlgorithmOf(want); err != nil {
			return nil, fmt.Errorf("image %s: %w", img.ID, err)
		}
	}
	sum, err := image.NewHash(algo)
	switch {
	case err != nil:
		return nil, fmt.Errorf("image %s: %w", img.ID, err)
	case image.Weak(algo) && !md5Allowed:
		return nil, fmt.Errorf("image %s has only an "+strings.ToUpper(algo)+
			" checksum, which this service does not allow: give os_hash_algo and os_hash_value", img.ID)
	}
	c := &checksum{algo: algo, want: want, sum: sum}
	if _, err := hex.DecodeString(want); err != nil || len(want) != 2*c.sum.Size() {
		return nil, fmt.Errorf("image %s has %q as its %s checksum; that must be %d hex digits", img.ID, want, algo, 2*c.sum.Size())
	}
	return c, nil
}

// verify compares once the whole file has been added.
func (c *checksum) verify(url string) error {
	if got := hex.EncodeToString(c.sum.Sum(nil)); got != c.want {
		return fmt.Errorf("the image from %s has the wrong %s checksum: expected %s, got %s; the disk was left unbootable", url, c.algo,
			c.want, got)
	}
	return nil
}
