package conductor

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

func texts(lines []node.Line) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Text)
	}
	return strings.Join(all, "|")
}

func TestMask(t *testing.T) {
	n := &node.Node{
		Agent: node.Agent{Token: "tok-1234567890"}, ConfigDrive: "H4sIAAAA",
		DriverInfo: node.Document{"ipmi_password": "hunter2-secret",
			"ipmi_address": "192.0.2.7"}, InstanceInfo: node.Document{"image_server_password": "swordfish"},
	}
	for _, tt := range []struct{ in, want string }{
		{"nothing to hide at 192.0.2.7", "nothing to hide at 192.0.2.7"},
		{"BMC said hunter2-secret", "BMC said ******"},
		{"got tok-1234567890 and H4sIAAAA and swordfish", "got ****** and ****** and ******"},
		{"http://10.0.0.1:6386/boot/0123456789abcdef0123456789abcdef/ramdisk... ok", "http://10.0.0.1:6386/boot/…/ramdisk... ok"},
		{"Command line: boot/0123456789abcdef0123456789abcdef/kernel ipa-agent-token=abc.def-9 quiet",
			"Command line: boot/…/kernel ipa-agent-token=****** quiet"},
		{"GET http://swift/v1/AUTH_a/c/o?temp_url_expires=12&temp_url_sig=0123abcdef HTTP/1.1",
			"GET http://swift/v1/AUTH_a/c/o?temp_url_expires=12&temp_url_sig=****** HTTP/1.1"},
		{"GET http://bob:pa55@mirror/x", "GET http://bob:******@mirror/x"},
		{`level=INFO agent_token="a b c" next=1`, "level=INFO agent_token=****** next=1"},
		{`{"admin_password": "a b", "x": 1}`, `{"admin_password": ******, "x": 1}`},
		{"Password: letmein", "Password: ******"},
		{"http://example.org:8080/boot/ipxe?mac=52:54:00:00:00:01", "http://example.org:8080/boot/ipxe?mac=52:54:00:00:00:01"},
		{"the token was given", "the token was given"},
	} {
		if got := mask(n, tt.in); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
	lines := []node.Line{{Text: "hunter2-secret"}}
	if got := maskLines(n, lines); got[0].Text != "******" || lines[0].Text != "hunter2-secret" {
		t.Errorf("%q of %q", got, lines)
	}
}
