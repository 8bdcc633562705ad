package web

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/fetch"
)

// raw sends one request line by line, shuts the sending side down and reads the answer to its end.
func raw(t *testing.T, server *httptest.Server, lines string) (*http.Response, []byte, error) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, lines)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// Firmware that shuts its sending side down after the request gets no success that is none; what it takes for a whole
// kernel is one, also over HTTP/1.0, where the end of the connection is the end of a file without a length.
func TestNoWrongSuccessForFirmware(t *testing.T) {
	kernel := content(300_000)
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush() // no length
		_, _ = w.Write(kernel)
	}))
	defer far.Close()
	h := &Handler{
		Lookup:  fakeLookup{map[string]*boot.Record{farSecret: {NodeUUID: "node-1", Secret: farSecret, Kernel: far.URL}}},
		BaseURL: "http://10.99.0.1:8080", MACOf: func(netip.Addr) string { return mac }, Trace: &fakeTrace{},
		Gate: fetch.Loopback(), Log: slog.New(slog.DiscardHandler),
	}
	near := httptest.NewServer(h)
	defer near.Close()
	for try := range 60 {
		for path, status := range map[string]int{
			boot.KernelPath(ended): 404, "/boot/nothing": 404, boot.ScriptPath: 400, boot.ScriptPath + "?mac=" + mac: 200,
		} {
			resp, body, err := raw(t, near, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			if err != nil || resp.StatusCode != status || len(body) == 0 {
				t.Fatalf("%s, try %d: %d %q %v, want %d", path, try, resp.StatusCode, body, err, status)
			}
		}
		resp, body, err := raw(t, near, "GET "+boot.KernelPath(farSecret)+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp.StatusCode == 200 && err == nil && len(body) != len(kernel) {
			t.Fatalf("try %d: %d bytes are taken for all of the kernel", try, len(body))
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(near.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", boot.KernelPath(farSecret))
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 502 ") || !strings.Contains(string(answer), "does not say how long it is") {
		t.Errorf("HTTP/1.0: %d bytes, %.200q %v", len(answer), answer, err)
	}
}
