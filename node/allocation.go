package node

import "time"

// Allocation is a request for a node that has what it asks for, and the node it got. Its UUID is the node's instance
// UUID from then on.
type Allocation struct {
	ID             int64
	UUID           string
	Name           string   // empty means none
	NodeUUID       string   // "" until it has one
	State          string   // one of the states below
	LastError      string   // why it got none
	ResourceClass  string   // that the node must have
	Traits         []string // that the node must have, all of them
	CandidateNodes []string // UUIDs; empty: any node will do
	Owner          string   // that the node must have; empty: any
	Extra          Document
	CreatedAt      time.Time
	UpdatedAt      time.Time
	Unreadable     Unreadable
}

// States of an allocation.
const (
	Allocating      = "allocating"
	Allocated       = "active"
	AllocationError = "error"
)

// AllocationNotFound is the API's answer for an unknown allocation.
func AllocationNotFound(ident string) *Err {
	return Errorf(NotFound, "Allocation %s could not be found.", ident)
}

// AllocationFilter narrows a list of allocations.
type AllocationFilter struct {
	NodeUUID, ResourceClass, State, Owner string
	Before                                time.Time // last changed before then
}
