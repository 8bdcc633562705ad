package agent

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/wire"
)

// maxBody bounds a command: the largest carries a config drive of 64 MiB, gzipped, in base64.
const maxBody = 96 << 20

// server is the agent's HTTP API.
type server struct {
	commands *commands
	token    string // every command must carry it; "" is open, for services older than tokens
	started  time.Time
	baseURL  string
}

// ServeHTTP answers the routes of the protocol, with and without /v1.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := s.route(r)
	if err != nil {
		code := http.StatusInternalServerError
		if f := (*steps.Fault)(nil); errors.As(err, &f) {
			code = f.Code
		}
		side := "Client"
		if code >= 500 {
			side = "Server"
		}
		answer(w, code, wire.Fault{FaultCode: side, FaultString: err.Error()})
		return
	}
	answer(w, http.StatusOK, out)
}

// answer encodes before it says how it went: what cannot be encoded is no empty success.
func answer(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		code, text = http.StatusInternalServerError, []byte(`{"faultcode":"Server","faultstring":"The answer could not be encoded."}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n')) // the caller has gone if this fails; there is nobody to tell
}

func (s *server) route(r *http.Request) (any, error) {
	path := "/" + strings.Trim(r.URL.Path, "/")
	if path == "/" {
		return s.root(), onlyGet(r)
	}
	if path == "/v1" {
		return s.v1(), onlyGet(r)
	}
	path = strings.TrimPrefix(path, "/v1")
	id, isCommand := strings.CutPrefix(path, "/commands/")
	switch {
	case path == "/status":
		return wire.AgentStatus{StartedAt: s.started, Version: Version}, onlyGet(r)
	case path != "/commands" && !isCommand:
		return nil, &steps.Fault{Code: http.StatusNotFound, Text: "Not Found: " + r.URL.Path}
	}
	if err := s.checkToken(r); err != nil {
		return nil, err
	}
	switch {
	case isCommand:
		return s.showCommand(r, id)
	case r.Method == http.MethodPost:
		return s.runCommand(r)
	default:
		return s.commands.all(), onlyGet(r)
	}
}

func onlyGet(r *http.Request) error {
	if r.Method != http.MethodGet {
		return &steps.Fault{Code: http.StatusMethodNotAllowed, Text: fmt.Sprintf("Method %s is not allowed here; GET is", r.Method)}
	}
	return nil
}

func (s *server) checkToken(r *http.Request) error {
	given := r.URL.Query().Get("agent_token")
	if s.token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(s.token)) != 1 {
		return &steps.Fault{Code: http.StatusUnauthorized, Text: "Token invalid."}
	}
	return nil
}

type link struct {
	Href string `json:"href"`
	Rel  string `json:"rel"`
}

type apiVersion struct {
	ID    string `json:"id"`
	Links []link `json:"links"`
}

func (s *server) root() any {
	v1 := apiVersion{ID: "v1", Links: []link{{s.baseURL + "/v1/", "self"}}}
	return map[string]any{
		"name":            "OpenStack Ironic Python Agent API",
		"description":     "Billet's agent: it does to this machine what the Bare Metal service asks for.",
		"versions":        []apiVersion{v1},
		"default_version": v1,
	}
}

func (s *server) v1() any {
	to := func(name string) []link {
		return []link{{s.baseURL + "/v1/" + name + "/", "self"}, {s.baseURL + "/" + name + "/", "bookmark"}}
	}
	return map[string]any{
		"id": "v1", "links": []link{{s.baseURL + "/v1/", "self"}},
		"commands": to("commands"), "status": to("status"),
	}
}

func (s *server) showCommand(r *http.Request, id string) (any, error) {
	if err := onlyGet(r); err != nil {
		return nil, err
	}
	record := s.commands.find(id)
	if record == nil {
		return nil, &steps.Fault{Code: http.StatusNotFound, Text: fmt.Sprintf("Command with id %s not found.", id)}
	}
	return s.await(r, record)
}

func (s *server) runCommand(r *http.Request) (any, error) {
	var body struct {
		Name   *string       `json:"name"`
		Params *steps.Params `json:"params"`
	}
	err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(&body)
	if err != nil {
		return nil, &steps.Fault{Code: http.StatusBadRequest, Text: "The body is not JSON: " + err.Error()}
	}
	if body.Name == nil || body.Params == nil {
		return nil, &steps.Fault{Code: http.StatusBadRequest, Text: "Missing command 'name' or 'params': both are required"}
	}
	// A synchronous command must not end because its caller hung up: nobody could tell what it did.
	record, err := s.commands.start(context.WithoutCancel(r.Context()), *body.Name, *body.Params)
	if err != nil {
		return nil, err
	}
	return s.await(r, record)
}

// await returns a command's result, when ?wait=true only once it has ended.
func (s *server) await(r *http.Request, record *record) (any, error) {
	if strings.EqualFold(r.URL.Query().Get("wait"), "true") {
		select {
		case <-record.ended:
		case <-r.Context().Done():
		}
	}
	return s.commands.result(record), nil
}
