package agent

import (
	"archive/tar"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/wire"
)

// unpack reads logs as a service would.
func unpack(t testing.TB, text string) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = string(b)
	}
}

// A service may be older than the agent: what it does not know is not sent.
func TestOlderServices(t *testing.T) {
	for _, tt := range []struct {
		root, lookup, heartbeat, body string
	}{
		{`{"default_version":{"version":"1.95"}}`, "1.62", "1.68",
			`{"callback_url":"u","agent_token":"t","agent_version":"v","agent_verify_ca":"c"}`},
		{`{"default_version":{"version":"1.65"}}`, "1.62", "1.65", `{"callback_url":"u","agent_token":"t","agent_version":"v"}`},
		{`{"default_version":{"version":"1.40"}}`, "1.40", "1.40", `{"callback_url":"u","agent_version":"v"}`},
		{`{}`, "1.31", "1.31", `{"callback_url":"u"}`},
	} {
		var got []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			got = append(got, r.Header.Get("X-OpenStack-Ironic-API-Version")+r.Header.Get("X-OpenStack-Request-ID")+string(b))
			if r.URL.Path == "/" {
				fmt.Fprint(w, tt.root)
			} else {
				fmt.Fprint(w, `{"node":{"uuid":"n"}}`)
			}
		}))
		c := &client{http: s.Client(), urls: []string{s.URL}, log: noLog, requestID: "req-1"}
		if _, err := c.negotiate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.lookup(t.Context(), nil, "n"); err != nil {
			t.Fatal(err)
		}
		if err := c.heartbeat(t.Context(), "n",
			wire.Heartbeat{CallbackURL: "u", AgentToken: "t", AgentVersion: "v", AgentVerifyCA: "c"}); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("[req-1 %sreq-1 %sreq-1%s]", tt.lookup, tt.heartbeat, tt.body)
		if fmt.Sprint(got) != want {
			t.Errorf("%s\n got %s\nwant %s", tt.root, got, want)
		}
		s.Close()
	}
}

func TestWorkingURLComesFirst(t *testing.T) {
	c := &client{urls: []string{"a", "b", "c"}}
	c.prefer("c")
	if got := fmt.Sprint(c.order()); got != "[c a b]" {
		t.Error(got)
	}
	c.prefer("gone")
	if got := fmt.Sprint(c.order()); got != "[c a b]" {
		t.Error(got)
	}
}

func TestFaultText(t *testing.T) {
	for body, want := range map[string]string{
		`{"error_message":"{\"faultstring\":\"Node is locked.\",\"faultcode\":\"Client\"}"}`: "Node is locked.",
		`{"error_message":{"faultstring":"Not found."}}`:                                     "Not found.",
		`{"faultstring":"plain"}`:    "plain",
		"<html>Bad gateway</html>\n": "<html>Bad gateway</html>",
		strings.Repeat("x", 400):     strings.Repeat("x", 300),
		"":                           "",
	} {
		if got := faultText([]byte(body)); got != want {
			t.Errorf("%s gave %q", body, got)
		}
	}
}

func TestLookupAnswersThatAreNoNode(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:    "GET /v1/lookup: the service answered 200: the answer names no node",
		`null!`: "GET /v1/lookup: the service answered 200: its body is not the JSON expected: invalid character '!' after top-level value",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		c := &client{http: s.Client(), urls: []string{s.URL}, log: noLog}
		if _, err := c.lookup(t.Context(), []string{"m"}, ""); err == nil || err.Error() != want {
			t.Errorf("%v", err)
		}
		s.Close()
	}
}

func TestLookupWaits(t *testing.T) {
	locked, missing, away := &statusError{code: 409}, &statusError{code: 404}, errors.New("connection refused")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{locked, "1s 2s 4s 8s 16s 30s 30s 30s"},
		{missing, "1s 2s 4s 8s 16s 32s 1m0s 1m0s"},
		{away, "1s 2s 4s 8s 10s 10s 10s 10s"},
	} {
		var got []string
		for i := range 8 {
			got = append(got, lookupWait(i, time.Second, tt.err).String())
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%v: %s", tt.err, got)
		}
	}
}

func TestClockIsSet(t *testing.T) {
	for date, want := range map[string]int{"Mon, 01 Jan 2001 00:00:00 GMT": 1, time.Now().UTC().Format(http.TimeFormat): 0, "": 0} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = []string{date}
			fmt.Fprint(w, `{"default_version":{"version":"1.95"}}`)
		}))
		m := fakeMachine{did: make(chan string, 10)}
		a := &Agent{Config: Config{APIURLs: []string{s.URL}}, Machine: m, Log: noLog}
		a.prepare()
		if err := a.negotiate(t.Context()); err != nil {
			t.Error(err)
		}
		if len(m.did) != want {
			t.Errorf("at %s the clock was set %d times", date, len(m.did))
		}
		s.Close()
	}
}

func TestLogBufferKeepsTheLatest(t *testing.T) {
	b := &LogBuffer{}
	for i := range 100000 {
		fmt.Fprintf(b, "line %d\n", i)
	}
	got := string(b.Bytes())
	if len(got) > 2*logKept || !strings.HasPrefix(got, "line ") || !strings.HasSuffix(got, "line 99999\n") {
		t.Errorf("%d bytes from %.20q", len(got), got)
	}
}

func FuzzFaultText(f *testing.F) {
	f.Add([]byte(`{"error_message":"{\"faultstring\":\"x\"}"}`))
	f.Add([]byte(`{"error_message":5}`))
	f.Fuzz(func(t *testing.T, body []byte) { faultText(body) })
}
