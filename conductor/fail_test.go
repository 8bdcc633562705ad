package conductor

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/billet-metal/billet/node"
)

func TestLastErrorIsCutAtARune(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 9000), strings.Repeat("é", 3000), strings.Repeat("机", 2000),
		strings.Repeat("x", lastErrorLimit)} {
		got := cut(text)
		if len(got) > lastErrorLimit || len(got) < lastErrorLimit-4 || !utf8.ValidString(got) {
			t.Errorf("%d bytes, valid %v", len(got), utf8.ValidString(got))
		}
	}
	if got := cut("short"); got != "short" {
		t.Error(got)
	}
}

func TestScrub(t *testing.T) {
	n := &node.Node{
		DriverInfo: node.Document{"ipmi_password": "s3cret", "ipmi_address": "192.0.2.7", "snmp_auth_key": "k3yk3y", "short_password": "a",
			"bmcs": []any{map[string]any{"address": "192.0.2.8", "password": "n3sted"}}},
		InstanceInfo: node.Document{"image_server_password": "imgpass", "image_source": "http://x"},
		ConfigDrive:  "H4sIAAAA", Agent: node.Agent{Token: "t0ken-t0ken"},
	}
	got := scrub(n, "at 192.0.2.7 with s3cret, k3yk3y, imgpass, n3sted, H4sIAAAA, t0ken-t0ken from http://x, 192.0.2.8, a")
	if want := "at 192.0.2.7 with ******, ******, ******, ******, ******, ****** from http://x, 192.0.2.8, a"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
