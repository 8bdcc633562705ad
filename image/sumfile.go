package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
)

// A checksum file is what sha256sum, BSD's and OpenSSL's tools, PowerShell's Get-FileHash or Debian's archive
// write, or one sum alone; in UTF-8 or UTF-16, with any ends of lines, comments, and a PGP signature around it.

// sumEntry is one sum of a checksum file.
type sumEntry struct {
	algo  string   // "" when only its length tells
	value string   // lower case hex
	names []string // what the file may be called: one name, or a second reading of the line
}

// findSum finds the checksum of the file at source, a path or URL path, in a checksum file. With algo, one of that
// algorithm; else the strongest there is. Where two entries contradict each other none is chosen.
func findSum(text []byte, source, algo string) (string, string, error) {
	name := path.Base(source)
	entries, err := readSums(text)
	if err != nil {
		return "", "", err
	}
	found, fits := matching(entries, source)
	if len(found) == 0 && !slices.ContainsFunc(entries, func(e sumEntry) bool { return len(e.names) > 0 }) {
		found = entries // one sum alone, or one of each algorithm
	}
	if len(found) == 0 {
		return "", "", fmt.Errorf("it has no checksum of a file called %q%s", name, instead(entries, name))
	}
	sums := map[string]string{}
	for _, e := range found {
		of := e.algorithmFor(algo)
		if before, twice := sums[of]; twice && before != e.value {
			return "", "", fmt.Errorf("it has two different %s checksums%s: which one is meant cannot be told", of, ofFile(name, fits))
		}
		sums[of] = e.value
	}
	if algo != "" {
		if sums[algo] == "" {
			return "", "", fmt.Errorf("it has no %s checksum of a file called %q", algo, name)
		}
		return algo, sums[algo], nil
	}
	for _, a := range Algorithms() {
		if sums[a] != "" {
			return a, sums[a], nil
		}
	}
	return "", "", fmt.Errorf("it has no checksum of a file called %q of a kind that is known", name)
}

func ofFile(name string, fits int) string {
	if fits == 0 {
		return " without a name"
	}
	return fmt.Sprintf(" of a file called %q", name)
}

// algorithmFor is the entry's algorithm: the one it names, the one that is wanted when it may be, or the usual one.
func (e sumEntry) algorithmFor(want string) string {
	if e.algo != "" {
		return e.algo
	}
	if a, known := algorithmNamed(want); known && a.digits == len(e.value) {
		return want
	}
	usual, _ := AlgorithmOf(e.value)
	return usual
}

// matching returns the entries whose names are the file's, as many folders above it as possible being alike: a file
// of a whole mirror has many of one name.
func matching(entries []sumEntry, source string) (found []sumEntry, best int) {
	for _, e := range entries {
		fits := 0
		for _, name := range e.names {
			fits = max(fits, alike(name, source))
		}
		switch {
		case fits == 0 || fits < best:
		case fits > best:
			best, found = fits, []sumEntry{e}
		default:
			found = append(found, e)
		}
	}
	return found, best
}

// alike counts the equal last parts of two paths; 0 when the files have other names.
func alike(a, b string) int {
	parts := func(s string) []string {
		list := strings.Split(strings.Trim(path.Clean(s), "/"), "/")
		slices.Reverse(list)
		return list
	}
	n, x, y := 0, parts(a), parts(b)
	for n < min(len(x), len(y)) && x[n] == y[n] {
		n++
	}
	return n
}

// instead helps whoever has the wrong file at hand.
func instead(entries []sumEntry, name string) string {
	var names []string
	for _, e := range entries {
		for _, n := range e.names[:min(1, len(e.names))] {
			n = path.Base(n)
			if strings.TrimSuffix(name, path.Ext(name)) == n {
				return fmt.Sprintf(", but one of %q: the checksum must be of the file as it is downloaded, compressed", n)
			}
			if !slices.Contains(names, n) && len(names) < 4 {
				names = append(names, n)
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(", only of others such as %.200q", strings.Join(names, ", "))
}

// readSums reads all entries of a checksum file.
func readSums(text []byte) ([]sumEntry, error) {
	plain, err := plainText(text)
	if err != nil {
		return nil, err
	}
	if start := strings.TrimSpace(strings.ToLower(plain[:min(len(plain), 256)])); strings.HasPrefix(start, "<") {
		return nil, errors.New("it is a web page or an XML document, not a checksum file: is the URL right?")
	}
	var entries []sumEntry
	signature := false
	for _, line := range strings.FieldsFunc(plain, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "- ") // RFC 4880, section 7.1: dash-escaped
		switch {
		case strings.HasPrefix(line, "-----BEGIN PGP SIGNATURE"):
			signature = true
		case strings.HasPrefix(line, "-----END PGP SIGNATURE"):
			signature = false
		case signature, line == "", line[0] == '#', line[0] == ';':
		default:
			e, ok, err := readSum(line)
			if err != nil {
				return nil, err
			}
			if ok {
				entries = append(entries, e)
			}
		}
	}
	return entries, nil
}

var errNoText = errors.New("it is no checksum file: it is no text")

// plainText is the text of a file in UTF-8, or in UTF-16 as Windows tools write it.
func plainText(b []byte) (string, error) {
	if rest, ok := bytes.CutPrefix(b, []byte("\xef\xbb\xbf")); ok {
		b = rest
	}
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		order, b = binary.LittleEndian, b[2:]
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		order, b = binary.BigEndian, b[2:]
	case len(b) >= 4 && b[1] == 0 && b[3] == 0:
		order = binary.LittleEndian
	case len(b) >= 4 && b[0] == 0 && b[2] == 0:
		order = binary.BigEndian
	}
	if order == nil {
		if bytes.IndexByte(b, 0) >= 0 {
			return "", errNoText
		}
		return string(b), nil
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	if slices.Contains(units, 0) {
		return "", errNoText
	}
	return string(utf16.Decode(units)), nil
}

// bsd is "SHA256 (name) = hex", as BSD's tools write it, or OpenSSL's "SHA2-256(name)= hex".
var bsd = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9/_-]*)\s*\((.*)\)\s*=\s*([0-9A-Fa-f]+)$`)

// readSum reads one line; ok is false when it holds no sum.
func readSum(line string) (e sumEntry, ok bool, err error) {
	if m := bsd.FindStringSubmatch(line); m != nil {
		return named(m[1], m[3], m[2])
	}
	escaped := strings.HasPrefix(line, `\`) // GNU's tools write \n and \\ in names so
	first, rest := cutWord(strings.TrimPrefix(line, `\`))
	if algo, sum, found := strings.Cut(first, ":"); found { // "sha256:hex", as registries write it
		if sum == "" {
			sum, rest = cutWord(rest)
		}
		return named(algo, sum, rest)
	}
	if _, known := algorithmOfName(first); known { // PowerShell: algorithm, sum, path
		sum, name := cutWord(rest)
		return named(first, sum, name)
	}
	if _, err := AlgorithmOf(first); err != nil {
		return e, false, nil
	}
	e = sumEntry{value: strings.ToLower(first)}
	if rest == "" {
		return e, true, nil
	}
	if escaped {
		e.names = []string{strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(strings.TrimPrefix(rest, "*"))}
		return e, true, nil
	}
	e.names = []string{cleanName(rest)}
	if size, name := cutWord(rest); name != "" && strings.Trim(size, "0123456789") == "" { // Debian: sum, size, name
		e.names = append(e.names, cleanName(name))
	}
	return e, true, nil
}

// named is an entry whose line says its algorithm. One that is not known is passed over; a sum of a wrong length is
// a damaged file.
func named(said, value, name string) (sumEntry, bool, error) {
	algo, known := algorithmOfName(said)
	if !known || value == "" || strings.Trim(value, "0123456789abcdefABCDEF") != "" {
		return sumEntry{}, false, nil
	}
	a, _ := algorithmNamed(algo)
	if len(value) != a.digits {
		return sumEntry{}, false, fmt.Errorf("it is damaged: a %s checksum has %d hexadecimal digits, and the one of %.100q has not",
			algo, a.digits, name)
	}
	e := sumEntry{algo: algo, value: strings.ToLower(value)}
	if name != "" {
		e.names = []string{cleanName(name)}
	}
	return e, true, nil
}

// algorithmOfName reads the names that tools have for algorithms: SHA256, SHA2-256, sha-256, SHA3-256, BLAKE2b-512.
func algorithmOfName(said string) (string, bool) {
	s := strings.NewReplacer("-", "", "_", "", "/", "").Replace(strings.ToLower(said))
	for _, a := range algorithms {
		plain := strings.ReplaceAll(a.name, "_", "")
		bits := fmt.Sprint(a.digits * 4)
		if s == plain || strings.HasPrefix(plain, "blake") && s == plain+bits {
			return a.name, true
		}
		if family, is := strings.CutPrefix(plain, "sha"); is && s == "sha2"+family && len(family) == 3 { // SHA2-256
			return a.name, true
		}
	}
	return "", false
}

// cutWord cuts the first word off; what comes after it begins with no blank.
func cutWord(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// cleanName takes the marks of binary files off a name, and Windows' way of writing paths.
func cleanName(name string) string {
	name = strings.TrimSpace(name)
	if len(name) > 1 && name[0] == '*' {
		name = name[1:]
	}
	if len(name) > 2 && name[1] == ':' && name[2] == '\\' {
		name = name[2:]
	}
	return strings.ReplaceAll(name, `\`, "/")
}
