package bootmenu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// volume is a mounted file system made of files; a text that begins with "->" is a link.
func volume(t *testing.T, number int, uuid, label string, files map[string]string) Volume {
	t.Helper()
	v := Volume{Number: number, Dir: t.TempDir(), UUID: uuid, Label: label}
	for name, text := range files {
		at := filepath.Join(v.Dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(to, at)
		} else {
			err = os.WriteFile(at, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// files adds a kernel and a ramdisk to a configuration.
func files(config, text string) map[string]string {
	return map[string]string{config: text, "vmlinuz": "->/boot/vmlinuz-6.1", "boot/vmlinuz-6.1": "kernel", "boot/initrd-6.1": "initrd",
		"boot/vmlinuz-5.10": "old"}
}

// text is an entry as one line.
func text(e Entry) string {
	out := e.Title + "|" + e.Kernel.Path
	for _, i := range e.Initrds {
		out += "+" + i.Path
	}
	return out + "|" + e.CommandLine
}

// debianMenu has what grub-mkconfig writes on Debian 12, shortened.
const debianMenu = `
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="0"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
    save_env saved_entry
  fi
}
function load_video {
  if [ x$feature_all_video_module = xy ]; then
    insmod all_video
  else
    insmod efi_gop
  fi
}
if loadfont unicode ; then
  set gfxmode=auto
  load_video
fi
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'gnulinux-simple-aaaa' {
	load_video
	insmod part_gpt
	set root='hd0,gpt9'
	if [ x$feature_platform_search_hint = xy ]; then
	  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2 --hint-efi=hd0,gpt2  aaaa-bbbb
	else
	  search --no-floppy --fs-uuid --set=root aaaa-bbbb
	fi
	echo	'Loading Linux 6.1 ...'
	linux	/boot/vmlinuz-6.1 root=UUID=aaaa-bbbb ro  console=ttyS0,115200n8 quiet
	initrd	/boot/initrd-6.1
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-aaaa' {
	menuentry 'Debian GNU/Linux, with Linux 5.10' --class debian $menuentry_id_option 'gnulinux-5.10' {
		search --no-floppy --fs-uuid --set=root aaaa-bbbb
		linux	/boot/vmlinuz-5.10 root=UUID=aaaa-bbbb ro single
	}
}
if [ "$grub_platform" = "efi" ]; then
menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
	fwsetup
}
fi
`

func TestFind(t *testing.T) {
	const debian = "Debian GNU/Linux|/boot/vmlinuz-6.1+/boot/initrd-6.1|BOOT_IMAGE=/boot/vmlinuz-6.1 root=UUID=aaaa-bbbb ro " +
		"console=ttyS0,115200n8 quiet"
	bls := map[string]string{
		"loader/entries/m-6.1.9.conf": "title Fedora 6.1.9\nversion 6.1.9\nlinux /vmlinuz\ninitrd /boot/initrd-6.1\noptions root=LABEL=r " +
			"$kernelopts\n",
		"loader/entries/m-6.1.10.conf": "# newest\ntitle Fedora 6.1.10\nversion 6.1.10\nlinux /vmlinuz\noptions root=LABEL=r\noptions quiet " +
			"$kernelopts\n",
		"vmlinuz": "kernel", "boot/initrd-6.1": "initrd",
	}
	with := func(m map[string]string, more ...string) map[string]string {
		out := map[string]string{}
		for k, v := range m {
			out[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	tests := []struct {
		name   string
		esp    map[string]string
		root   map[string]string
		loader string
		want   string
	}{
		{"Debian's menu", nil, files("boot/grub/grub.cfg", debianMenu), "", debian},
		{"through the stub beside the UEFI loader",
			map[string]string{"EFI/debian/grub.cfg": "search.fs_uuid AAAA-bbbb root hd0,gpt2\nset prefix=($root)'/boot/grub'\nconfigfile " +
				"$prefix/grub.cfg\n"},
			files("boot/grub/grub.cfg", debianMenu), `\EFI\debian\shimx64.efi`, debian},
		{"the next entry of the environment", nil, with(files("boot/grub/grub.cfg", debianMenu), "boot/grub/grubenv",
			"# GRUB Environment Block\nnext_entry=gnulinux-advanced-aaaa>gnulinux-5.10\n####"), "",
			"Debian GNU/Linux, with Linux 5.10|/boot/vmlinuz-5.10|BOOT_IMAGE=/boot/vmlinuz-5.10 root=UUID=aaaa-bbbb ro single"},
		{"no menu, boot", map[string]string{"grub/grub.cfg": "if serial --unit=0; then\n terminal_output serial\nfi\nlinux ($root)/vmlinuz " +
			"console=ttyS0 \\\n quiet\ninitrd ($root)/initramfs ($root)/more\nboot\nlinux /never", "vmlinuz": "k", "initramfs": "i", "more": "m"},
			nil, "",
			"|/vmlinuz+/initramfs+/more|BOOT_IMAGE=($root)/vmlinuz console=ttyS0 quiet"},
		{"from the ESP to the root by label",
			map[string]string{"grub/grub.cfg": "search --no-floppy --set=root --label root\nconfigfile ($root)/boot/grub/grub.cfg\n"},
			files("boot/grub/grub.cfg", "linux /vmlinuz root=LABEL=root ro\ninitrd /boot/initrd-6.1\nboot\n"),
			"", "|/vmlinuz+/boot/initrd-6.1|BOOT_IMAGE=/vmlinuz root=LABEL=root ro"},
		{"a default by title, unknown is the first", nil,
			files("boot/grub2/grub.cfg",
				"set default=gone\nmenuentry \"A $x 'q'\" { linux /vmlinuz a=\"b c\" ; }\nmenuentry B { linux /boot/vmlinuz-5.10; }\n"), "",
			"A  'q'|/vmlinuz|BOOT_IMAGE=/vmlinuz \"a=b c\""},
		{"loops, for and until", nil, files("grub/grub.cfg", "set x=\nfor i in a b; do set x=$x$i; done\nuntil [ $x = abc -o ! -n \"$x\" ]; do "+
			"x=abc; done\nwhile false; do true; done\nlinux /vmlinuz $x\nboot"), "", "|/vmlinuz|BOOT_IMAGE=/vmlinuz abc"},
		{"blscfg, the newest first", nil, with(bls, "grub2/grub.cfg", "set kernelopts=\"ro x\"\nblscfg\n"),
			"", "Fedora 6.1.10|/vmlinuz|root=LABEL=r quiet ro x"},
		{"blscfg, the saved entry", nil, with(bls, "grub2/grub.cfg", "load_env\nset default=\"${saved_entry}\"\nblscfg\n", "grub2/grubenv",
			"saved_entry=m-6.1.9\nkernelopts=ro\n"), "",
			"Fedora 6.1.9|/vmlinuz+/boot/initrd-6.1|root=LABEL=r ro"},
		{"systemd-boot", with(bls, "EFI/systemd/systemd-bootx64.efi", "MZ", "loader/loader.conf", "timeout 3\ndefault m-6.1.9*\n"), nil,
			`\EFI\systemd\systemd-bootx64.efi`,
			"Fedora 6.1.9|/vmlinuz+/boot/initrd-6.1|root=LABEL=r $kernelopts"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			esp := volume(t, 1, "1234-ABCD", "ESP", tt.esp)
			esp.ESP = true
			e, err := Find([]Volume{volume(t, 2, "aaaa-bbbb", "root", tt.root), esp}, tt.loader)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(tt.want, "($root)", "(hd0,gpt1)")
			if got := text(e); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// What cannot be followed to a kernel is an error, never a guess and never a hang.
func TestRefusals(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"waits for ever", "while true; do sleep 3600; done", "it runs without end"},
		{"calls itself", "function f {\n f\n}\nf", "it calls itself without end"},
		{"sources itself", "source /boot/grub/grub.cfg", "it calls itself without end"},
		{"grows", "x=0123456789\nwhile true; do x=$x$x$x$x$x$x$x$x; done", "a command's text grows without end"},
		{"no kernel there", "menuentry X { linux /boot/none; }", `it starts "X" of partition 2: open /boot/none: no such file or directory`},
		{"Windows", "menuentry Windows { chainloader +1; }", `its entry "Windows" starts no Linux kernel`},
		{"nothing", "set x=y", "it has no menu entries"},
		{"another disk", "set root=hd1,gpt1\nlinux /vmlinuz\nboot", `its device "hd1,gpt1" is none of this disk's file systems`},
		{"open quote", "echo 'x", "a quote is not closed"},
		{"open block", "menuentry x {\n true", "the script ends inside a block"},
		{"a stray end", "true\nfi", `"fi" stands where no block was begun`},
		{"deep", strings.Repeat("if true; then ", 100), "nested too deep"},
		{"newc", "linux /vmlinuz\ninitrd newc:a:/boot/initrd-6.1\nboot", "which is not understood"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Find([]Volume{volume(t, 2, "", "", files("boot/grub/grub.cfg", tt.config))}, "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	_, err := Find([]Volume{volume(t, 1, "", "", map[string]string{"x": "y"})}, "")
	if err == nil || err.Error() != "no GRUB configuration and no boot loader entries were found on the disk's partitions" {
		t.Errorf("an empty disk: %v", err)
	}
}

func TestTest(t *testing.T) {
	g := &grub{budget: &budget{left: maxText}, volumes: []Volume{volume(t, 1, "", "", map[string]string{"a/b": "x", "empty": ""})},
		vars: map[string]string{"root": "hd0,msdos1"}}
	for line, want := range map[string]bool{
		"": true, "x": true, "! x": false, "!": true, "x !": true, "! !": true, "! x !": false, "a = a": true, "a != a": false,
		"a = b -o c = c": true, "a = a -a b = c": false, "2 -lt 10": true, "2 -ge 10": false,
		"-d /a": true, "-f /a": false, "-f /a/b": true, "-s /empty": false, "-e /empty": true, "! -e /none": true, "-n x -a ! -n y": false,
		"-z x": false, "-z": true, "a <= a": true, "b <= a": false, "a >= b": false, "b >= a": true, "a < b": true, "b > a": true, "a > a": false,
		// Numbers are read as far as they are ones, also octal and hexadecimal ones.
		"2 -eq 2x": true, "x -eq 0": true, "010 -eq 8": true, "08 -eq 8": true, "0x10 -eq 16": true, "0X10 -eq 0": true, "-1 -lt 0": true,
		"+4 -ne 4":    true,
		"-0x2 -le -2": true, "3 -gt 2": true, "2 -gt 3": false, "3 -le 2": false, "2 -ne 2": false,
	} {
		if got, err := g.test(append(strings.Fields(line), "]")); got != want || err != nil {
			t.Errorf("[ %s ] is %v, %v", line, got, err)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	for _, p := range [][2]string{{"6.1.9", "6.1.10"}, {"5.10", "6.1"}, {"6.1", "6.1-1"}, {"a", "b"}, {"", "1"}, {"1.009", "1.10"}} {
		if compareVersions(p[0], p[1]) >= 0 || compareVersions(p[1], p[0]) <= 0 || compareVersions(p[0], p[0]) != 0 {
			t.Errorf("%s does not come before %s", p[0], p[1])
		}
	}
}

// No script makes the reader crash or hang.
func FuzzGRUB(f *testing.F) {
	for _, s := range []string{debianMenu, "if a; then b; else c; fi", "! ", "menuentry", "for", "${", "$", "\\", "set", "[", "test ! ]",
		"submenu x { menuentry y { linux /vmlinuz; }; }", "function { }"} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, s string) {
		if err := os.WriteFile(filepath.Join(dir, "grub.cfg"), []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		e, err := runGRUB(&budget{left: maxText}, []Volume{{Number: 1, Dir: dir}}, Volume{Number: 1, Dir: dir}, "/grub.cfg", true)
		if err == nil && e.Kernel.Path == "" && e.CommandLine == "" && e.Title == "" && e.From != "" {
			t.Errorf("%q gives %+v", s, e)
		}
	})
}
