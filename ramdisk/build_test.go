package ramdisk

import (
	"bytes"
	"context"
	"debug/pe"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// helloInit compiles a static program that stands for the agent.
func helloInit(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\nfunc main() { println(\"HELLO\"); select {} }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "init")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOFLAGS=")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, said)
	}
	return out
}

// TestBuild takes both kernels from the distribution: it needs the package lists (apt-get update)
// and, the first time, the network.
func TestBuild(t *testing.T) {
	init := helloInit(t)
	for _, c := range []struct {
		flavor Flavor
		order  []string // must be loaded at once, in this order
		onCall []string // must be there
	}{
		{Cloud, []string{"virtio_ring.ko", "virtio.ko", "virtio_net.ko", "vfat.ko", "isofs.ko"},
			[]string{"iscsi_target_mod", "target_core_iblock", "efivarfs", "virtio_scsi", "dm_mod", "bonding", "8021q"}},
		{Generic, []string{"virtio_ring.ko", "virtio_net.ko", "sd_mod.ko", "vfat.ko", "nls_iso8859-1.ko", "ipmi_msghandler.ko", "ipmi_si.ko"},
			[]string{"ahci", "nvme", "megaraid_sas", "mpt3sas", "hpsa", "smartpqi", "aacraid", "e1000", "e1000e", "igb", "ixgbe", "i40e",
				"ice", "bnxt_en", "bnx2x", "tg3", "mlx4_en", "mlx5_core", "qede", "r8169", "vmxnet3", "usb_storage", "uas", "xhci_pci",
				"iscsi_target_mod", "ext4"}},
	} {
		t.Run(string(c.flavor), func(t *testing.T) {
			out := t.TempDir()
			m, err := Build(t.Context(), Options{Flavor: c.flavor, Init: init, OutDir: out})
			if err != nil {
				t.Fatal(err)
			}
			checkManifest(t, out, m)
			if total := m.Kernel.Size + m.Initramfs.Size; total > 40e6 {
				t.Errorf("kernel and ramdisk have %d bytes, want at most 40 MB", total)
			}
			t.Logf("%s: kernel %d + initramfs %d bytes, %d modules", c.flavor, m.Kernel.Size, m.Initramfs.Size, len(m.Modules))
			packed, err := os.ReadFile(filepath.Join(out, InitramfsFile))
			if err != nil {
				t.Fatal(err)
			}
			plain := []byte(pipe(t, packed, "zstd", "-dc"))
			order := strings.Fields(pipe(t, plain, "cpio", "-i", "--quiet", "--to-stdout", "modules/order"))
			if !inOrder(order, c.order) {
				t.Errorf("the order is %v, want in it, in this order: %v", order, c.order)
			}
			checkOrder(t, order, pipe(t, plain, "cpio", "-i", "--quiet", "--to-stdout", "modules/modules.dep"))
			for _, name := range c.onCall {
				if !strings.Contains(" "+strings.Join(m.Modules, " ")+" ", " "+name+" ") {
					t.Errorf("the module %s is missing", name)
				}
			}
			checkSigned(t, out, plain)
			checkBoots(t, out)
		})
	}
}

// checkSigned finds the distribution's signatures where Secure Boot looks for them: at the kernel's end, where its PE
// header says, and at each module's.
func checkSigned(t *testing.T, dir string, initramfs []byte) {
	t.Helper()
	kernel, err := os.ReadFile(filepath.Join(dir, KernelFile))
	if err != nil {
		t.Fatal(err)
	}
	program, err := pe.NewFile(bytes.NewReader(kernel))
	if err != nil {
		t.Fatalf("the kernel is no program for UEFI: %v", err)
	}
	table := program.OptionalHeader.(*pe.OptionalHeader64).DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_SECURITY]
	if table.Size < 256 || int(table.VirtualAddress+table.Size) != len(kernel) ||
		!bytes.Contains(kernel[table.VirtualAddress:], []byte("Debian Secure Boot Signer")) {
		t.Errorf("the kernel of %d bytes has a signature of %d at %d, and it is not Debian's", len(kernel), table.Size, table.VirtualAddress)
	}
	for _, name := range []string{"vfat", "virtio_net", "efivarfs"} {
		module := pipe(t, initramfs, "cpio", "-i", "--quiet", "--to-stdout", "modules/"+name+".ko")
		if !strings.HasSuffix(module, "~Module signature appended~\n") {
			t.Errorf("the module %s is not signed: with Secure Boot the kernel would not load it", name)
		}
	}
}

func checkManifest(t *testing.T, dir string, m Manifest) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	var saved Manifest
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, saved); diff != "" {
		t.Errorf("the manifest on disk differs (-returned +saved):\n%s", diff)
	}
	for _, a := range []Artifact{m.Kernel, m.Initramfs} {
		data, err := os.ReadFile(filepath.Join(dir, a.File))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(artifact(a.File, data), a); diff != "" {
			t.Errorf("%s (-file +manifest):\n%s", a.File, diff)
		}
	}
}

// checkOrder checks that every module comes after all it needs.
func checkOrder(t *testing.T, order []string, dep string) {
	t.Helper()
	needs := map[string][]string{}
	for line := range strings.Lines(dep) {
		file, list, _ := strings.Cut(line, ":")
		needs[file] = strings.Fields(list)
	}
	loaded := map[string]bool{}
	for _, m := range order {
		for _, need := range needs[m] {
			if !loaded[need] {
				t.Errorf("%s is loaded before %s, which it needs", m, need)
			}
		}
		loaded[m] = true
	}
}

func inOrder(all, want []string) bool {
	for _, name := range all {
		if len(want) > 0 && name == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

func TestBuildRefuses(t *testing.T) {
	static, dir := helloInit(t), t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	noKernel := filepath.Join(dir, "empty.deb")
	if err := os.WriteFile(noKernel, []byte("this is no package"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"flavor", Options{Flavor: "rt", Init: static, OutDir: dir}, `unknown ramdisk flavor "rt"; allowed are: generic, cloud`},
		{"nothing", Options{}, `building a ramdisk: both the init program and the output directory must be named`},
		{"no init", Options{Init: dir + "/none", OutDir: dir}, `reading the ramdisk's init: open ` + dir + `/none: no such file or directory`},
		{"script", Options{Init: script, OutDir: dir}, script + ` cannot be the ramdisk's init: it is no ELF executable: `},
		{"dynamic", Options{Init: "/bin/sh", OutDir: dir},
			`/bin/sh cannot be the ramdisk's init: it is linked dynamically; build it with CGO_ENABLED=0`},
		{"package", Options{Init: static, OutDir: dir, KernelPackage: noKernel}, `unpacking ` + noKernel + `: exit status 2: dpkg-deb: error: `},
		{"version", Options{Init: static, OutDir: dir, CacheDir: dir, KernelVersion: "0.0.1-1"},
			`apt-cache linux-image-0.0.1-1-amd64: exit status 100: E: No packages found (are the package lists there? run: apt-get update)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Build(t.Context(), c.o)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// checkBoots starts the real kernel with the ramdisk in a machine of 256 MiB.
func checkBoots(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-accel", "tcg", "-m", "256", "-nodefaults",
		"-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", filepath.Join(dir, KernelFile), "-initrd",
		filepath.Join(dir, InitramfsFile),
		"-append", "console=ttyS0 panic=-1 quiet")
	said := &waitFor{text: "HELLO", found: cancel}
	cmd.Stdout = said
	cmd.Run() // killed when the text has come, ends by itself on a panic
	if !bytes.Contains(said.all.Bytes(), []byte(said.text)) {
		t.Errorf("init was not started (is qemu-system-x86 installed?):\n%s", said.all.String())
	}
}

// waitFor collects output and calls found when the text is in it.
type waitFor struct {
	text  string
	found func()
	all   bytes.Buffer
}

func (w *waitFor) Write(p []byte) (int, error) {
	w.all.Write(p)
	if bytes.Contains(w.all.Bytes(), []byte(w.text)) {
		w.found()
	}
	return len(p), nil
}
