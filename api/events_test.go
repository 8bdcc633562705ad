package api

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// What Neutron's notifier sends (neutron/notifiers/ironic.py): a bound, a freed and a deleted port in one call.
const neutronSays = `{"events": [
	{"event": "network.bind_port", "port_id": "2C3A84AB-7c5a-4b32-9e36-4b0ec1f7a3c5", "mac_address": "52:54:00:00:00:0A", "status": "ACTIVE",
	 "device_id": "1be26c0b-03f2-4d2e-ae87-c02d7f33c123", "binding:host_id": "` + nodeA + `", "binding:vnic_type": "baremetal"},
	{"event": "network.unbind_port", "port_id": "2c3a84ab7c5a4b329e364b0ec1f7a3c5", "mac_address": "52:54:00:00:00:0a", "status": "DOWN",
	 "binding:host_id": null},
	{"event": "network.delete_port", "port_id": "2c3a84ab-7c5a-4b32-9e36-4b0ec1f7a3c5", "mac_address": "52:54:00:00:00:0a",
	 "status": "DELETED", "binding:host_id": "bm-compute"}]}`

func TestNetworkEvents(t *testing.T) {
	s := newServer(t)
	const port, mac = "2c3a84ab-7c5a-4b32-9e36-4b0ec1f7a3c5", "52:54:00:00:00:0a"
	resp, body := s.ask("1.54", "POST", "/v1/events", neutronSays)
	want := []any{[]node.NetworkEvent{
		{Name: "network.bind_port", PortID: port, MAC: mac, Status: "ACTIVE", Host: nodeA},
		{Name: "network.unbind_port", PortID: port, MAC: mac, Status: "DOWN"},
		{Name: "network.delete_port", PortID: port, MAC: mac, Status: "DELETED", Host: "bm-compute"},
	}}
	if resp.StatusCode != http.StatusNoContent || body != "" || !reflect.DeepEqual(s.calls, want) {
		t.Errorf("%d %q, called %+v", resp.StatusCode, body, s.calls)
	}
	s.calls = nil
	if resp, _ := s.ask("1.53", "POST", "/v1/events", neutronSays); resp.StatusCode != http.StatusNotFound || len(s.calls) > 0 {
		t.Errorf("before there were events: %d, called %v", resp.StatusCode, s.calls)
	}
	if resp, _ := s.ask("1.54", "GET", "/v1/events", ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", resp.StatusCode)
	}
	if resp, _ := send(s.api.MachineHandler(), "1.54", "POST", "/v1/events", neutronSays); resp.StatusCode != http.StatusNotFound {
		t.Errorf("at the machines' door: %d", resp.StatusCode)
	}
	s.fail = node.Errorf(node.Unavailable, "The database is away.")
	if resp, _ := s.ask("1.54", "POST", "/v1/events", neutronSays); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a database: %d", resp.StatusCode)
	}
}

// One event that is none refuses all of a call, before anything is done.
func TestNetworkEventsThatAreNone(t *testing.T) {
	const good = `{"event":"network.bind_port","port_id":"2c3a84ab-7c5a-4b32-9e36-4b0ec1f7a3c5",` +
		`"mac_address":"52:54:00:00:00:0a","status":"ACTIVE"}`
	with := func(old, new string) string {
		return `{"events":[` + good + "," + strings.Replace(good, old, new, 1) + `]}`
	}
	for body, says := range map[string]string{
		"": "The body must be", "[]": "must be a JSON object", `{"events":[]}`: "1 to 1000 events", `{"events":{}}`: "1 to 1000 events",
		`{"events":[` + good + `],"more":1}`:                         "The body must be",
		`{"events":[` + strings.Repeat(good+",", 1000) + good + `]}`: "1 to 1000 events",
		`{"events":[3]}`: "Event 0: an event must be an object",
		with("network.bind_port", "network.plug_port"):                       `Event 1: unknown event "network.plug_port"; known are`,
		with(`"status":"ACTIVE"`, `"status":""`):                             "Event 1: the field status is missing.",
		with(`"status":"ACTIVE"`, `"status":1`):                              "Event 1: Field status must be a string",
		with(`"status":"ACTIVE"`, `"status":"ACTIVE","power":"on"`):          `Event 1: unknown field "power"`,
		with(`"port_id":"2c3a84ab-`, `"port_id":"x`):                         "Event 1: Expected a UUID for port_id",
		with(`52:54:00:00:00:0a`, `52:54`):                                   "Event 1: Expected a MAC address",
		with(`"status":"ACTIVE"`, `"status":"`+strings.Repeat("A", 256)+`"`): "at most 255 characters",
		with(`"mac_address":"52:54:00:00:00:0a",`, ""):                       "Event 1: the field mac_address is missing.",
		with(`"port_id":"2c3a84ab-7c5a-4b32-9e36-4b0ec1f7a3c5"`, `"a":"b"`):  `Event 1: unknown field "a"`,
	} {
		s := newServer(t)
		resp, got := s.ask("1.54", "POST", "/v1/events", body)
		said := strings.Contains(strings.ReplaceAll(got, `\`, ""), says)
		if resp.StatusCode != 400 || !said || len(s.calls) > 0 {
			t.Errorf("%.150s: %d %s, called %v; want %s", body, resp.StatusCode, got, s.calls, says)
		}
	}
}
