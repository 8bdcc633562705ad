package bootmenu

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/agent/inroot"
)

// command runs one simple command; false is its failure, an error ends the run.
func (g *grub) command(w []string) (bool, error) {
	if body, ok := g.funcs[w[0]]; ok {
		return g.function(body, w[1:])
	}
	switch args := w[1:]; w[0] {
	case "set":
		for _, a := range args {
			g.assign(a)
		}
		return true, nil
	case "unset":
		if len(args) == 0 {
			return false, nil
		}
		delete(g.vars, args[0]) // more are passed over
		return true, nil
	case "[", "test":
		return g.test(args)
	case "false", "loopback", "cryptomount", "keystatus":
		return false, nil // there is nothing of the kind on this disk's own file systems, and nobody holds a key
	case "chainloader", "chainloader_efi", "multiboot", "multiboot2":
		g.loaded = nil // what it loads takes the kernel's place
		return false, nil
	case "search", "search.fs_uuid", "search.fs_label", "search.file":
		return g.search(w[0], args), nil
	case "load_env":
		return g.loadEnv(args), nil
	case "linux", "linux16", "linuxefi":
		return g.linux(args)
	case "initrd", "initrd16", "initrdefi":
		return g.initrd(args)
	case "exit", "halt", "reboot", "fwsetup":
		if len(args) > 0 && args[0] == "--is-supported" { // only asks, for an entry at the menu's end
			return false, nil
		}
		return false, fmt.Errorf("it does not boot: its command is %q", w[0])
	case "return": // without a number, what the last command came to
		status := g.vars["?"]
		if len(args) > 0 {
			status = args[0]
		}
		return leadingNumber(status) == 0, errReturn
	case "break":
		return true, errBreak
	case "continue":
		return true, errContinue
	case "boot":
		if g.loaded == nil {
			return false, nil
		}
		return true, errBoot
	}
	return g.another(w)
}

// another are the commands that run more of the configuration, and all that change nothing here.
func (g *grub) another(w []string) (bool, error) {
	switch w[0] {
	case "source", ".", "configfile", "extract_entries_configfile":
		if len(w) != 2 {
			return false, nil
		}
		if w[0] == "configfile" {
			return g.configfile(w[1])
		}
		return g.sourceIfThere(w[1])
	case "normal":
		if len(w) == 2 {
			return g.another([]string{"configfile", w[1]})
		}
		return g.another([]string{"configfile", g.vars["prefix"] + "/grub.cfg"})
	case "blscfg":
		return true, g.blscfg()
	}
	if strange[w[0]] {
		return false, fmt.Errorf("its command %q is not understood", w[0])
	}
	if name, _, ok := strings.Cut(w[0], "="); ok && name != "" { // more words, out of a variable, are lost
		g.assign(w[0])
		return true, nil
	}
	return true, nil // as one that GRUB does not know, and what only shows something or sets up a device
}

// strange are commands whose outcome decides what is booted, and is not known here.
var strange = map[string]bool{
	"eval": true, "regexp": true, "probe": true, "smbios": true, "read": true, "setparams": true, "shift": true,
	"-nt": true, "-ot": true, "-pgt": true, "-plt": true, // comparisons of a test
	"devicetree": true, "lvm": true, "parttool": true, "initrd_update": true, "xen_hypervisor": true, "xen_module": true, "kernel": true,
}

func (g *grub) assign(text string) {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return
	}
	if name == "root" || name == "prefix" && !strings.HasPrefix(value, "(") {
		value = strings.Trim(value, "()")
	}
	g.vars[name] = value
}

// test is [ … ]: "!" binds closest, then -a, then -o. Terms side by side count as joined by -a, as in
// GRUB: [ $none = x ] with an unset variable holds there.
func (g *grub) test(args []string) (bool, error) {
	if n := len(args); n > 0 && args[n-1] == "]" {
		args = args[:n-1]
	}
	result, all, negated := false, true, false
	for at := 0; at < len(args); {
		switch args[at] {
		case "(", ")":
			return false, fmt.Errorf("its test %q is not understood", strings.Join(args, " "))
		}
		ok, used := g.condition(args[at:])
		if used == 0 {
			switch args[at] {
			case "-o":
				result, all = result || all, true
			case "!":
				negated = !negated
			}
			at++
			continue
		}
		if len(args) > at+2 && strange[args[at+1]] {
			return false, fmt.Errorf("its test %q is not understood", strings.Join(args, " "))
		}
		all, negated = all && ok != negated, false
		at += used
	}
	return result || all, nil
}

// condition is one comparison and how many words it has; 0 is none, but a word that joins.
func (g *grub) condition(a []string) (ok bool, used int) {
	if len(a) >= 3 {
		if result, known := compare(a[0], a[1], a[2]); known {
			return result, 3
		}
	}
	if len(a) >= 2 {
		switch a[0] {
		case "-n":
			return a[1] != "", 2
		case "-z":
			return a[1] == "", 2
		case "-e", "-f", "-s", "-d":
			return g.exists(a[0], a[1]), 2
		}
	}
	switch a[0] {
	case "-a", "-o", "!":
		return false, 0
	}
	return a[0] != "", 1
}

func (g *grub) exists(kind, name string) bool {
	v, file, err := g.locate(name)
	if err != nil {
		return false
	}
	info, err := inroot.Stat(v.Dir, file)
	if err != nil {
		return false
	}
	switch kind {
	case "-d":
		return info.IsDir()
	case "-f":
		return info.Mode().IsRegular()
	case "-s":
		return info.Size() > 0
	}
	return true
}

func compare(a, op, b string) (result, known bool) {
	x, y := leadingNumber(a), leadingNumber(b)
	switch op {
	case "=", "==":
		return a == b, true
	case "!=":
		return a != b, true
	case "<":
		return a < b, true
	case "<=":
		return a <= b, true
	case ">":
		return a > b, true
	case ">=":
		return a >= b, true
	case "-eq":
		return x == y, true
	case "-ne":
		return x != y, true
	case "-lt":
		return x < y, true
	case "-le":
		return x <= y, true
	case "-gt":
		return x > y, true
	case "-ge":
		return x >= y, true
	}
	return false, false
}

// search looks for a file system by UUID, label or a file on it, and sets a variable to its device.
func (g *grub) search(name string, args []string) bool {
	by, variable, want := strings.TrimPrefix(name, "search."), "", ""
	for i := 0; i < len(args); i++ {
		option, value, inline := strings.Cut(args[i], "=")
		switch option {
		case "--fs-uuid", "-u":
			by = "fs_uuid"
		case "--label", "--fs-label", "-l":
			by = "fs_label"
		case "--file", "-f":
			by = "file"
		case "--set", "-s":
			variable = cmp.Or(value, "root")
		case "--no-floppy", "-n", "--efidisk-only":
		case "--hint", "--hint-bios", "--hint-efi", "--hint-baremetal", "--hint-ieee1275", "--hint-arc":
			if !inline {
				i++
			}
		default:
			if strings.HasPrefix(option, "-") {
				continue // such as --root-dev-only: which of several file systems is preferred
			}
			if want == "" {
				want = args[i]
			} else if name != "search" && i == 1 { // search.fs_uuid UUID VARIABLE HINT
				variable = args[i]
			}
		}
	}
	for _, v := range g.volumes {
		if want != "" && found(v, by, want) {
			if variable != "" { // without, it prints what it found
				g.vars[variable] = fmt.Sprintf("hd0,gpt%d", v.Number)
			}
			return true
		}
	}
	return false
}

func found(v Volume, by, want string) bool {
	switch by {
	case "fs_uuid":
		return v.UUID != "" && strings.EqualFold(v.UUID, want)
	case "fs_label":
		return v.Label == want
	}
	_, err := inroot.Stat(v.Dir, want)
	return err == nil
}

// loadEnv reads an environment block: a header line, then name=value lines, then padding.
func (g *grub) loadEnv(args []string) bool {
	name := g.vars["prefix"] + "/grubenv"
	var only []string
	for i := 0; i < len(args); i++ {
		switch option, value, inline := strings.Cut(args[i], "="); {
		case (option == "--file" || option == "-f") && inline:
			name = value
		case (option == "--file" || option == "-f") && i+1 < len(args):
			i++
			name = args[i]
		case strings.HasPrefix(option, "-"):
		default:
			only = append(only, args[i])
		}
	}
	v, file, err := g.locate(name)
	if err != nil {
		return false
	}
	text, err := g.budget.read(v, file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if ok && !strings.HasPrefix(line, "#") && (only == nil || contains(only, key)) {
			g.vars[key] = value
		}
	}
	return true
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func (g *grub) linux(args []string) (bool, error) {
	if len(args) == 0 {
		return false, nil
	}
	v, file, err := g.locate(args[0])
	if err != nil {
		return false, err
	}
	// GRUB tells the kernel, and so the system, where it was read from.
	line := append([]string{"BOOT_IMAGE=" + args[0]}, args[1:]...)
	g.loaded = &Entry{Title: g.vars["chosen"], Kernel: File{v, file}, CommandLine: strings.Join(quoted(line), " ")}
	return true, nil
}

// quoted puts words with blanks into the quotes that the kernel understands.
func quoted(words []string) []string {
	for i, w := range words {
		if strings.ContainsAny(w, " \t") && !strings.Contains(w, `"`) {
			words[i] = `"` + w + `"`
		}
	}
	return words
}

func (g *grub) initrd(args []string) (bool, error) {
	if g.loaded == nil {
		return false, nil
	}
	g.loaded.Initrds = nil
	for _, a := range args {
		if strings.HasPrefix(a, "--") || strings.HasPrefix(a, "newc:") {
			return false, fmt.Errorf("its initrd command has %q, which is not understood", a)
		}
		v, file, err := g.locate(a)
		if err != nil {
			return false, err
		}
		g.loaded.Initrds = append(g.loaded.Initrds, File{v, file})
	}
	return true, nil
}

// leadingNumber reads the number that s begins with, as GRUB does: hexadecimal behind 0x, octal behind 0 and
// an octal digit. A text that begins with none is 0.
func leadingNumber(s string) int64 {
	digits, negative := strings.CutPrefix(strings.TrimLeft(s, " \t\n\v\f\r"), "-")
	base, allowed := 10, "0123456789"
	if rest, hex := strings.CutPrefix(digits, "0x"); hex {
		digits, base, allowed = rest, 16, "0123456789abcdefABCDEF"
	} else if len(digits) > 1 && digits[0] == '0' && '0' <= digits[1] && digits[1] <= '7' {
		base, allowed = 8, "01234567"
	}
	n, _ := strconv.ParseInt(digits[:len(digits)-len(strings.TrimLeft(digits, allowed))], base, 64)
	if negative {
		n = -n
	}
	return n
}
