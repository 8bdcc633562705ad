package boot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// memoryRecords is the Records of tests.
type memoryRecords struct {
	records map[string]Record
	err     error
}

func (m *memoryRecords) PutRecord(_ context.Context, r Record) error {
	if m.err == nil {
		m.records[r.NodeUUID] = r
	}
	return m.err
}

func (m *memoryRecords) DropRecord(_ context.Context, uuid string) error {
	delete(m.records, uuid)
	return m.err
}

func (m *memoryRecords) RecordOf(_ context.Context, uuid string) (*Record, error) {
	r, ok := m.records[uuid]
	if !ok || m.err != nil {
		return nil, m.err
	}
	return &r, nil
}

func TestServeImageKeepsTheBoot(t *testing.T) {
	m := &memoryRecords{records: map[string]Record{goldenRecord.NodeUUID: goldenRecord}}
	shelf := ImageShelf{Records: m, Life: time.Hour}
	for range 2 { // the same call again gives the same path
		path, err := shelf.ServeImage(t.Context(), goldenRecord.NodeUUID, "/images/a.qcow2")
		if err != nil || path != "/boot/0123456789abcdef0123456789abcdef/image" {
			t.Fatalf("ServeImage = %q, %v", path, err)
		}
	}
	got := m.records[goldenRecord.NodeUUID]
	want := goldenRecord
	want.Image = "/images/a.qcow2"
	if left := time.Until(got.Until); left < 59*time.Minute || left > time.Hour {
		t.Errorf("the record ends in %s, want an hour", left)
	}
	got.Until = want.Until
	if got != want {
		t.Errorf("the record is %+v, want %+v", got, want)
	}
}

func TestServeImageWithoutABoot(t *testing.T) {
	m := &memoryRecords{records: map[string]Record{}}
	path, err := ImageShelf{Records: m}.ServeImage(t.Context(), "n1", "/images/a.raw")
	r := m.records["n1"]
	if err != nil || path != ImagePath(r.Secret) || !IsSecret(r.Secret) {
		t.Fatalf("ServeImage = %q, %v; record %+v", path, err, r)
	}
	if (Machine{NodeUUID: "n1", Record: &r}).Boots() != nil {
		t.Error("a record that only serves an image must not boot the machine")
	}
}

func TestServeImageErrors(t *testing.T) {
	broken := errors.New("disk full")
	if _, err := (ImageShelf{Records: &memoryRecords{err: broken}}).ServeImage(t.Context(), "n1", "/a"); !errors.Is(err, broken) {
		t.Errorf("a broken store: %v", err)
	}
	_, err := ImageShelf{Records: &memoryRecords{}}.ServeImage(t.Context(), "n1", "a.raw")
	if err == nil || err.Error() != `serving an image to node n1: "a.raw" is not an absolute path` {
		t.Errorf("a relative path: %v", err)
	}
}

func TestSecretsDiffer(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	if !IsSecret(a) || a == b {
		t.Errorf("secrets %q and %q", a, b)
	}
}

func TestLoaders(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(dir, "snponly.efi"), []byte("loader"), 0o644))
	must(os.WriteFile(filepath.Join(outside, "shadow"), []byte("secret"), 0o644))
	must(os.Symlink(filepath.Join(outside, "shadow"), filepath.Join(dir, "link")))
	must(os.Symlink("snponly.efi", filepath.Join(dir, "alias.efi")))
	must(syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	l := Loaders{Dirs: []string{"/nonexistent", dir}, Names: map[string]string{"undionly.kpxe": "ipxe.pxe"}}
	for name, there := range map[string]bool{
		"snponly.efi": true, "/snponly.efi": true, "alias.efi": true,
		"link": false, "fifo": false, "sub": false, "": false, ".": false, "..": false, "missing": false,
		"../" + filepath.Base(outside) + "/shadow": false, "sub/../snponly.efi": false, "/etc/passwd": false,
	} {
		f, err := l.Open(name)
		if (err == nil) != there || l.Has(name) != there {
			t.Errorf("Open(%q): %v, want it there: %v", name, err, there)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q): %v, want fs.ErrNotExist", name, err)
		}
		if err == nil {
			f.Close()
		}
	}
	for _, tt := range []struct {
		arch Arch
		kind Loader
		want string
	}{
		{BIOS, IPXE, "ipxe.pxe"}, {BIOS, PXE, "pxelinux.0"}, {UEFI, IPXE, "snponly.efi"}, {UEFIAlso, PXE, "grubnetx64.efi"},
		{UEFIArm64, PXE, "grubnetaa64.efi"}, {UEFIHTTP, PXE, "snponly.efi"},
		{UEFIAlso, Shim, "shimx64.efi.signed"}, {UEFIArm64, Shim, "shimaa64.efi.signed"}, {BIOS, Shim, "pxelinux.0"}, {UEFIHTTP, Shim, ""},
		{6, IPXE, ""}, {12, PXE, ""},
	} {
		if got := l.Name(tt.arch, tt.kind); got != tt.want {
			t.Errorf("loader %s for %s: %q, want %q", tt.kind, tt.arch, got, tt.want)
		}
	}
}

// program is a PE file for UEFI of 512 bytes; its header says how long its table of certificates is.
func program(entries, certificates uint32) string {
	b := make([]byte, 512)
	copy(b, "MZ")
	le := binary.LittleEndian
	le.PutUint32(b[0x3c:], 64)
	copy(b[64:], "PE\x00\x00")
	le.PutUint16(b[68:], 0x8664) // x86-64
	le.PutUint16(b[68+16:], 240) // the optional header
	opt := b[88:]
	le.PutUint16(opt, 0x20b) // 64 bits
	le.PutUint32(opt[108:], entries)
	le.PutUint32(opt[112+4*8:], 0x1000)
	le.PutUint32(opt[112+4*8+4:], certificates)
	return string(b)
}

func TestSigned(t *testing.T) {
	dir := t.TempDir()
	l := Loaders{Dirs: []string{dir}}
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"signed", program(16, 2000), true}, {"unsigned", program(16, 0), false}, {"a header without that entry", program(4, 2000), false},
		{"nothing", "", false}, {"cut", program(16, 2000)[:150], false}, {"a script", "#!ipxe\n", false},
		{"MZ alone", "MZ" + strings.Repeat("\xff", 100), false},
	} {
		if err := os.WriteFile(filepath.Join(dir, "x.efi"), []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := l.Signed("x.efi"); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if l.Signed("missing.efi") {
		t.Error("a file that is not there is signed")
	}
}

func FuzzSigned(f *testing.F) {
	f.Add([]byte(program(16, 1)))
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if Signed(bytes.NewReader(b)) && !bytes.HasPrefix(b, []byte("MZ")) {
			t.Error("signed, and no program for UEFI")
		}
	})
}

// What Debian signs is found where its packages put it, and what it does not sign is told from it.
func TestDebiansLoaders(t *testing.T) {
	var l Loaders
	for name, want := range map[string]bool{"shimx64.efi.signed": true, "grubx64.efi": true, "snponly.efi": false, "grubnetx64.efi": false} {
		if !l.Has(name) {
			t.Errorf("%s is not in %v: scripts/deps test installs it", name, DefaultLoaderDirs)
		}
		if got := l.Signed(name); got != want {
			t.Errorf("%s is signed: %v, want %v", name, got, want)
		}
	}
	for _, kind := range []Loader{IPXE, PXE, Shim} {
		for _, a := range []Arch{BIOS, UEFI, UEFIAlso} {
			if why := l.Missing(a, kind); why != "" {
				t.Errorf("%s on %s: %s", kind, a, why)
			}
		}
	}
}

// shim asks for GRUB by a name under which Debian has an unsigned one for disks: that one is never given.
func TestShimsGRUB(t *testing.T) {
	dir := t.TempDir()
	l := Loaders{Dirs: []string{dir}}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	noGRUB := "grubnetx64.efi.signed is not in the directories of boot loaders; install the package grub-efi-amd64-signed"
	own, debians := program(16, 8), program(16, 16)
	for _, tt := range []struct{ put, text, missing, grub string }{
		{"other", "", "shimx64.efi.signed is not in the directories of boot loaders; install the package shim-signed", ""},
		{"shimx64.efi.signed", program(16, 8), noGRUB, ""},
		{"grubx64.efi", program(16, 0), noGRUB, ""},
		{"grubx64.efi", own, "", own},
		{"grubnetx64.efi.signed", debians, "", debians},
		{"grubnetx64.efi.signed", "damaged", "", own},
	} {
		put(tt.put, tt.text)
		if got := l.Missing(UEFI, Shim); got != tt.missing {
			t.Errorf("with %s: %q, want %q", tt.put, got, tt.missing)
		}
		got := ""
		if f, err := l.Open("grubx64.efi"); err == nil {
			b, err := io.ReadAll(f)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
			f.Close()
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if got != tt.grub {
			t.Errorf("with %s, grubx64.efi is of %d bytes, %q", tt.put, len(got), got)
		}
	}
	l.Names = map[string]string{"snponly.efi": "own.efi", "undionly.kpxe": "own.kpxe"}
	for _, tt := range []struct {
		arch Arch
		kind Loader
		want string
	}{
		{UEFI, IPXE, "own.efi is not in the directories of boot loaders; install the package that has it"},
		{BIOS, PXE, "pxelinux.0 is not in the directories of boot loaders; install the package pxelinux"},
		{BIOS, Shim, "pxelinux.0 is not in the directories of boot loaders; install the package pxelinux"},
		{UEFIHTTP, Shim, "no shim boot loader is known for this architecture"},
		{6, PXE, "no pxe boot loader is known for this architecture"},
	} {
		if got := l.Missing(tt.arch, tt.kind); got != tt.want {
			t.Errorf("%s on %s: %q, want %q", tt.kind, tt.arch, got, tt.want)
		}
	}
	put("own.efi", "")
	if got := l.Missing(UEFI, IPXE); got != "" {
		t.Error(got)
	}
}

func TestOpenSource(t *testing.T) {
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/kernel" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, "far kernel")
	}))
	defer far.Close()
	near := filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(near, []byte("near kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	for place, want := range map[string]string{near: "near kernel", far.URL + "/kernel": "far kernel"} {
		src, err := OpenSource(t.Context(), gate, place)
		if err != nil {
			t.Errorf("%s: %v", place, err)
			continue
		}
		b, err := io.ReadAll(src)
		src.Close()
		if string(b) != want || err != nil || src.Size != int64(len(want)) || (src.File != nil) != (place == near) {
			t.Errorf("%s: %q of %d, %v; want %q", place, b, src.Size, err, want)
		}
	}
	for place, want := range map[string]string{
		filepath.Dir(near): "is not a regular file", near + "x": "no such file", far.URL + "/x": "the server answered 404 Not Found",
		"http://127.0.0.1:1/": "connection refused",
	} {
		if _, err := OpenSource(t.Context(), gate, place); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", place, err, want)
		}
	}
}
