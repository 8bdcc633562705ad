package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/agent/bootmenu"
)

// kitchen is a recipe whose inputs and outcome a test decides.
type kitchen struct {
	inputs string
	text   string // of the image
	err    error
	made   int
	mu     sync.Mutex
}

// recipe puts the kitchen into the list of kinds until the test ends.
func (k *kitchen) recipe(t *testing.T, beside ...string) string {
	t.Helper()
	const kind = "test"
	recipes[kind] = recipe{
		file: "test.raw", format: "raw", beside: beside,
		inputs: func(context.Context, *build) (string, error) { return k.inputs, nil },
		make: func(_ context.Context, b *build, out string) error {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.made++
			for _, name := range append([]string{filepath.Base(out)}, beside...) {
				if err := os.WriteFile(filepath.Join(b.dir, name), []byte(k.text+name), 0o644); err != nil {
					return err
				}
			}
			return k.err
		},
	}
	t.Cleanup(func() { delete(recipes, kind) })
	return kind
}

// files of a folder, sorted.
func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	return names
}

// An image is built once for the same inputs, and again when anything about it is not as it was left.
func TestWhatIsBuiltAgain(t *testing.T) {
	k := &kitchen{inputs: "kernel 1", text: "image of "}
	kind := k.recipe(t, "test.vmlinuz")
	dir := filepath.Join(t.TempDir(), "not/there/yet")
	build := func() Image {
		t.Helper()
		img, err := Build(t.Context(), kind, Options{OutDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	first := build()
	if first.Cached || k.made != 1 || first.Size != int64(len("image of test.raw")) || first.Virtual != first.Size ||
		first.Path != filepath.Join(dir, "test.raw") {
		t.Errorf("built %+v, %d times", first, k.made)
	}
	if want := []string{"test.raw", "test.raw.json", "test.raw.sha256", "test.vmlinuz", "test.vmlinuz.sha256"}; !cmp.Equal(want,
		files(t, dir)) {
		t.Errorf("the folder holds %v, want %v", files(t, dir), want)
	}
	tests := []struct {
		name  string
		do    func()
		again bool
	}{
		{"nothing happened", func() {}, false},
		{"other inputs", func() { k.inputs = "kernel 2" }, true},
		{"the image has gone", func() { os.Remove(first.Path) }, true},
		{"the image is another length", func() { os.WriteFile(first.Path, []byte("cut"), 0o644) }, true},
		{"the description has gone", func() { os.Remove(first.Path + ".json") }, true},
		{"the description is damaged", func() { os.WriteFile(first.Path+".json", []byte("{"), 0o644) }, true},
		{"the description is another's", func() { os.WriteFile(first.Path+".json", []byte(`{"key": "other"}`), 0o644) }, true},
		{"a file beside it has gone", func() { os.Remove(filepath.Join(dir, "test.vmlinuz")) }, true},
		{"nothing happened again", func() {}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := k.made
			tt.do()
			img := build()
			if img.Cached == tt.again || (k.made == before) == tt.again {
				t.Errorf("cached %v, built %d times", img.Cached, k.made-before)
			}
			if img.SHA256 != first.SHA256 {
				t.Errorf("another checksum for the same bytes: %s", img.SHA256)
			}
			cmd := exec.Command("sha256sum", "--check", "--status", "test.raw.sha256", "test.vmlinuz.sha256")
			cmd.Dir = dir
			if err := cmd.Run(); err != nil {
				t.Errorf("the checksums beside it: %v", err)
			}
		})
	}
}

// A build that fails leaves the image that was there, and no scratch.
func TestAFailedBuildLeavesTheOldImage(t *testing.T) {
	k := &kitchen{inputs: "1", text: "good "}
	kind := k.recipe(t)
	dir := t.TempDir()
	good, err := Build(t.Context(), kind, Options{OutDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	k.inputs, k.text, k.err = "2", "bad ", errors.New("no space left")
	_, err = Build(t.Context(), kind, Options{OutDir: dir})
	if !errors.Is(err, k.err) || !strings.Contains(err.Error(), "building the test image") {
		t.Errorf("error %v", err)
	}
	if want := []string{"test.raw", "test.raw.json", "test.raw.sha256"}; !slices.Equal(want, files(t, dir)) {
		t.Errorf("the folder holds %v", files(t, dir))
	}
	if text, _ := os.ReadFile(good.Path); string(text) != "good test.raw" {
		t.Errorf("the image is %q", text)
	}
	k.inputs = "1"
	if again, err := Build(t.Context(), kind, Options{OutDir: dir}); err != nil || !again.Cached {
		t.Errorf("what was good is built anew: %+v, %v", again, err)
	}
}

// Of several builds of one image at the same time one does the work: each would give other bytes,
// as times and random names differ, and hand out its checksum with another's image.
func TestBuildsAtOnce(t *testing.T) {
	k := &kitchen{inputs: "1"}
	kind := k.recipe(t, "test.initrd")
	r := recipes[kind]
	plain := r.make
	r.make = func(ctx context.Context, b *build, out string) error {
		k.mu.Lock()
		k.text = b.dir
		k.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		return plain(ctx, b, out)
	}
	recipes[kind] = r
	dir := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	sums := map[string]bool{}
	for range 8 {
		wg.Go(func() {
			img, err := Build(t.Context(), kind, Options{OutDir: dir})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			sums[img.SHA256] = true
		})
	}
	wg.Wait()
	if k.made != 1 || len(sums) != 1 {
		t.Errorf("built %d times, with %d checksums", k.made, len(sums))
	}
	cmd := exec.Command("sha256sum", "--check", "--quiet", "test.raw.sha256", "test.initrd.sha256")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	// Who waits for another's build keeps to its own deadline.
	unlock, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	k.inputs = "2"
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Build(ctx, kind, Options{OutDir: dir}); !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "waiting for another build in "+dir) {
		t.Errorf("error %v", err)
	}
}

// The description that lies beside an image says what is in it: other programs read it.
func TestDescription(t *testing.T) {
	k := &kitchen{inputs: "1", text: "image "}
	dir := t.TempDir()
	img, err := Build(t.Context(), k.recipe(t), Options{OutDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(img.Path + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"kind": "test", "path": img.Path, "format": "raw", "size": float64(img.Size), "virtual_size": float64(img.Size),
		"sha256": img.SHA256, "key": img.Key, "cached": false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// A folder that was moved: the path is where it is, not where it was.
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if again, err := Build(t.Context(), "test", Options{OutDir: moved}); err != nil || !again.Cached ||
		again.Path != filepath.Join(moved, "test.raw") {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestWhereItCannotBuild(t *testing.T) {
	k := &kitchen{}
	kind := k.recipe(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), kind, Options{OutDir: filepath.Join(file, "x")}); err == nil ||
		!strings.Contains(err.Error(), "making the images' directory") {
		t.Errorf("error %v", err)
	}
	r := recipes[kind]
	r.inputs = func(context.Context, *build) (string, error) { return "", errors.New("no package lists") }
	recipes[kind] = r
	if _, err := Build(t.Context(), kind, Options{OutDir: t.TempDir()}); err == nil || err.Error() != "no package lists" {
		t.Errorf("error %v", err)
	}
	r.tools = []tool{{"no-such-program", "its-package"}}
	recipes[kind] = r
	if _, err := Build(t.Context(), kind, Options{OutDir: t.TempDir()}); err == nil ||
		!strings.Contains(err.Error(), "apt-get install its-package") {
		t.Errorf("error %v", err)
	}
}

func TestMeasureRefuses(t *testing.T) {
	dir := t.TempDir()
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, []byte("QFI\xfb"), 0o644); err != nil {
		t.Fatal(err)
	}
	img := Image{Kind: "debian", Format: "qcow2"}
	if err := img.measure(short); err == nil || !strings.Contains(err.Error(), "measuring the debian image") {
		t.Errorf("a qcow2 of 4 bytes: %+v, %v", img, err)
	}
	if err := img.measure(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// What a program said last comes with its failure; what it is told, it finds relative to the scratch.
func TestCommand(t *testing.T) {
	b := &build{dir: t.TempDir()}
	err := b.command(t.Context(), "sh", "-c", "for i in 1 2 3 4 5 6 7; do echo line $i; done; exit 9")
	if want := "sh: exit status 9: line 3 | line 4 | line 5 | line 6 | line 7"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := b.command(t.Context(), "sh", "-c", `test "$LC_ALL $TZ $SOURCE_DATE_EPOCH" = "C UTC 946684800" && echo > made`); err != nil {
		t.Error(err)
	}
	if got := files(t, b.dir); !slices.Equal(got, []string{"made"}) {
		t.Errorf("it made %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.command(ctx, "sleep", "60"); err == nil {
		t.Error("a build that was given up goes on")
	}
}

// The partitions are where the disk's parts are put, and a root file system follows the others.
func TestPartition(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	if err := os.WriteFile(root, bytes.Repeat([]byte("r"), 3<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	const guid = "B111E700-0000-4000-8000-000000000090"
	for _, l := range []layout{{espMiB: 4, diskGUID: guid}, {espMiB: 33, diskGUID: guid, root: root}} {
		out := filepath.Join(dir, "disk")
		b := &build{dir: dir}
		if err := b.partition(t.Context(), l, out); err != nil {
			t.Fatal(err)
		}
		if said := run(t, "gdisk", "sgdisk", "--verify", out); !strings.Contains(said, "No problems found") {
			t.Errorf("sgdisk: %s", said)
		}
		list := run(t, "gdisk", "sgdisk", "--print", out)
		want := []string{"1 2048 4095 1024.0 KiB EF02 grub", fmt.Sprintf("2 4096 %d %d.0 MiB EF00 esp", 4095+l.espMiB*2048, l.espMiB)}
		if l.root != "" {
			first := 4096 + l.espMiB*2048
			want = append(want, fmt.Sprintf("3 %d %d 3.0 MiB 8304 root", first, first+3*2048-1))
		}
		var got []string
		for line := range strings.Lines(list) {
			if f := strings.Fields(line); len(f) == 7 && f[0] >= "1" && f[0] <= "9" {
				got = append(got, strings.Join(f, " "))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d MiB: %s\n%s", l.espMiB, diff, list)
		}
		if !strings.Contains(list, "Disk identifier (GUID): "+guid) {
			t.Errorf("the disk's GUID: %s", list)
		}
		if said := run(t, "gdisk", "sgdisk", "--info=2", out); !strings.Contains(said, "Partition unique GUID: "+guid[:len(guid)-1]+"2") {
			t.Errorf("the second partition's GUID: %s", said)
		}
	}
	if err := (&build{dir: dir}).partition(t.Context(), layout{espMiB: 4, diskGUID: guid, root: "/none"},
		filepath.Join(dir, "x")); err == nil || !strings.Contains(err.Error(), "measuring the root file system") {
		t.Errorf("no root file system: %v", err)
	}
}

// The EFI system partition holds every file where firmware and GRUB look for it, of a width that
// its size asks for, and its bytes are the same each time.
func TestMakeESP(t *testing.T) {
	for mib, kind := range map[int]string{4: "FAT12", 16: "FAT16"} {
		var sums []string
		for range 2 {
			b := &build{dir: t.TempDir()}
			config, err := b.write("c", "config\n")
			if err != nil {
				t.Fatal(err)
			}
			esp, err := b.makeESP(t.Context(), []espFile{{"EFI/BOOT/BOOTX64.EFI", config}, {"grub/grub.cfg", config}, {"EFI/BOOT/more", config}},
				mib)
			if err != nil {
				t.Fatal(err)
			}
			if text := run(t, "mtools", "mtype", "-i", esp, "::/EFI/BOOT/more"); text != "config\n" {
				t.Errorf("a file holds %q", text)
			}
			if said := run(t, "util-linux", "blkid", "--probe", "--output", "export", esp); !strings.Contains(said, "LABEL="+espLabel) ||
				!strings.Contains(said, "VERSION="+kind) {
				t.Errorf("%d MiB: %s", mib, said)
			}
			run(t, "dosfstools", "fsck.vfat", "-n", esp)
			sums = append(sums, strings.Fields(run(t, "coreutils", "sha256sum", esp))[0])
		}
		if sums[0] != sums[1] {
			t.Errorf("%d MiB: other bytes a second time: mtools writes the time", mib)
		}
	}
	b := &build{dir: t.TempDir()}
	if _, err := b.makeESP(t.Context(), []espFile{{"x", "/none"}}, 4); err == nil || !strings.Contains(err.Error(), "mcopy") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Zeros make holes, and what is there at the file's end arrives though it is no whole block.
func TestCopyAt(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	data := make([]byte, 3<<20+777)
	copy(data[2<<20+5:], "in the third")
	copy(data[len(data)-3:], "end")
	if err := errors.Join(os.WriteFile(from, data, 0o644), os.WriteFile(to, nil, 0o644), os.Truncate(to, 8<<20)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(to, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := copyAt(f, from, 1<<20); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil || len(got) != 8<<20 || !bytes.Equal(got[1<<20:1<<20+len(data)], data) || !allZero(got[1<<20+len(data):]) ||
		!allZero(got[:1<<20]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	used, err := strconv.Atoi(strings.Fields(run(t, "coreutils", "du", "--block-size=1K", to))[0])
	if err != nil || used > 2100 {
		t.Errorf("%d KiB are taken for one MiB and an end, %v", used, err)
	}
	if err := copyAt(f, filepath.Join(dir, "none"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// GRUB takes its boot code by its bytes; parts of another size are not it.
func TestInstallGRUBRefuses(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "disk")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{0, 511, coreSizeLimit + 1} {
		if err := installGRUB(f, make([]byte, size)); err == nil ||
			!strings.Contains(err.Error(), fmt.Sprintf("and %d bytes; want 512 and up to 1048576", size)) {
			t.Errorf("a core of %d bytes: %v", size, err)
		}
	}
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("something was written: %v, %v", info.Size(), err)
	}
	if err := installGRUB(f, bytes.Repeat([]byte{1}, coreSizeLimit)); err != nil {
		t.Errorf("a core as large as its partition: %v", err)
	}
}

// What goes into a Debian image: each file as it is named, and the program that makes the first boot.
func TestOverlay(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("PROGRAM"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]map[string]string{"whole disk": debianFiles, "root": rootFiles()} {
		b := &build{dir: t.TempDir(), Options: Options{TinyOS: program}}
		dir, err := b.overlay(debianSystem{files: want, program: true})
		if err != nil {
			t.Fatal(err)
		}
		for path, text := range want {
			if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != text {
				t.Errorf("%s: %s is %q, %v", name, path, got, err)
			}
		}
		if info, err := os.Stat(filepath.Join(dir, "usr/sbin/billet-tinyos")); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: the program is %v, %v", name, info, err)
		}
	}
	if _, ok := rootFiles()["boot/grub/grub.cfg"]; ok {
		t.Error("a partition image has a boot menu before it has a disk")
	}
	if _, ok := debianFiles["etc/default/grub"]; ok {
		t.Error("the two images share their files")
	}
	b := &build{dir: t.TempDir(), Options: Options{TinyOS: "/none"}}
	if _, err := b.overlay(debianSystem{program: true}); err == nil ||
		!strings.Contains(err.Error(), "reading the program for the first boot") {
		t.Errorf("no program: %v", err)
	}
}

func TestTreeSize(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{"one": 1, "a/block": 4096, "a/b/more": 4097, "empty": 0} {
		if err := errors.Join(os.WriteFile(filepath.Join(dir, name), nil, 0o644), os.Truncate(filepath.Join(dir, name), size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	// 8 inodes, and data of 1, 1 and 2 blocks
	if got, err := treeSize(dir); err != nil || got != 12*4096 {
		t.Errorf("%d blocks, %v", got/4096, err)
	}
	if _, err := treeSize(filepath.Join(dir, "none")); err == nil {
		t.Error("a tree that is not there has a size")
	}
}

// The scripts and configurations in the images are read by those that will run them.
func TestTextsOfTheImages(t *testing.T) {
	if out, err := exec.Command("sh", "-n", "-c", finish).CombinedOutput(); err != nil {
		t.Errorf("the script at the end: %v: %s", err, out)
	}
	for name, text := range map[string]string{"early": earlyConfig, "Debian's ESP": debianBoot,
		"Debian's menu": debianFiles["boot/grub/grub.cfg"], "serial": serialConfig} {
		cmd := exec.Command("grub-script-check")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// What kexec will find on a disk with the Debian image is what its GRUB starts.
func TestDebianIsFoundByTheAgent(t *testing.T) {
	plant := func(number int, label string, texts map[string]string) bootmenu.Volume {
		dir := t.TempDir()
		for name, text := range texts {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		return bootmenu.Volume{Number: number, Dir: dir, Label: label}
	}
	esp := plant(2, espLabel, map[string]string{"grub/grub.cfg": debianBoot, "EFI/BOOT/BOOTX64.EFI": "MZ"})
	esp.ESP = true
	root := plant(3, "root", map[string]string{"boot/grub/grub.cfg": debianFiles["boot/grub/grub.cfg"], "vmlinuz": "kernel",
		"initrd.img": "initrd"})
	for firmware, loader := range map[string]string{"bios": "", "uefi": `\EFI\BOOT\BOOTX64.EFI`} {
		e, err := bootmenu.Find([]bootmenu.Volume{esp, root}, loader)
		if err != nil {
			t.Errorf("%s: %v", firmware, err)
			continue
		}
		if want := "BOOT_IMAGE=/vmlinuz root=LABEL=root ro console=tty0 console=ttyS0,115200n8 quiet"; e.Kernel.Volume.Number != 3 ||
			e.CommandLine != want || len(e.Initrds) != 1 {
			t.Errorf("%s: it starts %+v", firmware, e)
		}
	}
}
