package bootmenu

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// An image decides what these files hold. Whatever it is, the agent is done within seconds and a
// machine with 256 MB of memory lives on.
func TestHostileConfigurations(t *testing.T) {
	const mega = 1 << 20
	doubling := "x=" + strings.Repeat("y", 1000) + "\n" + strings.Repeat("x=$x$x\n", 40)
	tests := []struct {
		name, config string
		more         map[string]string
		want         string
	}{
		{"a loop that does nothing", "while true; do true; done", nil, "it runs without end"},
		{"a loop whose turns have no commands that count",
			"i=\"" + strings.Repeat("a ", 9000) + "\"\nfor a in $i; do for b in $i; do for c in $i; do $none; done; done; done", nil,
			"it runs without end"},
		{"loops that break into each other", "while true; do while true; do break; done; continue; done", nil, "it runs without end"},
		{"doubling", doubling, nil, "a command's text grows without end"},
		{"large texts under many names", "x=" + strings.Repeat("y", 200_000) + "\n" + func() string {
			var b strings.Builder
			for i := range 5000 {
				fmt.Fprintf(&b, "v%d=a$x\n", i)
			}
			return b.String()
		}(), nil, "more than 8 MB of text"},
		{"large titles", "x=" + strings.Repeat("y", 200_000) + "\nfor i in " + strings.Repeat("a ",
			5000) + "; do menuentry \"t$x\" { true; }; done", nil, "more than 8 MB of text"},
		{"a file beyond all measure", strings.Repeat("#", mega+1), nil, "more than 1048576 bytes"},
		{"one word as long as a file may be", "echo " + strings.Repeat("x", mega-10), nil, "a command's text grows without end"},
		{"a word of many parts", "echo " + strings.Repeat("$a", mega/2-10), nil, "it has no menu entries"},
		{"a word of many quoted parts", "echo " + strings.Repeat("''x", mega/3-10), nil, "a command's text grows without end"},
		{"more words than a menu has", strings.Repeat("a ", 200_000), nil, "the script has more than 100000 words"},
		{"more statements than a menu has", strings.Repeat(";", 200_000), nil, "the script has more than 100000 words"},
		{"many negations", "if [ " + strings.Repeat("! ", 90_000) + "a ]; then linux /none; boot; fi", nil, "it starts"},
		{"a submenu that makes itself", "function f {\nsubmenu x { f; }\n}\nf", nil, "it runs without end"},
		{"two files that source each other", "source /boot/b", map[string]string{"boot/b": "source /boot/grub/grub.cfg"},
			"it calls itself without end"},
		{"configfiles in a ring", "configfile /boot/b", map[string]string{"boot/b": "configfile /boot/grub/grub.cfg"},
			"it calls itself without end"},
		{"a large file sourced again and again", "while true; do source /boot/big; done",
			map[string]string{"boot/big": "true\n#" + strings.Repeat("x", 900_000)}, "more than 8 MB of text"},
		{"a small file sourced again and again", "while true; do source /boot/s; done", map[string]string{"boot/s": "true"},
			"it runs without end"},
		{"an environment read again and again", "while true; do load_env -f /boot/env; done",
			map[string]string{"boot/env": strings.Repeat("some=thing\n", 80_000)}, "more than 8 MB of text"},
		{"blscfg again and again", "while true; do blscfg; done",
			map[string]string{"loader/entries/a.conf": "linux /vmlinuz\n",
				"loader/entries/b.conf": "linux /vmlinuz\noptions " + strings.Repeat("x", 2000)}, "more than 8 MB of text"},
		{"a ramdisk a thousand times", "linux /vmlinuz\ninitrd" + strings.Repeat(" /boot/big", 5000) + "\nboot",
			map[string]string{"boot/big": strings.Repeat("x", 900_000)}, "5000 ramdisks have more than 1024 MB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			have := files("boot/grub/grub.cfg", tt.config)
			for name, text := range tt.more {
				have[name] = text
			}
			volumes := []Volume{volume(t, 2, "", "", have)}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, err := Find(volumes, "")
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && len(err.Error()) > 2000 {
				t.Errorf("the reason, which goes into the node's history, has %d bytes", len(err.Error()))
			}
			if took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			// What was ever allocated bounds what was held at once.
			if made := after.TotalAlloc - before.TotalAlloc; made > 300<<20 {
				t.Errorf("%d MB were allocated", made>>20)
			}
		})
	}
}

// Holes cost an image nothing; what they stand for would not fit into the machine.
func TestHugeFiles(t *testing.T) {
	tests := []struct {
		name string
		size map[string]int64
		want string
	}{
		{"the kernel", map[string]int64{"vmlinuz": 8 << 40}, "more than 1024 MB"},
		{"one ramdisk", map[string]int64{"initrd": 2 << 30}, "more than 1024 MB"},
		{"both together", map[string]int64{"vmlinuz": 600 << 20, "initrd": 600 << 20}, "more than 1024 MB"},
		{"large, but not too large", map[string]int64{"vmlinuz": 20 << 20, "initrd": 900 << 20}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := volume(t, 1, "", "", map[string]string{"grub/grub.cfg": "linux /vmlinuz\ninitrd /initrd\nboot", "vmlinuz": "k", "initrd": "i"})
			for name, size := range tt.size {
				if err := os.Truncate(filepath.Join(v.Dir, name), size); err != nil {
					t.Fatal("the temporary directory needs a file system that keeps holes of 8 TiB: ", err)
				}
			}
			_, err := Find([]Volume{v}, "")
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// Configurations on many partitions share one budget: each of them being dear does not add up.
func TestManyHostilePartitions(t *testing.T) {
	config := "while true; do source /big; done"
	var list []Volume
	for i := range 40 {
		list = append(list, volume(t, i+1, "", "", map[string]string{"boot/grub/grub.cfg": config, "grub/grub.cfg": config,
			"big": "#" + strings.Repeat("x", 1<<19)}))
	}
	began := time.Now()
	_, err := Find(list, "")
	if err == nil || strings.Count(err.Error(), "more than 8 MB of text") != 80 {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// Links of the image lead nowhere outside of it, whoever follows them.
func TestLinksStayInside(t *testing.T) {
	outside := t.TempDir()
	for name, text := range map[string]string{"grub.cfg": "linux /k secret\nboot", "k": "kernel"} {
		if err := os.WriteFile(filepath.Join(outside, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	up := strings.Repeat("../", 20)
	tests := []struct {
		name  string
		files map[string]string
	}{
		{"the configuration", map[string]string{"boot/grub/grub.cfg": "->" + outside + "/grub.cfg", "k": "kernel"}},
		{"its folder, relative", map[string]string{"boot/grub": "->" + up + outside, "k": "kernel"}},
		{"the kernel", map[string]string{"boot/grub/grub.cfg": "linux /k\nboot", "k": "->" + outside + "/k"}},
		{"the kernel, by dots", map[string]string{"boot/grub/grub.cfg": "linux /" + up + outside + "/k\nboot"}},
		{"a ramdisk", map[string]string{"boot/grub/grub.cfg": "linux /k\ninitrd /i\nboot", "k": "kernel", "i": "->" + up + outside + "/k"}},
		{"a sourced file", map[string]string{"boot/grub/grub.cfg": "source /more", "more": "->" + outside + "/grub.cfg", "k": "kernel"}},
		{"the entries", map[string]string{"loader/entries": "->" + outside, "k": "kernel"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if e, err := Find([]Volume{volume(t, 1, "", "", tt.files)}, ""); err == nil {
				t.Errorf("it found %+v", e)
			}
		})
	}
}

// What Find returns is there, is on this disk, and fits; whatever the configuration, the
// environment and the entries say.
func FuzzFind(f *testing.F) {
	f.Add(debianMenu, "saved_entry=x\n", "title T\nlinux /boot/vmlinuz-6.1\ninitrd /boot/initrd-6.1\noptions a $b\n", "default x*\n")
	f.Add("load_env\nblscfg", "default=a\nroot=hd0,gpt1\nprefix=/", "linux /vmlinuz\nversion 1", "default [")
	f.Add("configfile ${prefix}/grub.cfg\nnormal\n. grub.cfg", "\x00=\n==\n#", "linux\tvmlinuz\n\nlinux", "")
	f.Add("search --set= --file /\nlinux ($root)//vmlinuz", "", "linux ../../etc/passwd", "default **")
	f.Add("function f { f $@ $1; }\nf \"$@\"", "", "initrd", "default\n")
	for _, g := range grammar {
		f.Add(g.script, "", "", "")
	}
	dir := f.TempDir()
	for _, name := range []string{"boot/grub", "loader/entries", "EFI/systemd"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			f.Fatal(err)
		}
	}
	for name, text := range map[string]string{"vmlinuz": "k", "boot/vmlinuz-6.1": "k", "boot/initrd-6.1": "i"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, config, env, entry, loader string) {
		for name, text := range map[string]string{"boot/grub/grub.cfg": config, "boot/grub/grubenv": env, "loader/entries/x.conf": entry,
			"loader/loader.conf": loader} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, esp := range []bool{false, true} {
			path := map[bool]string{true: `\EFI\systemd\systemd-bootx64.efi`}[esp]
			e, err := Find([]Volume{{Number: 1, Dir: dir, ESP: esp}}, path)
			if err != nil {
				continue
			}
			for _, file := range append([]File{e.Kernel}, e.Initrds...) {
				if file.Volume.Dir != dir || file.Path == "" {
					t.Errorf("%q: it starts %+v", config, file)
				}
			}
			if e.From == "" {
				t.Errorf("%q: where it is from is not said", config)
			}
		}
	})
}
