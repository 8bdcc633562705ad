package bootmenu

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run runs a script on a disk with a kernel, a ramdisk and some files, and returns the kernel's
// arguments behind BOOT_IMAGE.
func run(t *testing.T, script string, more map[string]string) (string, error) {
	t.Helper()
	have := files("boot/grub/grub.cfg", script)
	for name, text := range more {
		have[name] = text
	}
	e, err := Find([]Volume{volume(t, 2, "aaaa-bbbb", "root", have), volume(t, 3, "cccc", "data", map[string]string{"only-here": "x"})}, "")
	_, rest, _ := strings.Cut(e.CommandLine, " ")
	return rest, err
}

// TestLanguage runs scripts and looks at what reaches the kernel's command line.
func TestLanguage(t *testing.T) {
	const boot = "\nlinux /vmlinuz $r\nboot\n"
	tests := []struct{ name, script, want string }{
		{"a literal dollar", `r='$x'` + boot, "$x"},
		{"braces", `x=a; r=${x}b$x` + boot, "aba"},
		{"an unset variable is no word", `r="1${none}2" linux` + "\nr=1${none}2" + boot, "12"},
		{"an empty quoted variable is a word", `for i in "$none" a; do r=$r-$i; done` + boot, "--a"},
		{"an empty unquoted variable is none", `for i in $none a; do r=$r-$i; done` + boot, "-a"},
		{"splitting joins at the edges", `x="b c"; for i in a$x d; do r=$r$i,; done` + boot, "ab,c,d,"},
		{"quotes keep blanks", `x="b c"; for i in "a$x" d; do r="$r$i,"; done` + "\nlinux /vmlinuz \"$r\"\nboot", `"ab c,d,"`},
		{"an assignment takes the first word", `x="b c"; r=a$x` + boot, "ab"},
		{"set takes all of a quoted one", `x="b c"; set r="a$x"` + boot, "ab c"},
		{"backslash outside quotes", `r=a\ b\$c` + "\nlinux /vmlinuz \"$r\"\nboot", `"a b$c"`},
		{"backslash inside quotes", `r="a\"b\$c\d"` + boot, `a"b$c\d`},
		{"single quotes keep everything", `r='a"b\c$d'` + boot, `a"b\c$d`},
		{"a line goes on", "r=a\\\nb" + boot, "ab"},
		{"a comment needs a blank before it", "r=a#b # c" + boot, "a#b"},
		{"Windows line ends", "r=a\r\nif true; then\r\nr=${r}b\r\nfi" + boot, "ab"},

		{"else", "if false; then r=a; else r=b; fi" + boot, "b"},
		{"elif", "if false; then r=a; elif true; then r=b; else r=c; fi" + boot, "b"},
		{"nested", "if true; then if false; then r=a; else if true; then r=b; fi; fi; fi" + boot, "b"},
		{"several commands in a condition: the last decides", "if false; true; then r=a; fi" + boot, "a"},
		{"not", "if ! false; then r=a; fi" + boot, "a"},
		{"a command nobody knows is passed over", "if nonesuch a; then r=a; else r=b; fi" + boot, "a"},
		{"nobody holds a key", "if keystatus --shift; then r=a; else r=b; fi" + boot, "b"},
		{"the last command's status", "false\nr=$?\ntrue\nr=$r$?" + boot, "10"},
		{"the status of a condition that does not hold", "if false; then true; fi\nr=$?" + boot, "0"},
		{"the status of what a condition runs", "if true; then false; fi\nr=$?\nif false; then true; else false; fi\nr=$r$?" + boot, "11"},
		{"the status of not", "! false\nr=$?\n! true\nr=$r$?" + boot, "01"},
		{"the status of loops", "for i in a b; do [ $i = b ]; done\nr=$?\nfor i in; do true; done\nr=$r$?\nwhile true; do false; break; " +
			"done\nr=$r$?\nwhile false; do true; done\nr=$r$?" + boot, "0001"},
		{"unset takes one name", "x=a; y=b; unset x y; r=\"$x,$y\"" + boot, ",b"},
		{"unset without a name fails", "if unset; then r=a; else r=b; fi" + boot, "b"},
		{"while", "while [ \"$r\" != aaa ]; do r=${r}a; done" + boot, "aaa"},
		{"until", "until [ \"$r\" = aaa ]; do r=${r}a; done" + boot, "aaa"},
		{"break leaves one loop", "for i in a b c; do for j in x y; do if [ $j = y ]; then break; fi; r=$r$i$j; done; done" + boot, "axbxcx"},
		{"continue", "for i in a b c; do if [ $i = b ]; then continue; fi; r=$r$i; done" + boot, "ac"},
		{"break out of while", "while true; do r=a; break; done" + boot, "a"},

		{"a function's arguments", `function f { r="$r$1-$2-$#;"; }` + "\nf a\nf b c" + boot, "a--1;b-c-2;"},
		{"all its arguments", `function f { for i in $@; do r=$r$i,; done; }` + "\nf a b c" + boot, "a,b,c,"},
		{"a caller gets its own arguments back", "function g { r=$r$1; }\nfunction f { g in; r=$r$1; }\nf out" + boot, "inout"},
		{"a function without arguments sees none of its caller's", "function g { r=x$1; }\nfunction f { g; }\nf out" + boot, "x"},
		{"return ends the function alone", "function f { r=a; return; r=b; }\nf\nr=${r}c" + boot, "ac"},
		{"a function is defined again", "function f { r=a; }\nfunction f { r=b; }\nf" + boot, "b"},
		{"Ubuntu's way to hand the console over", "function gfxmode {\n\tset gfxpayload=\"${1}\"\n\tif [ \"${1}\" = \"keep\" ]; then\n\t\tset " +
			"vt_handoff=vt.handoff=7\n\telse\n\t\tset vt_handoff=\n\tfi\n}\n" +
			"menuentry 'Ubuntu' --class ubuntu {\n\tgfxmode keep\n\tlinux /vmlinuz ro quiet $vt_handoff\n}\n", "ro quiet vt.handoff=7"},

		{"a function's status is its last command's", "function f { r=a; false; }\nif f; then r=${r}b; else r=${r}c; fi" + boot, "ac"},
		{"a function returns a status",
			"function yes { return 0; }\nfunction no { return 1; }\nif yes; then r=y; fi\nif no; then r=${r}y; else r=${r}n; fi" + boot, "yn"},
		{"return without a number passes the last status on", "function f { false; return; }\nif f; then r=a; else r=b; fi" + boot, "b"},
		{"all arguments in quotes are a word each",
			`function f { for i in "$@"; do r="$r$i,"; done; }` + "\nf 'a b' '' c\nlinux /vmlinuz \"$r\"\nboot", `"a b,,c,"`},
		{"none in quotes are an empty word", `function f { for i in "$@"; do r=x$i; done; }` + "\nf" + boot, "x"},
		{"text around them belongs to the first and the last", `function f { for i in "<$@>"; do r=$r$i,; done; }` + "\nf a b" + boot, "<a,b>,"},
		{"quoted, $* is one word", `function f { for i in "$*"; do r="$r$i,"; done; }` + "\nf a b\nlinux /vmlinuz \"$r\"\nboot", `"a b,"`},
		{"the number of an argument ends with its digits", "function f { r=$1a-${2}b; }\nf x y" + boot, "xa-yb"},
		{"a claimed number of arguments is none", "set '#=999999999999'\nfor i in \"$@\"; do r=a; break; done" + boot, "a"},
		{"letters beyond ASCII", "r=Grüße,\"ñ→é\",'日本'" + boot, "Grüße,ñ→é,日本"},
		{"no comment where a line goes on", "r=a\nfor i in \\\n#b; do r=$r$i; done" + boot, "a#b"},
		{"a sourced file shares variables", "source /boot/more.cfg" + boot, "more"},
		{"return ends a sourced file alone", "source /boot/returns.cfg\nr=${r}2" + boot, "12"},
		{"a file that is not there fails, and no more", "source /boot/none.cfg\n. (hd7)/x\nconfigfile /none\nr=on" + boot, "on"},
		{"the folder of a file in a test", "if [ -d /boot -a -f ($root)/boot/more.cfg -a ! -e /none ]; then r=a; fi" + boot, "a"},

		{"an unset variable in front of a comparison", "if [ $none = x ]; then r=holds; fi" + boot, "holds"},
		{"terms side by side are joined by and", "if [ a \"\" ]; then r=a; else r=b; fi" + boot, "b"},
		{"not, twice", "if [ ! ! a = a -a ! a = b ]; then r=a; fi" + boot, "a"},
		{"or after and", "if [ a = b -a c = c -o d = d ]; then r=a; fi" + boot, "a"},
		{"what counts boots changes none", "decrement boot_counter\nincrement boot_indeterminate\nr=a" + boot, "a"},
		{"asking for the firmware's settings enters none",
			"fwsetup --is-supported\nif [ \"$?\" = 0 ]; then menuentry Firmware { fwsetup; }; fi\nr=a" + boot, "a"},
		{"search by UUID, as Fedora's stub does", "search --no-floppy --root-dev-only --fs-uuid --set=dev cccc\nr=$dev" + boot, "hd0,gpt3"},
		{"search by file", "search --set=there --file /only-here\nr=$there" + boot, "hd0,gpt3"},
		{"search by label", "search --no-floppy -l --set=there data\nr=$there" + boot, "hd0,gpt3"},
		{"search by UUID does not look at case", "search --fs-uuid --set=there AAAA-BBBB\nr=$there" + boot, "hd0,gpt2"},
		{"a search that finds nothing fails and sets nothing", "there=old\nif search --label --set=there gone; then r=a; fi\nr=$r$there" + boot,
			"old"},
		{"a search without --set sets nothing", "if search --fs-uuid cccc; then r=found; fi" + boot, "found"},
		{"a hint is not what is searched for", "search --set=there --hint hd0,gpt9 --hint-efi=hd0,gpt9 --label data\nr=$there" + boot,
			"hd0,gpt3"},
		{"search.fs_label with a variable and a hint", "search.fs_label data there hd0,gpt9\nr=$there" + boot, "hd0,gpt3"},

		{"the default is a number", "default=1\nmenuentry A { linux /vmlinuz a; }\nmenuentry B { linux /vmlinuz b; }", "b"},
		{"the default is an id", "default=two\nmenuentry A --id one { linux /vmlinuz a; }\nmenuentry B --id=two { linux /vmlinuz b; }", "b"},
		{"the default is in a submenu, by number", "default='1>1'\nmenuentry A { linux /vmlinuz a; }\nsubmenu S { menuentry B { linux /vmlinuz " +
			"b; }\nmenuentry C { linux /vmlinuz c; }\n}", "c"},
		{"a number counts before a title and an id",
			"default=1\nmenuentry 1 { linux /vmlinuz a; }\nmenuentry B { linux /vmlinuz b; }\nmenuentry C --id 1 { linux /vmlinuz c; }", "b"},
		{"an id that begins with digits", "default=1f-6.1\nmenuentry A { linux /vmlinuz a; }\nmenuentry B { linux /vmlinuz b; }\nmenuentry C " +
			"--id 1f-6.1 { linux /vmlinuz c; }", "c"},
		{"a number with text behind it", "default='1 x'\nmenuentry A { linux /vmlinuz a; }\nmenuentry B { linux /vmlinuz b; }", "b"},
		{"numbers in other forms", "default=0x1\nmenuentry A { linux /vmlinuz a; }\nmenuentry B { linux /vmlinuz b; }", "b"},
		{"a title with the sign of submenus", "default='B>>C'\nmenuentry A { linux /vmlinuz a; }\nmenuentry 'B>C' { linux /vmlinuz b; }", "b"},
		{"the sign of submenus alone is no title", "default='B>C'\nmenuentry A { linux /vmlinuz a; }\nmenuentry 'B>C' { linux /vmlinuz b; }",
			"a"},
		{"in a submenu what is not there is its first", "default='S>gone'\nmenuentry A { linux /vmlinuz a; }\nsubmenu S { menuentry B { linux " +
			"/vmlinuz b; }\nmenuentry C { linux /vmlinuz c; }\n}", "b"},
		{"what is not there has no submenu",
			"default='gone>1'\nmenuentry A { linux /vmlinuz a; }\nsubmenu S { menuentry B { linux /vmlinuz b; }\n}", "a"},
		{"a number beyond the menu is the first", "default=9\nmenuentry A { linux /vmlinuz a; }\nmenuentry B { linux /vmlinuz b; }", "a"},
		{"the number after the last is the first", "default=2\nmenuentry A { linux /vmlinuz a; }\nmenuentry B { linux /vmlinuz b; }", "a"},
		{"a negative number is the first", "default=-1\nmenuentry A { linux /vmlinuz a; }\nmenuentry B { linux /vmlinuz b; }", "a"},
		{"a submenu as the default starts its first",
			"default=S\nmenuentry A { linux /vmlinuz a; }\nsubmenu S { menuentry B { linux /vmlinuz b; }\n}", "b"},
		{"options of an entry are not its title",
			"default=T\nmenuentry --class x --users root --hotkey q --unrestricted T { linux /vmlinuz t; }\nmenuentry B { linux /vmlinuz b; }", "t"},
		{"a title right before its brace", "menuentry 'A'{ linux /vmlinuz a; }", "a"},
		{"a brace that ends a command", "menuentry A { linux /vmlinuz a }", "a"},
		{"an entry's own conditions", "menuentry A {\nif [ \"$grub_platform\" = pc -a \"$grub_cpu\" = i386 ]; then\nlinux /vmlinuz " +
			"bios\nelse\nlinux /vmlinuz uefi\nfi\n}", "bios"},
		{"the last kernel of an entry", "menuentry A { linux /vmlinuz a; linux /vmlinuz b; }", "b"},
		{"a kernel before the menu is not the entry's", "linux /vmlinuz before\nmenuentry A { linux /vmlinuz a; }", "a"},
		{"boot ends an entry", "menuentry A { linux /vmlinuz a; boot; linux /vmlinuz b; }", "a"},
		{"return ends an entry", "menuentry A { linux /vmlinuz a; return; linux /vmlinuz b; }", "a"},
		{"a configfile's menu is the menu", "configfile /boot/menu.cfg\nmenuentry Z { linux /vmlinuz z; }\nconfigfile /boot/other.cfg", "menu"},
		{"a configfile without a menu goes on", "menuentry A { linux /vmlinuz $r; }\nconfigfile /boot/more.cfg", "more"},
		{"normal is a configfile too", "normal ($root)/boot/menu.cfg\nlinux /vmlinuz z\nboot", "menu"},
	}
	more := map[string]string{
		"boot/more.cfg": "r=more", "boot/returns.cfg": "r=1\nreturn\nr=never", "boot/menu.cfg": "menuentry M { linux /vmlinuz menu; }",
		"boot/other.cfg": "menuentry O { linux /vmlinuz other; }",
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := run(t, tt.script, more)
			if err != nil || got != tt.want {
				t.Errorf("%s\ngives %q, %v; want %q", tt.script, got, err, tt.want)
			}
		})
	}
}

// What is not understood is said; nothing is started on a guess.
func TestNotUnderstood(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"a pipe", "echo a | b", `'|' outside of quotes`},
		{"and", "true && linux /vmlinuz", `'&' outside of quotes`},
		{"brackets in a test", "if [ ( a = b ) ]; then linux /vmlinuz; boot; fi", `its test "( a = b )" is not understood`},
		{"a comparison GRUB has and this reader has not", "if [ /vmlinuz -nt /boot/initrd-6.1 ]; then linux /vmlinuz; boot; fi",
			`-nt /boot/initrd-6.1" is not understood`},
		{"a variable from a pattern", "regexp --set=x '(.*)' abc\nlinux /vmlinuz $x\nboot", `its command "regexp" is not understood`},
		{"a variable from a device", "probe --set=x --fs-uuid ($root)\nlinux /vmlinuz root=UUID=$x\nboot",
			`its command "probe" is not understood`},
		{"text as a command", "eval \"linux /vmlinuz\"\nboot", `its command "eval" is not understood`},
		{"a pattern of files", "for k in /boot/vmlinuz-*; do linux $k; done\nboot",
			`its pattern of file names "/boot/vmlinuz-*" is not understood`},
		{"a pattern of devices", "for d in (hd?,gpt2)/boot; do true; done\nlinux /vmlinuz\nboot",
			`its pattern of file names "(hd?,gpt2)/boot" is not understood`},
		{"a pattern out of a variable", "x='/b*'\nsource $x/more.cfg\nlinux /vmlinuz\nboot",
			`its pattern of file names "/b*/more.cfg" is not understood`},
		{"no boot and no menu", "linux /vmlinuz a", "has no command that boots it"},
		{"boot without a kernel", "boot", "it has no menu entries"},
		{"leaves for the firmware", "if true; then exit; fi\nlinux /vmlinuz\nboot", `it does not boot: its command is "exit"`},
		{"switches off", "menuentry Off { halt; }", `it does not boot: its command is "halt"`},
		{"another system after Linux", "menuentry A { linux /vmlinuz; chainloader +1; }", `its entry "A" starts no Linux kernel`},
		{"a submenu with nothing in it", "submenu S { true; }", "it has no menu entries"},
		{"break outside a loop", "break\nlinux /vmlinuz\nboot", "break, in no loop"},
		{"a device of another kind", "linux (lvm/vg-root)/vmlinuz\nboot", `its device "lvm/vg-root" is none of this disk's`},
		{"a device that is not closed", "linux (hd0,gpt2/vmlinuz\nboot", `names no file`},
		{"a ramdisk elsewhere", "linux /vmlinuz\ninitrd (hd1,gpt1)/initrd\nboot", `its device "hd1,gpt1"`},
		{"a ramdisk that is a folder", "linux /vmlinuz\ninitrd /boot\nboot", "is no file with anything in it"},
		{"an empty kernel", "linux /empty\nboot", "is no file with anything in it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := run(t, tt.script, map[string]string{"empty": ""})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s\ngives %q, %v; want the error %q", tt.script, got, err, tt.want)
			}
		})
	}
}

// grammar are scripts and whether GRUB's own parser takes them (grub-script-check 2.06).
var grammar = []struct {
	script string
	ok     bool
}{
	{"true", true}, {"! true", true}, {"\"if\" a", true}, {"echo if then fi", true}, {"echo {a}", true}, {"a # b\nc", true},
	{"if a\nthen b\nfi", true}, {"while a; do\nb\ndone; c", true}, {"until a; do b; done", true}, {"for i in a b; do c; done", true},
	{"menuentry 'x'{ true; }", true}, {"menuentry x { linux /x }", true}, {"menuentry x {\ntrue\n}", true},
	{"menuentry a --id b { c; } ; d", true},
	{"submenu x { menuentry y { z; } }", true}, {"function f { a; }", true}, {"echo 'a\nb'", true}, {"linux /a;initrd /b", true},
	{"echo \"a\\\"b\"", true}, {"if a; then b; elif c; then d; elif e; then f; else g; fi", true},
	{"while a; do if b; then c; fi; done", true},

	{"a && b", false}, {"a || b", false}, {"a | b", false}, {"a & b", false}, {"while ; do done", false}, {"while true; do done", false},
	{"for i in a b; do done", false},
	{"menuentry x { }", false}, {"function f { }", false}, {"if true; then fi", false}, {"if true; then a; else fi", false},
	{"if ; then a; fi", false},
	{"fi", false}, {"done", false}, {"}", false}, {"echo }", false}, {"a; }", false}, {"true }", false}, {"if a; then b", false},
	{"while a; do b", false},
	{"menuentry x { a", false}, {"echo 'a", false}, {"echo \"a", false}, {"if a; b; fi", false}, {"if a; then b; done", false},
	{"for i in a; b; done", false},
	{"if a; then b; else c; else d; fi", false}, {"function f { a; fi", false},
}

func TestGrammar(t *testing.T) {
	for _, g := range grammar {
		if _, err := parse(g.script); (err == nil) != g.ok {
			t.Errorf("%q: %v; GRUB takes it: %v", g.script, err, g.ok)
		}
	}
}

// The table above is what GRUB says, where GRUB is installed.
func TestGrammarIsGRUBs(t *testing.T) {
	check, err := exec.LookPath("grub-script-check")
	if err != nil {
		t.Fatal("grub-script-check is needed: apt-get install grub-common")
	}
	dir := t.TempDir()
	for _, g := range grammar {
		name := filepath.Join(dir, "grub.cfg")
		if err := os.WriteFile(name, []byte(g.script+"\ntrue\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		err := exec.CommandContext(t.Context(), check, name).Run()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if (err == nil) != g.ok {
			t.Errorf("%q: GRUB says %v", g.script, err)
		}
	}
}

// What the distribution's own grub-mkconfig writes is understood, with an entry as its scripts make it.
func TestRealMenu(t *testing.T) {
	// In a container it fails after the menu's head, as there is no disk to ask about.
	out, err := exec.CommandContext(t.Context(), "grub-mkconfig").Output()
	head, _, _ := strings.Cut(string(out), "\nmenuentry ") // without the kernels of the machine that runs the test
	if !strings.Contains(head, "load_env") {
		t.Fatalf("grub-mkconfig is needed (apt-get install grub-common) and makes no menu here: %v", err)
	}
	const entry = "\nmenuentry 'Debian' --class debian $menuentry_id_option 'gnulinux-simple' {\n\tload_video\n\tinsmod gzio\n\tif [ " +
		"x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi\n\tlinux\t/vmlinuz root=UUID=aaaa ro " +
		"quiet\n\tinitrd\t/boot/initrd-6.1\n}\n"
	for _, loader := range []string{"", `\EFI\debian\shimx64.efi`} {
		e, err := Find([]Volume{volume(t, 2, "aaaa", "root", files("boot/grub/grub.cfg", head+entry))}, loader)
		if err != nil {
			t.Errorf("loader %q: %v", loader, err)
			continue
		}
		if want := "Debian|/vmlinuz+/boot/initrd-6.1|BOOT_IMAGE=/vmlinuz root=UUID=aaaa ro quiet"; text(e) != want {
			t.Errorf("loader %q: %s, want %s", loader, text(e), want)
		}
	}
}
