package agent

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
)

// A caller that shuts its sending side down reads what any other reads: no refusal becomes a success on the way.
func TestACallerThatStopsSendingReadsTheRealAnswer(t *testing.T) {
	url, _, _ := testServer(t)
	for _, tt := range []struct {
		method, path, body string
		code               int
		holds              string
	}{
		{"GET", "/v1/commands/", "", 401, "Token invalid."},
		{"GET", "/v1/nodes", "", 404, "Not Found"},
		{"POST", "/v1/commands/?wait=true&agent_token=" + testToken, `{"name":"test.none","params":{}}`, 400, "Unknown command"},
		{"POST", "/v1/commands/?wait=true&agent_token=" + testToken, `{"name":"test.fail","params":{}}`, 200, `"FAILED"`},
		{"POST", "/v1/commands/?wait=true&agent_token=" + testToken, `{"name":"test.text","params":{}}`, 200, `"SUCCEEDED"`},
	} {
		for try := range 40 {
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: agent\r\nContent-Length: %d\r\n\r\n%s", tt.method, tt.path, len(tt.body), tt.body)
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			conn.Close()
			if err != nil || resp.StatusCode != tt.code || !strings.Contains(string(text), tt.holds) {
				t.Fatalf("%s %s, try %d: %d %s %v, want %d with %s", tt.method, tt.path, try, resp.StatusCode, text, err, tt.code, tt.holds)
			}
		}
	}
}

func TestAnAnswerThatCannotBeEncodedIsAFailure(t *testing.T) {
	rec := httptest.NewRecorder()
	answer(rec, http.StatusOK, math.NaN())
	if rec.Code != 500 || !strings.Contains(rec.Body.String(), "could not be encoded") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
