package boot

import (
	"strings"
	"testing"
)

// Whatever the parameters, a script has the lines of this program, and in iPXE's kernel command nothing but its own end ends
// it. What GRUB's shell makes of its words, and then of each when it writes the command line, is the line that was asked for.
func FuzzCommandLine(f *testing.F) {
	for _, line := range []string{
		"a b", "; reboot", "|| goto x", "#c", "${x}", "a\nkernel b", `"a=b c" d`, `a=\`, "'", "-", "a\rb", "initrd=x", "é", "$(x) `y`", "a\tb",
	} {
		f.Add(line)
	}
	plainLines := map[string]int{}
	texts := func(line string) map[string]string {
		r := goldenRecord
		r.CommandLine = line
		return map[string]string{"ipxe": IPXEScript("http://b", goldenMAC, &r), "pxelinux": PXELinuxConfig(&r), "grub": GRUBConfig(goldenMAC, &r)}
	}
	for loader, text := range texts("quiet") {
		plainLines[loader] = strings.Count(text, "\n")
	}
	f.Fuzz(func(t *testing.T, line string) {
		for loader, text := range texts(line) {
			said := !strings.Contains(text, "cannot be written")
			if n := strings.Count(text, "\n"); said && n != plainLines[loader] || strings.ContainsRune(text, '\r') {
				t.Errorf("%s: %q makes %d lines instead of %d:\n%s", loader, line, n, plainLines[loader], text)
			}
			if loader == "ipxe" && said {
				checkIPXE(t, line, text)
			}
		}
		asked, err := CommandLine(PXE, line)
		if err != nil {
			return
		}
		if text, err := grubLine(asked); err != nil || grubReads(string(text)) != asked {
			t.Errorf("GRUB makes %q of %q, from %s (%v)", grubReads(string(text)), asked, text, err)
		}
	})
}

func checkIPXE(t *testing.T, line, text string) {
	words := strings.Fields(strings.Split(text, "\n")[5])
	own := len(words) - 3 // || goto failed
	for i, w := range words[:own] {
		if w == ";" || w == "&&" || w == "||" || w[0] == '#' || strings.Contains(strings.TrimPrefix(w, ipxeNothing), "${") {
			t.Errorf("%q: word %d of the kernel command is %q", line, i, w)
		}
	}
}

// grubReads is what a kernel gets of words of GRUB's shell that are bare or between single quotes.
func grubReads(text string) string {
	var args []string
	for text != "" {
		word, rest, _ := strings.Cut(text, " ")
		if inside, quoted := strings.CutPrefix(text, "'"); quoted {
			word, rest, _ = strings.Cut(inside, "'")
			rest = strings.TrimPrefix(rest, " ")
		} else if strings.ContainsAny(word, "$;{}\"'\\#&|<>()*?[]~!`") {
			return "a bare word with more than text: " + word
		}
		text = rest
		word = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`).Replace(word)
		if strings.Contains(word, " ") {
			word = `"` + word + `"`
		}
		args = append(args, word)
	}
	return strings.Join(args, " ")
}
