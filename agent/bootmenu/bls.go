package bootmenu

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/billet-metal/billet/agent/inroot"
)

// blsEntry is one file of the Boot Loader Specification, type 1.
type blsEntry struct {
	id             string // the file's name without ".conf" and boot counter
	title, version string
	sortKey        string
	linux, options string
	failed         bool // its boot counter says that no try is left
	initrds        []string
}

// readEntries reads a folder of entries, the one a loader shows first in front.
func readEntries(b *budget, v Volume, dir string) ([]blsEntry, error) {
	names, err := inroot.Names(v.Dir, dir, maxEntries)
	if err != nil {
		return nil, err
	}
	var list []blsEntry
	for _, name := range names {
		id, ok := strings.CutSuffix(name, ".conf")
		if !ok {
			continue
		}
		text, err := b.read(v, path.Join(dir, name))
		if err != nil {
			return nil, err
		}
		id, counter, _ := strings.Cut(id, "+") // "+LEFT-DONE"
		left, _, _ := strings.Cut(counter, "-")
		if e := parseEntry(id, text); e.linux != "" {
			e.failed = left != "" && strings.Trim(left, "0") == ""
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("there are no entries with a Linux kernel")
	}
	slices.SortFunc(list, func(a, b blsEntry) int {
		return cmp.Or(compareFailed(a, b), compareKeys(a.sortKey, b.sortKey), compareVersions(b.version, a.version), compareVersions(b.id, a.id))
	})
	return list, nil
}

// parseEntry reads "key value" lines; keys it does not know are passed over, as the specification
// wants it.
func parseEntry(id, text string) blsEntry {
	e := blsEntry{id: id}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		i := strings.IndexAny(line, " \t")
		if i < 0 || line[0] == '#' {
			continue
		}
		key, value := line[:i], strings.TrimSpace(line[i:])
		switch key {
		case "title":
			e.title = value
		case "version":
			e.version = value
		case "sort-key":
			e.sortKey = value
		case "linux":
			e.linux = value
		case "options":
			e.options = strings.TrimSpace(e.options + " " + value)
		case "initrd":
			e.initrds = append(e.initrds, strings.Fields(value)...)
		}
	}
	return e
}

// compareFailed puts entries last that were tried too often.
func compareFailed(a, b blsEntry) int {
	switch {
	case a.failed && !b.failed:
		return 1
	case b.failed && !a.failed:
		return -1
	}
	return 0
}

// compareKeys puts entries with a sort key first.
func compareKeys(a, b string) int {
	if (a == "") != (b == "") {
		return strings.Compare(b, a)
	}
	return strings.Compare(a, b)
}

// compareVersions compares numbers in versions as numbers, the rest as text.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		x, y := leading(a), leading(b)
		a, b = a[len(x):], b[len(y):]
		if isDigit(x[0]) && isDigit(y[0]) {
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Compare(len(x), len(y)); c != 0 {
				return c
			}
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// leading is the run of digits, or of anything else, that s begins with.
func leading(s string) string {
	i := 1
	for i < len(s) && isDigit(s[i]) == isDigit(s[0]) {
		i++
	}
	return s[:i]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// systemdBoot is the entry that systemd-boot starts: the one its loader.conf names, else the first.
func systemdBoot(b *budget, v Volume, dir string) (Entry, error) {
	list, err := readEntries(b, v, dir)
	if err != nil {
		return Entry{}, err
	}
	chosen := list[0]
	if pattern := defaultPattern(b, v, path.Join(path.Dir(dir), "loader.conf")); pattern != "" {
		i := slices.IndexFunc(list, func(e blsEntry) bool {
			whole, _ := path.Match(pattern, e.id+".conf")
			short, _ := path.Match(pattern, e.id)
			return whole || short
		})
		if i >= 0 {
			return list[i].entry(v, list[i].options), nil
		}
	}
	unified, err := inroot.Names(v.Dir, "/EFI/Linux", maxEntries)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Entry{}, err
	}
	for _, name := range unified {
		if strings.HasSuffix(strings.ToLower(name), ".efi") {
			return Entry{}, fmt.Errorf("it may start the unified kernel image /EFI/Linux/%s, and what the loader prefers is not known", name)
		}
	}
	return chosen.entry(v, chosen.options), nil
}

func defaultPattern(b *budget, v Volume, conf string) string {
	text, err := b.read(v, conf)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "default" {
			return f[1]
		}
	}
	return ""
}

func (b blsEntry) entry(v Volume, options string) Entry {
	e := Entry{Title: cmp.Or(b.title, b.id), Kernel: File{v, b.linux}, CommandLine: options}
	for _, i := range b.initrds {
		e.Initrds = append(e.Initrds, File{v, i})
	}
	return e
}

// blscfg adds the entries of the system's folder to GRUB's menu, as Fedora's GRUB does.
func (g *grub) blscfg() error {
	v, err := g.device(g.vars["root"])
	if err != nil {
		return err
	}
	dir := g.vars["blsdir"]
	if dir == "" {
		dir = "/loader/entries"
		if _, err := inroot.Stat(v.Dir, dir); err != nil {
			dir = "/boot/loader/entries"
		}
	}
	list, err := readEntries(g.budget, v, dir)
	if err != nil {
		return fmt.Errorf("reading the entries for blscfg: %w", err)
	}
	for _, b := range list {
		if b.options == "" {
			b.options = g.vars["default_kernelopts"]
		}
		options, err := g.expandText(b.options)
		if err != nil {
			return err
		}
		if b.initrds, err = g.expandAll(b.initrds); err != nil {
			return err
		}
		e := b.entry(v, options)
		g.menu = append(g.menu, item{title: e.Title, id: b.id, ready: &e})
	}
	return nil
}
