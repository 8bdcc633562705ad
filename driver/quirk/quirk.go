// Package quirk owns the form in which drivers know what management controllers do otherwise than their
// specification says: a table, one row a quirk. A driver asks whether a behaviour holds for the controller at hand
// and never who made it. It refuses to know any protocol.
package quirk

import (
	"path"
	"slices"
	"strings"
)

// Kind names a behaviour; drivers declare their own.
type Kind string

// Row is one quirk.
type Row struct {
	Name  string // as people and the lab's profiles call it
	Who   Match
	Does  Kind
	Value int    // what the kind needs to know: a number of bytes, a selector, seconds
	Why   string // what the controller does, said for people
	Seen  string // where it was seen
}

// Table is every quirk that a driver knows.
type Table []Row

// Identity is what a controller says of itself: numbers over IPMI (Get Device ID), texts over Redfish.
type Identity struct {
	Manufacturer  uint32 // IANA enterprise number
	Product       uint16
	Vendor, Model string
	Firmware      string
}

// Match says which controllers a row is about; what is zero matches anything.
type Match struct {
	Asked         bool // none by itself: only nodes that name the row
	Manufacturers []uint32
	Products      []uint16
	Vendor, Model string // patterns as of path.Match, compared without case
	Firmware      string
}

func (m Match) covers(id Identity) bool {
	return !m.Asked &&
		(m.Manufacturers == nil || slices.Contains(m.Manufacturers, id.Manufacturer)) &&
		(m.Products == nil || slices.Contains(m.Products, id.Product)) &&
		like(m.Vendor, id.Vendor) && like(m.Model, id.Model) && like(m.Firmware, id.Firmware)
}

func like(pattern, text string) bool {
	if pattern == "" {
		return true
	}
	ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(text))
	return ok && err == nil
}

// Set is what holds for one controller: the values by kind.
type Set map[Kind]int

// Has reports whether a behaviour holds.
func (s Set) Has(k Kind) bool { _, ok := s[k]; return ok }

// Of returns what holds for a controller, and what was asked for by name. A later row wins over an earlier one.
func (t Table) Of(id Identity, asked ...string) Set {
	s := Set{}
	for _, r := range t {
		if r.Who.covers(id) || slices.Contains(asked, r.Name) {
			s[r.Does] = r.Value
		}
	}
	return s
}

// Names lists the rows.
func (t Table) Names() (names []string) {
	for _, r := range t {
		names = append(names, r.Name)
	}
	return names
}
