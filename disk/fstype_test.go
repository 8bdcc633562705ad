package disk

import (
	"bytes"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
)

// FuzzProbeFS: an image is a stranger's; looking at it never panics.
func FuzzProbeFS(f *testing.F) {
	f.Add(disktest.RootImage(f)[:2048])
	f.Add([]byte("XFSB"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs, err := ProbeFS(bytes.NewReader(b))
		if err != nil || fs.UUID != "" && len(fs.UUID) != 36 {
			t.Errorf("%+v, %v", fs, err)
		}
	})
}
