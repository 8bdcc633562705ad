package image

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/fetch"
)

// pack compresses a file with a real program; the command reads standard input.
func pack(t testing.TB, b []byte, command string) []byte {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "in"), b)
	run(t, "bash", "-ec", "set -o pipefail; cd "+dir+"; { "+command+"; } < in > out")
	packed, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// TestPackedImages: what real programs pack is judged by what is in it, unpacked to the same bytes, and its size
// known where the file says it.
func TestPackedImages(t *testing.T) {
	source, err := os.ReadFile(rawFile(t, t.TempDir(), 3<<20+512))
	if err != nil {
		t.Fatal(err)
	}
	iso, gpt, mbr := bytes.Clone(source), bytes.Clone(source), bytes.Clone(source)
	copy(iso[0x8001:], "CD001")
	copy(gpt[512:], "EFI PART")
	clear(mbr[:512])
	copy(mbr[446:], "\x80\x00\x00\x00\x83\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00")
	copy(mbr[510:], "\x55\xaa")
	size := int64(len(source))
	for _, tt := range []struct {
		name, command string
		content       []byte
		want          Info
	}{
		{"gzip", "gzip -9", source, Info{Format: Raw, Packed: PackedGzip}},
		{"gzip, with a name", "cp /dev/stdin x.raw; gzip -c x.raw", source, Info{Format: Raw, Packed: PackedGzip}},
		{"gzip, two pieces", "(head -c 1000000 | gzip; tail -c +1000001 in | gzip)", source, Info{Format: Raw, Packed: PackedGzip}},
		{"gzip of GPT", "gzip -1", gpt, Info{Format: GPT, Packed: PackedGzip, PartitionTable: "gpt"}},
		{"xz", "xz -T1", source, Info{Format: Raw, Packed: PackedXZ, VirtualSize: size}},
		{"xz -9e", "xz -9e", source, Info{Format: Raw, Packed: PackedXZ, VirtualSize: size}},
		{"xz, many blocks", "xz --block-size=100KiB -C sha256", source, Info{Format: Raw, Packed: PackedXZ, VirtualSize: size}},
		{"xz, no check", "xz -C none", mbr, Info{Format: Raw, Packed: PackedXZ, VirtualSize: size, PartitionTable: "mbr"}},
		{"xz of x86 code", "xz --x86 --lzma2", source, Info{Format: Raw, Packed: PackedXZ, VirtualSize: size}},
		{"xz, padded", "(xz; printf '\\0\\0\\0\\0')", source, Info{Format: Raw, Packed: PackedXZ, VirtualSize: size}},
		{"zstd", "zstd -q", source, Info{Format: Raw, Packed: PackedZstd}},
		{"zstd of a file", "zstd -q -19 -c in", source, Info{Format: Raw, Packed: PackedZstd, VirtualSize: size}},
		{"zstd, long", "zstd -q --ultra -22 --long=26", iso, Info{Format: ISO, Packed: PackedZstd}},
		{"zstd, two pieces", "(head -c 1000000 | zstd -q; tail -c +1000001 in | zstd -q)", source, Info{Format: Raw, Packed: PackedZstd}},
		{"zstd, with a frame to skip", "zstd -q --check; printf '\\x50\\x2a\\x4d\\x18\\x04\\0\\0\\0skip'",
			source, Info{Format: Raw, Packed: PackedZstd}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packed := pack(t, tt.content, tt.command)
			tt.want.Size = int64(len(packed))
			got, err := Inspect(bytes.NewReader(packed), int64(len(packed)))
			if err != nil || got != tt.want {
				t.Fatalf("%+v, %v, want %+v", got, err, tt.want)
			}
			u, err := Unpack(got.Packed, bytes.NewReader(packed))
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			whole, err := io.ReadAll(u)
			if err != nil || !bytes.Equal(whole, tt.content) {
				t.Errorf("%d bytes, %v; the first difference at %d", len(whole), err, firstDifference(whole, tt.content))
			}
			s := serveBytes(t, packed)
			r, err := (&Store{Gate: fetch.Loopback()}).Resolve(t.Context(), Ref{Source: s + "/i", Checksum: sha256Of(packed), DiskFormat: "raw"})
			if err != nil || r.Info != tt.want || r.HashValue != sha256Of(packed) {
				t.Errorf("from a server: %+v, %v", r.Info, err)
			}
			dir := t.TempDir()
			r, err = (&Store{Gate: fetch.Loopback(dir)}).Resolve(t.Context(), Ref{Source: "file://" + writeFile(t, filepath.Join(dir, "i"), packed)})
			if err != nil || r.Info != tt.want || r.HashValue != sha256Of(packed) {
				t.Errorf("from a file: %+v, %v", r, err)
			}
		})
	}
}

func serveBytes(t *testing.T, b []byte) string {
	return quiet(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}).URL
}

// TestPackedImagesThatAreRefused: what is in a packed file is judged as if it were not packed.
func TestPackedImagesThatAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name, command string
		content       []byte
		want          string
	}{
		{"qcow2", "xz", newTiny(), "qcow2 image refused: it is packed with xz as a whole, and cannot be read while it arrives"},
		{"vmdk", "gzip", []byte("KDMV" + strings.Repeat("x", 1000)), "vmdk image refused: this format is not written to disks"},
		{"an archive", "tar -cz in", content,
			"tar image refused: this format is not written to disks, only raw, gpt, iso and qcow2: it is an archive"},
		{"packed twice", "gzip | zstd -q", content, "gzip image refused: it is packed twice; pack it once"},
		{"a page", "gzip", []byte("<html>not found"), "image refused: it is a web page"},
		{"nothing", "gzip", nil, "gzip image refused: there is nothing in it"},
		{"nothing, xz", "xz", nil, "xz image refused: there is nothing in it"},
		{"cut", "gzip | head -c 30", content, "gzip image refused: it cannot be unpacked: unexpected EOF"},
		{"a dictionary for a large machine", "xz --lzma2=dict=256MiB", content,
			"xz image refused: it cannot be unpacked: unpacking it takes more than 64 MiB of memory"},
		{"a window for a large machine", "zstd -q --ultra -22 --long=30", content,
			"zstd image refused: it cannot be unpacked: unpacking it takes more than 64 MiB of memory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packed := pack(t, tt.content, tt.command)
			got, err := Inspect(bytes.NewReader(packed), int64(len(packed)))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%+v, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

// TestXZSizeOfAnything: an index that lies is no size, and no crash.
func TestXZSizeOfAnything(t *testing.T) {
	good := pack(t, content, "xz")
	if got := xzSize(good); got != int64(len(content)) {
		t.Fatalf("%d", got)
	}
	for at := range good {
		for _, v := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			bad := bytes.Clone(good)
			bad[at] = v
			if got := xzSize(bad); got < 0 || got > MaxVirtualSize {
				t.Errorf("byte %d is %#x: %d", at, v, got)
			}
		}
		_ = xzSize(good[at:])
		_ = xzSize(good[:at])
	}
	huge := append(binary.AppendUvarint([]byte{0, 1, 9}, 1<<62), make([]byte, 12)...)
	copy(huge[len(huge)-2:], "YZ")
	if got := xzSize(huge); got != 0 {
		t.Errorf("%d", got)
	}
}

// TestExtendedEntriesThatLie: each lie about subclusters is found before anything is written.
func TestExtendedEntriesThatLie(t *testing.T) {
	const cluster = 1 << 14
	for _, tt := range []struct {
		name          string
		entry, bitmap uint64
		want          string
	}{
		{"all there", 3*cluster | entryCopied, 0xffffffff, ""},
		{"some there", 3 * cluster, 0x8000_0001_0001_0008 &^ (1 << 32), ""},
		{"none there", 3 * cluster, 0, ""},
		{"zeros", 0, 0xffffffff << 32, ""},
		{"data that are zeros", 3 * cluster, 1<<32 | 1, "has subclusters that hold data and are zeros"},
		{"compressed with subclusters", entryCompressed | 3*cluster, 1, "a compressed cluster with subclusters"},
		{"the old mark of zeros", 3*cluster | 1, 1, "reserved bits are set"},
		{"nowhere", 0, 1, "lies at byte 0, which is not a cluster's start"},
		{"off a cluster", 3*cluster + 512, 1, "which is not a cluster's start"},
		{"past the end", 9 * cluster, 1, "but the file ends at"},
		{"on a table", 2 * cluster, 1, "lies on the table at byte"},
	} {
		b := make(tiny, 4*cluster)
		copy(b, newTiny()[:112])
		b.put32(20, 14)
		b.put64(24, cluster)
		b.put64(40, cluster)
		b.put64(72, featureExtendedL2)
		b.put64(cluster, 2*cluster)
		b.put64(2*cluster, tt.entry)
		b.put64(2*cluster+8, tt.bitmap)
		l, err := ReadLayout(bytes.NewReader(b), int64(len(b)))
		if (err == nil) != (tt.want == "") || !strings.Contains(errText(err), tt.want) {
			t.Errorf("%s: %+v, %v, want %q", tt.name, l, err, tt.want)
		}
	}
}
