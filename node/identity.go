package node

import "slices"

// Identity is who a person or program is that calls the API, by IDs of the service that vouches for it (Keystone).
type Identity struct {
	User    string
	Project string // that the roles are held in; "" without one
	Home    bool   // the project is the one that the cloud's services, and Billet, work in
	System  bool   // the roles are held for the whole cloud
	Roles   []string
}

// Has reports whether the identity carries a role.
func (i Identity) Has(role string) bool { return slices.Contains(i.Roles, role) }
