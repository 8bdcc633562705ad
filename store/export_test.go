package store

import "testing"

// NewPostgresDatabase makes an empty database for the tests inside the package; main_test.go of store_test sets it.
var NewPostgresDatabase func(t testing.TB) string
