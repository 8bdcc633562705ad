package iscsi

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

const rootUUID = "6f0cbb5f-7a3a-4d2b-9a3a-0123456789ab"

// program runs one of the system's own programs: mke2fs, sfdisk and the like.
func program(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is needed (scripts/deps test): %v", name, err)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// rootFS is a partition image.
func rootFS(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root")
	program(t, "mke2fs", "-q", "-t", "ext4", "-U", rootUUID, path, "8M")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// withPartitions is a world whose exported disk, full of old data, waits for a partition image.
func withPartitions(t *testing.T, p wire.PartitionImage) (w *world, file string) {
	w = newWorld(t, "write_image")
	w.withImage(t, rootFS(t))
	w.ofPartition(map[string]any{"boot_mode": "bios"})
	w.partitions, w.TempDir = &p, t.TempDir()
	const size = 64 << 20
	file, _ = w.exported(t, size)
	if err := os.WriteFile(file, bytes.Repeat([]byte{0xee}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return w, file
}

// Root, swap and ephemeral partition come onto a far disk as other programs want them, twice, as after a
// crash; a rebuild that keeps the ephemeral partition leaves every byte of it.
func TestWritesPartitionsOverISCSI(t *testing.T) {
	w, file := withPartitions(t, wire.PartitionImage{RootMB: 16, SwapMB: 4, EphemeralMB: 12, EphemeralFormat: "ext3"})
	for range 2 {
		if err := w.writes(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := loaderNote.Get(w.task).Root; got != rootUUID {
		t.Errorf("the root file system is %q", got)
	}
	table := strings.Join(strings.Fields(program(t, "sfdisk", "--dump", file)), " ")
	for _, want := range []string{"start= 2048, size= 24576, type=83", "start= 26624, size= 8192, type=82",
		"start= 34816, size= 32768, type=83, bootable"} {
		if !strings.Contains(table, want) {
			t.Errorf("sfdisk does not say %q: %s", want, table)
		}
	}
	for offset, want := range map[string]string{"1048576": "TYPE=ext3", "13631488": "TYPE=swap", "17825792": "UUID=" + rootUUID} {
		if got := program(t, "blkid", "--probe", "--offset", offset, "-o", "export", file); !strings.Contains(got, want) {
			t.Errorf("blkid at %s does not say %s: %s", offset, want, got)
		}
	}
	program(t, "e2fsck", "-f", "-n", file+"?offset=1048576")
	if left, _ := os.ReadDir(w.TempDir); len(left) > 0 {
		t.Errorf("%s was left on the server", left[0].Name())
	}

	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.partitions.PreserveEphemeral = true
	if err := w.writes(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(before[1<<20:13<<20], after[1<<20:13<<20]) {
		t.Errorf("the rebuild changed the ephemeral partition (%v)", err)
	}
	w.partitions.EphemeralMB = 13
	err = w.writes(t.Context())
	if now, _ := os.ReadFile(file); err == nil || !strings.Contains(err.Error(), "nothing was written") || !bytes.Equal(now, after) {
		t.Errorf("another size: %v", err)
	}
}

// The mode a disk is partitioned for is settled before its first byte is written.
func TestModeOfPartitions(t *testing.T) {
	for _, tt := range []struct {
		name, wanted, last, said, option string
		says                             string
		table                            string
	}{
		{"as the node says", "bios", "", "", "", "", "label: dos"},
		{"in any case", "BIOS", "uefi", "", "", "", "label: dos"},
		{"both say the same", "bios", "", "bios", "", "", "label: dos"},
		{"as the machine says", "", "", "bios", "", "", "label: dos"},
		{"as the machine said before", "", "bios", "", "", "", "label: dos"},
		{"the machine was changed since", "", "uefi", "bios", "", "", "label: dos"},
		{"nobody says", "", "", "", "", "set its capability boot_mode to bios or uefi", ""},
		{"they differ", "uefi", "", "bios", "", "is to boot in uefi mode, but its machine runs the ramdisk in bios mode", ""},
		{"they differ the other way", "bios", "", "uefi", "", "is to boot in bios mode, but its machine runs the ramdisk in uefi mode", ""},
		{"netboot needs none", "", "", "", "netboot", "", "label: dos"},
		{"netboot of the other mode", "uefi", "", "bios", "netboot", "", "label: gpt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, file := withPartitions(t, wire.PartitionImage{RootMB: 16})
			w.ofPartition(map[string]any{"boot_mode": tt.wanted, "boot_option": tt.option})
			w.task.Node.BootMode = tt.last
			ramdiskNote.Edit(w.task, func(r *ramdisk) { r.Host, r.Mode = "127.0.0.1", tt.said })
			if r, err := w.called(t.Context(), w.task); err != nil || r.Waiting() {
				t.Fatalf("%+v, %v", r, err)
			}
			err := w.writes(t.Context())
			if tt.says == "" {
				if err != nil || !strings.Contains(program(t, "sfdisk", "--dump", file), tt.table) {
					t.Errorf("%v; not %s", err, tt.table)
				}
				return
			}
			if node.KindOf(err) != node.Invalid || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
			if now, _ := os.ReadFile(file); bytes.Count(now, []byte{0xee}) != len(now) {
				t.Error("something was written")
			}
		})
	}
}

// What is no root file system, or does not fit, leaves a disk that boots nothing.
func TestPartitionImagesRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		img  func(t *testing.T) []byte
		part wire.PartitionImage
		says string
	}{
		{"a whole disk", func(*testing.T) []byte { return partitioned(2 << 20) }, wire.PartitionImage{RootMB: 16},
			"set image_type to whole-disk"},
		{"no file system", func(*testing.T) []byte { return bytes.Repeat([]byte("billet!!"), 1<<17) }, wire.PartitionImage{RootMB: 16},
			"no file system that is known"},
		{"larger than its partition", rootFS, wire.PartitionImage{RootMB: 7}, "the root partition (root_gb) has 7340032"},
		{"larger than the disk", rootFS, wire.PartitionImage{RootMB: 64}, "but the disk has 67108864"},
		{"a format nobody makes", rootFS, wire.PartitionImage{RootMB: 16, EphemeralMB: 8, EphemeralFormat: "ntfs"}, `ephemeral_format is "ntfs"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, file := withPartitions(t, tt.part)
			w.withImage(t, tt.img(t))
			w.ofPartition(map[string]any{"boot_mode": "bios"})
			err := w.writes(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
			now, _ := os.ReadFile(file)
			if untouched := now[0] == 0xee; !untouched && !bytes.Equal(now[:4096], make([]byte, 4096)) {
				t.Error("the disk may be bootable")
			}
			if loaderNote.Get(w.task).Root != "" {
				t.Error("a root file system is remembered")
			}
		})
	}
}

// The mode the ramdisk runs in comes with its call.
func TestModeInTheCall(t *testing.T) {
	for mode, ok := range map[string]bool{"": true, "bios": true, "uefi": true, "UEFI": false, "efi32": false} {
		w := newWorld(t, "deploy")
		r, err := w.Deploy.record(t.Context(), w.task)
		if err != nil {
			t.Fatal(err)
		}
		err = w.TakeCall(t.Context(), w.task, node.MachineCall{Method: "pass_deploy_info", Token: r.DeployToken(),
			Body: node.Document{"address": "192.0.2.50", "key": r.DeployKey(), "iqn": targetName(testUUID), "boot_mode": mode}})
		if ok != (err == nil) || !ok && node.KindOf(err) != node.Invalid {
			t.Errorf("%q: %v", mode, err)
		}
		if got := ramdiskNote.Get(w.task).Mode; ok && got != mode || !ok && (got != "" || ramdiskNote.Get(w.task).Host != "") {
			t.Errorf("%q: remembers %q", mode, got)
		}
	}
}
