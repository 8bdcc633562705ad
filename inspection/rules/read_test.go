package rules_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

func TestRead(t *testing.T) {
	const log = `"actions":[{"op":"log","args":{"msg":"x"}}]`
	logs := []node.RuleOperation{{Op: "log", Args: map[string]any{"msg": "x"}}}
	for _, tt := range []struct {
		body string
		want node.InspectionRule
	}{
		{`{` + log + `}`, node.InspectionRule{Phase: "main", Actions: logs}},
		{`{` + log + `,"description":null,"phase":null,"priority":null,"sensitive":null,"conditions":null}`,
			node.InspectionRule{Phase: "main", Actions: logs}},
		{`{` + log + `,"description":"d","phase":"main","priority":9999,"sensitive":true,"conditions":[]}`,
			node.InspectionRule{Phase: "main", Actions: logs, Description: "d", Priority: 9999, Sensitive: true}},
		// Ironic's own command sends texts.
		{`{` + log + `,"priority":"100","sensitive":"true"}`,
			node.InspectionRule{Phase: "main", Actions: logs, Priority: 100, Sensitive: true}},
		{`{"actions":[{"op":"fail","args":["x"],"loop":[1]}],"conditions":[{"op":"! eq","args":[1,2],"loop":{"a":1},"multiple":"last"}]}`,
			node.InspectionRule{Phase: "main", Actions: []node.RuleOperation{{Op: "fail", Args: []any{"x"}, Loop: []any{1.0}}},
				Conditions: []node.RuleOperation{{Op: "! eq", Args: []any{1.0, 2.0}, Loop: map[string]any{"a": 1.0}, Multiple: "last"}}}},
	} {
		got, err := rules.Read(object(t, tt.body))
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", tt.body, err, diff)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	const ok = `"actions":[{"op":"log","args":["x"]}]`
	const noActions = `An inspection rule needs "actions": a list of at least one action.`
	conditions := "contains, eq, ge, gt, in-net, is-empty, is-false, is-none, is-true, le, lt, matches, ne, one-of"
	for _, tt := range []struct{ body, want string }{
		{`{}`, noActions}, {`{"actions":[]}`, noActions},
		{`{"actions":null}`, "The field actions of an inspection rule must be a list, not null."},
		{`{"actions":{}}`, "The field actions of an inspection rule must be a list, not an object."},
		{`{` + ok + `,"conditions":"x"}`, "The field conditions of an inspection rule must be a list, not a text."},
		{`{` + ok + `,"scope":"x"}`,
			`An inspection rule has no field "scope". Allowed are: actions, conditions, description, phase, priority, sensitive, uuid`},
		{`{` + ok + `,"phase":"early"}`, "Invalid phase: early. Valid phases are: main"},
		{`{` + ok + `,"phase":7}`, "Invalid phase: 7. Valid phases are: main"},
		{`{` + ok + `,"priority":-1}`, "Priority must be between 0 and 9999 for user-defined rules, not -1."},
		{`{` + ok + `,"priority":"10000"}`, "Priority must be between 0 and 9999 for user-defined rules, not 10000."},
		{`{` + ok + `,"priority":1.5}`, "The priority of an inspection rule must be a whole number, not 1.5."},
		{`{` + ok + `,"priority":"1.0"}`, "The priority of an inspection rule must be a whole number, not 1.0."},
		{`{` + ok + `,"priority":[]}`, "The priority of an inspection rule must be a whole number, not []."},
		{`{` + ok + `,"priority":1e300}`, "The priority of an inspection rule must be a whole number, not 1" + strings.Repeat("0", 300) + "."},
		{`{` + ok + `,"sensitive":"perhaps"}`, "The field sensitive of an inspection rule must be a boolean, not a text."},
		{`{` + ok + `,"description":7}`, "The description of an inspection rule must be a text or null, not a number (7)."},
		{`{` + ok + `,"description":"` + strings.Repeat("é", 256) + `"}`,
			"The description of an inspection rule may have at most 255 characters, not 256."},
		{`{"actions":["x"]}`, "actions[0] of the inspection rule is wrong: it must be an object, not a text."},
		{`{"actions":[{"action":"fail","args":["x"]}]}`,
			`actions[0] of the inspection rule is wrong: it has an unknown key "action"; allowed are op, args, loop, multiple.`},
		{`{"actions":[{"args":["x"]}]}`, `actions[0] of the inspection rule is wrong: it needs "op": the name of an operation.`},
		{`{"actions":[{"op":"log"}]}`, `actions[0] of the inspection rule is wrong: it needs "args": an object, or a list.`},
		{`{"actions":[{"op":"log","args":"x"}]}`, "actions[0] of the inspection rule is wrong: its args are neither an object nor a list."},
		{`{"actions":[{"op":"log","args":["x"],"loop":"y"}]}`,
			"actions[0] of the inspection rule is wrong: loop must be a list or an object, not a text."},
		{`{` + ok + `,"conditions":[{"op":"eq","args":[1,1],"multiple":"some"}]}`,
			"conditions[0] of the inspection rule is wrong: multiple must be any, all, first or last, not some."},
		{`{` + ok + `,"conditions":[{"op":"eq","args":[1,1]},{"op":"like","args":[1,1]}]}`,
			`conditions[1] of the inspection rule is wrong: there is no condition "like"; there are ` + conditions +
				`, each also with ! before it.`},
		{`{` + ok + `,"conditions":[{"op":"!!eq","args":[1,1]}]}`,
			`conditions[0] of the inspection rule is wrong: there is no condition "!!eq"; there are ` + conditions +
				`, each also with ! before it.`},
		{`{"actions":[{"op":"!fail","args":["x"]}]}`, `actions[0] of the inspection rule is wrong: there is no action "!fail"; there are ` +
			`add-trait, api-call, del-attribute, del-port-attribute, extend-attribute, extend-plugin-data, extend-port-attribute, fail, log, ` +
			`remove-trait, set-attribute, set-capability, set-plugin-data, set-port-attribute, unset-capability, unset-plugin-data.`},
		{`{"actions":[{"op":"set-attribute","args":{"path":"x","val":1}}]}`,
			"actions[0] of the inspection rule is wrong: it lacks arguments: value."},
		{`{"actions":[{"op":"set-attribute","args":["x"]}]}`, "actions[0] of the inspection rule is wrong: it lacks arguments: value."},
		{`{"actions":[{"op":"log","args":{"msg":"x","z":1,"a":2}}]}`,
			"actions[0] of the inspection rule is wrong: it has unknown arguments: a, z; allowed are msg, level."},
		{`{"actions":[{"op":"log","args":["x","info",3]}]}`,
			"actions[0] of the inspection rule is wrong: it has too many arguments: at most 2 are taken: msg, level."},
		{`{` + ok + `,"conditions":[{"op":"matches","args":["x","(?=y)"]}]}`, "conditions[0] of the inspection rule is wrong: its regular " +
			"expression is not one (the syntax is RE2's: no look-around, no back references): error parsing regexp: invalid or unsupported Perl " +
			"syntax: `(?=`."},
		{`{` + ok + `,"conditions":[{"op":"in-net","args":["{inventory[bmc_address]}","10.0.0.0/33"]}]}`,
			`conditions[0] of the inspection rule ` +
				`is wrong: an argument is no network: subnet is "10.0.0.0/33"; a network is like 10.1.0.0/16.`},
	} {
		_, err := rules.Read(object(t, tt.body))
		if err == nil || err.Error() != tt.want || node.KindOf(err) != node.Invalid {
			t.Errorf("%s:\n got %v\nwant %s", tt.body, err, tt.want)
		}
	}
}

func TestReadBuiltIn(t *testing.T) {
	for _, tt := range []struct{ body, uuid, err string }{
		{`{"uuid":"dell-bmc","priority":-7,"actions":[{"op":"log","args":["x"]}]}`, "dell-bmc", ""},
		{`{"priority":-7,"actions":[{"op":"log","args":["x"]}]}`, "00000000-0000-0000-0000-00000000001f", ""},
		{`{"uuid":7,"actions":[{"op":"log","args":["x"]}]}`, "", "The uuid of a built-in inspection rule must be a text."},
		{`{"uuid":"x"}`, "", `An inspection rule needs "actions": a list of at least one action.`},
		{`{"uuid":"x","priority":"high","actions":[{"op":"log","args":["x"]}]}`, "",
			"The priority of an inspection rule must be a whole number, not high."},
	} {
		body := object(t, tt.body)
		got, err := rules.ReadBuiltIn(body, 31)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s: %v", tt.body, err)
			}
			continue
		}
		if err != nil || got.UUID != tt.uuid || got.Priority != -7 || len(got.Actions) != 1 || body["priority"] == nil {
			t.Errorf("%s: %+v, %v", tt.body, got, err)
		}
	}
}

// FuzzRule: whatever people write, it is refused or can be run, and running it shows no secret of the node
// and changes nothing when it fails.
func FuzzRule(f *testing.F) {
	for _, body := range []string{
		`{"actions":[{"op":"set-attribute","args":{"path":"{item[path]}","value":"{item[value]}"},"loop":[{"path":"/driver_info/x",` +
			`"value":"{inventory[bmc_address]}"}]}]}`,
		`{"actions":[{"op":"log","args":["{node.driver_info} ` +
			`{inventory}"]}],"conditions":[{"op":"!in-net","args":["{inventory[bmc_address]}","10.0.0.0/8"]}]}`,
		`{"actions":[{"op":"extend-port-attribute","args":["52:54:00:00:00:01","extra/a",{"b":["{node.name}"]},"yes"]}],` +
			`"conditions":[{"op":"one-of","args":["{plugin_data[macs]}",[[]]],"loop":{"a":1},"multiple":"all"}]}`,
		`{"actions":[{"op":"del-attribute","args":["extra"]},{"op":"set-attribute","args":["extra/a/b",null]},{"op":"unset-capability",` +
			`"args":["boot_mode"]}]}`,
		`{"actions":[{"op":"fail","args":{"msg":"{node.driver_info[ipmi_password]}"}}],"conditions":[{"op":"matches",` +
			`"args":["{inventory[hostname]}",".*"]}]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var body map[string]any
		if json.Unmarshal(text, &body) != nil || strings.Contains(string(text), "api-call") {
			return
		}
		r, err := rules.Read(body)
		if err != nil {
			if node.KindOf(err) != node.Invalid {
				t.Errorf("%s: %v", text, err)
			}
			return
		}
		m := machine(t)
		lines := said(m)
		_, err = rules.Apply(t.Context(), []node.InspectionRule{r}, m)
		shown := strings.Join(*lines, "\n")
		if err != nil {
			shown += err.Error()
			m.Log = nil
			if diff := cmp.Diff(machine(t), m); diff != "" {
				t.Errorf("%s: failed, and changed the machine:\n%s", text, diff)
			}
		}
		if strings.Contains(shown, "hunter2-secret") && !strings.Contains(string(text), "hunter2") {
			t.Errorf("%s: a secret is shown: %s", text, shown)
		}
	})
}
