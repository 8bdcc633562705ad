package agent

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/billet-metal/billet/fetch"
)

// loopback lets an agent of a test ask servers on this machine.
var loopback = []fetch.Place{{Net: netip.MustParsePrefix("127.0.0.0/8")}, {Net: netip.MustParsePrefix("::1/128")}}

// TestURLsOfUsersOnTheMachine: an image or a file to put in that a user names makes the agent ask neither its own
// listener nor the service, whose lookup gives tokens away, by no redirect and by no other name.
func TestURLsOfUsersOnTheMachine(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	}))
	t.Cleanup(s.Close)
	byName := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	const itself, service = "this machine itself (loopback)", "the service itself"
	for _, tt := range []struct {
		allowed []fetch.Place
		url     string
		want    string
	}{
		{loopback, s.URL + "/boot/0123/image", ""},
		{loopback, s.URL + "/v1x/image", ""},
		{loopback, s.URL + "/v1/lookup?addresses=52:54:00:00:00:02", service},
		{loopback, s.URL + "/v1", service},
		{loopback, s.URL + "/", service},
		{loopback, s.URL, service},
		{loopback, s.URL + "//v1/lookup", service},
		{loopback, s.URL + "/boot/../v1/lookup", service},
		{loopback, s.URL + "/%761/lookup", service},
		{loopback, s.URL + "/billet/v1/log/n", service},
		{loopback, s.URL + "/boot/image?to=/v1/lookup", service},
		{loopback, byName + "/boot/image", service},
		{nil, s.URL + "/boot/0123/image", itself},
		{nil, "http://localhost:9999/v1/commands/", "itself"},
		{nil, "http://169.254.169.254/latest/meta-data", "a link-local address"},
		{nil, "http://[::]:9999/", "itself"},
	} {
		asked = nil
		a := &Agent{Config: Config{APIURLs: []string{s.URL + "/"}, ListenPort: 9999, URLAllowed: tt.allowed}}
		for name, client := range map[string]*http.Client{"an image": a.gate(false).Client(), "a file": a.gate(true).Client()} {
			resp, err := client.Get(tt.url)
			if err == nil {
				resp.Body.Close()
			}
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(fetch.Scrub(err).Error(), tt.want) {
				t.Errorf("%s from %s: %v, want %q", name, tt.url, err, tt.want)
			}
		}
		for _, path := range asked {
			if strings.HasPrefix(path, "/v1/") || tt.allowed == nil {
				t.Errorf("%s: %q was asked for", tt.url, asked)
			}
		}
	}
	for service, closed := range map[string]string{
		"http://h": "http://h:80/v1/x", "https://h/baremetal/v1": "https://h/baremetal/v1/lookup", "http://h:6385/v1/": "http://h:6385/v1",
	} {
		a := &Agent{Config: Config{APIURLs: []string{service}}}
		if err := a.gate(false).CheckURL(closed); err == nil {
			t.Errorf("%s: %s is asked", service, closed)
		}
	}
}
