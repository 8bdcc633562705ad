package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// What may be asked of the firmware, and what the conductor then hears.
func TestFirmwareTargets(t *testing.T) {
	const modes = "The boot mode %v is not valid. Allowed are: bios, uefi"
	for _, tt := range []struct {
		path, body string
		status     int
		want       any // of the conductor's call, or the refusal
	}{
		{"boot_mode", `{"target":"bios"}`, 202, "bios"},
		{"boot_mode", `{"target":"uefi"}`, 202, "uefi"},
		{"boot_mode", `{"target":"UEFI"}`, 400, fmt.Sprintf(modes, "UEFI")},
		{"boot_mode", `{"target":null}`, 400, fmt.Sprintf(modes, nil)},
		{"boot_mode", `{"target":1}`, 400, fmt.Sprintf(modes, 1)},
		{"boot_mode", `{}`, 400, fmt.Sprintf(modes, nil)},
		{"boot_mode", `{"target":"bios","persistent":true}`, 400, "Unexpected arguments: persistent"},
		{"secure_boot", `{"target":true}`, 202, true},
		{"secure_boot", `{"target":"off"}`, 202, false},
		{"secure_boot", `{"target":"maybe"}`, 400, "Field target must be a boolean, not a string."},
		{"secure_boot", `{"target":null}`, 400, `The body needs "target": true or false.`},
		{"secure_boot", `{}`, 400, `The body needs "target": true or false.`},
	} {
		s := newServer(t)
		resp, body := s.ask("1.76", "PUT", "/v1/nodes/rack1-u7/states/"+tt.path, tt.body)
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s: %d %s", tt.path, tt.body, resp.StatusCode, body)
			continue
		}
		if tt.status != 202 {
			if faultstring(t, body) != tt.want || len(s.calls) > 0 {
				t.Errorf("%s %s: %s, asked for %v", tt.path, tt.body, body, s.calls)
			}
			continue
		}
		if d := cmp.Diff([]any{firmwareSet{"rack1-u7", tt.want}}, s.calls); d != "" || body != "" ||
			resp.Header.Get("Location") != "http://metal.example:6385/v1/nodes/rack1-u7/states" {
			t.Errorf("%s %s: %s%s, Location %s", tt.path, tt.body, d, body, resp.Header.Get("Location"))
		}
	}
}

func TestInjectNMITakesNothing(t *testing.T) {
	s := newServer(t)
	if resp, body := s.ask("1.29", "PUT", "/v1/nodes/rack1-u7/management/inject_nmi", `{"force":true}`); resp.StatusCode != 400 ||
		len(s.calls) > 0 {
		t.Errorf("%d %s, asked for %v", resp.StatusCode, body, s.calls)
	}
	resp, body := s.ask("1.29", "PUT", "/v1/nodes/rack1-u7/management/inject_nmi", `{}`)
	if d := cmp.Diff([]any{interrupted{"rack1-u7"}}, s.calls); d != "" || resp.StatusCode != 204 || body != "" {
		t.Errorf("%d %s %s", resp.StatusCode, body, d)
	}
	s.fail = node.Errorf(node.Invalid, "not supported")
	if resp, _ := s.ask("1.29", "PUT", "/v1/nodes/rack1-u7/management/inject_nmi", `{}`); resp.StatusCode != 400 {
		t.Errorf("refused by the conductor: %d", resp.StatusCode)
	}
}

// Nodes of a parent and shards come from the real store.
func TestChildrenAndShards(t *testing.T) {
	s := newStack(t)
	parent := s.put(&node.Node{State: node.Manageable, Shard: "west"})
	child := s.put(&node.Node{State: node.Manageable, ParentNode: parent.UUID, Shard: "west"})
	s.put(&node.Node{State: node.Manageable, Shard: "east"})
	for _, tt := range []struct{ path, want string }{
		{"/v1/nodes/" + parent.UUID + "/children", child.UUID},
		{"/v1/nodes/" + child.UUID + "/children", ""},
	} {
		_, body := s.ask("1.83", "GET", tt.path, "")
		want := `"children":[]`
		if tt.want != "" {
			want = `"children":["` + tt.want + `"]`
		}
		if !strings.Contains(body, want) {
			t.Errorf("%s: %s, want %s", tt.path, body, want)
		}
	}
	if _, body := s.ask("1.82", "GET", "/shards", ""); !strings.Contains(body, `{"count":2,"name":"west"},{"count":1,"name":"east"}`) {
		t.Errorf("shards: %s", body)
	}
	if resp, body := s.ask("1.82", "GET", "/v1/shards/west", ""); resp.StatusCode != 404 {
		t.Errorf("one shard: %d %s", resp.StatusCode, body)
	}
}

// Abilities that no hardware here has are refused in words of their own, and not as paths nobody knows.
func TestWhatNoHardwareHas(t *testing.T) {
	const cannot = "Driver ipmi does not support %s (disabled or not implemented)."
	for _, tt := range []struct {
		version, method, path, body string
		status                      int
		want                        string
	}{
		{"1.5", "GET", "states/console", "", 400, fmt.Sprintf(cannot, "get_console")},
		{"1.5", "PUT", "states/console", `{"enabled":true}`, 400, fmt.Sprintf(cannot, "console")},
		{"1.63", "GET", "management/indicators/led-0@chassis", "", 400, fmt.Sprintf(cannot, "get_indicator_state")},
		{"1.63", "PUT", "management/indicators/led-0@chassis", `{"state":"on"}`, 400, fmt.Sprintf(cannot, "set_indicator_state")},
		{"1.62", "PUT", "management/indicators/led-0@chassis", `{"state":"on"}`, 404, "The resource could not be found."},
		{"1.40", "GET", "bios/boot_order", "", 404, "Node " + nodeA + " doesn't have a BIOS setting 'boot_order'"},
		{"1.39", "GET", "bios/boot_order", "", 404, "The resource could not be found."},
		{"1.93", "GET", "vmedia", "", 400, fmt.Sprintf(cannot, "get_virtual_media")},
		{"1.92", "GET", "vmedia", "", 404, "The resource could not be found."},
		{"1.89", "POST", "vmedia", `{"device_type":"CDROM","image_url":"http://h/i.iso"}`, 400, fmt.Sprintf(cannot, "attach_virtual_media")},
		{"1.89", "DELETE", "vmedia", "", 400, fmt.Sprintf(cannot, "detach_virtual_media")},
		{"1.88", "DELETE", "vmedia", "", 404, "The resource could not be found."},
	} {
		for _, ident := range []string{"rack1-u7", "nobody"} {
			s := newServer(t)
			resp, body := s.ask(tt.version, tt.method, "/v1/nodes/"+ident+"/"+tt.path, tt.body)
			status, want := tt.status, tt.want
			if ident == "nobody" && want != "The resource could not be found." {
				status, want = 404, "Node nobody could not be found."
			}
			if resp.StatusCode != status || faultstring(t, body) != want || len(s.calls) > 0 {
				t.Errorf("%s %s of %s at %s: %d %s", tt.method, tt.path, ident, tt.version, resp.StatusCode, body)
			}
		}
	}
}

// No hardware here has methods of its own; who asks for those of something that is not there hears that.
func TestVendorMethods(t *testing.T) {
	for path, want := range map[string]string{
		"nodes/rack1-u7": "{}", "nodes/" + nodeA: "{}", "drivers/ipmi": "{}",
		"nodes/nobody":   "Node nobody could not be found.",
		"drivers/redfax": "Could not find the following driver(s) or hardware type(s): redfax.",
	} {
		resp, body := newServer(t).ask("1.115", "GET", "/v1/"+path+"/vendor_passthru/methods", "")
		if want == "{}" {
			if resp.StatusCode != 200 || strings.TrimSpace(body) != want {
				t.Errorf("%s: %d %s", path, resp.StatusCode, body)
			}
			continue
		}
		if resp.StatusCode != 404 || faultstring(t, body) != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}
