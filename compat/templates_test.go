package compat

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// templates has the client make, list, show, change and delete deploy templates.
func templates(t *testing.T, o *openstack) {
	const steps = `[{"interface": "deploy", "step": "erase_devices_metadata", "priority": 95, "args": {"some_password": "hush"}}]`
	shown := func(priority float64, step string, args map[string]any) []any {
		return []any{map[string]any{"interface": "deploy", "step": step, "priority": priority, "args": args}}
	}
	d := o.ask(t, "deploy", "template", "create", "CUSTOM_FRESH", "--steps", steps, "--extra", "rack=7")
	uuid, _ := d["uuid"].(string)
	for k, want := range map[string]any{
		"name": "CUSTOM_FRESH", "extra": map[string]any{"rack": 7.0},
		"steps": shown(95, "erase_devices_metadata", map[string]any{"some_password": "******"}),
	} {
		if diff := cmp.Diff(want, d[k]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", k, diff)
		}
	}
	o.do(t, "deploy", "template", "create", "HW_CPU_X86_VMX", "--steps", steps)
	o.refused(t, "A deploy template with name CUSTOM_FRESH already exists.", "deploy", "template", "create", "CUSTOM_FRESH", "--steps", steps)
	o.refused(t, "Deploy template name must be a valid trait", "deploy", "template", "create", "fresh", "--steps", steps)
	o.refused(t, `steps[0] needs "priority"`, "deploy", "template", "create", "CUSTOM_A", "--steps", `[{"interface": "deploy", "step": "x"}]`)

	want := []map[string]any{{"UUID": uuid, "Name": "CUSTOM_FRESH"}}
	rows := o.list(t, "deploy", "template", "list", "--sort", "name:asc")
	if len(rows) != 2 || rows[1]["Name"] != "HW_CPU_X86_VMX" {
		t.Errorf("listed: %v", rows)
	}
	if diff := cmp.Diff(want, o.list(t, "deploy", "template", "list", "--limit", "1")); diff != "" {
		t.Errorf("the first page (-want +got):\n%s", diff)
	}
	if long := o.list(t, "deploy", "template", "list", "--long"); len(long) != 2 || long[0]["Extra"] == nil {
		t.Errorf("the long list: %v", long)
	}

	o.do(t, "deploy", "template", "set", uuid, "--name", "CUSTOM_CLEAN_SLATE", "--extra", "row=2",
		"--steps", `[{"interface": "deploy", "step": "write_image", "priority": 85}]`)
	o.do(t, "deploy", "template", "unset", "CUSTOM_CLEAN_SLATE", "--extra", "rack")
	d = o.ask(t, "deploy", "template", "show", "CUSTOM_CLEAN_SLATE")
	if diff := cmp.Diff(shown(85, "write_image", map[string]any{}), d["steps"]); diff != "" || d["uuid"] != uuid ||
		!cmp.Equal(d["extra"], map[string]any{"row": 2.0}) {
		t.Errorf("changed to %v\n%s", d, diff)
	}
	if d := o.ask(t, "deploy", "template", "show", uuid, "--fields", "name"); len(d) != 1 || d["name"] != "CUSTOM_CLEAN_SLATE" {
		t.Errorf("only the name: %v", d)
	}
	o.refused(t, "A deploy template with name HW_CPU_X86_VMX already exists.", "deploy", "template", "set", uuid, "--name", "HW_CPU_X86_VMX")

	out := o.do(t, "deploy", "template", "delete", "CUSTOM_CLEAN_SLATE", "HW_CPU_X86_VMX")
	if strings.Count(out, "Deleted deploy template") != 2 {
		t.Errorf("deleting says: %s", out)
	}
	o.refused(t, "Deploy template "+uuid+" could not be found.", "deploy", "template", "show", uuid)
	if rows := o.list(t, "deploy", "template", "list"); len(rows) != 0 {
		t.Errorf("templates left: %v", rows)
	}
}
