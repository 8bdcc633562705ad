package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

type machineCalled struct {
	Ident string
	node.MachineCall
}

func (w *world) MachineCall(_ context.Context, ident string, call node.MachineCall) error {
	w.callers = append(w.callers, call.Caller)
	call.Caller = node.Caller{}
	w.calls = append(w.calls, machineCalled{ident, call})
	return w.fail
}

// post sends a request as an old ramdisk does: a token header, no version.
func post(h http.Handler, path, token, body string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Auth-Token", token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestMachineCalls(t *testing.T) {
	for _, door := range []string{"people", "machine"} {
		s := newServer(t)
		h := s.api.Handler()
		if door == "machine" {
			h = s.api.MachineHandler()
		}
		code, body := post(h, "/v1/nodes/"+nodeA+"/vendor_passthru/pass_deploy_info", "tok",
			`{"address":"192.0.2.50","key":"k","iqn":"i","error":""}`)
		want := []any{machineCalled{nodeA, node.MachineCall{Method: "pass_deploy_info", Token: "tok",
			Body: node.Document{"address": "192.0.2.50", "key": "k", "iqn": "i", "error": ""}}}}
		if code != 202 || body != "" || !reflect.DeepEqual(s.calls, want) {
			t.Errorf("%s door: %d %s, called %+v", door, code, body, s.calls)
		}
	}
}

func TestOldHeartbeat(t *testing.T) {
	const path = "/v1/nodes/" + nodeA + "/vendor_passthru/heartbeat"
	for _, tt := range []struct {
		name, token, body string
		code              int
		want              node.Heartbeat
		says              string
	}{
		{"token in the header", "tok", `{"agent_url":"https://192.0.2.5:9999"}`, 202,
			node.Heartbeat{CallbackURL: "https://192.0.2.5:9999", AgentToken: "tok", AgentVersion: "unknown"}, ""},
		{"token in the body", "", `{"agent_url":"https://192.0.2.5:9999","agent_token":"t2","agent_version":"3"}`, 202,
			node.Heartbeat{CallbackURL: "https://192.0.2.5:9999", AgentToken: "t2", AgentVersion: "3"}, ""},
		{"no agent_url", "tok", `{}`, 400, node.Heartbeat{}, "agent_url"},
		{"agent_url is no URL", "tok", `{"agent_url":"here"}`, 400, node.Heartbeat{}, "not an http or https URL"},
		{"no token", "", `{"agent_url":"https://192.0.2.5:9999"}`, 400, node.Heartbeat{}, "token is required"},
		{"not an object", "tok", `[]`, 400, node.Heartbeat{}, "object"},
		{"not a text", "tok", `{"agent_url":5}`, 400, node.Heartbeat{}, "agent_url"},
	} {
		s := newServer(t)
		code, body := post(s.api.MachineHandler(), path, tt.token, tt.body)
		if code != tt.code || !strings.Contains(body, tt.says) {
			t.Errorf("%s: %d %s", tt.name, code, body)
		}
		if tt.code == 202 && !reflect.DeepEqual(s.calls, []any{beat{nodeA, tt.want}}) {
			t.Errorf("%s: called %+v", tt.name, s.calls)
		}
		if tt.code != 202 && len(s.calls) > 0 {
			t.Errorf("%s: called %+v", tt.name, s.calls)
		}
	}
}

func TestOldLookup(t *testing.T) {
	const path = "/v1/drivers/agent_ipmitool/vendor_passthru/lookup"
	for _, tt := range []struct {
		name, body string
		code       int
		want       []any
		says       string
	}{
		{"second form", `{"version":"2","inventory":{"interfaces":[{"mac_address":"52-54-00-CF-2D-31"},{"mac_address":""}]}}`, 200,
			[]any{looked{[]string{macA}, "", true}}, `"heartbeat_timeout"`},
		{"first form", `{"hardware":[{"type":"mac_address","id":"` + macA + `"}]}`, 200, []any{looked{[]string{macA}, "", true}}, nodeA},
		{"by node", `{"node_uuid":"` + nodeA + `"}`, 200, []any{looked{nil, nodeA, true}}, nodeA},
		{"nothing to look by", `{"version":"2","inventory":{"interfaces":[]}}`, 400, nil, "mac_address"},
		{"not a UUID", `{"node_uuid":"x"}`, 400, nil, "Expected a UUID"},
		{"not an interface", `{"inventory":{"interfaces":[5]}}`, 400, nil, "must be an object"},
	} {
		s := newServer(t)
		code, body := post(s.api.MachineHandler(), path, "", tt.body)
		if code != tt.code || !strings.Contains(body, tt.says) || !reflect.DeepEqual(s.calls, tt.want) {
			t.Errorf("%s: %d %s, called %+v", tt.name, code, body, s.calls)
		}
	}
}
