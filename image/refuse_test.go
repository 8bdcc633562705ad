package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tiny builds a qcow2 image by hand: clusters of 512 bytes, header, L1, L2, then data clusters. It
// has a virtual size of 4 clusters, of which the first two have data.
type tiny []byte

func newTiny() tiny {
	b := make(tiny, 5*512)
	copy(b, qcow2Magic)
	b.put32(4, 3)
	b.put32(20, 9)
	b.put64(24, 4*512)
	b.put32(36, 1)
	b.put64(40, 512)
	b.put64(48, 4*512) // refcounts are not read
	b.put32(56, 1)
	b.put32(96, 4)
	b.put32(100, 104)
	b.put64(512, 1024|entryCopied)
	b.put64(1024, 1536|entryCopied)
	b.put64(1032, 2048|entryCopied)
	copy(b[1536:], "first cluster")
	copy(b[2048:], "second cluster")
	return b
}

func (b tiny) put32(at int, v uint32) { binary.BigEndian.PutUint32(b[at:], v) }
func (b tiny) put64(at int, v uint64) { binary.BigEndian.PutUint64(b[at:], v) }

func TestTinyIsGood(t *testing.T) {
	b := newTiny()
	path := filepath.Join(t.TempDir(), "tiny.qcow2")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	got, l := disk(t, path)
	want := make([]byte, 2048)
	copy(want, "first cluster")
	copy(want[512:], "second cluster")
	if !bytes.Equal(got, want) {
		t.Errorf("disk %q", got)
	}
	if len(l.Extents) != 1 || l.Extents[0] != (Extent{FileOffset: 1536, FileLength: 1024, GuestLength: 1024}) {
		t.Errorf("extents %+v", l.Extents)
	}
	if len(l.Metadata) != 3 || l.Metadata[2] != (Range{1024, 512}) {
		t.Errorf("metadata %+v", l.Metadata)
	}
	run(t, "qemu-img", "info", "-f", "qcow2", path) // QEMU takes it, too
}

// TestRefusals gives the reader one lie at a time.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name string
		edit func(b tiny) tiny
		want string
	}{
		{"cut in the header", func(b tiny) tiny { return b[:71] }, "the file has 71 bytes; the header alone has 72"},
		{"version 1", func(b tiny) tiny { b.put32(4, 1); return b }, "version 1 is not supported, only 2 and 3"},
		{"cut in the version 3 header", func(b tiny) tiny { return b[:100] }, "the file has 100 bytes; the header alone has 104"},
		{"cluster bits 8", func(b tiny) tiny { b.put32(20, 8); return b }, "clusters of 2^8 bytes; 2^9 to 2^21 are allowed"},
		{"cluster bits 22", func(b tiny) tiny { b.put32(20, 22); return b }, "clusters of 2^22 bytes; 2^9 to 2^21 are allowed"},
		{"backing file", func(b tiny) tiny { b.put64(8, 300); b.put32(16, 11); copy(b[300:], "/etc/shadow"); return b },
			`it has a backing file ("/etc/shadow"); an image must stand alone (qemu-img convert makes it so)`},
		{"backing file out of sight", func(b tiny) tiny { b.put64(8, 1<<60); b.put32(16, 11); return b },
			"it has a backing file; an image must stand alone (qemu-img convert makes it so)"},
		{"backing file without an offset", func(b tiny) tiny { b.put32(16, 1); return b },
			`it has a backing file ("Q"); an image must stand alone (qemu-img convert makes it so)`},
		{"AES", func(b tiny) tiny { b.put32(32, 1); return b }, "it is encrypted (AES); give the decrypted image"},
		{"LUKS", func(b tiny) tiny { b.put32(32, 2); return b }, "it is encrypted (LUKS); give the decrypted image"},
		{"encryption 3", func(b tiny) tiny { b.put32(32, 3); return b }, "encryption method 3 is unknown; give the decrypted image"},
		{"LUKS extension", func(b tiny) tiny { b.put32(104, extensionEncryption); return b },
			"it is encrypted (LUKS header); give the decrypted image"},
		{"data file bit", func(b tiny) tiny { b.put64(72, featureExternalData); return b },
			"its data lies in an external file; an image must stand alone (qemu-img convert makes it so)"},
		{"data file extension", func(b tiny) tiny { b.put32(104, extensionExternalData); return b },
			"it names an external data file; an image must stand alone (qemu-img convert makes it so)"},
		{"data file extension behind another", func(b tiny) tiny {
			b.put32(104, 0x6803f857)
			b.put32(108, 3)
			b.put32(120, extensionExternalData)
			return b
		},
			"it names an external data file; an image must stand alone (qemu-img convert makes it so)"},
		{"extension too long", func(b tiny) tiny { b.put32(104, 0x6803f857); b.put32(108, 0xfffffff8); return b },
			"header extension 0x6803f857 claims 4294967288 bytes and leaves the header"},
		{"corrupt", func(b tiny) tiny { b.put64(72, featureCorrupt); return b }, "it is marked corrupt; repair it first (qemu-img check -r all)"},
		{"subclusters", func(b tiny) tiny { b.put64(72, featureExtendedL2); return b },
			"it has subclusters (extended L2 entries) in clusters of 2^9 bytes; 2^14 to 2^21 are allowed"},
		{"unknown feature", func(b tiny) tiny { b.put64(72, 1<<63|featureDirty); return b },
			"it needs unknown features (incompatible bits 0x8000000000000000)"},
		{"compression without its bit", func(b tiny) tiny { b.put32(100, 112); b[104] = 1; return b },
			"the compression type is 1 but the feature bit says otherwise"},
		{"bit without compression", func(b tiny) tiny { b.put64(72, featureCompression); return b },
			"the compression type is 0 but the feature bit says otherwise"},
		{"compression 2", func(b tiny) tiny { b.put32(100, 112); b[104] = 2; b.put64(72, featureCompression); return b },
			"compression type 2 is unknown; 0 (zlib) and 1 (zstd) are supported"},
		{"header length", func(b tiny) tiny { b.put32(100, 1024); return b },
			"the header claims a length of 1024 bytes; a multiple of 8 from 104 to one cluster is allowed"},
		{"refcount order", func(b tiny) tiny { b.put32(96, 7); return b }, "reference counts of 2^7 bits; 2^0 to 2^6 are allowed"},
		{"no disk", func(b tiny) tiny { b.put64(24, 0); return b }, "it claims a virtual size of 0 bytes; 1 to 281474976710656 are allowed"},
		{"absurd disk", func(b tiny) tiny { b.put64(24, 1<<63); return b },
			"it claims a virtual size of 9223372036854775808 bytes; 1 to 281474976710656 are allowed"},
		{"disk larger than its table", func(b tiny) tiny { b.put64(24, 1<<40); return b },
			"the L1 table has 1 entries, but a virtual size of 1099511627776 bytes needs 33554432"},
		{"table too long", func(b tiny) tiny { b.put32(36, 1<<31); return b },
			"the L1 table claims 2147483648 entries; at most 4194304 are allowed"},
		{"table out of file", func(b tiny) tiny { b.put64(40, 4096); return b },
			"the L1 table lies at bytes 4096 to 4104, but the file ends at 2560: it is truncated or lies"},
		{"table half out of file", func(b tiny) tiny { b.put64(24, 65*32768); b.put32(36, 65); b.put64(40, 2048); return b },
			"the L1 table lies at bytes 2048 to 2568, but the file ends at 2560: it is truncated or lies"},
		{"table on the header", func(b tiny) tiny { b.put64(40, 0); return b },
			"the L1 table lies at byte 0, which is not a cluster's start past the header"},
		{"table off the grid", func(b tiny) tiny { b.put64(40, 520); return b },
			"the L1 table lies at byte 520, which is not a cluster's start past the header"},
		{"snapshots", func(b tiny) tiny { b.put32(60, 65537); return b }, "it claims 65537 internal snapshots; at most 65536 are allowed"},
		{"L1 reserved bits", func(b tiny) tiny { b.put64(512, 1024|1); return b }, "L1 entry 0 is 0x0000000000000401: reserved bits are set"},
		{"L2 table out of file", func(b tiny) tiny { b.put64(512, 1<<40); return b },
			"L1 entry 0 points to bytes 1099511627776 to 1099511628288, but the file ends at 2560"},
		{"L2 table on the L1 table", func(b tiny) tiny { b.put64(512, 512); return b }, "the tables at bytes 512 and 512 overlap"},
		{"L2 table off the grid", func(b tiny) tiny { b.put32(20, 10); b.put64(40, 1024); b.put64(1024, 1536); return b },
			"L1 entry 0 points to byte 1536, which is not a cluster's start"},
		{"data off the grid", func(b tiny) tiny {
			b.put32(20, 10)
			b.put64(40, 1024)
			b.put64(1024, 0)
			b.put64(24, 2*128*1024)
			b.put32(36, 2)
			b.put64(1032, 0)
			b = append(b, make(tiny, 1024)...)
			b.put64(1024, 2048)
			b.put64(2048, 2560)
			return b
		}, "the data of disk byte 0 lies at byte 2560, which is not a cluster's start"},
		{"L2 reserved bits", func(b tiny) tiny { b.put64(1024, 1536|2); return b },
			"the L2 entry of disk byte 0 is 0x0000000000000602: reserved bits are set"},
		{"zero bit in version 2", func(b tiny) tiny { b.put32(4, 2); b.put64(1024, 1536|entryZero); return b },
			"the L2 entry of disk byte 0 is 0x0000000000000601: reserved bits are set"},
		{"data out of file", func(b tiny) tiny { b.put64(1024, 1<<30); return b },
			"the data of disk byte 0 lies at byte 1073741824, but the file ends at 2560"},
		{"data twice", func(b tiny) tiny { b.put64(1032, 1536); return b }, "the data of disk bytes 0 and 512 overlaps at byte 1536 of the file"},
		{"data on a table", func(b tiny) tiny { b.put64(1032, 1024); return b }, "the data of disk byte 512 lies on the table at byte 1024"},
		{"data on the header", func(b tiny) tiny { b.put64(1032, 512); return b }, "the data of disk byte 512 lies on the table at byte 512"},
		{"one L2 table twice", func(b tiny) tiny { b.put64(24, 2*32768); b.put32(36, 2); b.put64(520, 1024); return b },
			"the tables at bytes 1024 and 1024 overlap"},
		{"one L2 table many times", func(b tiny) tiny {
			b.put64(24, 60*32768)
			b.put32(36, 60)
			for i := range 60 {
				b.put64(512+8*i, 1024)
			}
			return b
		}, "the L1 table points to more L2 tables than fit in the file: they overlap"},
		{"compressed out of file", func(b tiny) tiny { b.put64(1024, entryCompressed|2048|1<<61); return b },
			"the compressed data of disk byte 0 lies at bytes 2048 to 3072, but the file ends at 2560"},
		{"compressed and copied", func(b tiny) tiny { b.put64(1024, entryCompressed|entryCopied|2048); return b },
			"the L2 entry of disk byte 0 is 0xc000000000000800: a compressed cluster with the copied bit"},
		{"compressed twice", func(b tiny) tiny { b.put64(1024, entryCompressed|2048); b.put64(1032, entryCompressed|2048); return b },
			"the data of disk bytes 0 and 512 overlaps at byte 2048 of the file"},
		{"compressed over plain", func(b tiny) tiny { b.put64(1024, entryCompressed|2100); return b },
			"the data of disk bytes 512 and 0 overlaps at byte 2100 of the file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.edit(newTiny())
			_, err := ReadLayout(bytes.NewReader(b), int64(len(b)))
			want := "qcow2 image refused: " + tt.want
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if r, ok := errors.AsType[*Refusal](err); ok && r.Format != QCOW2 {
				t.Errorf("format %q", r.Format)
			}
		})
	}
}

// TestDamagedClusters: what does not decompress is said to be damaged, with its place.
func TestDamagedClusters(t *testing.T) {
	for _, c := range []Compression{Zlib, Zstd} {
		e := Extent{FileOffset: 512, FileLength: 16, GuestOffset: 4096, GuestLength: 512, Compression: c}
		err := e.Decode(make([]byte, 512), []byte("this is not data"))
		if err == nil || !strings.HasPrefix(err.Error(),
			"qcow2 image refused: the "+c.String()+" data of disk byte 4096, at byte 512 of the file, is damaged: ") {
			t.Errorf("%s: %v", c, err)
		}
	}
	e := Extent{FileLength: 3, GuestLength: 512, Compression: Zlib}
	if err := e.Decode(make([]byte, 512), []byte{3, 0, 0}); err == nil || !strings.HasSuffix(err.Error(), "is damaged: EOF") {
		t.Errorf("a cluster that ends early: %v", err)
	}
	if err := e.Decode(make([]byte, 4), []byte{3}); err == nil ||
		err.Error() != "decoding disk byte 0: 1 bytes into 4, but the extent has 3 into 512" {
		t.Errorf("wrong buffers: %v", err)
	}
}

// TestFormats tells files apart by their content, those that qemu-img makes and those made here.
func TestFormats(t *testing.T) {
	convert := func(format string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { run(t, "qemu-img", "create", "-f", format, path, "1M") }
	}
	sparse := func(at int64, text string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			b := make([]byte, 64<<10)
			copy(b[at:], text)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	only := func(text string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	sgdisk := func(args ...string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			if err := os.Truncate(path, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			run(t, "qemu-img", "create", "-f", "raw", path, "4M")
			if out, err := exec.Command("sgdisk", append(args, path)...).CombinedOutput(); err != nil {
				t.Fatalf("sgdisk is needed (apt-get install gdisk): %v\n%s", err, out)
			}
		}
	}
	iso := func(hybrid bool) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			b := make([]byte, 40<<10)
			copy(b[0x8000:], "\x01CD001\x01")
			if hybrid {
				copy(b[446:], mbrEntry)
				copy(b[510:], "\x55\xaa")
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	const foreign = " image refused: this format is not written to disks, only raw, gpt, iso and qcow2: "
	const convertIt = "convert it first (qemu-img convert -O qcow2)"
	tests := []struct {
		name string
		make func(t *testing.T, path string)
		want Info
		err  string
	}{
		{"raw", convert("raw"), Info{Format: Raw, VirtualSize: 1 << 20, Size: 1 << 20}, ""},
		{"qcow2", convert("qcow2"), Info{Format: QCOW2, VirtualSize: 1 << 20, Version: 3, ClusterSize: 65536, Compression: Zlib}, ""},
		{"gpt", sgdisk("-n", "1:2048:4096"), Info{Format: GPT, VirtualSize: 4 << 20, Size: 4 << 20, PartitionTable: "gpt"}, ""},
		{"mbr", sgdisk("-n", "1:2048:4096", "-m", "1"), Info{Format: Raw, VirtualSize: 4 << 20, Size: 4 << 20, PartitionTable: "mbr"}, ""},
		{"FAT file system", sparse(446, strings.Repeat("code", 16)+"\x55\xaa"), Info{Format: Raw, VirtualSize: 65536, Size: 65536}, ""},
		{"empty MBR", sparse(510, "\x55\xaa"), Info{Format: Raw, VirtualSize: 65536, Size: 65536}, ""},
		{"iso", iso(false), Info{Format: ISO, VirtualSize: 40 << 10, Size: 40 << 10}, ""},
		{"hybrid iso", iso(true), Info{Format: ISO, VirtualSize: 40 << 10, Size: 40 << 10, PartitionTable: "mbr"}, ""},
		{"one byte", only("x"), Info{Format: Raw, VirtualSize: 1, Size: 1}, ""},
		{"empty", only(""), Info{}, "image refused: the file is empty"},
		{"vmdk", convert("vmdk"), Info{}, "vmdk" + foreign + convertIt},
		{"vmdk descriptor", only("# Disk DescriptorFile\nversion=1\n"), Info{}, "vmdk" + foreign + convertIt},
		{"vpc", convert("vpc"), Info{}, "vhd" + foreign + convertIt},
		{"fixed vpc", func(t *testing.T, p string) {
			run(t, "qemu-img", "create", "-f", "vpc", "-o", "subformat=fixed", p, "1M")
		}, Info{}, "vhd" + foreign + convertIt},
		{"vhdx", convert("vhdx"), Info{}, "vhdx" + foreign + convertIt},
		{"vdi", convert("vdi"), Info{}, "vdi" + foreign + convertIt},
		{"qed", convert("qed"), Info{}, "qed" + foreign + convertIt},
		{"parallels", convert("parallels"), Info{}, "parallels" + foreign + convertIt},
		{"qcow", convert("qcow"), Info{}, "qcow2 image refused: version 1 is not supported, only 2 and 3"},
		{"cut qcow2", only("QFI\xfb"), Info{}, "qcow2 image refused: the file has 4 bytes; the header alone has 72"},
		{"luks", sparse(0, "LUKS\xba\xbe"), Info{}, "luks" + foreign + "it is encrypted; give the decrypted image"},
		{"gzip", only("\x1f\x8b\x08rest"), Info{}, "gzip image refused: it cannot be unpacked: unexpected EOF"},
		{"xz", only("\xfd7zXZ\x00rest"), Info{}, "xz image refused: it cannot be unpacked: xz: data is truncated or corrupt"},
		{"zstd", only("\x28\xb5\x2f\xfdrest"), Info{}, "zstd image refused: it cannot be unpacked: unexpected EOF"},
		{"tar", sparse(257, "ustar"), Info{}, "tar" + foreign + "it is an archive, not a disk; unpack it first (tar -xf)"},
		{"dmg", sparse(65536-512, "koly"), Info{}, "dmg" + foreign + convertIt},
		{"web page", only("\n<!DOCTYPE HTML><html>not found"), Info{},
			"image refused: it is a web page or an XML document, not a disk image: is the URL right?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			tt.make(t, path)
			f, size := open(t, path)
			got, err := Inspect(f, size)
			if tt.want.Format == QCOW2 {
				tt.want.Size = size
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.err || got != tt.want {
				t.Errorf("got  %+v, %s\nwant %+v, %s", got, text, tt.want, tt.err)
			}
		})
	}
}

// mbrEntry is one used entry of an MBR.
const mbrEntry = "\x80\x00\x01\x00\x17\xff\xff\xff\x00\x00\x00\x00\x00\x08\x00\x00"

// TestRefusedByQEMUToo makes real images with what is refused.
func TestRefusedByQEMUToo(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "base.qcow2")
	run(t, "qemu-img", "create", "-f", "qcow2", base, "1M")
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"backing", []string{"-b", base, "-F", "qcow2"},
			"qcow2 image refused: it has a backing file (\"" + base + "\"); an image must stand alone (qemu-img convert makes it so)"},
		{"data file", []string{"-o", "data_file=" + filepath.Join(dir, "data.raw")},
			"qcow2 image refused: its data lies in an external file; an image must stand alone (qemu-img convert makes it so)"},
		{"luks", []string{"--object", "secret,id=s,data=abc", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"},
			"qcow2 image refused: it is encrypted (LUKS); give the decrypted image"},
		{"aes", []string{"--object", "secret,id=s,data=abc", "-o", "encrypt.format=aes,encrypt.key-secret=s"},
			"qcow2 image refused: it is encrypted (AES); give the decrypted image"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.name+".qcow2")
			args := append(append([]string{"create", "-f", "qcow2"}, tt.args...), path, "1M")
			// On a busy machine qemu-img cannot measure how long LUKS takes, and gives up.
			for range 20 {
				if said, err := exec.CommandContext(t.Context(), "qemu-img", args...).CombinedOutput(); err == nil ||
					!strings.Contains(string(said), "CPU usage") {
					break
				}
			}
			run(t, "qemu-img", "info", path)
			f, size := open(t, path)
			if _, err := Inspect(f, size); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}
