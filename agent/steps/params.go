package steps

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
)

// Params are a command's parameters, not decoded yet.
type Params map[string]json.RawMessage

// Decode reads one parameter into out; one that is missing or null leaves out as it is.
func (p Params) Decode(key string, out any) error {
	if len(p[key]) == 0 {
		return nil
	}
	if err := json.Unmarshal(p[key], out); err != nil {
		return &Fault{http.StatusBadRequest, fmt.Sprintf("Parameter %s is not what is expected: %v", key, err)}
	}
	return nil
}

// Panicked is the error of a step that panicked with p. A panic's own words may hold a password, so only those of the Go runtime
// are told, and else the type of p.
func Panicked(p any) error {
	if e, ok := p.(runtime.Error); ok {
		return fmt.Errorf("the agent has a fault: %w", e)
	}
	return fmt.Errorf("the agent has a fault: a panic with a value of type %T", p)
}

// Fault is an HTTP error of the agent's API.
type Fault struct {
	Code int
	Text string
}

func (f *Fault) Error() string { return f.Text }
