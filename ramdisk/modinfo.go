package ramdisk

import (
	"bytes"
	"debug/elf"
	"fmt"
	"slices"
	"strings"
)

// modinfo is what a kernel module says of itself in its .modinfo section: NUL-separated
// "key=value" strings. Names are written with underscores.
type modinfo struct {
	name     string
	depends  []string
	softdeps []string // to be loaded before it where present: names or aliases
	aliases  []string // modalias patterns and plain second names
	firmware []string // paths below /lib/firmware
}

// readModinfo reads the section of an ELF object.
func readModinfo(object []byte) (modinfo, error) {
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return modinfo{}, fmt.Errorf("reading a kernel module: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return modinfo{}, fmt.Errorf("reading a kernel module: it has no .modinfo section")
	}
	data, err := section.Data()
	if err != nil {
		return modinfo{}, fmt.Errorf("reading a kernel module's .modinfo: %w", err)
	}
	return parseModinfo(data), nil
}

func parseModinfo(section []byte) modinfo {
	var m modinfo
	for entry := range strings.SplitSeq(string(section), "\x00") {
		key, value, ok := strings.Cut(entry, "=")
		if !ok || value == "" {
			continue
		}
		switch key {
		case "name":
			m.name = canonical(value)
		case "depends":
			for d := range strings.SplitSeq(value, ",") {
				m.depends = append(m.depends, canonical(d))
			}
		case "alias":
			m.aliases = append(m.aliases, value)
		case "firmware":
			m.firmware = append(m.firmware, value)
		case "softdep":
			m.softdeps = append(m.softdeps, before(value)...)
		}
	}
	slices.Sort(m.aliases)
	m.aliases = slices.Compact(m.aliases)
	return m
}

// before returns the "pre:" part of a softdep such as "pre: crc32c post: foo".
func before(softdep string) []string {
	var names []string
	pre := false
	for word := range strings.FieldsSeq(softdep) {
		switch word {
		case "pre:":
			pre = true
		case "post:":
			pre = false
		default:
			if pre {
				names = append(names, word)
			}
		}
	}
	return names
}

// canonical is how the kernel spells a module's name: e1000e, nls_iso8859_1.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }
