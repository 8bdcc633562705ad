package store_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// newestSchema is the number of the last migration there is.
func newestSchema(t *testing.T) string {
	t.Helper()
	files, err := os.ReadDir("migrations")
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	number, _, _ := strings.Cut(files[len(files)-1].Name(), "_")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(n)
}
