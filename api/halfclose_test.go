package api

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// halfClosed sends a request, shuts the sending side down at once and reads the answer.
func halfClosed(t *testing.T, address, method, path, body string) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nX-OpenStack-Ironic-API-Version: 1.90\r\n"+
		"Content-Length: %d\r\nContent-Type: application/json\r\n\r\n%s",
		method, path, address, len(body), body)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(text)
}

// A client that shuts its sending side down, as RFC 9293 allows, reads the answer that any other client reads: never an
// empty success in place of a refusal, and a success only for what was done.
func TestAClientThatStopsSendingReadsTheRealAnswer(t *testing.T) {
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, Name: "taken", State: node.Available})
	people, machines := httptest.NewServer(s.api.Handler()), httptest.NewServer(s.api.MachineHandler())
	defer people.Close()
	defer machines.Close()
	for _, tt := range []struct {
		server             *httptest.Server
		method, path, body string
		status             int
	}{
		{people, "GET", "/v1/nodes/" + nodeB, "", 404},
		{people, "DELETE", "/v1/nodes/" + nodeB, "", 404},
		{people, "GET", "/v1/nowhere", "", 404},
		{people, "PUT", "/v1/nodes", "{}", 405},
		{people, "POST", "/v1/nodes", `{"driver":"fake-hardware","name":"taken"}`, 409},
		{people, "POST", "/v1/nodes", `{"driver":"nothing-known"}`, 400},
		{people, "PUT", "/v1/nodes/taken/states/provision", `{"target":"rescue","rescue_password":"x"}`, 400},
		{people, "GET", "/v1/nodes/taken", "", 200},
		{machines, "GET", "/v1/lookup?node_uuid=" + nodeB, "", 404},
		{machines, "GET", "/v1/nodes", "", 404},
		{machines, "POST", "/v1/heartbeat/" + nodeB, `{"callback_url":"https://192.0.2.1:9999","agent_version":"1","agent_token":"x"}`, 404},
		{machines, "POST", "/v1/continue_inspection", `{"inventory":{}}`, 404},
	} {
		for try := range 40 {
			status, body := halfClosed(t, strings.TrimPrefix(tt.server.URL, "http://"), tt.method, tt.path, tt.body)
			if status != tt.status || body == "" {
				t.Errorf("%s %s, try %d: %d %q, want %d and a text", tt.method, tt.path, try, status, body, tt.status)
				break
			}
		}
	}
	for try := range 40 {
		status, body := halfClosed(t, strings.TrimPrefix(people.URL, "http://"), "POST", "/v1/nodes",
			fmt.Sprintf(`{"driver":"fake-hardware","name":"n%d"}`, try))
		if _, err := s.db.Node(t.Context(), fmt.Sprintf("n%d", try)); status != 201 || err != nil {
			t.Fatalf("try %d: %d %s; in the store: %v", try, status, body, err)
		}
	}
}

// An answer that cannot be encoded is no success.
func TestAnAnswerThatCannotBeEncodedIsAFailure(t *testing.T) {
	rec := httptest.NewRecorder()
	writeJSON(rec, http.StatusOK, map[string]any{"size": math.Inf(1)})
	if got := faultstring(t, rec.Body.String()); rec.Code != 500 || got != "The answer could not be encoded." {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
