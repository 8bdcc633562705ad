package steps

import (
	"encoding/json"
	"fmt"
	"net/http"
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

// Fault is an HTTP error of the agent's API.
type Fault struct {
	Code int
	Text string
}

func (f *Fault) Error() string { return f.Text }
