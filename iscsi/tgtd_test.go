package iscsi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// tgt is Debian's tgtd with one file as its disk: a target we did not write.
type tgt struct {
	t       *testing.T
	address string
	control string
	file    string
	iqn     string
}

var controls atomic.Int32

func newTgt(t *testing.T, size int64) *tgt {
	t.Helper()
	if _, err := exec.LookPath("tgtd"); err != nil {
		t.Fatal("tgtd is missing: install Debian's package tgt (scripts/deps test)")
	}
	g := &tgt{t: t, address: freeAddress(t), control: strconv.Itoa(1000 + os.Getpid()%20000 + int(controls.Add(1))),
		file: filepath.Join(t.TempDir(), "disk"), iqn: "iqn.2026-11.org.example:test"}
	if err := os.WriteFile(g.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(g.file, size); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tgtd", "-f", "-C", g.control, "--iscsi", "portal="+g.address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	deadline := time.Now().Add(20 * time.Second)
	for g.try("--lld", "iscsi", "--mode", "target", "--op", "new", "--tid", "1", "-T", g.iqn) != nil {
		if time.Now().After(deadline) {
			t.Fatal("tgtd does not start: it needs root")
		}
		time.Sleep(50 * time.Millisecond)
	}
	g.admin("--lld", "iscsi", "--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "-b", g.file)
	g.admin("--lld", "iscsi", "--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")
	return g
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (g *tgt) try(args ...string) error {
	out, err := exec.Command("tgtadm", append([]string{"-C", g.control}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("tgtadm %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (g *tgt) admin(args ...string) {
	g.t.Helper()
	if err := g.try(args...); err != nil {
		g.t.Fatal(err)
	}
}

func (g *tgt) options() Options {
	return Options{Address: g.address, Target: g.iqn, LUN: 1, CommandTimeout: 5 * time.Second, Patience: 3 * time.Second}
}

func open(t *testing.T, o Options) *Disk {
	t.Helper()
	d, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// What is written through the session is what tgtd's file holds, at every alignment.
func TestReadAndWrite(t *testing.T) {
	for _, digests := range []bool{false, true} {
		t.Run(fmt.Sprintf("digests=%v", digests), func(t *testing.T) {
			g := newTgt(t, 16<<20)
			o := g.options()
			if o.Digests = digests; digests {
				for _, name := range []string{"HeaderDigest", "DataDigest"} {
					g.admin("--lld", "iscsi", "--mode", "target", "--op", "update", "--tid", "1", "--name", name, "--value", "CRC32C")
				}
			}
			d := open(t, o)
			if d.Size() != 16<<20 || d.SectorSize() != 512 || !strings.Contains(d.Identity(), "VIRTUAL-DISK") {
				t.Fatalf("size %d, sectors of %d, %q", d.Size(), d.SectorSize(), d.Identity())
			}
			if got := d.session.conn.digests; got.header != digests || got.data != digests {
				t.Errorf("digests %+v, want %v", got, digests)
			}
			want := make([]byte, 16<<20)
			for i, w := range []struct{ off, n int }{{0, 512}, {512, 1}, {1000, 3000}, {4096, 4096}, {1 << 20, 3 << 20}, {5<<20 + 7, 1<<20 + 13},
				{16<<20 - 700, 700}} {
				p := bytes.Repeat([]byte{byte(i + 1)}, w.n)
				copy(want[w.off:], p)
				if n, err := d.WriteAt(p, int64(w.off)); err != nil || n != w.n {
					t.Fatalf("writing %d at %d: %d, %v", w.n, w.off, n, err)
				}
			}
			if err := d.Zero(2<<20+100, 1<<20); err != nil {
				t.Fatal(err)
			}
			clear(want[2<<20+100 : 3<<20+100])
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(g.file)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("tgtd's file is not what was written (%v)", err)
			}
			back := make([]byte, 5000)
			if _, err := d.ReadAt(back, 5<<20-100); err != nil || !bytes.Equal(back, want[5<<20-100:][:5000]) {
				t.Errorf("what is read is not what was written (%v)", err)
			}
			if n, err := d.ReadAt(back, 16<<20-10); n != 10 || err != io.EOF {
				t.Errorf("reading over the end: %d, %v", n, err)
			}
			if _, err := d.WriteAt(back, 16<<20-10); err == nil {
				t.Error("writing over the end succeeded")
			}
		})
	}
}

// qemu-img's own initiator reads the same disk.
func TestQemuReadsTheSame(t *testing.T) {
	g := newTgt(t, 8<<20)
	d := open(t, g.options())
	data := make([]byte, 8<<20)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	if _, err := d.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out := filepath.Join(t.TempDir(), "copy")
	text, err := exec.CommandContext(ctx, "qemu-img", "convert", "-f", "raw", "-O", "raw", "iscsi://"+g.address+"/"+g.iqn+"/1",
		out).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img (package qemu-block-extra for iSCSI): %v: %s", err, text)
	}
	got, err := os.ReadFile(out)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
		t.Errorf("qemu-img reads something else (%v)", err)
	}
}

func TestCHAP(t *testing.T) {
	g := newTgt(t, 1<<20)
	g.admin("--lld", "iscsi", "--mode", "account", "--op", "new", "--user", "conductor", "--password", "twelve-chars-in")
	g.admin("--lld", "iscsi", "--mode", "account", "--op", "new", "--user", "disk", "--password", "twelve-chars-out")
	g.admin("--lld", "iscsi", "--mode", "account", "--op", "bind", "--tid", "1", "--user", "conductor")
	g.admin("--lld", "iscsi", "--mode", "account", "--op", "bind", "--tid", "1", "--user", "disk", "--outgoing")
	for _, tt := range []struct {
		name string
		chap *CHAP
		says string
	}{
		{"right", &CHAP{User: "conductor", Secret: "twelve-chars-in"}, ""},
		{"mutual", &CHAP{User: "conductor", Secret: "twelve-chars-in", MutualUser: "disk", MutualSecret: "twelve-chars-out"}, ""},
		{"wrong", &CHAP{User: "conductor", Secret: "another"}, "authentication failed"},
		{"unknown", &CHAP{User: "nobody", Secret: "twelve-chars-in"}, "authentication failed"},
		{"impostor", &CHAP{User: "conductor", Secret: "twelve-chars-in", MutualUser: "disk", MutualSecret: "another-secret"},
			"not the target it should be"},
		{"none", nil, "authentication"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := g.options()
			o.CHAP = tt.chap
			began := time.Now()
			d, err := Open(context.Background(), o)
			if tt.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				if _, err := d.WriteAt(make([]byte, 512), 0); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) || time.Since(began) > 2*time.Second {
				t.Errorf("got %v after %s; want %q at once", err, time.Since(began), tt.says)
			}
			if err != nil && (strings.Contains(err.Error(), "twelve-chars") || strings.Contains(err.Error(), "another-secret")) {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

func TestNoSuchTarget(t *testing.T) {
	g := newTgt(t, 1<<20)
	o := g.options()
	o.Target += "-not"
	_, err := Open(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "there is no such target") {
		t.Errorf("got %v", err)
	}
}
