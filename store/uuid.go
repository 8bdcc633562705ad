package store

import "github.com/google/uuid"

// newUUID returns a random UUID (RFC 9562 version 4), lower case.
func newUUID() string { return uuid.NewString() }

// isUUID reports whether s is written as 8-4-4-4-12 hex digits. Names never are. Package uuid takes other forms too, and none
// of them has 36 characters.
func isUUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }
