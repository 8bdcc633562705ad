package node

import "time"

// Chassis is an enclosure or rack that nodes are in: a name for a group of machines, and nothing more.
type Chassis struct {
	ID          int64
	UUID        string
	Description string
	Extra       Document
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Unreadable  Unreadable
}

// ChassisNotFound is the API's answer for an unknown chassis.
func ChassisNotFound(ident string) *Err {
	return Errorf(NotFound, "Chassis %s could not be found.", ident)
}
