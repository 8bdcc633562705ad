package fetch

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

func prefixes(t *testing.T, texts ...string) (list []netip.Prefix) {
	t.Helper()
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func TestAddresses(t *testing.T) {
	const loop, link, multi, form = "this machine itself (loopback)", "a link-local address", "a multicast or broadcast address",
		"is not of the form"
	tests := []struct{ url, want string }{
		{"http://10.0.0.1/a", ""},
		{"https://192.168.1.1:8443/a", ""},
		{"http://images.example.org/a", ""},
		{"http://[fd00::1]/a", ""},
		{"http://[2001:db8::1]/a", ""},
		{"http://127.0.0.1/a", loop},
		{"http://127.9.9.9:6385/v1/nodes", loop},
		{"http://localhost/a", loop},
		{"http://LOCALHOST./a", loop},
		{"http://x.localhost/a", loop},
		{"http://0.0.0.0/a", loop},
		{"http://0.1.2.3/a", loop},
		{"http://[::]/a", loop},
		{"http://[::1]/a", loop},
		{"http://[::ffff:127.0.0.1]/a", loop},
		{"http://[::127.0.0.1]/a", loop},
		{"http://[64:ff9b::7f00:1]/a", loop},
		{"http://[2002:7f00:1::]/a", loop},
		{"http://169.254.169.254/latest/meta-data/", link},
		{"http://[fe80::1]/a", link},
		{"http://[fe80::1%25eth0]/a", link},
		{"http://[64:ff9b::a9fe:a9fe]/a", link},
		{"http://224.0.0.1/a", multi},
		{"http://255.255.255.255/a", multi},
		{"http://[ff02::1]/a", multi},
		{"http:///a", form},
		{"http://:80/a", form},
		{"ftp://h/a", form},
		{"gopher://h/a", form},
		{"file:///etc/shadow", form},
		{"data:,x", form},
		{"//h/a", form},
		{"/a", form},
		{"http://us:s3cret%zz@h/", "cannot be read"},
		{"http://us:s3cret/x@h:y/", "cannot be read"},
	}
	for _, tt := range tests {
		for name, g := range map[string]*Gate{"nil": nil, "zero": {}} {
			err := g.CheckURL(tt.url)
			if (err == nil) != (tt.want == "") || !strings.Contains(errText(err), tt.want) || strings.Contains(errText(err), "s3cret") {
				t.Errorf("%s gate: %s: %v, want %q", name, tt.url, err, tt.want)
			}
		}
	}
	g := &Gate{
		Near: []Place{{Net: netip.MustParsePrefix("127.0.0.0/24")}, {Net: netip.MustParsePrefix("127.1.0.1/32"), Port: 6385},
			{Net: netip.MustParsePrefix("fe80::/10")}},
		Ports: []uint16{6385, 6386}, Denied: prefixes(t, "10.0.0.0/8", "127.0.0.9/32"),
	}
	for raw, want := range map[string]string{
		"http://127.0.0.1/a": "", "http://localhost:8080/": "", "http://[fe80::1]/": "",
		"http://127.1.0.1:6385/": "", "http://192.168.0.1:6385/": "",
		"http://127.0.0.1:6385/v1/nodes": "this service itself", "http://127.0.0.1:6386/": "this service itself",
		"http://127.1.0.1/": loop, "http://127.0.1.1/": loop,
		"http://10.1.1.1/": "a network that is not asked", "http://127.0.0.9/": "a network that is not asked",
		"http://[::ffff:10.1.1.1]/": "a network that is not asked", "http://[64:ff9b::a01:101]/": "a network that is not asked",
	} {
		if err := g.CheckURL(raw); (err == nil) != (want == "") || !strings.Contains(errText(err), want) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
}

// TestOwnListener: a listener on an address of this machine that is not its loopback is this service too.
func TestOwnListener(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{Ports: []uint16{6385}}
	own := 0
	for _, a := range addrs {
		ip := netip.MustParsePrefix(a.String()).Addr()
		if near(ip) != "" {
			continue
		}
		own++
		host := netip.AddrPortFrom(ip, 6385).String()
		if err := g.CheckURL("http://" + host + "/v1/nodes"); err == nil || !strings.Contains(err.Error(), "this service itself") {
			t.Errorf("%s: %v", host, err)
		}
		if err := g.CheckURL("http://" + netip.AddrPortFrom(ip, 80).String() + "/image"); err != nil {
			t.Errorf("another server on %s: %v", ip, err)
		}
	}
	t.Logf("%d addresses of this machine besides loopback", own)
	if err := g.CheckURL("http://127.0.0.1:6385/"); err == nil {
		t.Error("the loopback listener is asked")
	}
}

// servers are one that redirects to the other, and a list of what each was sent.
func servers(t *testing.T) (first, second *httptest.Server, sent map[string]http.Header) {
	t.Helper()
	sent = map[string]http.Header{}
	serve := func(name string, to func(r *http.Request) string) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent[name] = r.Header.Clone()
			if where := to(r); where != "" {
				http.Redirect(w, r, where, http.StatusFound)
				return
			}
			io.WriteString(w, name)
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Start()
		t.Cleanup(s.Close)
		return s
	}
	second = serve("second", func(*http.Request) string { return "" })
	first = serve("first", func(r *http.Request) string {
		switch r.URL.Path {
		case "/other":
			return second.URL + "/x"
		case "/localhost":
			return "http://localhost:" + portText(second.URL) + "/x"
		case "/to":
			return r.URL.Query().Get("u")
		case "/circle":
			return "/circle"
		case "/same":
			return "/here"
		}
		return ""
	})
	return first, second, sent
}

func portText(raw string) string {
	u, _ := url.Parse(raw)
	return u.Port()
}

func get(t *testing.T, g *Gate, raw string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("user", "s3cret")
	req.Header.Set("X-Auth-Token", "s3cret")
	req.Header.Set("X-Of-My-Own", "s3cret")
	req.Header.Set("Range", "bytes=0-9")
	resp, err := g.Client().Do(req)
	if err != nil {
		return "", Scrub(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// TestRedirects: each stop is looked at, their number is bounded, and a password stays with whom it is for.
func TestRedirects(t *testing.T) {
	first, second, sent := servers(t)
	open := &Gate{Near: []Place{{Net: netip.MustParsePrefix("127.0.0.1/32")}, {Net: netip.MustParsePrefix("::1/128")}}}
	if text, err := get(t, open, first.URL+"/same?sig=s3cret"); text != "first" || err != nil || sent["first"].Get("Authorization") == "" {
		t.Errorf("to itself: %q, %v, %v", text, err, sent)
	}
	if ref := sent["first"].Get("Referer"); ref != "" {
		t.Errorf("the signed URL is told: %s", ref)
	}
	if text, err := get(t, open, first.URL+"/other?sig=s3cret"); text != "second" || err != nil {
		t.Fatalf("to another: %q, %v", text, err)
	}
	if sent["second"].Get("Range") == "" {
		t.Error("the second server was asked for the whole")
	}
	for _, values := range sent["second"] {
		if strings.Contains(strings.Join(values, " "), "s3cret") || strings.HasPrefix(values[0], "Basic ") {
			t.Errorf("what was for the first server was sent to the second: %v", sent["second"])
		}
	}
	if _, err := get(t, open, first.URL+"/circle"); err == nil || !strings.Contains(err.Error(), "more than 5 times") {
		t.Errorf("a circle: %v", err)
	}
	narrow := &Gate{Near: []Place{{Net: netip.MustParsePrefix("127.0.0.1/32")}}, Denied: prefixes(t, "127.0.0.2/32"),
		Ports: []uint16{portOf(mustURL(t, second.URL))}}
	for path, want := range map[string]string{
		"/other": "this service itself", "/localhost": "this service itself",
		"/to?u=http://169.254.169.254/latest": "a link-local address", "/to?u=http://127.0.0.2/": "a network that is not asked",
		"/to?u=file:///etc/passwd": "not of the form",
		"/to?u=http://[::1]/":      "loopback", "/to?u=gopher://10.0.0.1/": "not of the form",
	} {
		if _, err := get(t, narrow, first.URL+path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, err := get(t, &Gate{}, first.URL+"/"); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("the first URL: %v", err)
	}
}

func mustURL(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestNamesThatLeadHere: a name is looked at where it leads when it is connected to, so that what a name server
// answers first and second may differ. localhost.localdomain stands for a name of a stranger's.
func TestNamesThatLeadHere(t *testing.T) {
	first, _, sent := servers(t)
	address := "2130706433:" + portText(first.URL) // 127.0.0.1, as some resolvers read numbers
	for _, host := range []string{address, "rebound.example:" + portText(first.URL)} {
		g := &Gate{}
		conn, err := g.dial(t.Context(), "tcp", host)
		if err == nil {
			conn.Close()
			t.Errorf("%s is connected to", host)
		}
	}
	g := &Gate{}
	conn, err := g.dial(t.Context(), "tcp", "localhost:"+portText(first.URL)) // past CheckURL, as a name of DNS would be
	if err == nil {
		conn.Close()
	}
	if d := Scrub(err); err == nil || !strings.Contains(d.Error(), "localhost leads to this machine itself (loopback)") {
		t.Errorf("a name of this machine: %v", err)
	}
	if len(sent) > 0 {
		t.Errorf("the server was asked: %v", sent)
	}
}

// TestProxy: the operator's proxy is asked wherever it is; for what lies behind it, the same rules hold.
func TestProxy(t *testing.T) {
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		io.WriteString(w, "through the proxy")
	}))
	t.Cleanup(proxy.Close)
	g := &Gate{Proxy: http.ProxyURL(mustURL(t, proxy.URL))}
	if text, err := get(t, g, "http://198.51.100.7/a"); text != "through the proxy" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	for _, raw := range []string{"http://127.0.0.1/a", "http://localhost/a", "http://169.254.169.254/a", proxy.URL + "/a"} {
		if text, err := get(t, g, raw); err == nil {
			t.Errorf("%s: %q", raw, text)
		}
	}
	if len(asked) != 1 || asked[0] != "http://198.51.100.7/a" {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

// TestASilentServer: the first byte of an answer has a deadline of the client's own.
func TestASilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	g := &Gate{Near: []Place{{Net: netip.MustParsePrefix("127.0.0.1/32")}}}
	g.Client().Transport.(guarded).RoundTripper.(*http.Transport).ResponseHeaderTimeout = 100 * time.Millisecond
	if _, err := get(t, g, "http://"+l.Addr().String()+"/"); err == nil {
		t.Error("no error")
	}
}

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		"http://h/a": "http://h/a", "https://u:p@h:8443/a/b?temp_url_sig=x&y#z": "https://h:8443/a/b",
		"http://u@h": "http://h", "/var/lib/k": "/var/lib/k",
		"http://u:p/w@h/a": "http://h/a", "http://u:p": "http://…", "http://[::1/k?sig=x": "http://…",
		"http://[::1]:80/k": "http://[::1]:80/k", "HTTP://u:p@h/": "HTTP://h/",
		"http://h/a@v1/b": "http://h/a@v1/b", "http://u:p@w@h/x": "http://h/x", "http://h?x@y": "http://h", "file:///a?b": "file:///a?b",
	} {
		if got := Redact(raw); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("user", "s3cret", "host", "/a@b")
	f.Fuzz(func(t *testing.T, user, password, host, path string) {
		if len(password) < 6 || strings.Contains(user+host+path, password) {
			return
		}
		u := url.URL{Scheme: "http", User: url.UserPassword(user, password), Host: host, Path: "/" + path}
		if got := Redact(u.String()); strings.Contains(got, url.QueryEscape(password)) {
			t.Errorf("%q", got)
		}
	})
}
