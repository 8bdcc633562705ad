package ramdisk

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// object is a kernel module as small as one can be: an ELF object whose only section is .modinfo.
func object(info ...string) []byte {
	text := strings.Join(info, "\x00") + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	const header, section = 64, 64
	var b bytes.Buffer
	write := func(v any) { binary.Write(&b, binary.LittleEndian, v) }
	write(elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1}, Type: uint16(elf.ET_REL),
		Machine: uint16(elf.EM_X86_64), Version: 1,
		Shoff: uint64(header + len(text) + len(names)), Ehsize: header, Shentsize: section, Shnum: 3, Shstrndx: 2,
	})
	b.WriteString(text + names)
	write(elf.Section64{})
	write(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: header, Size: uint64(len(text))})
	write(elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(header + len(text)), Size: uint64(len(names))})
	return b.Bytes()
}

// entry of a package; the type is that of a regular file unless it says otherwise.
type entry struct {
	name, text string
	kind       byte
	link       string
}

func tarBytes(t *testing.T, list []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range list {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: 0o644, Size: int64(len(e.text)), ModTime: time.Unix(0, 0)}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// debOf wraps members into a .deb: an "ar" archive (deb(5)).
func debOf(t *testing.T, data []byte) string {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	control := tarBytes(t,
		[]entry{{name: "./control", text: "Package: x\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@x>\nDescription: x\n"}})
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar", control}, {"data.tar", data}} {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		b.Write(m.data)
		if len(m.data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	name := filepath.Join(t.TempDir(), "package.deb")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

const (
	kernelName = "./boot/vmlinuz-6.1.0-9-amd64"
	modulesDir = "./lib/modules/6.1.0-9-amd64/"
)

// plain is a package that is in order.
func plain() []entry {
	return []entry{
		{name: kernelName, text: "KERNEL"},
		{name: modulesDir + "kernel/a.ko", text: string(object("depends=b", "alias=pci:a*"))},
		{name: modulesDir + "kernel/b.ko", text: string(object("name=something_else"))},
		{name: modulesDir + "modules.builtin", text: "kernel/c.ko\n"},
	}
}

// TestReadPackage reads real packages, in order and not: through dpkg-deb, as Build does.
func TestReadPackage(t *testing.T) {
	filler := make([]byte, 8<<20) // more than a pipe holds
	for i := range filler {
		filler[i] = byte(rand.Uint32())
	}
	big := entry{name: "./usr/share/doc/big", text: string(filler)}
	tests := []struct {
		name string
		list []entry
		want string // the error; "" when it is taken
	}{
		{"in order", plain(), ""},
		{"with usr in front", func() []entry {
			l := plain()
			for i := range l {
				l[i].name = strings.Replace(l[i].name, "./lib/", "./usr/lib/", 1)
			}
			return l
		}(), ""},
		{"names without a dot, and absolute ones", func() []entry {
			l := plain()
			l[0].name, l[1].name = strings.TrimPrefix(l[0].name, "./"), strings.TrimPrefix(l[1].name, ".")
			return l
		}(), ""},
		{"compressed modules, and much behind them", append(plain()[:1], entry{name: modulesDir + "kernel/a.ko.xz", text: "xz"}, big),
			"compressed modules are not understood; take a kernel with plain .ko files"},
		{"a module that is none, and much behind it", append(plain(), entry{name: modulesDir + "kernel/d.ko", text: "junk"}, big),
			"kernel/d.ko: reading a kernel module"},
		{"no kernel", plain()[1:], "it holds no kernel with modules; a package such as linux-image-6.1.0-56-amd64 is wanted"},
		{"no modules", plain()[:1], "it holds no kernel with modules"},
		{"nothing", nil, "it holds no kernel with modules"},
		{"two kernels", append(plain(), entry{name: "./boot/vmlinuz-6.1.0-8-amd64", text: "OLD"}),
			"it holds two kernels, 6.1.0-9-amd64 and 6.1.0-8-amd64"},
		{"modules of another kernel", append(plain()[1:], entry{name: "./boot/vmlinuz-6.1.0-8-amd64", text: "OLD"}),
			"its kernel is 6.1.0-8-amd64 and its modules are for 6.1.0-9-amd64, which that kernel would refuse"},
		{"modules of two kernels", append(plain(), entry{name: "./lib/modules/6.1.0-8-amd64/kernel/z.ko", text: string(object())}),
			"it holds modules for two kernels, 6.1.0-9-amd64 and 6.1.0-8-amd64"},
		{"a kernel that is a link", append(plain()[1:], entry{name: kernelName, kind: tar.TypeSymlink, link: "/etc/shadow"}),
			"it holds no kernel with modules"},
		{"a module that is a device", append(plain(), entry{name: modulesDir + "kernel/d.ko", kind: tar.TypeChar}), ""},
		{"a module that leads out", append(plain(), entry{name: modulesDir + "../../../../etc/evil.ko", text: "junk"}), ""},
		{"modules that are not read", append(plain(), entry{name: modulesDir + "kernel/sound/s.ko", text: "junk"}), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			deb := debOf(t, tarBytes(t, tt.list))
			k, err := readPackage(t.Context(), deb)
			if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), deb)) {
				t.Fatalf("error %v, want %q and the package's name", err, tt.want)
			}
			if err != nil {
				return
			}
			if k.release != "6.1.0-9-amd64" || string(k.image) != "KERNEL" || !k.builtin["c"] {
				t.Errorf("kernel %q %q, built in %v", k.release, k.image, k.builtin)
			}
			var names []string
			for name, m := range k.modules {
				names = append(names, name+" "+m.info.name)
			}
			slices.Sort(names)
			if diff := cmp.Diff([]string{"a a", "b b"}, names); diff != "" { // by their files, as the kernel's tools call them
				t.Errorf("modules: %s", diff)
			}
		})
	}
}

// TestDamagedPackages: whatever is wrong with the file itself, dpkg-deb's own words come with it.
func TestDamagedPackages(t *testing.T) {
	good, err := os.ReadFile(debOf(t, tarBytes(t, plain())))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty": {}, "text": []byte("not a package\n"), "the first half": good[:len(good)/2], "cut in a member": good[:len(good)-700],
		"a page": []byte("<html>404</html>"),
		"zeros":  make([]byte, 10_000), "its head alone": good[:60],
	} {
		t.Run(name, func(t *testing.T) {
			deb := filepath.Join(t.TempDir(), "x.deb")
			if err := os.WriteFile(deb, data, 0o644); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{
				"kernel": func() error { _, err := readPackage(t.Context(), deb); return err }(),
				"file":   func() error { _, err := fileOfPackage(t.Context(), deb, "bin/busybox"); return err }(),
				"tree":   tree{files: map[string][]byte{}, links: map[string]string{}}.read(t.Context(), deb),
			} {
				if err == nil || !strings.Contains(err.Error(), "unpacking "+deb) || !strings.Contains(err.Error(), "dpkg-deb: error") {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
	if _, err := readPackage(t.Context(), "/none.deb"); err == nil || !strings.Contains(err.Error(), "/none.deb") {
		t.Errorf("a package that is not there: %v", err)
	}
	broken := tarBytes(t, plain())
	copy(broken[512*2+148:], "xxxxxx") // the second entry's checksum
	if _, err := readPackage(t.Context(), debOf(t, broken)); err == nil || !errors.Is(err, tar.ErrHeader) {
		t.Errorf("a tar stream that is none: %v", err)
	}
}

// TestFileOfPackage takes one file, with usr in front or without, and nothing that only looks like it.
func TestFileOfPackage(t *testing.T) {
	const name = "bin/busybox"
	for want, list := range map[string][]entry{
		"PROGRAM": {{name: "./usr/bin/busybox", text: "PROGRAM"}},
		"program": {{name: "./bin/", kind: tar.TypeDir}, {name: "./bin/busybox", text: "program"}, {name: "./bin/busybox2", text: "no"}},
	} {
		if got, err := fileOfPackage(t.Context(), debOf(t, tarBytes(t, list)), name); err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	for what, list := range map[string][]entry{
		"a link": {{name: "./bin/busybox", kind: tar.TypeSymlink, link: "/bin/sh"}}, "a folder": {{name: "./bin/busybox/", kind: tar.TypeDir}},
		"elsewhere": {{name: "./opt/bin/busybox", text: "x"}}, "nothing": nil,
	} {
		if got, err := fileOfPackage(t.Context(), debOf(t, tarBytes(t, list)), name); err == nil ||
			!strings.Contains(err.Error(), "it holds no bin/busybox") {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
}

// TestTreeOfHostilePackages: links in packages lead to other files of packages, and nowhere else.
func TestTreeOfHostilePackages(t *testing.T) {
	deb := debOf(t, tarBytes(t, []entry{
		{name: "./sbin/real", text: "REAL"}, {name: "./usr/lib/x86_64-linux-gnu/l.so.1.2", text: "LIB"},
		{name: "./lib/x86_64-linux-gnu/l.so.1", kind: tar.TypeSymlink, link: "l.so.1.2"},
		{name: "./sbin/absolute", kind: tar.TypeSymlink, link: "/usr/sbin/real"},
		{name: "./sbin/up", kind: tar.TypeSymlink, link: "../../../../../sbin/real"},
		{name: "./sbin/hard", kind: tar.TypeLink, link: "./sbin/real"},
		{name: "./sbin/shadow", kind: tar.TypeSymlink, link: "/etc/passwd"},
		{name: "./sbin/self", kind: tar.TypeSymlink, link: "self"},
		{name: "./sbin/../../sbin/escaped", text: "E"},
		{name: "./etc/passwd", text: "root"}, {name: "./usr/lib/x86_64-linux-gnu/gconv/UTF-7.so", text: "no"},
	}))
	pkg := tree{files: map[string][]byte{}, links: map[string]string{}}
	if err := pkg.read(t.Context(), deb); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"sbin/real": "REAL", "sbin/absolute": "REAL", "sbin/hard": "REAL", "lib/x86_64-linux-gnu/l.so.1": "LIB",
		"lib/x86_64-linux-gnu/l.so.1.2": "LIB",
		"sbin/shadow":                   "", "sbin/self": "", "etc/passwd": "", "lib/x86_64-linux-gnu/gconv/UTF-7.so": "", "sbin/none": "",
		"": "", "..": "",
	} {
		got, ok := pkg.file(name)
		if string(got) != want || ok != (want != "") {
			t.Errorf("%q is %q, %v; want %q", name, got, ok, want)
		}
	}
	for name := range pkg.files {
		if !fs.ValidPath(name) {
			t.Errorf("a file is called %q, which would lead out of the ramdisk", name)
		}
	}
}

// TestArchiveStructure refuses what the kernel would unpack otherwise than it was meant, or stop at.
func TestArchiveStructure(t *testing.T) {
	tests := []struct {
		name  string
		files []File
		want  string
	}{
		{"a file in a file", []File{{Path: "a", Mode: 0o644}, {Path: "a/b", Mode: 0o644}}, "a/b is to be in a, which is no directory"},
		{"a file in a file, far above", []File{{Path: "a/b/c/d", Mode: 0o644}, {Path: "a", Mode: 0o644}},
			"a/b/c/d is to be in a, which is no directory"},
		{"a file in a device", []File{{Path: "dev/x", Mode: fs.ModeDevice | fs.ModeCharDevice}, {Path: "dev/x/y"}}, "is to be in dev/x"},
		{"a file in a link to a directory", []File{{Path: "lib", Mode: fs.ModeSymlink | 0o777, Data: []byte("usr/lib")},
			{Path: "lib/x", Mode: 0o644}}, ""},
		{"the end's own name", []File{{Path: "TRAILER!!!", Mode: 0o644}}, `"TRAILER!!!" is not a relative path`},
		{"a name with an end in it", []File{{Path: "a\x00b", Mode: 0o644}}, `"a\x00b" is not a relative path`},
		{"a directory and a file", []File{{Path: "a", Mode: fs.ModeDir | 0o755}, {Path: "a", Mode: 0o644}}, "a is there twice"},
		{"two directories are one", []File{{Path: "a", Mode: fs.ModeDir | 0o755}, {Path: "a", Mode: fs.ModeDir | 0o700}}, ""},
		{"a pipe", []File{{Path: "p", Mode: fs.ModeNamedPipe | 0o644}}, "p is neither a file, directory, link nor character device"},
		{"a disk", []File{{Path: "dev/sda", Mode: fs.ModeDevice | 0o600}}, "dev/sda is neither a file"},
		{"a socket", []File{{Path: "s", Mode: fs.ModeSocket}}, "s is neither a file"},
		{"a path that is not clean", []File{{Path: "a//b"}}, "is not a relative path"},
		{"a path with a dot", []File{{Path: "./a"}}, "is not a relative path"},
		{"the root", []File{{Path: "."}}, "is not a relative path"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, err := archive(tt.files)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err == nil {
				pipe(t, data, "cpio", "-t", "--quiet")
			}
		})
	}
}

// FuzzArchive: whatever the files are, the real layout of a "new ASCII" archive comes out, parents
// before what is in them, and the same for any order of the files.
func FuzzArchive(f *testing.F) {
	f.Add("init", "modules/a.ko", "lib/firmware/x", []byte("data"))
	f.Add("a", "a/b", "a/b/c", []byte{})
	f.Add("x", "x-y", "x/y", []byte{0, 1, 2})
	f.Add("TRAILER!!!", "é", "a\x00", []byte("\n"))
	f.Fuzz(func(t *testing.T, a, b, c string, data []byte) {
		files := []File{{Path: a, Mode: 0o755, Data: data}, {Path: b, Mode: fs.ModeDir | 0o700},
			{Path: c, Mode: fs.ModeSymlink | 0o777, Data: []byte(a)}}
		got, err := archive(files)
		slices.Reverse(files)
		other, otherErr := archive(files)
		if (err == nil) != (otherErr == nil) || !bytes.Equal(got, other) {
			t.Fatalf("the order counts: %v, %v", err, otherErr)
		}
		if err != nil {
			return
		}
		seen := map[string]bool{".": true}
		rest := got
		for {
			var name string
			var size int
			if name, size, rest, err = nextEntry(rest); err != nil {
				t.Fatal(err)
			}
			if name == "TRAILER!!!" {
				break
			}
			if seen[name] || !seen[filepath.Dir(name)] {
				t.Errorf("%q is there twice, or before its directory", name)
			}
			seen[name] = true
			rest = rest[min(len(rest), (size+3)&^3):]
		}
		for _, file := range files {
			if !seen[file.Path] {
				t.Errorf("%q is missing", file.Path)
			}
		}
		if len(rest) != 0 {
			t.Errorf("%d bytes behind the end", len(rest))
		}
	})
}

// nextEntry reads an entry's header and name; rest begins at its data.
func nextEntry(b []byte) (name string, size int, rest []byte, err error) {
	if len(b) < headerSize || string(b[:6]) != "070701" {
		return "", 0, nil, fmt.Errorf("no header at %.20q", b)
	}
	var length int
	if _, err = fmt.Sscanf(string(b[54:62])+" "+string(b[94:102]), "%x %x", &size, &length); err != nil {
		return "", 0, nil, err
	}
	end := (headerSize + length + 3) &^ 3
	if len(b) < end || b[headerSize+length-1] != 0 {
		return "", 0, nil, fmt.Errorf("the name runs out of the archive")
	}
	return string(b[headerSize : headerSize+length-1]), size, b[end:], nil
}

// TestModulesAreWhole goes from a package to the archive: everything a module needs is in front of
// it, and a need that is nowhere is said at build time, not by a machine that finds no disk.
func TestModulesAreWhole(t *testing.T) {
	mod := func(name string, info ...string) entry {
		return entry{name: modulesDir + "kernel/x/" + name + ".ko", text: string(object(info...))}
	}
	tests := []struct {
		name    string
		modules []entry
		order   string // of what is loaded at once
		err     string
	}{
		{"a chain", []entry{mod("disk", "depends=bus"), mod("bus", "depends=core"), mod("core")}, "core bus disk", ""},
		{"dashes and underscores", []entry{mod("disk", "depends=my_bus"), mod("my-bus", "depends=")}, "my-bus disk", ""},
		{"a diamond", []entry{mod("disk", "depends=l,r"), mod("l", "depends=core"), mod("r", "depends=core"), mod("core")}, "core l r disk", ""},
		{"a soft need by its name", []entry{mod("disk", "softdep=pre: helper"), mod("helper")}, "helper disk", ""},
		{"a soft need by every module that has the alias",
			[]entry{mod("disk", "softdep=pre: crc"), mod("crc-fast", "alias=crc"), mod("crc-slow", "alias=crc")}, "crc-fast crc-slow disk", ""},
		{"a soft need that is nowhere", []entry{mod("disk", "softdep=pre: ghost")}, "disk", ""},
		{"what comes after is not needed", []entry{mod("disk", "softdep=post: later"), mod("later")}, "disk", ""},
		{"a need that is built in", []entry{mod("disk", "depends=c")}, "disk", ""},
		{"needs that run in a circle", []entry{mod("disk", "depends=other"), mod("other", "softdep=pre: disk")}, "other disk", ""},
		{"one that needs itself", []entry{mod("disk", "depends=disk")}, "disk", ""},
		{"a need that is nowhere", []entry{mod("disk", "depends=bus"), mod("bus", "depends=ghost")}, "",
			"the kernel 6.1.0-9-amd64 has no module ghost, which its module bus needs"},
		{"a need that was passed over", []entry{mod("disk", "depends=snd"), {name: modulesDir + "kernel/sound/snd.ko", text: string(object())}},
			"", "has no module snd, which its module disk needs"},
		{"the basic module itself is nowhere", []entry{mod("bus")}, "", "has no module disk, which every test ramdisk needs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list := append([]entry{plain()[0], plain()[3]}, tt.modules...)
			k, err := readPackage(t.Context(), debOf(t, tarBytes(t, list)))
			if err != nil {
				t.Fatal(err)
			}
			c, err := k.choose(withFlavor(t, flavor{basic: []string{"disk"}}))
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			if err != nil {
				return
			}
			data, err := archive(c.files())
			if err != nil {
				t.Fatal(err)
			}
			order := strings.ReplaceAll(strings.TrimSpace(pipe(t, data, "cpio", "-i", "--quiet", "--to-stdout", "modules/order")), "\n", " ")
			if order != strings.ReplaceAll(tt.order, " ", ".ko ")+".ko" {
				t.Errorf("loaded are %q, want %q", order, tt.order)
			}
			for name := range strings.FieldsSeq(order) {
				got := pipe(t, data, "cpio", "-i", "--quiet", "--to-stdout", "modules/"+name)
				if !strings.HasPrefix(got, "\x7fELF") {
					t.Errorf("%s is %.20q", name, got)
				}
			}
		})
	}
}

// FuzzReadModinfo: a module comes out of a package that anybody may have made.
func FuzzReadModinfo(f *testing.F) {
	f.Add(object("depends=a,b", "softdep=pre: c"))
	f.Add(object())
	huge := object("depends=a")
	binary.LittleEndian.PutUint64(huge[len(huge)-2*64+32:], 1<<62) // the section's size
	f.Add(huge)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := readModinfo(data)
		if err == nil && len(strings.Join(m.depends, "")) > len(data) {
			t.Errorf("%d bytes give %+v", len(data), m)
		}
	})
}
