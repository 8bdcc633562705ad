package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
)

// Errors have Ironic's status, and its text where clients match on it. They are written in one place, so that no handler can
// leak what an error of the store or a driver says.

var statusOf = map[node.Kind]int{
	node.Internal:      http.StatusInternalServerError,
	node.Invalid:       http.StatusBadRequest,
	node.Forbidden:     http.StatusForbidden,
	node.NotFound:      http.StatusNotFound,
	node.NotAllowed:    http.StatusMethodNotAllowed,
	node.NotAcceptable: http.StatusNotAcceptable,
	node.Conflict:      http.StatusConflict,
	node.Unavailable:   http.StatusServiceUnavailable,
}

// fault is the body of an error of the service, encoded once more inside "error_message".
type fault struct {
	FaultCode   string  `json:"faultcode"`
	FaultString string  `json:"faultstring"`
	DebugInfo   *string `json:"debuginfo"`
}

// framework is the body of an error found before a handler ran: path, method, version.
type framework struct {
	Code        int    `json:"code"`
	Title       string `json:"title"`
	Description string `json:"description"`
}

// flatError is answered as it is, not inside error_message: too large, too deep.
type flatError struct {
	status int
	text   string
}

func (e *flatError) Error() string { return e.text }

// abortError is the answer to a path, method or version that does not exist.
type abortError struct{ framework }

func (e *abortError) Error() string { return e.Title + ": " + e.Description }

func aborted(status int, description string) error {
	return &abortError{framework{Code: status, Title: http.StatusText(status), Description: description}}
}

// invalid is a 400 with a text for people.
func invalid(format string, args ...any) error { return node.Errorf(node.Invalid, format, args...) }

// writeError is the one place that writes HTTP errors. Causes and unexpected errors go to the log,
// never to the client.
func writeError(w http.ResponseWriter, log *slog.Logger, err error) {
	var (
		status  int
		body    any
		flat    *flatError
		refusal *door.Refusal
		abort   *abortError
		problem *node.Err
	)
	switch {
	case errors.As(err, &flat):
		status, body = flat.status, struct {
			FaultCode   string `json:"faultcode"`
			FaultString string `json:"faultstring"`
		}{"Client", flat.text}
	case errors.As(err, &refusal):
		if refusal.Challenge != "" {
			w.Header().Set("WWW-Authenticate", refusal.Challenge)
		}
		if refusal.Wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(refusal.Wait))
		}
		status, body = refusal.Status, map[string]any{"error": map[string]any{"message": refusal.Text, "code": refusal.Status}}
	case errors.As(err, &abort):
		status, body = abort.Code, wrapped(abort.framework)
	case errors.As(err, &problem):
		status, body = statusOf[problem.Kind], wrapped(faultOf(statusOf[problem.Kind], problem.Msg))
	case errors.Is(err, node.ErrLeaseLost):
		status = http.StatusConflict
		body = wrapped(faultOf(status, "The node was taken over by another conductor while this request ran, please retry."))
	default:
		status = http.StatusInternalServerError
		body = wrapped(faultOf(status, "The service could not handle the request; its log says why, under the request id of this answer."))
	}
	if status >= http.StatusInternalServerError {
		log.Error("request failed", "error", err, "status", status)
	}
	writeJSON(w, status, body)
}

func faultOf(status int, text string) fault {
	code := "Client"
	if status >= http.StatusInternalServerError {
		code = "Server"
	}
	return fault{FaultCode: code, FaultString: text}
}

// wrapped encodes an error twice, as every client of the API expects: a string of JSON in JSON.
func wrapped(inner any) any {
	return map[string]string{"error_message": string(compact(inner))}
}

// compact encodes without HTML escapes, which would make texts unreadable.
func compact(v any) []byte {
	b, err := payload.Marshal(v)
	if err != nil {
		b, _ = json.Marshal(fault{FaultCode: "Server", FaultString: "an answer could not be encoded"})
	}
	return b
}

// writeJSON encodes an answer whole before its status is sent, so that no success turns out to hold an error.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := payload.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, compact(wrapped(faultOf(http.StatusInternalServerError, "The answer could not be encoded.")))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client is gone; there is nobody to tell
}
