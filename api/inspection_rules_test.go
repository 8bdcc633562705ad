package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

const (
	ruleA = "77777777-7777-4777-8777-777777777777"
	ruleB = "77777777-7777-4777-8777-77777777777b"
)

func openRule() node.InspectionRule {
	return node.InspectionRule{
		ID: 1, UUID: ruleA, Description: "Dell's", Priority: 100, Phase: node.MainPhase, CreatedAt: epoch, UpdatedAt: epoch,
		Conditions: []node.RuleOperation{
			{Op: "!contains", Args: map[string]any{"value": "{inventory[system_vendor][manufacturer]}", "regex": "(?i)dell"}},
			{Op: "eq", Args: []any{[]any{"{node.driver}", "{item}"}}, Loop: []any{"ipmi", "redfish"}},
			{Op: "one-of", Args: []any{"a", []any{"{item[x]}"}}, Loop: map[string]any{"x": "a"}, Multiple: "all"},
		},
		Actions: []node.RuleOperation{{Op: "set-attribute", Args: map[string]any{"path": "{item[path]}", "value": 1.0},
			Loop: []any{map[string]any{"path": "extra/a"}}, Multiple: "all"}},
	}
}

func quietRule() node.InspectionRule {
	return node.InspectionRule{
		ID: 2, UUID: ruleB, Phase: node.MainPhase, Sensitive: true, CreatedAt: epoch, UpdatedAt: epoch,
		Conditions: []node.RuleOperation{{Op: "eq", Args: []any{[]any{bmcSecret, "x"}}}},
		Actions:    []node.RuleOperation{{Op: "set-attribute", Args: map[string]any{"path": "driver_info/ipmi_password", "value": bmcSecret}}},
	}
}

type deletedAll struct{}

func (w *world) CreateInspectionRule(_ context.Context, r *node.InspectionRule) error {
	if err := w.did(*r); err != nil {
		return err
	}
	r.ID, r.CreatedAt, r.UpdatedAt = int64(len(w.rules)+1), epoch, epoch
	return nil
}

func (w *world) InspectionRule(_ context.Context, uuid string) (node.InspectionRule, error) {
	if w.lost != nil {
		return node.InspectionRule{}, w.lost
	}
	for _, r := range w.rules {
		if r.UUID == uuid {
			return r, nil
		}
	}
	return node.InspectionRule{}, node.InspectionRuleNotFound(uuid)
}

func (w *world) InspectionRules(_ context.Context, f node.InspectionRuleFilter, p node.Page) ([]node.InspectionRule, error) {
	if w.lost != nil {
		return nil, w.lost
	}
	w.calls = append(w.calls, p, f.Phase)
	from := 0
	if p.Marker != "" {
		if from = 1 + slices.IndexFunc(w.rules, func(r node.InspectionRule) bool { return r.UUID == p.Marker }); from == 0 {
			return nil, node.InspectionRuleNotFound(p.Marker)
		}
	}
	rest := w.rules[from:]
	return rest[:min(p.Limit, len(rest))], nil
}

func (w *world) SaveInspectionRule(_ context.Context, r *node.InspectionRule) error { return w.did(*r) }
func (w *world) DeleteInspectionRule(ctx context.Context, uuid string) error {
	if _, err := w.InspectionRule(ctx, uuid); err != nil {
		return err
	}
	return w.did(deleted{uuid})
}
func (w *world) DeleteInspectionRules(context.Context) error { return w.did(deletedAll{}) }

func TestInspectionRuleCreation(t *testing.T) {
	s := newServer(t)
	resp, body := s.ask("1.96", "POST", "/v1/inspection_rules", `{"description":null,"priority":"9","sensitive":"True","conditions":null,`+
		`"actions":[{"op":"set-attribute","args":["driver_info/ipmi_password","`+bmcSecret+`"],"loop":null}]}`)
	uuid, _ := field(t, body, "uuid").(string)
	if resp.StatusCode != 201 || !isUUID(uuid) || resp.Header.Get("Location") != "http://metal.example:6385/v1/inspection_rules/"+uuid {
		t.Fatalf("%d %s %s", resp.StatusCode, resp.Header.Get("Location"), body)
	}
	if s := leaks(body); s != "" || field(t, body, "actions") != nil || field(t, body, "conditions") != nil {
		t.Errorf("the rule is not hidden: %s", body)
	}
	want := node.InspectionRule{UUID: uuid, Priority: 9, Phase: "main", Sensitive: true,
		Actions: []node.RuleOperation{{Op: "set-attribute", Args: []any{"driver_info/ipmi_password", bmcSecret}}}}
	if diff := cmp.Diff(want, s.calls[0]); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestInspectionRuleErrors(t *testing.T) {
	const create = `{"uuid":"` + ruleA + `","actions":[{"op":"log","args":["x"]}]}`
	conflict := node.Errorf(node.Conflict, "A rule with UUID %s already exists.", ruleA)
	gone := "Rule " + nodeB + " could not be found."
	for _, tt := range []struct {
		method, path, body string
		fail               error
		status             int
		want               string
	}{
		{"POST", "", `[]`, nil, 400, "The body must be a JSON object, not a list."},
		{"POST", "", ``, nil, 400, `An inspection rule needs "actions": a list of at least one action.`},
		{"POST", "", `{"uuid":"dell","actions":[]}`, nil, 400, "Expected a UUID for uuid but received dell."},
		{"POST", "", `{"uuid":7,"actions":[]}`, nil, 400, "Expected a UUID for uuid but received 7."},
		{"POST", "", `{"scope":"rack7","actions":[{"op":"log","args":["x"]}]}`, nil, 400,
			`An inspection rule has no field "scope". Allowed are: actions, conditions, description, phase, priority, sensitive, uuid`},
		{"POST", "", `{"actions":[{"op":"log","args":{"text":"x"}}]}`, nil, 400,
			"actions[0] of the inspection rule is wrong: it lacks arguments: msg."},
		{"POST", "", create, conflict, 409, conflict.Msg},
		{"PATCH", "/" + ruleA, `{}`, nil, 400,
			`A PATCH needs a JSON list of operations, each an object with "op", "path" and, for add and replace, "value".`},
		{"PATCH", "/" + ruleA, `[{"op":"replace","path":"/uuid","value":"` + nodeB + `"}]`, nil, 400,
			"Cannot patch /uuid. Only the following can be updated: actions, conditions, description, phase, priority, sensitive"},
		{"PATCH", "/" + ruleA, `[{"op":"add","path":"/scope","value":"x"}]`, nil, 400,
			"Adding a new attribute (/scope) to the root of the resource is not allowed"},
		{"PATCH", "/" + ruleA, `[{"op":"remove","path":"/action/log"}]`, nil, 400,
			"Cannot patch /action. Only the following can be updated: actions, conditions, description, phase, priority, sensitive"},
		{"PATCH", "/" + ruleA, `[{"op":"remove","path":"/actions"}]`, nil, 400,
			`An inspection rule needs "actions": a list of at least one action.`},
		{"PATCH", "/" + ruleA, `[{"op":"remove","path":"/actions/7"}]`, nil, 400,
			`Couldn't apply patch 'remove /actions/7'. Reason: there is no "/actions/7" to remove in the resource`},
		{"PATCH", "/" + ruleA, `[{"op":"replace","path":"/conditions/0/op","value":"like"}]`, nil, 400, `conditions[0] of the inspection rule ` +
			`is wrong: there is no condition "like"; there are contains, eq, ge, gt, in-net, is-empty, is-false, is-none, is-true, le, lt, ` +
			`matches, ne, one-of, each also with ! before it.`},
		{"PATCH", "/" + ruleA, `[{"op":"replace","path":"/phase","value":"early"}]`, nil, 400, "Invalid phase: early. Valid phases are: main"},
		{"PATCH", "/" + ruleB, `[{"op":"replace","path":"/sensitive","value":false}]`, nil, 400,
			"Inspection rules cannot have the sensitive flag unset."},
		{"PATCH", "/" + ruleB, `[{"op":"remove","path":"/sensitive"}]`, nil, 400, "Inspection rules cannot have the sensitive flag unset."},
		{"PATCH", "/" + ruleB, `[{"op":"add","path":"/sensitive","value":null}]`, nil, 400,
			"Inspection rules cannot have the sensitive flag unset."},
		{"PATCH", "/" + nodeB, `[]`, nil, 404, gone},
		{"PATCH", "/dell", `[]`, nil, 400, "Expected a UUID but received dell."},
		{"GET", "/" + nodeB, "", nil, 404, gone},
		{"GET", "/dell", "", nil, 400, "Expected a UUID but received dell."},
		{"GET", "/" + ruleA + "?detail=true", "", nil, 400, "Unexpected arguments: detail"},
		{"DELETE", "/" + nodeB, "", nil, 404, gone},
		{"DELETE", "/all", "", nil, 400, "Expected a UUID but received all."},
		{"DELETE", "?phase=main", "", nil, 400, "Unexpected arguments: phase"},
		{"DELETE", "", `["` + ruleA + `"]`, nil, 400, "No body should be provided when deleting all inspection rules."},
		{"GET", "?fields=uuid,scope", "", nil, 400, `Field(s) "scope" are not valid for a inspection_rule.`},
		{"GET", "?fields=uuid&detail=true", "", nil, 400, "Can't fetch a subset of fields with 'detail' set"},
		{"GET", "?detail=perhaps", "", nil, 400,
			`Invalid input for detail: unrecognized value "perhaps", acceptable values are: 0, 1, f, false, n, no, off, on, t, true, y, yes`},
		{"GET", "?sort_key=actions", "", nil, 400, `The sort_key value "actions" is an invalid field for sorting`},
		{"GET", "?sort_key=name", "", nil, 400, `The sort_key value "name" is an invalid field for sorting`},
		{"GET", "?limit=-1", "", nil, 400, "Limit must be positive"},
		{"GET", "?marker=" + nodeB, "", nil, 404, gone},
	} {
		s := newServer(t)
		s.fail = tt.fail
		resp, body := s.ask("1.115", tt.method, "/v1/inspection_rules"+tt.path, tt.body)
		if resp.StatusCode != tt.status || faultstring(t, body) != tt.want {
			t.Errorf("%s %s %s:\n got %d %s\nwant %d %s", tt.method, tt.path, tt.body, resp.StatusCode, faultstring(t, body), tt.status, tt.want)
		}
		if s := leaks(body); s != "" {
			t.Errorf("%s %s: the secret %q is in the answer", tt.method, tt.path, s)
		}
		for _, c := range s.calls {
			switch c.(type) {
			case node.InspectionRule, deleted, deletedAll:
				if tt.fail == nil {
					t.Errorf("%s %s %s changed %v", tt.method, tt.path, tt.body, c)
				}
			}
		}
	}
}

// A patch works on what the rule really says, also of one that shows nothing.
func TestInspectionRulePatches(t *testing.T) {
	for _, tt := range []struct {
		uuid, patch string
		change      func(*node.InspectionRule)
	}{
		{ruleA, `[]`, func(r *node.InspectionRule) {}},
		{ruleA, `[{"op":"add","path":"/priority","value":200}]`, func(r *node.InspectionRule) { r.Priority = 200 }},
		{ruleA, `[{"op":"remove","path":"/priority"},{"op":"remove","path":"/phase"},{"op":"remove","path":"/description"}]`,
			func(r *node.InspectionRule) { r.Priority, r.Description = 0, "" }},
		{ruleA, `[{"op":"remove","path":"/conditions"}]`, func(r *node.InspectionRule) { r.Conditions = nil }},
		{ruleA, `[{"op":"remove","path":"/conditions/0"},{"op":"remove","path":"/conditions/0"}]`,
			func(r *node.InspectionRule) { r.Conditions = r.Conditions[2:] }},
		{ruleA, `[{"op":"add","path":"/sensitive","value":true}]`, func(r *node.InspectionRule) { r.Sensitive = true }},
		{ruleB, `[{"op":"add","path":"/sensitive","value":true},{"op":"add","path":"/description","value":"BMC"}]`,
			func(r *node.InspectionRule) { r.Description = "BMC" }},
		{ruleB, `[{"op":"replace","path":"/actions/0/args/path","value":"driver_info/redfish_password"}]`, func(r *node.InspectionRule) {
			r.Actions = []node.RuleOperation{{Op: "set-attribute", Args: map[string]any{"path": "driver_info/redfish_password", "value": bmcSecret}}}
		}},
	} {
		s := newServer(t)
		resp, body := s.ask("1.96", "PATCH", "/v1/inspection_rules/"+tt.uuid, tt.patch)
		if resp.StatusCode != 200 || len(s.calls) != 1 || leaks(body) != "" {
			t.Errorf("%s: %d %s %v", tt.patch, resp.StatusCode, body, s.calls)
			continue
		}
		want := openRule()
		want.Conditions[1].Multiple, want.Actions[0].Multiple = "any", ""
		if tt.uuid == ruleB {
			want = quietRule()
		}
		want.UpdatedAt = s.calls[0].(node.InspectionRule).UpdatedAt // the store's
		tt.change(&want)
		if diff := cmp.Diff(want, s.calls[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.patch, diff)
		}
	}
}

func TestInspectionRulesOfOldVersions(t *testing.T) {
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "", 404}, {"GET", "/" + ruleA, 404}, {"POST", "", 405}, {"DELETE", "", 405}, {"PATCH", "/" + ruleA, 405},
		{"DELETE", "/" + ruleA, 405},
	} {
		for _, version := range []string{"", "1.95"} {
			s := newServer(t)
			if resp, body := s.ask(version, tt.method, "/v1/inspection_rules"+tt.path, ""); resp.StatusCode != tt.status || len(s.calls) > 0 {
				t.Errorf("%s %s at %q: %d %s", tt.method, tt.path, version, resp.StatusCode, body)
			}
		}
	}
	s := newServer(t)
	if resp, body := s.ask("1.96", "GET", "/inspection_rules/"+strings.ToUpper(ruleA), ""); resp.StatusCode != 200 {
		t.Errorf("by the bookmark's path: %d %s", resp.StatusCode, body)
	}
	for version, want := range map[string]bool{"1.95": false, "1.96": true} {
		_, body := s.ask(version, "GET", "/v1", "")
		if strings.Contains(body, "/v1/inspection_rules/") != want {
			t.Errorf("%s: the version document %s", version, body)
		}
	}
}

func TestInspectionRulePaging(t *testing.T) {
	s := newServer(t)
	s.rules = nil
	for i := range 5 {
		r := openRule()
		r.UUID, r.Priority = fmt.Sprintf("77777777-7777-4777-8777-00000000000%d", i), i
		s.rules = append(s.rules, r)
	}
	var got []float64
	path := "/v1/inspection_rules?limit=2&fields=priority&sort_key=priority&phase=main"
	for path != "" {
		_, body := s.ask("1.96", "GET", path, "")
		for _, r := range field(t, body, "inspection_rules").([]any) {
			got = append(got, r.(map[string]any)["priority"].(float64))
		}
		next, _ := field(t, body, "next").(string)
		path = strings.TrimPrefix(next, "http://metal.example:6385")
	}
	if diff := cmp.Diff([]float64{0, 1, 2, 3, 4}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{node.Page{Limit: 2, SortKey: "priority", Marker: s.rules[3].UUID}, "main"}, s.calls[4:6]); diff != "" {
		t.Error(diff)
	}
}
