package efi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Variables is a folder of firmware variables, as efivarfs shows them.
type Variables struct {
	Dir string

	// Present tells whether a partition is on a disk of this machine. nil: nobody knows, and entries of
	// others are left alone.
	Present func(Partition) bool

	// Own is how the descriptions of the caller's entries begin, of which several may start the same.
	Own string
}

// Efivars is where the running firmware's variables are.
const Efivars = "/sys/firmware/efi/efivars"

const (
	globalGUID = "8be4df61-93ca-11d2-aa0d-00e098032b8c" // EFI_GLOBAL_VARIABLE
	// non-volatile, for boot services and at run time: what boot entries must be.
	bootAttributes = 7
)

func (v Variables) path(name string) string { return filepath.Join(v.Dir, name+"-"+globalGUID) }

// read returns a variable's value without its attributes.
func (v Variables) read(name string) ([]byte, error) {
	raw, err := os.ReadFile(v.path(name))
	if err != nil {
		return nil, fmt.Errorf("reading the firmware variable %s: %w", name, err)
	}
	if len(raw) < 4 {
		return nil, fmt.Errorf("reading the firmware variable %s: it has %d bytes, fewer than its attributes", name, len(raw))
	}
	return raw[4:], nil
}

// write sets a variable and reads it back: some firmware takes writes and forgets them.
func (v Variables) write(name string, value []byte) error {
	if old, err := v.read(name); err == nil && bytes.Equal(old, value) {
		return nil // spares the flash
	}
	v.unprotect(name)
	raw := append([]byte{bootAttributes, 0, 0, 0}, value...)
	// One write call: efivarfs takes each as a whole value.
	if err := os.WriteFile(v.path(name), raw, 0o644); err != nil {
		return fmt.Errorf("setting the firmware variable %s: %w", name, err)
	}
	back, err := v.read(name)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, value) {
		return fmt.Errorf("the firmware took the variable %s but keeps another value", name)
	}
	return nil
}

func (v Variables) remove(name string) error {
	v.unprotect(name)
	if err := os.Remove(v.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the firmware variable %s: %w", name, err)
	}
	return nil
}

// unprotect clears the immutable flag that Linux puts on variables it does not know to be safe. Where
// there is no such flag nothing happens, and the write that follows tells.
func (v Variables) unprotect(name string) {
	f, err := os.Open(v.path(name))
	if err != nil {
		return
	}
	defer f.Close()
	const immutable = 0x10 // FS_IMMUTABLE_FL
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil && flags&immutable != 0 {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags&^immutable)
	}
}

// entries lists the numbers of all boot entries.
func (v Variables) entries() ([]uint16, error) {
	files, err := os.ReadDir(v.Dir)
	if err != nil {
		return nil, fmt.Errorf("listing the firmware's variables: %w", err)
	}
	var out []uint16
	for _, f := range files {
		text, ok := strings.CutSuffix(f.Name(), "-"+globalGUID)
		if !ok || !strings.HasPrefix(text, "Boot") || len(text) != len("Boot0000") {
			continue
		}
		if n, err := strconv.ParseUint(text[4:], 16, 16); err == nil {
			out = append(out, uint16(n))
		}
	}
	slices.Sort(out)
	return out, nil
}

func entryName(n uint16) string { return fmt.Sprintf("Boot%04X", n) }

// BootOrder is the order in which the firmware tries its entries.
func (v Variables) BootOrder() ([]uint16, error) {
	raw, err := v.read("BootOrder")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []uint16
	for ; len(raw) >= 2; raw = raw[2:] {
		out = append(out, binary.LittleEndian.Uint16(raw))
	}
	return out, nil
}

// Remove removes the boot entries whose description is not wanted any more, also from the boot order.
func (v Variables) Remove(unwanted func(description string) bool) error {
	all, err := v.entries()
	if err != nil {
		return err
	}
	order, err := v.BootOrder()
	if err != nil {
		return err
	}
	for _, n := range all {
		raw, err := v.read(entryName(n))
		if err != nil {
			continue // firmware may list what it cannot show; it is not ours
		}
		text, err := Description(raw)
		if err != nil || !unwanted(text) {
			continue
		}
		if i := slices.Index(order, n); i >= 0 {
			order = slices.Delete(order, i, i+1)
			if err := v.writeOrder(order); err != nil {
				return err
			}
		}
		if err := v.remove(entryName(n)); err != nil {
			return err
		}
	}
	return nil
}

func (v Variables) writeOrder(order []uint16) error {
	var value []byte
	for _, n := range order {
		value = binary.LittleEndian.AppendUint16(value, n)
	}
	return v.write("BootOrder", value)
}

// pick is the first of our entries, or else the lowest free number.
func pick(all, ours []uint16) (uint16, error) {
	if len(ours) > 0 {
		return ours[0], nil
	}
	used := map[uint16]bool{}
	for _, n := range all {
		used[n] = true // Boot000a and Boot000A are one number
	}
	for n := range uint16(0xffff) {
		if !used[n] {
			return n, nil
		}
	}
	return 0, errNoNumber
}

var errNoNumber = errors.New("the firmware has no free boot entry")

// putFirst puts number before all others and drops stale ones from the order.
func (v Variables) putFirst(number uint16, stale []uint16) error {
	old, err := v.BootOrder()
	if err != nil {
		return err
	}
	order := []uint16{number}
	for _, n := range old {
		if n != number && !slices.Contains(stale, n) {
			order = append(order, n)
		}
	}
	return v.writeOrder(order)
}
