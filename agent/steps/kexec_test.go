package steps

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/agent/bootmenu"
)

// kexecer notes what it was given.
type kexecer struct {
	said string
	err  error
}

func (k *kexecer) LoadKernel(kernel, initrd *os.File, commandLine string) error {
	k.said = fmt.Sprintf("%q", readAll(kernel))
	if initrd != nil {
		if _, err := initrd.Seek(0, io.SeekStart); err != nil {
			return err
		}
		k.said += fmt.Sprintf(" %q", readAll(initrd))
	}
	k.said += " " + commandLine
	return k.err
}

func (k *kexecer) Kexec() error { return nil }

func readAll(f *os.File) string {
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Kernel and ramdisks reach the kernel as a boot loader would hand them over.
func TestLoadEntry(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"vmlinuz": "kernel", "a": "micro", "b": "main"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) bootmenu.File {
		return bootmenu.File{Volume: bootmenu.Volume{Number: 2, Dir: dir}, Path: "/" + name}
	}
	tests := []struct {
		name    string
		kernel  string
		initrds []bootmenu.File
		err     error
		want    string
		wantErr string
	}{
		{"kernel alone", "vmlinuz", nil, nil, `"kernel" ro`, ""},
		{"one ramdisk", "vmlinuz", []bootmenu.File{file("b")}, nil, `"kernel" "main" ro`, ""},
		{"two, at multiples of four bytes", "vmlinuz", []bootmenu.File{file("a"), file("b")}, nil, `"kernel" "micro\x00\x00\x00main" ro`, ""},
		{"no kernel", "none", nil, nil, "", "opening the instance's kernel: open /none: no such file or directory"},
		{"no ramdisk", "vmlinuz", []bootmenu.File{file("none")}, nil, "", "open /none: no such file or directory"},
		{"one of two is missing", "vmlinuz", []bootmenu.File{file("a"), file("none")}, nil, "",
			"putting the initial ramdisks together: open /none"},
		{"refused", "vmlinuz", nil, errors.New("not trusted"), `"kernel" ro`, "loading /vmlinuz of partition 2: not trusted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := &kexecer{err: tt.err}
			err := loadEntry(k, bootmenu.Entry{Kernel: file(tt.kernel), Initrds: tt.initrds, CommandLine: "ro"})
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v, want %q", err, tt.wantErr)
			}
			if k.said != tt.want {
				t.Errorf("the kernel got %s, want %s", k.said, tt.want)
			}
		})
	}
}

// An agent that is an ordinary process starts no other kernel on a machine it does not own.
func TestAGuestDoesNotKexec(t *testing.T) {
	var k Kexec
	if _, err := k.Load(t.Context(), nil); !errors.Is(err, errNoKexec) {
		t.Errorf("load_instance_kernel: %v", err)
	}
	if _, err := k.Start(t.Context(), nil); !errors.Is(err, errNoKexec) {
		t.Errorf("kexec: %v", err)
	}
}

// What cannot be mounted is passed over; when nothing can, that is said.
func TestNoVolumes(t *testing.T) {
	k := Kexec{Host: &Host{Log: slog.New(slog.DiscardHandler)}}
	list, undo, err := k.mountVolumes(t.Context(), nil)
	if err == nil || err.Error() != "none of the root disk's partitions holds a file system that can be read" || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if err := undo(); err != nil {
		t.Error(err)
	}
}
