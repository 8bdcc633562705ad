package boot

import (
	"fmt"
	"slices"
	"strings"
)

// Each loader reads a language of its own, and what a user gives must stay text in all of them. A value of one of these
// types is text of that language already: constants of this program are, all else is made by the functions below. So a
// raw string cannot get into a script by mistake: it does not compile.
type (
	ipxeText     string
	pxelinuxText string
	grubText     string
)

// script fills a template of a language with text of the same language.
func script[T ~string](template T, parts ...T) string {
	values := make([]any, len(parts))
	for i, p := range parts {
		values[i] = p
	}
	return fmt.Sprintf(string(template), values...)
}

// plain is s in any of the languages: names, addresses and paths that this program makes hold only characters which no
// loader reads as more than text. Any other becomes "_".
func plain[T ~string](s string) T {
	return T(strings.Map(func(r rune) rune {
		if isLetterOrDigit(r) || strings.ContainsRune("-._:/[]?=", r) {
			return r
		}
		return '_'
	}, s))
}

func isLetterOrDigit(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// MaxCommandLine is what a kernel takes (COMMAND_LINE_SIZE on x86, with its ending zero), less what loaders add: BOOTIF=,
// BOOT_IMAGE= and initrd=, the last two with the path of a file of a boot.
const MaxCommandLine = 2048 - 192

// CommandLine is a kernel's command line as every loader that may be asked for l can hand it over: one blank between
// words, all else as it was. The error says what cannot be, as the rest of a sentence that begins with the line's name.
func CommandLine(l Loader, line string) (string, error) {
	words, err := kernelWords(line)
	if err != nil {
		return "", err
	}
	line = strings.Join(words, " ")
	if len(line) > MaxCommandLine {
		return "", fmt.Errorf("make a command line of %d characters; at most %d are allowed", len(line), MaxCommandLine)
	}
	if l == IPXE {
		_, err = ipxeLine(line)
		return line, err
	}
	if _, err = pxelinuxLine(line); err == nil {
		_, err = grubLine(line)
	}
	return line, err
}

// kernelWords splits a command line as the kernel does: at blanks outside double quotes.
func kernelWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quoted, last := false, ' '
	for i, r := range line {
		switch blank := r == ' ' || r == '\t'; {
		case !blank && (r < ' ' || r > '~'):
			return nil, fmt.Errorf("must be one line of printable ASCII characters; character %d is %q", i+1, r)
		case blank && !quoted:
			words = appendWord(words, &word)
		case blank && (last == ' ' || r == '\t'):
			return nil, fmt.Errorf("cannot have more than one blank in a row, or a tab, inside double quotes; character %d is one", i+1)
		default:
			quoted = quoted != (r == '"')
			word.WriteRune(r)
		}
		last = r
	}
	if quoted {
		return nil, fmt.Errorf("have a double quote without its second one: %q", word.String())
	}
	words = appendWord(words, &word)
	if i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(strings.TrimLeft(w, `"`), "initrd=") }); i >= 0 {
		return nil, fmt.Errorf("cannot have %q: boot loaders read it as the name of a file to load, which Billet sets", words[i])
	}
	return words, nil
}

func appendWord(words []string, word *strings.Builder) []string {
	if word.Len() > 0 {
		words = append(words, word.String())
	}
	word.Reset()
	return words
}

// ipxeNothing expands to nothing: no setting has this name. Before a word it keeps iPXE from reading that as one of its
// own, as words are told apart before they are expanded.
const ipxeNothing = "${billet-nothing}"

// ipxeLine is a command line as arguments of iPXE's "kernel". iPXE splits at blanks and nowhere else; the words ";",
// "&&" and "||" end a command, a word that begins with "#" is a comment. It expands ${name} again and again until none
// is left, so a line cannot contain one.
func ipxeLine(line string) (ipxeText, error) {
	if _, err := kernelWords(line); err != nil {
		return "", err
	}
	if strings.Contains(line, "${") {
		return "", fmt.Errorf(`cannot have "${": iPXE puts the value of a setting there`)
	}
	words := strings.Fields(line)
	for i, w := range words {
		if w == ";" || w == "&&" || w == "||" || w[0] == '#' {
			words[i] = ipxeNothing + w
		}
	}
	return ipxeText(strings.Join(words, " ")), nil
}

// pxelinuxLine is a command line as PXELINUX's APPEND, which takes the rest of its line as it is but for one value.
func pxelinuxLine(line string) (pxelinuxText, error) {
	if _, err := kernelWords(line); err != nil {
		return "", err
	}
	if line == "-" {
		return "", fmt.Errorf(`cannot be "-" alone, which PXELINUX reads as nothing`)
	}
	return pxelinuxText(line), nil
}

// grubLine is a command line as words of GRUB's shell, each between single quotes when it holds more than text. GRUB
// puts double quotes around a word with blanks, and a backslash before each quote and backslash of a word, so only a
// word that is between double quotes as a whole arrives as it was.
func grubLine(line string) (grubText, error) {
	words, err := kernelWords(line)
	if err != nil {
		return "", err
	}
	for i, w := range words {
		text := w
		if strings.ContainsRune(w, ' ') {
			text = strings.TrimSuffix(strings.TrimPrefix(w, `"`), `"`)
			if len(text) != len(w)-2 {
				return "", fmt.Errorf(`cannot have %s for GRUB, which puts double quotes around a word with blanks: `+
					`write "name=value", with the quotes around the whole`, w)
			}
		}
		if strings.ContainsAny(text, `"'\`) {
			return "", fmt.Errorf(`cannot have quotes or a backslash in %s: GRUB puts a backslash before each`, w)
		}
		words[i] = grubQuote(text)
	}
	return grubText(strings.Join(words, " ")), nil
}

// grubQuote puts a word between single quotes unless GRUB's shell reads all of it as text anyway.
func grubQuote(word string) string {
	special := func(r rune) bool { return !isLetterOrDigit(r) && !strings.ContainsRune("-._:/=,@%+", r) }
	if word != "" && strings.IndexFunc(word, special) < 0 {
		return word
	}
	return "'" + word + "'"
}
