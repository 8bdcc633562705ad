package efi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrFull says that the firmware has no room for a boot entry, also after what nobody needs was removed.
var ErrFull = errors.New("the firmware's memory for variables is full")

// Install makes o the first boot entry. It removes those that are in its way: of the same description, which
// are from earlier deployments; those that start the same file; and those whose partition is on no disk any
// more, which earlier systems left. It returns the entry's number. Installing twice changes nothing.
func (v Variables) Install(o Option) (uint16, error) {
	all, err := v.entries()
	if err != nil {
		return 0, err
	}
	var ours, stale []uint16
	for _, n := range all {
		raw, err := v.read(entryName(n))
		if err != nil {
			continue // firmware may list what it cannot show; it is not ours
		}
		if text, err := Description(raw); err == nil && text == o.Description {
			ours = append(ours, n)
		} else if v.isStale(raw, o) {
			stale = append(stale, n)
		}
	}
	number, err := v.set(o, all, ours, stale)
	if err != nil {
		return 0, err
	}
	unwanted := append(ours, stale...)
	if err := v.putFirst(number, unwanted); err != nil {
		return 0, err
	}
	for _, n := range unwanted {
		if n != number {
			if err := v.remove(entryName(n)); err != nil {
				return 0, err
			}
		}
	}
	return number, nil
}

// isStale tells entries that nobody needs beside o. Firmware's own, for network, tools or whole disks, are
// of another form and never stale.
func (v Variables) isStale(raw []byte, o Option) bool {
	other, err := Decode(raw)
	if err != nil {
		return false
	}
	own := v.Own != "" && strings.HasPrefix(other.Description, v.Own)
	if other.Partition == o.Partition && strings.EqualFold(other.Path, o.Path) && !own {
		return true
	}
	return v.Present != nil && !v.Present(other.Partition)
}

// set writes the entry. When there is no room it removes what is not needed first: an entry's name needs room
// too, and firmware may only collect what was removed at its next start.
func (v Variables) set(o Option, all, ours, stale []uint16) (uint16, error) {
	number, err := pick(all, ours)
	if err == nil {
		err = v.write(entryName(number), o.Encode())
	}
	if !isFull(err) {
		return number, err
	}
	for _, n := range append(ours, stale...) {
		if err := v.remove(entryName(n)); err != nil {
			return 0, err
		}
	}
	if err := v.removeDumps(); err != nil {
		return 0, err
	}
	if all, err = v.entries(); err != nil {
		return 0, err
	}
	if number, err = pick(all, nil); err == nil {
		err = v.write(entryName(number), o.Encode())
	}
	if isFull(err) {
		return 0, fmt.Errorf("%w (%d boot entries of others are left): %w", ErrFull, len(all), err)
	}
	return number, err
}

func isFull(err error) bool {
	return errors.Is(err, errNoNumber) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// dumps is the vendor of the variables in which Linux keeps the log of a crash (drivers/firmware/efi/efi-pstore.c).
// They are of an earlier system, and the most common reason for a full memory.
const dumps = "cfc8fc79-be2e-4ddc-97f0-9f98bfe283a0"

func (v Variables) removeDumps() error {
	files, err := filepath.Glob(filepath.Join(v.Dir, "dump-type*-"+dumps))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing an earlier system's crash log from the firmware: %w", err)
		}
	}
	return nil
}
