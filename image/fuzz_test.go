package image

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// FuzzReadLayout feeds whole files to the reader. Whatever is accepted must be read without panics,
// lie in the file, and fit the disk.
func FuzzReadLayout(f *testing.F) {
	f.Add([]byte(newTiny()))
	compressed := newTiny()
	compressed.put64(1024, entryCompressed|1536)
	compressed.put64(1032, entryCompressed|1540)
	f.Add([]byte(compressed))
	zstd := newTiny()
	zstd.put32(100, 112)
	zstd[104] = 1
	zstd.put64(72, featureCompression)
	zstd.put64(1024, entryCompressed|1536)
	f.Add([]byte(zstd))
	old := newTiny()
	old.put32(4, 2)
	f.Add([]byte(old))
	f.Add([]byte("raw"))
	f.Fuzz(func(t *testing.T, file []byte) {
		l, err := ReadLayout(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		var before int64
		for _, e := range l.Extents {
			if e.FileOffset < before || e.FileOffset+e.FileLength > int64(len(file)) || e.FileLength <= 0 {
				t.Fatalf("the extent %+v is out of order or of the file (%d bytes)", e, len(file))
			}
			if e.GuestOffset < 0 || e.GuestOffset+e.GuestLength > l.VirtualSize || e.GuestLength <= 0 {
				t.Fatalf("the extent %+v is out of the disk (%d bytes)", e, l.VirtualSize)
			}
			if e.Compression == None && e.GuestLength != e.FileLength || e.Compression != None && e.GuestLength > l.ClusterSize {
				t.Fatalf("the extent %+v has impossible lengths", e)
			}
			before = e.FileOffset
			if e.GuestLength < 1<<22 {
				// Random bytes rarely decompress; not panicking is what is asked.
				_ = e.Decode(make([]byte, e.GuestLength), file[e.FileOffset:e.FileOffset+e.FileLength])
			}
		}
	})
}

// FuzzHeader changes one 8-byte field of a good header, where the reader decides most.
func FuzzHeader(f *testing.F) {
	for at := range uint8(14) {
		f.Add(at, uint64(1)<<(at*4), uint64(1536))
	}
	f.Fuzz(func(t *testing.T, at uint8, value, entry uint64) {
		b := newTiny()
		binary.BigEndian.PutUint64(b[int(at)%120:], value)
		b.put64(1024, entry)
		if l, err := ReadLayout(bytes.NewReader(b), int64(len(b))); err == nil && (l.VirtualSize <= 0 || l.VirtualSize > MaxVirtualSize) {
			t.Errorf("virtual size %d", l.VirtualSize)
		}
	})
}

// FuzzFindSum reads checksum files from anywhere.
func FuzzFindSum(f *testing.F) {
	f.Add([]byte("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a.img\n"))
	f.Add([]byte("SHA256 (a.img) = e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"))
	f.Add([]byte("d41d8cd98f00b204e9800998ecf8427e\n"))
	f.Add([]byte("\xff\xfes\x00h\x00a\x00"))
	f.Add([]byte("SHA256  " + sha256Of(nil) + " C:\\a.img"))
	f.Fuzz(func(t *testing.T, text []byte) {
		algo, value, err := findSum(text, "/x/a.img", "")
		if err != nil {
			return
		}
		if a, known := algorithmNamed(algo); !known || len(value) != a.digits || strings.Trim(value, "0123456789abcdef") != "" {
			t.Errorf("found %q of %q, which is no checksum", value, algo)
		}
	})
}
