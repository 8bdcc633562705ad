package agent

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/wire"
)

// The address that is told to the service is the one it can reach this machine by.
func TestOwnAddress(t *testing.T) {
	for _, tt := range []struct {
		name, url, advertise, want, wantErr string
	}{
		{"on the way to the service", "http://127.0.0.1:6385", "", "127.0.0.1", ""},
		{"without a port", "http://127.0.0.1", "", "127.0.0.1", ""},
		{"over TLS without a port", "https://127.0.0.1", "", "127.0.0.1", ""},
		{"IPv6", "http://[::1]:6385", "", "::1", ""},
		{"said at boot", "http://127.0.0.1:6385", "192.0.2.7", "192.0.2.7", ""},
		{"said at boot, IPv6", "http://127.0.0.1:6385", "2001:db8::7", "2001:db8::7", ""},
		{"said wrong at boot", "http://127.0.0.1:6385", "host.example", "",
			"kernel parameter ipa-advertise-host=host.example is not an IP address"},
		{"no such host", "http://nowhere.invalid", "", "", "finding the address that reaches the service"},
	} {
		a := idle(t.TempDir())
		a.Config.APIURLs, a.Config.AdvertiseHost = []string{tt.url}, tt.advertise
		a.prepare()
		ip, err := a.OwnAddress()
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || ip.String() != tt.want {
			t.Errorf("%s: %v, %v", tt.name, ip, err)
		}
	}
}

// What is told with a heartbeat: brackets around IPv6, the port listened on unless another one is
// said, and TLS for services that know it.
func TestIdentity(t *testing.T) {
	for _, tt := range []struct {
		name, advertise string
		port, version   int
		want            string
		tls             bool
	}{
		{"IPv4", "192.0.2.7", 0, 68, "https://192.0.2.7:PORT", true},
		{"IPv6", "2001:db8::7", 0, 95, "https://[2001:db8::7]:PORT", true},
		{"another port outside", "192.0.2.7", 443, 68, "https://192.0.2.7:443", true},
		{"a service older than certificates", "192.0.2.7", 0, 67, "http://192.0.2.7:PORT", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			a := idle(t.TempDir())
			a.Config.APIURLs, a.Config.AdvertiseHost, a.Config.AdvertisePort = []string{"http://127.0.0.1"}, tt.advertise, tt.port
			a.Config.StateDir = t.TempDir()
			a.prepare()
			a.client.setVersion(tt.version)
			a.host.Node.UUID, a.host.Service.AgentToken = testNode, testToken
			beat, config, err := a.identity(l)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(tt.want, "PORT", port, 1)
			if beat.CallbackURL != want || beat.AgentToken != testToken || beat.AgentVersion != Version || (config != nil) != tt.tls ||
				(beat.AgentVerifyCA != "") != tt.tls {
				t.Errorf("%+v, %v; want %s", beat, config, want)
			}
		})
	}
}

// The certificate stays with node and address, and is made anew for any other.
func TestCertificateStaysWithNodeAndAddress(t *testing.T) {
	a := idle(t.TempDir())
	a.Config.StateDir = filepath.Join(t.TempDir(), "state")
	a.host.Node.UUID = testNode
	if err := a.saveState(state{Node: testNode, Token: "kept"}); err != nil {
		t.Fatal(err)
	}
	make := func(ip string) certificate {
		t.Helper()
		c, err := a.certificate(net.ParseIP(ip))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := make("192.0.2.1")
	if make("192.0.2.1") != first {
		t.Error("the same agent has another certificate")
	}
	second := make("192.0.2.2")
	if second == first || a.loadState().Token != "kept" {
		t.Error("another address has the same certificate, or the token was lost with it")
	}
	a.host.Node.UUID = "another"
	if make("192.0.2.2") == second {
		t.Error("another node has the same certificate")
	}
}

// Who trusts the certificate alone reaches the agent; who trusts another does not.
func TestOnlyThisAgentsCertificateIsTaken(t *testing.T) {
	now := time.Now()
	mine, err := newCertificate(net.IPv4(127, 0, 0, 1), now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := newCertificate(net.IPv4(127, 0, 0, 1), now)
	if err != nil {
		t.Fatal(err)
	}
	config, err := mine.tlsConfig()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "reached") }))
	s.TLS = config
	s.StartTLS()
	t.Cleanup(s.Close)
	for name, trusted := range map[string]certificate{"mine": mine, "other": other} {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(trusted.PEM))
		// StartTLS puts its own certificate last; ours is sent for the address.
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
		resp, err := client.Get(s.URL)
		if err == nil {
			resp.Body.Close()
		}
		if (err == nil) != (name == "mine") {
			t.Errorf("%s: %v", name, err)
		}
	}
	block, _ := pem.Decode([]byte(mine.PEM))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if cert.NotBefore.After(now.Add(-59*time.Minute)) || cert.NotAfter.Before(now.Add(29*24*time.Hour)) {
		t.Errorf("valid from %s to %s: clocks of machines are wrong by more", cert.NotBefore, cert.NotAfter)
	}
	if _, err := (certificate{PEM: mine.PEM, Key: other.Key}).tlsConfig(); err == nil || strings.Contains(err.Error(), "PRIVATE KEY") {
		t.Errorf("a key of another certificate: %v", err)
	}
}

// A heartbeat says no more than the service's version knows.
func TestHeartbeatsOfOlderVersions(t *testing.T) {
	for version, want := range map[int]string{
		31: `{"callback_url":"u"}`,
		36: `{"callback_url":"u","agent_version":"v"}`,
		62: `{"callback_url":"u","agent_token":"t","agent_version":"v"}`,
		68: `{"callback_url":"u","agent_token":"t","agent_version":"v","agent_verify_ca":"c"}`,
		95: `{"callback_url":"u","agent_token":"t","agent_version":"v","agent_verify_ca":"c"}`,
	} {
		var got string
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got = string(body)
		}))
		a := idle(t.TempDir())
		a.Config.APIURLs = []string{s.URL}
		a.prepare()
		a.client.setVersion(version)
		err := a.client.heartbeat(t.Context(), testNode, wire.Heartbeat{CallbackURL: "u", AgentToken: "t", AgentVersion: "v", AgentVerifyCA: "c"})
		if err != nil || got != want {
			t.Errorf("1.%d: %s, %v; want %s", version, got, err, want)
		}
		s.Close()
	}
}
