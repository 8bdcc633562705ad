package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
)

// allocated is how many bytes f has allocated, garbage included.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// A stranger's report costs next to nothing when no node waits for one, and when one does, no more than reading it: its
// values are counted before they are decoded, which takes many times the memory of the body.
func TestAReportCostsNoMoreThanItsBody(t *testing.T) {
	body := `{"inventory":[` + strings.Repeat("{},", 5<<20) + `{}]}`
	for _, tt := range []struct {
		name    string
		waiting node.State
		status  int
		most    float64 // bytes allocated, a byte of the body
	}{
		{"nobody waits", node.Available, 404, 0.1},
		{"a node waits", node.InspectWait, 400, 8},
	} {
		s := newStack(t)
		s.put(&node.Node{UUID: nodeA, State: tt.waiting})
		var resp *http.Response
		var answer string
		r := httptest.NewRequest("POST", "http://127.0.0.1/v1/continue_inspection", strings.NewReader(body))
		rec := httptest.NewRecorder()
		used := allocated(func() {
			s.api.MachineHandler().ServeHTTP(rec, r)
			resp, answer = rec.Result(), rec.Body.String()
		})
		if ratio := float64(used) / float64(len(body)); resp.StatusCode != tt.status || ratio > tt.most {
			t.Errorf("%s: %d %.200s, %.2f bytes for each of the body's, at most %v are right", tt.name, resp.StatusCode, answer, ratio, tt.most)
		}
	}
	s := newStack(t)
	s.put(&node.Node{UUID: nodeA, State: node.InspectWait})
	if _, answer := send(s.api.MachineHandler(), "", "POST", "/v1/continue_inspection", body); answer !=
		`{"faultcode":"Client","faultstring":"The JSON body has more than the 100000 values allowed."}` {
		t.Errorf("answered %.200s", answer)
	}
}

// A body that comes for ever, a byte at a time, is given up and its place is free again; one that comes slowly but faster
// than the pace is taken.
func TestABodyMayNotBeSentForEver(t *testing.T) {
	s := newServer(t)
	s.api.pace = door.Pace{Grace: 400 * time.Millisecond, Rate: 64}
	srv := httptest.NewServer(s.api.Handler())
	defer srv.Close()
	post := func(size int, send func(conn net.Conn)) *http.Response {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/heartbeat/%s HTTP/1.1\r\nHost: localhost\r\n"+
			"X-OpenStack-Ironic-API-Version: 1.68\r\nContent-Length: %d\r\n\r\n", nodeA, size)
		go send(conn)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	var sent int
	resp := post(100_000, func(conn net.Conn) {
		for ; sent < 100_000; sent++ {
			if _, err := io.WriteString(conn, " "); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond) // 50 bytes a second
		}
	})
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("a body for ever: %d", resp.StatusCode)
	}
	s.api.pace = door.Pace{Grace: 20 * time.Second, Rate: 64} // a busy machine is no slow client
	whole := `{"callback_url":"https://192.0.2.5:9999","agent_version":"1","agent_token":"t"}`
	resp = post(len(whole), func(conn net.Conn) {
		for _, b := range []byte(whole) {
			_, _ = conn.Write([]byte{b})
			time.Sleep(5 * time.Millisecond)
		}
	})
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("a slow body: %d", resp.StatusCode)
	}
	if work, wait := s.api.calls.Busy(); work != 0 || wait != 0 {
		t.Errorf("%d places are taken, %d wait", work, wait)
	}
}

// So many machines are heard at once, so many of one address; the others are told to come again, and people are not
// kept out by them.
func TestMachinesHaveSoManyPlaces(t *testing.T) {
	s := newServer(t)
	s.api.reports = door.NewGate(2, 2, 4, 50*time.Millisecond)
	srv := httptest.NewServer(s.api.MachineHandler())
	defer srv.Close()
	open := func() net.Conn {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "POST /v1/continue_inspection HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{")
		return conn
	}
	busy := func() int { n, _ := s.api.reports.Busy(); return n }
	first, second := open(), open()
	for deadline := time.Now().Add(20 * time.Second); busy() < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	third := open()
	resp, err := http.ReadResponse(bufio.NewReader(third), nil)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a third of one address: %v %v", resp, err)
	}
	if resp, body := s.ask("1.90", "GET", "/v1/nodes", ""); resp.StatusCode != 200 {
		t.Errorf("a person: %d %s", resp.StatusCode, body)
	}
	for _, conn := range []net.Conn{first, second} {
		_, _ = io.WriteString(conn, "}")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 400 { // an empty report
			t.Errorf("one that had a place: %v %v", resp, err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); busy() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if _, ok := s.api.reports.Enter(t.Context(), "127.0.0.1"); !ok {
		t.Error("the places are not free again")
	}
}

// A machine with more interfaces than machines have is refused before anybody looks for them, whichever way it says so.
func TestAMachineHasSoManyInterfaces(t *testing.T) {
	s := newServer(t)
	many := strings.Repeat(`{"mac_address":"52:54:00:00:00:77"},`, maxAddresses) + `{"mac_address":"52:54:00:00:00:78"}`
	const want = "A machine may have at most 512 network interfaces here, not 513."
	for _, tt := range []struct{ method, path, body string }{
		{"GET", "/v1/lookup?addresses=" + strings.Repeat("52:54:00:00:00:77,", maxAddresses) + "52:54:00:00:00:78", ""},
		{"POST", "/v1/continue_inspection", `{"inventory":{"interfaces":[` + many + `]}}`},
		{"POST", "/v1/drivers/ipmi/vendor_passthru/lookup", `{"inventory":{"interfaces":[` + many + `]}}`},
	} {
		resp, body := send(s.api.MachineHandler(), "1.90", tt.method, tt.path, tt.body)
		if resp.StatusCode != 400 || faultstring(t, body) != want || len(s.calls) > 0 {
			t.Errorf("%s %.40s: %d %s", tt.method, tt.path, resp.StatusCode, body)
		}
	}
}
