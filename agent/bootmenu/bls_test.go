package bootmenu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// entries makes an EFI system partition with boot loader entries; each is "file: line; line".
func entries(t *testing.T, conf string, list ...string) Volume {
	t.Helper()
	have := map[string]string{"EFI/systemd/systemd-bootx64.efi": "MZ", "k": "kernel", "i": "initrd", "j": "initrd"}
	if conf != "" {
		have["loader/loader.conf"] = conf
	}
	for _, e := range list {
		name, lines, _ := strings.Cut(e, ": ")
		have["loader/entries/"+name] = strings.ReplaceAll(lines, "; ", "\n") + "\n"
	}
	v := volume(t, 1, "1234-ABCD", "ESP", have)
	v.ESP = true
	return v
}

// TestSystemdBoot chooses among entries as systemd-boot does when nobody presses a key.
func TestSystemdBoot(t *testing.T) {
	const loader = `\EFI\systemd\systemd-bootx64.efi`
	tests := []struct {
		name, conf string
		list       []string
		want       string // title
	}{
		{"the newest version", "", []string{"a.conf: title A; version 5.10.9; linux /k", "b.conf: title B; version 5.10.10; linux /k",
			"c.conf: title C; version 5.9; linux /k"}, "B"},
		{"no version: the highest name", "", []string{"x-5.9.conf: title A; linux /k", "x-5.10.conf: title B; linux /k"}, "B"},
		{"a sort key goes first", "", []string{"z.conf: title A; version 9; linux /k", "a.conf: title B; sort-key debian; version 1; linux /k"},
			"B"},
		{"sort keys count before versions", "", []string{"a.conf: title A; sort-key b; version 9; linux /k",
			"b.conf: title B; sort-key a; version 1; linux /k"}, "B"},
		{"no title: its id", "", []string{"some-id.conf: linux /k"}, "some-id"},
		{"a counter is no part of the id", "default x.conf", []string{"y.conf: title A; linux /k", "x+3-1.conf: title B; linux /k"}, "B"},
		{"an entry without tries left comes last", "",
			[]string{"x-9+0-3.conf: title A; version 9; linux /k", "x-8+2-1.conf: title B; version 8; linux /k",
				"x-7.conf: title C; version 7; linux /k"}, "B"},
		{"all have failed", "", []string{"x-9+0-3.conf: title A; version 9; linux /k", "x-8+0.conf: title B; version 8; linux /k"}, "A"},
		{"the default by pattern", "timeout 3\ndefault x-8*\nconsole-mode max",
			[]string{"x-9.conf: title A; version 9; linux /k", "x-8.conf: title B; version 8; linux /k"}, "B"},
		{"a default that is not there", "default gone",
			[]string{"x-9.conf: title A; version 9; linux /k", "x-8.conf: title B; version 8; linux /k"}, "A"},
		{"a default that is no pattern", "default [", []string{"x-9.conf: title A; version 9; linux /k"}, "A"},
		{"a default in a comment", "#default b", []string{"b.conf: title B; version 1; linux /k", "c.conf: title C; version 2; linux /k"}, "C"},
		{"what is no Linux entry is passed over", "",
			[]string{"z.conf: title Shell; version 9; efi /shellx64.efi", "a.conf: title A; version 1; linux /k", "readme.txt: linux /k"}, "A"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Find([]Volume{entries(t, tt.conf, tt.list...)}, loader)
			if err != nil || e.Title != tt.want {
				t.Errorf("it starts %q, %v; want %q", e.Title, err, tt.want)
			}
		})
	}
}

// TestEntryFile reads one entry: keys may repeat, be separated by tabs, be unknown.
func TestEntryFile(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"all keys", "a.conf: title The System; linux /k; initrd /i; options root=x ro", "The System|/k+/i|root=x ro"},
		{"several ramdisks, in lines and in one", "a.conf: title T; linux /k; initrd /i /j; initrd /i", "T|/k+/i+/j+/i|"},
		{"options in lines", "a.conf: title T; linux /k; options a  b; options c", "T|/k|a  b c"},
		{"tabs, blanks and comments", "a.conf:  \ttitle\t\tT ; # linux /no; linux\t/k ; ; devicetree-overlay x; grub_users $grub_users", "T|/k|"},
		{"variables are GRUB's, not systemd-boot's", "a.conf: title T; linux /k; options $kernelopts", "T|/k|$kernelopts"},
		{"a key without a value", "a.conf: title T; initrd; options; linux /k", "T|/k|"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Find([]Volume{entries(t, "", tt.file)}, "")
			if err != nil || text(e) != tt.want {
				t.Errorf("got %s, %v; want %s", text(e), err, tt.want)
			}
			if want := "partition 1, /loader/entries"; e.From != want {
				t.Errorf("from %q, want %q", e.From, want)
			}
		})
	}
}

// TestBLSRefusals: entries that do not say what is started start nothing.
func TestBLSRefusals(t *testing.T) {
	tests := []struct {
		name string
		list []string
		add  map[string]string
		want string
	}{
		{"none has a kernel", []string{"a.conf: title A; efi /x.efi"}, nil, "there are no entries with a Linux kernel"},
		{"the folder is empty", nil, map[string]string{"loader/entries/readme": "x"}, "there are no entries with a Linux kernel"},
		{"the kernel is gone", []string{"a.conf: title A; linux /gone"}, nil, `it starts "A" of partition 1: open /gone`},
		{"a ramdisk is gone", []string{"a.conf: title A; linux /k; initrd /gone"}, nil, `it starts "A" of partition 1: open /gone`},
		{"an entry that is a folder", nil, map[string]string{"loader/entries/a.conf/x": "y"}, "it is no regular file"},
		{"a unified image may be preferred", []string{"a.conf: title A; linux /k"}, map[string]string{"EFI/Linux/debian-6.1.EFI": "MZ"},
			"it may start the unified kernel image /EFI/Linux/debian-6.1.EFI"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := entries(t, "", tt.list...)
			put(t, v.Dir, tt.add)
			_, err := Find([]Volume{v}, "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("a default settles it between unified images and entries", func(t *testing.T) {
		v := entries(t, "default a", "a.conf: title A; linux /k")
		put(t, v.Dir, map[string]string{"EFI/Linux/debian-6.1.efi": "MZ"})
		if e, err := Find([]Volume{v}, ""); err != nil || e.Title != "A" {
			t.Errorf("%+v, %v", e, err)
		}
	})
	t.Run("more entries than a system has", func(t *testing.T) {
		var list []string
		for i := range maxEntries + 1 {
			list = append(list, fmt.Sprintf("%d.conf: linux /k", i))
		}
		_, err := Find([]Volume{entries(t, "", list...)}, "")
		if err == nil || !strings.Contains(err.Error(), "more than 500 files") {
			t.Errorf("error %v", err)
		}
	})
}

func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBLSCfg: Fedora's GRUB fills its menu from entries, whose options it expands.
func TestBLSCfg(t *testing.T) {
	const two = "set default=0\nblscfg\n"
	tests := []struct {
		name, config string
		more         map[string]string
		want         string
	}{
		{"variables in options", "kernelopts='root=UUID=x ro'\ntuned='a b'\n" + two,
			map[string]string{"loader/entries/e.conf": "title T\nlinux /k\noptions $kernelopts ${tuned} end\n"}, "T|/k|root=UUID=x ro a b end"},
		{"Red Hat's ramdisk of a tuning that is not in use", two,
			map[string]string{"loader/entries/e.conf": "title T\nlinux /k\ninitrd /i $tuned_initrd\noptions ro $tuned_params\n"}, "T|/k+/i|ro "},
		{"and of one that is", "tuned_initrd=/j\n" + two,
			map[string]string{"loader/entries/e.conf": "title T\nlinux /k\ninitrd /i $tuned_initrd\noptions ro\n"}, "T|/k+/i+/j|ro"},
		{"letters beyond ASCII", two, map[string]string{"loader/entries/e.conf": "title Système\nlinux /k\noptions root=LABEL=Plattegröße\n"},
			"Système|/k|root=LABEL=Plattegröße"},
		{"an id that begins with digits", "set default=77e0-5\nblscfg\n",
			map[string]string{"loader/entries/77e0-5.conf": "title Old\nlinux /k\n", "loader/entries/77e0-6.conf": "title New\nlinux /k\n"},
			"Old|/k|"},
		{"a dollar that is none", two, map[string]string{"loader/entries/e.conf": "title T\nlinux /k\noptions a$ b\n"}, "T|/k|a$ b"},
		{"an entry without options takes the default ones", "default_kernelopts='root=y ro'\n" + two,
			map[string]string{"loader/entries/e.conf": "title T\nlinux /k\n"}, "T|/k|root=y ro"},
		{"in /boot of the root", two, map[string]string{"boot/loader/entries/e.conf": "title T\nlinux /boot/vmlinuz\n"}, "T|/boot/vmlinuz|"},
		{"where blsdir says", "blsdir=/elsewhere\n" + two,
			map[string]string{"elsewhere/e.conf": "title T\nlinux /k\n", "loader/entries/e.conf": "title Wrong\nlinux /k\n"}, "T|/k|"},
		{"among other entries", "set default=2\nmenuentry A { true; }\nblscfg\nmenuentry B { linux /k b; }\n",
			map[string]string{"loader/entries/e.conf": "title T\nlinux /k\n"}, "B|/k|BOOT_IMAGE=/k b"},
		{"chosen by the entry's id", "set default=e-1\nblscfg\n",
			map[string]string{"loader/entries/e-1.conf": "title One\nlinux /k\n", "loader/entries/e-2.conf": "title Two\nlinux /k\n"}, "One|/k|"},
		{"a kernel that a command loaded before does not count", "linux /boot/vmlinuz\n" + two,
			map[string]string{"loader/entries/e.conf": "title T\nlinux /k\n"}, "T|/k|"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			have := map[string]string{"grub2/grub.cfg": tt.config, "k": "kernel", "boot/vmlinuz": "kernel", "i": "initrd", "j": "initrd"}
			for name, text := range tt.more {
				have[name] = text
			}
			e, err := Find([]Volume{volume(t, 2, "", "", have)}, "")
			if err != nil || text(e) != tt.want {
				t.Errorf("got %s, %v; want %s", text(e), err, tt.want)
			}
		})
	}
}

// TestWhichConfiguration: what firmware and loaders come to first is believed first.
func TestWhichConfiguration(t *testing.T) {
	menu := func(name string) string { return "menuentry " + name + " { linux /k; }" }
	tests := []struct {
		name, loader string
		esp, root    map[string]string
		want         string
		from         string
	}{
		{"beside the loader", `\EFI\fedora\shimx64.efi`, map[string]string{"EFI/fedora/grub.cfg": menu("fedora"), "grub/grub.cfg": menu("grub")},
			map[string]string{"boot/grub2/grub.cfg": menu("root")}, "fedora", "partition 1, /EFI/fedora/grub.cfg"},
		{"not beside another loader", `\EFI\BOOT\BOOTX64.EFI`, map[string]string{"EFI/fedora/grub.cfg": menu("fedora")},
			map[string]string{"boot/grub2/grub.cfg": menu("root")}, "root", "partition 2, /boot/grub2/grub.cfg"},
		{"BIOS looks beside no loader", "", map[string]string{"EFI/fedora/grub.cfg": menu("fedora")},
			map[string]string{"boot/grub/grub.cfg": menu("root")}, "root", "partition 2, /boot/grub/grub.cfg"},
		{"the next one, when the first leads nowhere", `\EFI\x\g.efi`, map[string]string{"EFI/x/grub.cfg": "configfile (hd9)/none"},
			map[string]string{"boot/grub/grub.cfg": menu("root")}, "root", "partition 2, /boot/grub/grub.cfg"},
		{"GRUB before entries", "", nil, map[string]string{"boot/grub2/grub.cfg": menu("menu"),
			"loader/entries/e.conf": "title entry\nlinux /k\n"}, "menu", "partition 2, /boot/grub2/grub.cfg"},
		{"entries when there is no GRUB", "", nil, map[string]string{"boot/loader/entries/e.conf": "title entry\nlinux /k\n"}, "entry",
			"partition 2, /boot/loader/entries"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			make := func(number int, files map[string]string) Volume {
				have := map[string]string{"k": "kernel"}
				for name, text := range files {
					have[name] = text
				}
				return volume(t, number, "", "", have)
			}
			esp := make(1, tt.esp)
			esp.ESP = true
			e, err := Find([]Volume{make(2, tt.root), esp}, tt.loader)
			if err != nil || e.Title != tt.want || e.From != tt.from {
				t.Errorf("it starts %q from %q, %v; want %q from %q", e.Title, e.From, err, tt.want, tt.from)
			}
		})
	}
	t.Run("every one that leads nowhere is named", func(t *testing.T) {
		v := volume(t, 2, "", "", map[string]string{"boot/grub/grub.cfg": "fi", "grub2/grub.cfg": "true", "loader/entries/x.conf": "title x"})
		_, err := Find([]Volume{v}, "")
		want := "partition 2, /boot/grub/grub.cfg: /boot/grub/grub.cfg of partition 2: \"fi\" stands where no block was begun\n" +
			"partition 2, /grub2/grub.cfg: it has no menu entries\n" +
			"partition 2, /loader/entries: there are no entries with a Linux kernel"
		if err == nil || err.Error() != want {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
	})
}

// TestDevices: the names GRUB gives to this disk's partitions, and none else.
func TestDevices(t *testing.T) {
	g := &grub{volumes: []Volume{{Number: 1}, {Number: 12}}}
	for name, want := range map[string]int{
		"hd0,gpt1": 1, "hd0,msdos1": 1, "hd0,1": 1, "hd0,gpt12": 12, ",gpt12": 12, "md0,gpt1": 1, "hd0,gpt1,bsd12": 12,
		"hd1,gpt1": 0, "hd0": 0, "hd0,": 0, "hd0,gpt": 0, "hd0,gpt3": 0, "hd0,gpt-1": 0, "hd00,gpt1": 0, "cd0": 0, "lvm/vg-root": 0, "": 0,
		"memdisk": 0, "hd0,gpt1x": 0,
	} {
		v, err := g.device(name)
		if v.Number != want || (err == nil) != (want != 0) {
			t.Errorf("%q is partition %d, %v; want %d", name, v.Number, err, want)
		}
	}
}
