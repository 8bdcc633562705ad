package disk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/wire"
)

// minRootSize is the smallest disk taken without a hint; card readers and BMC disks are smaller.
const minRootSize = 4 << 30

// outside are the ways of attaching disks that may belong to something else than the machine.
var outside = []string{"usb", "fc", "iscsi"}

// Select chooses the disk an image is written to.
//
// Without hints it is the smallest disk of at least 4 GiB inside the machine. Among equals it is the first by
// path, else by its own identity, because these stay when names move. A disk on USB, on a fibre channel or
// behind iSCSI may be somebody else's: only hints can choose it.
//
// With hints it is the one disk that matches them all. When several match it is the smallest of them. The
// choice is refused when the smallest are equal, because only their names would tell them apart and names move
// between boots. It is also refused when a hint names one disk (an exact serial, wwn, hctl or by_path) but
// several match.
//
// Removable and read-only disks are never chosen, nor the members of a software RAID array; the array itself
// can be. An error lists the disks seen and why each was not taken.
func Select(disks []wire.Disk, raw map[string]any) (wire.Disk, error) {
	hints, err := parseHints(raw)
	if err != nil {
		return wire.Disk{}, err
	}
	var fit []wire.Disk
	var refusals []string
	for _, d := range disks {
		why := refuse(d, hints)
		if why != "" && !(why == mismatch(d, hints) && byOtherPath(d, disks, hints)) {
			refusals = append(refusals, describe(d)+": "+why)
			continue
		}
		fit = append(fit, d)
	}
	if len(fit) == 0 {
		return wire.Disk{}, noneFits(hints, refusals)
	}
	slices.SortStableFunc(fit, byIdentity)
	if len(hints) > 0 && len(fit) > 1 && fit[0].Size == fit[1].Size {
		return wire.Disk{}, ambiguous(hints, fit, "the smallest of equal size")
	}
	if len(fit) > 1 && slices.ContainsFunc(hints, func(h hint) bool { return h.identity }) {
		return wire.Disk{}, ambiguous(hints, fit, "though one of them is to name a single disk")
	}
	return fit[0], nil
}

// byIdentity orders disks by size; among equals by what stays when names move.
func byIdentity(a, b wire.Disk) int {
	return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.ByPath, b.ByPath), cmp.Compare(a.WWNWithExtension, b.WWNWithExtension),
		cmp.Compare(a.Serial, b.Serial), cmp.Compare(a.Name, b.Name))
}

// refuse says why a disk may not be the root disk; "" when it may.
func refuse(d wire.Disk, hints []hint) string {
	switch {
	case d.PathOf != "":
		return "another path of " + d.PathOf
	case d.MemberOf != "":
		return "part of the software RAID " + d.MemberOf
	case d.ReadOnly:
		return "read-only"
	case d.Removable:
		return "removable"
	case len(hints) == 0 && d.Size < minRootSize:
		return "smaller than 4 GiB"
	case len(hints) == 0 && slices.Contains(outside, d.Tran):
		return "not inside the machine (" + d.Tran + "), so only a hint can choose it"
	}
	return mismatch(d, hints)
}

// mismatch says by which hint a disk is another one; "" when it matches all.
func mismatch(d wire.Disk, hints []hint) string {
	for _, h := range hints {
		value := strings.ToLower(strings.TrimSpace(fields[h.field](d)))
		if value == "" || !h.match(value) {
			return fmt.Sprintf("its %s is %q", h.field, value)
		}
	}
	return ""
}

// byOtherPath reports whether a further path to the disk matches all hints: a hint of hctl, by_path or name
// may name any of a disk's paths.
func byOtherPath(d wire.Disk, disks []wire.Disk, hints []hint) bool {
	return slices.ContainsFunc(disks, func(p wire.Disk) bool { return p.PathOf == d.Name && mismatch(p, hints) == "" })
}

func noneFits(hints []hint, refusals []string) error {
	seen := "no disk was found in this machine; is the storage driver in the ramdisk?"
	if len(refusals) > 0 {
		seen = "disks seen: " + strings.Join(refusals, "; ")
	}
	if len(hints) == 0 {
		return errors.New("no disk can be the root disk: without root device hints it is the smallest of at least 4 GiB; " + seen)
	}
	return fmt.Errorf("no disk matches the root device hints (%s); %s", list(hints), seen)
}

func ambiguous(hints []hint, fit []wire.Disk, why string) error {
	var names []string
	for _, d := range fit {
		names = append(names, describe(d))
	}
	return fmt.Errorf("the root device hints (%s) match %d disks, %s, so the choice would be left to chance: add serial, wwn, "+
		"hctl or by_path; matching: %s",
		list(hints), len(fit), why, strings.Join(names, "; "))
}

func list(hints []hint) string {
	var out []string
	for _, h := range hints {
		out = append(out, h.field+": "+h.text)
	}
	return strings.Join(out, ", ")
}

// describe names a disk for people.
func describe(d wire.Disk) string {
	parts := []string{d.Name, HumanSize(d.Size)}
	for _, p := range []struct{ label, value string }{{"model", d.Model}, {"serial", d.Serial}, {"path", d.ByPath}} {
		if p.value != "" {
			parts = append(parts, p.label+" "+p.value)
		}
	}
	return strings.Join(parts, ", ")
}
