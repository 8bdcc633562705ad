package node

import "time"

// DeployTemplate is a set of deploy steps under a name that is a trait: a deploy whose
// instance_info.traits has the trait gets the steps.
type DeployTemplate struct {
	ID          int64
	UUID        string
	Name        string // a trait; unique
	Description string
	Steps       []PlannedStep // Interface, Step, Args and Priority; sealed in the store
	Extra       Document
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Unreadable  Unreadable
}

// DeployTemplateNotFound is the API's answer for an unknown deploy template.
func DeployTemplateNotFound(ident string) *Err {
	return Errorf(NotFound, "Deploy template %s could not be found.", ident)
}
