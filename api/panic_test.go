package api

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

// What a handler that panicked said is neither answered nor logged, unless the Go runtime said it.
func TestAPanicTellsNoSecret(t *testing.T) {
	for _, tt := range []struct {
		what  string
		panic any
		log   string
	}{
		{"a text", "index out of range: hunter2-secret", "handler panicked with a string"},
		{"an error", errors.New("hunter2-secret"), "handler panicked with a *errors.errorString"},
		{"a mistake that the runtime found", nil, "index out of range [1] with length 0"},
	} {
		var log bytes.Buffer
		w := httptest.NewRecorder()
		func() {
			defer recovered(w, slog.New(slog.NewTextHandler(&log, nil)))
			if tt.panic == nil {
				_ = []string{}[len(tt.what[:1])]
			}
			panic(tt.panic)
		}()
		if w.Code != 500 || strings.Contains(w.Body.String()+log.String(), "hunter2") || !strings.Contains(log.String(), tt.log) {
			t.Errorf("%s: %d %s\n%s", tt.what, w.Code, w.Body, &log)
		}
	}
}
