package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Unreadable has what the store keeps of a record and cannot read, by its name there ("driver_info", "steps"), and why. The
// fields are empty in the record then, and saving an empty one leaves what is kept alone.
type Unreadable map[string]string

// words lists what is unreadable, but for the names given; "" when that is nothing.
func (u Unreadable) words(but ...string) string {
	var what []string
	for _, name := range slices.Sorted(maps.Keys(u)) {
		if !slices.Contains(but, name) {
			what = append(what, fmt.Sprintf("%s (%s)", name, u[name]))
		}
	}
	return strings.Join(what, ", ")
}

// damage is the error for whoever needs all of a record; nil when all is there.
func (u Unreadable) damage(what, uuid, then string) error {
	text := u.words()
	if text == "" {
		return nil
	}
	return Errorf(Internal, "The database's record of %s %s is damaged; unreadable are: %s. %s until that is mended: write the field anew, "+
		"restore the database or its sealing key, or delete the %s.", what, uuid, text, then, what)
}

// Damage is the error for whoever asks for one record, of a kind that nothing else depends on; nil when all is there.
func (u Unreadable) Damage(what, uuid string) error {
	return u.damage(what, uuid, "It is not shown")
}

// Damage is the error for whoever would use a deploy template of which something is unreadable; nil when all is there.
func (t *DeployTemplate) Damage() error {
	return t.Unreadable.damage("deploy template", t.Name+" ("+t.UUID+")", "No deploy gets its steps")
}

// Damage is the error for whoever would use an inspection rule of which something is unreadable; nil when all is there.
func (r *InspectionRule) Damage() error {
	return r.Unreadable.damage("inspection rule", r.UUID, "No inspection can end")
}

// Damage is the error for whoever would use a port of which something is unreadable; nil when all is there.
func (p *Port) Damage() error {
	return p.Unreadable.damage("port", p.UUID, "Nothing is done with the machine of node "+p.NodeUUID)
}

// Damage is the error for whoever would use a portgroup of which something is unreadable; nil when all is there.
func (g *Portgroup) Damage() error {
	return g.Unreadable.damage("portgroup", g.UUID, "No virtual interface is plugged into it")
}

// Damage is the error for whoever would give an allocation a node when what it asks for is unreadable; nil when all is there.
func (a *Allocation) Damage() error {
	return a.Unreadable.damage("allocation", a.UUID, "It gets no node")
}
