package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/wire"
)

const testToken = "0123456789012345678901234567890123456789012"

// testServer serves a table with commands of every kind; block holds "slow" until it is closed.
func testServer(t *testing.T) (url string, block chan struct{}, done chan struct{}) {
	t.Helper()
	block, done = make(chan struct{}), make(chan struct{}, 10)
	cmds := &commands{ctx: t.Context(), log: noLog, done: func() { done <- struct{}{} }, table: extensions{
		"test": {
			"text": {run: func(context.Context, steps.Params) (any, error) { return "hello", nil }},
			"null": {run: func(context.Context, steps.Params) (any, error) { return nil, nil }},
			"echo": {run: func(_ context.Context, p steps.Params) (any, error) {
				var text string
				err := p.Decode("text", &text)
				return map[string]string{"text": text}, err
			}},
			"fail":     {run: func(context.Context, steps.Params) (any, error) { return nil, errors.New("no disk matches") }},
			"panic":    {async: true, run: func(context.Context, steps.Params) (any, error) { panic("bug") }},
			"mismatch": {async: true, run: func(context.Context, steps.Params) (any, error) { return nil, &mismatch{"a", "b"} }},
			"slow": {async: true, run: func(ctx context.Context, _ steps.Params) (any, error) {
				select {
				case <-block:
				case <-ctx.Done():
				}
				return "done it", nil
			}},
		},
	}}
	s := httptest.NewServer(&server{commands: cmds, token: testToken, started: time.Unix(1e9, 0).UTC(), baseURL: "https://192.0.2.5:9999"})
	t.Cleanup(func() { s.Close(); cmds.wg.Wait() })
	return s.URL, block, done
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// ask sends a request and returns status and body, UUIDs made UUID.
func ask(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var v any
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %s", ct)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, uuids.ReplaceAllString(string(out), "UUID")
}

func TestCommandAPI(t *testing.T) {
	url, _, _ := testServer(t)
	token := "?agent_token=" + testToken
	long := strings.Repeat("x", 100)
	for _, tt := range []struct {
		name, method, path, body string
		code                     int
		want                     string
	}{
		{"root", "GET", "/", "", 200, `{"default_version":{"id":"v1","links":[{"href":"https://192.0.2.5:9999/v1/","rel":"self"}]},` +
			`"description":"Billet's agent: it does to this machine what the Bare Metal service asks for.","name":"OpenStack Ironic ` +
			`Python Agent API","versions":[{"id":"v1","links":[{"href":"https://192.0.2.5:9999/v1/","rel":"self"}]}]}`},
		{"v1", "GET", "/v1/", "", 200, `{"commands":[{"href":"https://192.0.2.5:9999/v1/commands/","rel":"self"},` +
			`{"href":"https://192.0.2.5:9999/commands/","rel":"bookmark"}],"id":"v1","links":[{"href":"https://192.0.2.5:9999/v1/",` +
			`"rel":"self"}],"status":[{"href":"https://192.0.2.5:9999/v1/status/","rel":"self"},` +
			`{"href":"https://192.0.2.5:9999/status/","rel":"bookmark"}]}`},
		{"status needs no token", "GET", "/v1/status", "", 200, `{"started_at":"2001-09-09T01:46:40Z","version":"` + Version + `"}`},
		{"no commands yet", "GET", "/v1/commands/" + token, "", 200, `{"commands":[]}`},
		{"no token", "GET", "/v1/commands/", "", 401, `{"faultcode":"Client","faultstring":"Token invalid."}`},
		{"wrong token", "POST", "/v1/commands/?wait=true&agent_token=" + long, "{}", 401,
			`{"faultcode":"Client","faultstring":"Token invalid."}`},
		{"wrong token for one", "GET", "/v1/commands/x?agent_token=y", "", 401, `{"faultcode":"Client","faultstring":"Token invalid."}`},
		{"unknown page", "GET", "/v1/nodes", "", 404, `{"faultcode":"Client","faultstring":"Not Found: /v1/nodes"}`},
		{"wrong method", "DELETE", "/v1/commands/" + token, "", 405,
			`{"faultcode":"Client","faultstring":"Method DELETE is not allowed here; GET is"}`},
		{"text", "POST", "/v1/commands/" + token + "&wait=true", `{"name":"test.text","params":{}}`, 200,
			`{"command_error":null,"command_name":"text","command_result":{"result":"hello"},"command_status":"SUCCEEDED","id":"UUID"}`},
		{"without v1", "POST", "/commands" + token + "&wait=true", `{"name":"test.null","params":{}}`, 200,
			`{"command_error":null,"command_name":"null","command_result":null,"command_status":"SUCCEEDED","id":"UUID"}`},
		{"parameters", "POST", "/v1/commands/" + token + "&wait=false", `{"name":"test.echo","params":{"text":"hi","other":[1]}}`, 200,
			`{"command_error":null,"command_name":"echo","command_result":{"text":"hi"},"command_status":"SUCCEEDED","id":"UUID"}`},
		{"a failure is 200", "POST", "/v1/commands/" + token, `{"name":"test.fail","params":{}}`, 200,
			`{"command_error":{"code":500,"details":"no disk matches","message":"Command execution failed: fail",` +
				`"type":"CommandExecutionError"},"command_name":"fail","command_result":null,"command_status":"FAILED","id":"UUID"}`},
		{"wrong parameter", "POST", "/v1/commands/" + token, `{"name":"test.echo","params":{"text":5}}`, 200,
			`{"command_error":{"code":400,"details":"Parameter text is not what is expected: json: cannot unmarshal number into Go ` +
				`value of type string","message":"Command execution failed: echo","type":"InvalidCommandParamsError"},` +
				`"command_name":"echo","command_result":null,"command_status":"FAILED","id":"UUID"}`},
		{"versions differ", "POST", "/v1/commands/" + token + "&wait=true", `{"name":"test.mismatch","params":{}}`, 200,
			`{"command_error":{"code":409,"details":"the steps were planned with hardware manager versions a, but this agent has b",` +
				`"message":"Command execution failed: mismatch","type":"VersionMismatch"},"command_name":"mismatch","command_result":null,` +
				`"command_status":"CLEAN_VERSION_MISMATCH","id":"UUID"}`},
		{"no params", "POST", "/v1/commands/" + token, `{"name":"test.text"}`, 400,
			`{"faultcode":"Client","faultstring":"Missing command 'name' or 'params': both are required"}`},
		{"no JSON", "POST", "/v1/commands/" + token, `hello`, 400,
			`{"faultcode":"Client","faultstring":"The body is not JSON: invalid character 'h' looking for beginning of value"}`},
		{"no extension", "POST", "/v1/commands/" + token, `{"name":"text","params":{}}`, 400,
			`{"faultcode":"Client","faultstring":"Invalid command: text: a command is written extension.command"}`},
		{"unknown extension", "POST", "/v1/commands/" + token, `{"name":"iscsi.start","params":{}}`, 404,
			`{"faultcode":"Client","faultstring":"Extension iscsi could not be found"}`},
		{"unknown command", "POST", "/v1/commands/" + token, `{"name":"test.none","params":{}}`, 400,
			`{"faultcode":"Client","faultstring":"Unknown command: test.none"}`},
		{"unknown id", "GET", "/v1/commands/x" + token, "", 404, `{"faultcode":"Client","faultstring":"Command with id x not found."}`},
	} {
		code, got := ask(t, tt.method, url+tt.path, tt.body)
		if code != tt.code || got != tt.want {
			t.Errorf("%s: %d\n got %s\nwant %s", tt.name, code, got, tt.want)
		}
	}
	var names []string
	_, all := ask(t, "GET", url+"/v1/commands/"+token, "")
	var list wire.Commands
	if err := json.Unmarshal([]byte(all), &list); err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Commands {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "text null echo fail echo mismatch" {
		t.Errorf("the commands since boot are %s", got)
	}
}

func TestOneCommandAtATime(t *testing.T) {
	url, block, done := testServer(t)
	base := url + "/v1/commands/"
	post := func(body, query string) (int, string) {
		return ask(t, "POST", base+"?agent_token="+testToken+query, body)
	}
	code, got := post(`{"name":"test.slow","params":{}}`, "&wait=false")
	if want := `{"command_error":null,"command_name":"slow","command_result":null,"command_status":"RUNNING",` +
		`"id":"UUID"}`; code != 200 || got != want {
		t.Errorf("%d %s", code, got)
	}
	for _, other := range []string{"slow", "text"} {
		code, got = post(`{"name":"test.`+other+`","params":{}}`, "")
		if want := `{"faultcode":"Client","faultstring":"Agent is busy: executing command slow"}`; code != 409 || got != want {
			t.Errorf("%d %s", code, got)
		}
	}
	var list wire.Commands
	resp, err := http.Get(base + "?agent_token=" + testToken)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || len(list.Commands) != 1 {
		t.Fatal(list, err)
	}
	close(block)
	_, got = ask(t, "GET", base+list.Commands[0].ID+"?wait=true&agent_token="+testToken, "")
	if want := `{"command_error":null,"command_name":"slow","command_result":{"result":"slow: done it"},` +
		`"command_status":"SUCCEEDED","id":"UUID"}`; got != want {
		t.Error(got)
	}
	<-done // a heartbeat is forced
	code, got = post(`{"name":"test.panic","params":{}}`, "&wait=true")
	const want = `"details":"the agent has a fault: a panic with a value of type string`
	if code != 200 || !strings.Contains(got, want) || !strings.Contains(got, "server_test.go") {
		t.Errorf("%d %s", code, got)
	}
}

func TestOpenWithoutToken(t *testing.T) {
	s := &server{commands: &commands{log: noLog}}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/v1/commands/", nil))
	if w.Code != 200 {
		t.Error(w.Code)
	}
}
