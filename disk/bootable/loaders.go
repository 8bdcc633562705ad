package bootable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
)

// loader picks the loader: what an operating system installed under its own name first, since the
// fallback in \EFI\BOOT may only be a tool that makes boot entries and reboots. removable is that fallback,
// "" when there is none.
func (f *fat) loader(goarch string) (path, removable string, err error) {
	arch := map[string]string{"amd64": "x64", "arm64": "aa64", "386": "ia32"}[goarch]
	top, ok, err := f.sub(0, "EFI")
	if err != nil {
		return "", "", err
	}
	if !ok {
		return "", "", errors.New(`it has no folder \EFI`)
	}
	vendors, err := f.list(top.cluster)
	if err != nil {
		return "", "", err
	}
	folders := map[string]fatEntry{}
	for _, e := range vendors {
		if e.folder {
			folders[rank(e.name)] = e
		}
	}
	order := slices.Sorted(maps.Keys(folders))
	for _, name := range order[:min(len(order), maxVendors)] {
		vendor := folders[name]
		files, err := f.list(vendor.cluster)
		if err != nil {
			return "", "", err
		}
		folder := `\` + top.name + `\` + vendor.name + `\`
		if name := f.bestOf(files, arch); name != "" && path == "" {
			path = folder + name
		}
		if name := entryNamed(files, "boot"+arch+".efi"); name != "" && strings.EqualFold(vendor.name, "BOOT") {
			removable = folder + name
		}
	}
	if path == "" {
		return "", "", fmt.Errorf(`there is neither \EFI\BOOT\BOOT%s.EFI nor a shim, GRUB or systemd-boot in any folder of \EFI`,
			strings.ToUpper(arch))
	}
	return path, removable, nil
}

// rank sorts vendors by name and the fallback last.
func rank(name string) string {
	if strings.EqualFold(name, "BOOT") {
		return "\xff"
	}
	return strings.ToLower(name)
}

// bestOf is the loader in a vendor's folder: a shim before all, since it starts the others and only it is
// signed for everybody; then what the folder's boot.csv names, then what is known by its name.
func (f *fat) bestOf(files []fatEntry, arch string) string {
	listed := f.csv(files, arch)
	shims := slices.DeleteFunc(slices.Clone(listed), func(n string) bool { return !strings.HasPrefix(strings.ToLower(n), "shim") })
	wanted := append(shims, "shim"+arch+".efi", "shim.efi")
	wanted = append(wanted, listed...)
	wanted = append(wanted, "grub"+arch+".efi", "grub.efi", "systemd-boot"+arch+".efi", "boot"+arch+".efi")
	for _, want := range wanted {
		if name := entryNamed(files, want); name != "" {
			return name
		}
	}
	return ""
}

// entryNamed finds a file as it is written in its folder.
func entryNamed(files []fatEntry, want string) string {
	for _, file := range files {
		if !file.folder && strings.EqualFold(file.name, want) {
			return file.name
		}
	}
	return ""
}

// csv reads which files the folder's boot.csv names, in its order: shim's fallback makes boot entries of
// such files, each line "file,label,options,description" in UTF-16, with or without a byte-order mark.
func (f *fat) csv(files []fatEntry, arch string) []string {
	var names []string
	for _, want := range []string{"boot" + arch + ".csv", "boot.csv"} {
		for _, file := range files {
			if file.folder || !strings.EqualFold(file.name, want) {
				continue
			}
			raw, err := f.file(file)
			if err != nil {
				continue // a list that cannot be read names nothing
			}
			for line := range strings.Lines(csvText(raw)) {
				name, _, _ := strings.Cut(line, ",")
				if name = strings.TrimSpace(name); strings.HasSuffix(strings.ToLower(name), ".efi") {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// csvText decodes UTF-16 of either order, and plain text.
func csvText(raw []byte) string {
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case bytes.HasPrefix(raw, []byte{0xef, 0xbb, 0xbf}):
		return string(raw[3:])
	case bytes.HasPrefix(raw, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	case len(raw) > 1 && raw[0] == 0 && raw[1] != 0:
		order = binary.BigEndian
	case !bytes.Contains(raw, []byte{0}):
		return string(raw)
	}
	var units []uint16
	for ; len(raw) >= 2; raw = raw[2:] {
		if u := order.Uint16(raw); u != 0xfeff && u != 0 {
			units = append(units, u)
		}
	}
	return string(utf16.Decode(units))
}
