package agent

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

// TestPackedImagesAreForAgentsThatUnpack: an agent that is not Billet's may write a compressed image as it is, and the
// machine would not start; nobody is told to.
func TestPackedImagesAreForAgentsThatUnpack(t *testing.T) {
	for version, packings := range map[string]map[image.Packing]bool{
		"billet-agent 0.1": {image.Unpacked: true, image.PackedGzip: true, image.PackedXZ: true, image.PackedZstd: true},
		"11.0.0":           {image.Unpacked: true, image.PackedGzip: false, image.PackedXZ: false, image.PackedZstd: false},
		"":                 {image.Unpacked: true, image.PackedGzip: false},
	} {
		for packing, ok := range packings {
			n := &node.Node{UUID: testUUID, InstanceInfo: node.Document{"image_source": "http://h/i"}, Agent: node.Agent{Version: version}}
			d := &Direct{Images: fakeImages{}, Sources: &fakeSources{resolved: image.Resolved{
				URL: "http://h/i", Size: 1000, HashAlgo: "sha256", HashValue: strings.Repeat("ab", 32),
				Info: image.Info{Format: image.Raw, Packed: packing, Size: 1000},
			}}}
			info, err := d.writing().info(t.Context(), n)
			if (err == nil) != ok || err != nil &&
				(!strings.Contains(err.Error(), "packed with "+string(packing)) || node.KindOf(err) != node.Invalid) {
				t.Errorf("%q gets %q: %v", version, packing, err)
			}
			if err == nil && info.DiskFormat != "raw" {
				t.Errorf("%q gets %q as %s", version, packing, info.DiskFormat)
			}
		}
	}
}
