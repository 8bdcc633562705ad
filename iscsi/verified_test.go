package iscsi

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// memDisk is a disk in memory.
type memDisk struct{ data []byte }

func (m *memDisk) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m.data[off:]), nil }
func (m *memDisk) WriteAt(p []byte, off int64) (int, error) { return copy(m.data[off:], p), nil }
func (m *memDisk) Size() int64                              { return int64(len(m.data)) }
func (m *memDisk) SectorSize() int64                        { return 512 }
func (m *memDisk) Sync() error                              { return nil }
func (m *memDisk) Zero(off, n int64) error                  { clear(m.data[off : off+n]); return nil }

// Whatever is written over whatever: it verifies, and a changed byte of it does not.
func TestVerified(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := &memDisk{data: bytes.Repeat([]byte{0xee}, 4<<20)}
		v := &Verified{target: m}
		touched := make([]bool, len(m.data))
		for range 1 + r.IntN(12) {
			off := r.IntN(len(m.data) - 1)
			n := 1 + r.IntN(min(len(m.data)-off, 2<<20))
			var err error
			if r.IntN(2) == 0 {
				err = v.Zero(int64(off), int64(n))
			} else {
				_, err = v.WriteAt(bytes.Repeat([]byte{byte(1 + r.IntN(200))}, n), int64(off))
			}
			if err != nil {
				t.Fatal(seed, err)
			}
			for i := range n {
				touched[off+i] = true
			}
		}
		if err := v.Verify(context.Background(), nil); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i := 1; i < len(v.spans); i++ {
			if a, b := v.spans[i-1], v.spans[i]; a.off+a.n > b.off {
				t.Fatalf("seed %d: spans overlap: %d+%d, %d", seed, a.off, a.n, b.off)
			}
		}
		last := v.spans[r.IntN(len(v.spans))]
		at := last.off + r.Int64N(last.n)
		if !touched[at] {
			t.Fatalf("seed %d: byte %d is remembered but was never written", seed, at)
		}
		m.data[at] ^= 0x40
		if err := v.Verify(context.Background(), nil); !errors.Is(err, ErrVerify) {
			t.Fatalf("seed %d: a changed byte %d is not seen: %v", seed, at, err)
		}
	}
}

// On a real target, over the network, with a change behind its back.
func TestVerifiedOnTarget(t *testing.T) {
	g := newTgt(t, 8<<20)
	d := open(t, g.options())
	v := NewVerified(d)
	if err := v.Zero(0, 8<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := v.WriteAt(bytes.Repeat([]byte("billet!!"), 100_000), 1000); err != nil {
		t.Fatal(err)
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	var done, total int64
	if err := v.Verify(context.Background(), func(d, n int64) { done, total = d, n }); err != nil || done != total || total != 8<<20 {
		t.Fatalf("%v; %d of %d bytes checked", err, done, total)
	}
	if _, err := d.WriteAt([]byte{1}, 500_000); err != nil { // not through v
		t.Fatal(err)
	}
	if err := v.Verify(context.Background(), nil); !errors.Is(err, ErrVerify) || !strings.Contains(err.Error(), "at 1000 ") {
		t.Errorf("got %v", err)
	}
}

// The kernel's target is set up in the order it asks for; the folder stands for configfs, which
// makes attribute files by itself.
func TestExport(t *testing.T) {
	root := t.TempDir()
	e := Export{IQN: "iqn.2026-11.org.example:disk", Device: "/dev/vda", Root: root}
	var made []string
	for _, s := range e.steps() {
		os.MkdirAll(filepath.Dir(s.path), 0o755)
		rel, _ := filepath.Rel(root, s.path)
		made = append(made, rel+"="+s.value)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	tpg := "target/iscsi/iqn.2026-11.org.example:disk/tpgt_1"
	want := []string{
		"target/core/iblock_0/disk=", "target/core/iblock_0/disk/control=udev_path=/dev/vda", "target/core/iblock_0/disk/enable=1",
		"target/iscsi=", "target/iscsi/iqn.2026-11.org.example:disk=", tpg + "=",
		tpg + "/attrib/authentication=0", tpg + "/attrib/demo_mode_write_protect=0", tpg + "/attrib/generate_node_acls=1",
		tpg + "/attrib/cache_dynamic_acls=1",
		tpg + "/lun/lun_1=", tpg + "/lun/lun_1/port=", tpg + "/np/0.0.0.0:3260=", tpg + "/enable=1",
	}
	if !slices.Equal(made, want) {
		t.Errorf("got %q\nwant %q", made, want)
	}
	if to, err := os.Readlink(filepath.Join(root, tpg, "lun/lun_1/port")); err != nil ||
		to != filepath.Join(root, "target/core/iblock_0/disk") {
		t.Errorf("the port leads to %q (%v)", to, err)
	}
	if err := e.Start(); err != nil {
		t.Errorf("starting again: %v", err)
	}
	e.IQN = "iqn.2026-11.org.example:../../x"
	if err := e.Start(); err == nil || !strings.Contains(err.Error(), "is not an iSCSI name") {
		t.Errorf("got %v", err)
	}
}

// With credentials the target asks for them before it can be reached, and proves its own where there are such.
func TestExportWithCHAP(t *testing.T) {
	root := t.TempDir()
	tpg := filepath.Join(root, "target/iscsi/iqn.2026-11.org.example:disk/tpgt_1")
	for _, tt := range []struct {
		chap *CHAP
		want map[string]string // files of the group
	}{
		{nil, map[string]string{"attrib/authentication": "0"}},
		{&CHAP{User: "id", Secret: "key"}, map[string]string{"attrib/authentication": "1", "auth/userid": "id", "auth/password": "key"}},
		{DeploymentCHAP("id", "key", "token"), map[string]string{
			"attrib/authentication": "1", "auth/userid": "conductor-id", "auth/password": "key", "auth/userid_mutual": "ramdisk-id",
			"auth/password_mutual": "token"}},
	} {
		e := Export{IQN: "iqn.2026-11.org.example:disk", Device: "/dev/vda", Root: root, CHAP: tt.chap}
		steps, got := e.steps(), map[string]string{}
		for i, s := range steps {
			rel, _ := filepath.Rel(tpg, s.path)
			if rel == "attrib/authentication" || strings.HasPrefix(rel, "auth/") {
				got[rel] = s.value
				if listens := slices.IndexFunc(steps, func(s step) bool { return strings.Contains(s.path, "/np/") }); i > listens {
					t.Errorf("%s is set after the target listens", rel)
				}
			}
			os.MkdirAll(filepath.Dir(s.path), 0o755)
		}
		if !maps.Equal(got, tt.want) {
			t.Errorf("got %v\nwant %v", got, tt.want)
		}
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
	}
	// An attribute that cannot be written is named without what was to be written.
	if err := os.RemoveAll(filepath.Join(tpg, "auth")); err != nil {
		t.Fatal(err)
	}
	e := Export{IQN: "iqn.2026-11.org.example:disk", Device: "/dev/vda", Root: root, CHAP: DeploymentCHAP("id", "the-key", "the-token")}
	if err := e.Start(); err == nil || !strings.Contains(err.Error(), "auth/userid") || strings.Contains(err.Error(), "the-key") {
		t.Errorf("got %v", err)
	}
}

// The credentials of a deployment differ in both directions, as RFC 7143 section 9.2.1 asks, and no name looks like
// the encoded value that Linux's target takes one for.
func TestDeploymentCHAP(t *testing.T) {
	c := DeploymentCHAP("0bc3d760-95df-4fc8-a798-f17c70170e63", "key", "token")
	for _, name := range []string{c.User, c.MutualUser} {
		if strings.HasPrefix(name, "0") {
			t.Errorf("the name %q may be read as an encoded value", name)
		}
	}
	if c.User == c.MutualUser || c.Secret == c.MutualSecret || c.User == "" || c.Secret != "key" || c.MutualSecret != "token" {
		t.Errorf("%+v", c)
	}
}
