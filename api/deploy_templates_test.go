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

const templateA = "55555555-5555-4555-8555-555555555555"

func raidTemplate() node.DeployTemplate {
	return node.DeployTemplate{
		ID: 1, UUID: templateA, Name: "CUSTOM_RAID1", Description: "two disks as one", CreatedAt: epoch, UpdatedAt: epoch,
		Steps: []node.PlannedStep{
			{Interface: node.RAID, Step: "create", Priority: 90, Args: map[string]any{"level": "1", "password": bmcSecret}},
			{Interface: node.Power, Step: "reboot", Priority: 0},
		},
	}
}

func (w *world) CreateDeployTemplate(_ context.Context, t *node.DeployTemplate) error {
	if err := w.did(*t); err != nil {
		return err
	}
	t.ID, t.CreatedAt, t.UpdatedAt = int64(len(w.templates)+1), epoch, epoch
	w.templates = append(w.templates, *t)
	return nil
}

func (w *world) DeployTemplate(_ context.Context, ident string) (node.DeployTemplate, error) {
	if w.lost != nil {
		return node.DeployTemplate{}, w.lost
	}
	for _, t := range w.templates {
		if t.UUID == ident || t.Name == ident {
			return t, nil
		}
	}
	return node.DeployTemplate{}, node.DeployTemplateNotFound(ident)
}

func (w *world) DeployTemplates(_ context.Context, _ node.DeployTemplateFilter, p node.Page) ([]node.DeployTemplate, error) {
	if w.lost != nil {
		return nil, w.lost
	}
	w.calls = append(w.calls, p)
	from := 0
	if p.Marker != "" {
		if from = 1 + slices.IndexFunc(w.templates, func(t node.DeployTemplate) bool { return t.UUID == p.Marker }); from == 0 {
			return nil, node.DeployTemplateNotFound(p.Marker)
		}
	}
	rest := w.templates[from:]
	return rest[:min(p.Limit, len(rest))], nil
}

func (w *world) SaveDeployTemplate(_ context.Context, t *node.DeployTemplate) error {
	return w.did(*t)
}

func (w *world) DeleteDeployTemplate(ctx context.Context, uuid string) error {
	if _, err := w.DeployTemplate(ctx, uuid); err != nil {
		return err
	}
	return w.did(deleted{uuid})
}

func TestDeployTemplateCreation(t *testing.T) {
	const steps = `"steps":[{"interface":"deploy","step":"erase_devices_metadata","priority":95},{"interface":"raid","step":"create",` +
		`"priority":90,"args":{"password":"` + bmcSecret + `"}}]`
	s := newServer(t)
	resp, body := s.ask("1.55", "POST", "/v1/deploy_templates", `{"name":"CUSTOM_NEW",`+steps+`,"extra":{"a":1}}`)
	uuid, _ := field(t, body, "uuid").(string)
	if resp.StatusCode != 201 || !isUUID(uuid) || resp.Header.Get("Location") != "http://metal.example:6385/v1/deploy_templates/"+uuid {
		t.Fatalf("%d %s %s", resp.StatusCode, resp.Header.Get("Location"), body)
	}
	if s := leaks(body); s != "" {
		t.Errorf("the secret %q is in the answer", s)
	}
	want := node.DeployTemplate{UUID: uuid, Name: "CUSTOM_NEW", Extra: node.Document{"a": 1.0}, Steps: []node.PlannedStep{
		{Interface: node.Deploy, Step: "erase_devices_metadata", Priority: 95, Args: map[string]any{}},
		{Interface: node.RAID, Step: "create", Priority: 90, Args: map[string]any{"password": bmcSecret}},
	}}
	if diff := cmp.Diff(want, s.calls[0]); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestDeployTemplateRefusals(t *testing.T) {
	ok := `[{"interface":"power","step":"reboot","priority":5}]`
	const noTrait = `Deploy template name must be a valid trait, which "%s" is not: a trait is a standard one such as HW_CPU_X86_VMX, or ` +
		`CUSTOM_ followed by A-Z, 0-9 and _.`
	for _, tt := range []struct {
		version, body string
		status        int
		want          string
	}{
		{"1.115", `[]`, 400, "The body must be a JSON object, not a list."},
		{"1.115", `{"steps":` + ok + `}`, 400, `A deploy template needs "name". It has "name", a trait, and "steps".`},
		{"1.115", `{"name":"CUSTOM_A"}`, 400, `A deploy template needs "steps". It has "name", a trait, and "steps".`},
		{"1.115", `{"name":"CUSTOM_A","steps":[]}`, 400, `A deploy template needs "steps": a list of at least one step.`},
		{"1.115", `{"name":"CUSTOM_A","steps":{}}`, 400, `"steps" must be a list of steps, not an object.`},
		{"1.115", `{"name":"custom_a","steps":` + ok + `}`, 400, fmt.Sprintf(noTrait, "custom_a")},
		{"1.115", `{"name":"CUSTOM A","steps":` + ok + `}`, 400, fmt.Sprintf(noTrait, "CUSTOM A")},
		{"1.115", `{"name":"` + strings.Repeat("A", 256) + `","steps":` + ok + `}`, 400, "Field name may have at most 255 characters, not 256."},
		{"1.115", `{"name":7,"steps":` + ok + `}`, 400, "Field name must be a string, not a number."},
		{"1.115", `{"name":"CUSTOM_A","uuid":"x","steps":` + ok + `}`, 400, "Expected a UUID for uuid but received x."},
		{"1.115", `{"name":"CUSTOM_A","colour":"red","steps":` + ok + `}`, 400,
			`A deploy template cannot be created with the field "colour". Allowed are: description, extra, name, steps, uuid`},
		{"1.115", `{"name":"CUSTOM_A","extra":[],"steps":` + ok + `}`, 400, "Field extra must be an object, not a list."},
		{"1.111", `{"name":"CUSTOM_A","description":"x","steps":` + ok + `}`, 406,
			"Request not acceptable. The minimal required API version for the field 'description' is 1.112."},
		{"1.115", `{"name":"CUSTOM_A","steps":[{"interface":"power","step":"reboot"}]}`, 400,
			`steps[0] needs "priority": a whole number of at least 0; 0 leaves the step out.`},
		{"1.115", `{"name":"CUSTOM_A","steps":[{"interface":"power","step":"reboot","priority":-1}]}`, 400,
			"steps[0] has a priority of -1; it must be a whole number of at least 0."},
		{"1.115", `{"name":"CUSTOM_A","steps":[{"interface":"boot","step":"reboot","priority":1}]}`, 400,
			`steps[0] needs "interface" to be one of: vendor, power, management, firmware, deploy, bios, raid.`},
		{"1.115", `{"name":"CUSTOM_A","steps":[{"interface":"power","step":"reboot","priority":1,"order":1}]}`, 400,
			`steps[0] has an unknown key "order". Allowed are: interface, step, args, priority.`},
		{"1.115", `{"name":"CUSTOM_A","steps":[{"interface":"power","step":"reboot","priority":1,"args":7}]}`, 400,
			"Field steps args must be an object, not a number."},
		{"1.115", `{"name":"CUSTOM_A","steps":[{"interface":"vendor","step":"send_raw","priority":1}]}`, 400,
			"The step send_raw of the interface vendor is not allowed over the API."},
		{"1.115", `{"name":"CUSTOM_A","steps":[{"interface":"power","step":"reboot","priority":1},{"interface":"power","step":"reboot",` +
			`"priority":2}]}`, 400, "steps names the step reboot of the interface power twice."},
	} {
		s := newServer(t)
		resp, body := s.ask(tt.version, "POST", "/v1/deploy_templates", tt.body)
		if resp.StatusCode != tt.status || faultstring(t, body) != tt.want {
			t.Errorf("%s:\n got %d %s\nwant %d %s", tt.body, resp.StatusCode, faultstring(t, body), tt.status, tt.want)
		}
		if len(s.calls) > 0 || resp.Header.Get("Location") != "" {
			t.Errorf("%s: stored %v", tt.body, s.calls)
		}
	}
}

func TestDeployTemplatePatches(t *testing.T) {
	for _, tt := range []struct {
		name, patch string
		change      func(*node.DeployTemplate) // nil: refused
		want        string
	}{
		{"name", `[{"op":"replace","path":"/name","value":"HW_CPU_X86_VMX"}]`, func(d *node.DeployTemplate) { d.Name = "HW_CPU_X86_VMX" }, ""},
		{"steps as a whole", `[{"op":"replace","path":"/steps","value":[{"interface":"bios","step":"apply","priority":1,"args":{"a":[1]}}]}]`,
			func(d *node.DeployTemplate) {
				d.Steps = []node.PlannedStep{{Interface: node.BIOS, Step: "apply", Priority: 1, Args: map[string]any{"a": []any{1.0}}}}
			}, ""},
		{"extra keeps the secret steps", `[{"op":"add","path":"/extra/rack","value":7}]`,
			func(d *node.DeployTemplate) { d.Extra = node.Document{"rack": 7.0} }, ""},
		{"description", `[{"op":"remove","path":"/description"}]`, func(d *node.DeployTemplate) { d.Description = "" }, ""},
		{"one step", `[{"op":"replace","path":"/steps/0/priority","value":1}]`, nil,
			"Cannot patch /steps/0/priority: the steps of a deploy template are replaced as a whole, by the path /steps."},
		{"no steps", `[{"op":"remove","path":"/steps"}]`, nil, `A deploy template needs "steps": a list of at least one step.`},
		{"no name", `[{"op":"remove","path":"/name"}]`, nil, `Deploy template name must be a valid trait, which "" is not: a trait is a ` +
			`standard one such as HW_CPU_X86_VMX, or CUSTOM_ followed by A-Z, 0-9 and _.`},
		{"uuid", `[{"op":"replace","path":"/uuid","value":"` + nodeB + `"}]`, nil,
			"Cannot patch /uuid. Only the following can be updated: description, extra, name, steps"},
		{"a new field", `[{"op":"add","path":"/colour","value":"red"}]`, nil,
			"Adding a new attribute (/colour) to the root of the resource is not allowed"},
		{"nothing to remove", `[{"op":"remove","path":"/extra/none"}]`, nil,
			`Couldn't apply patch 'remove /extra/none'. Reason: there is no "/extra/none" to remove in the resource`},
		{"no list", `{}`, nil, `A PATCH needs a JSON list of operations, each an object with "op", "path" and, for add and replace, "value".`},
	} {
		s := newServer(t)
		resp, body := s.ask("1.115", "PATCH", "/v1/deploy_templates/CUSTOM_RAID1", tt.patch)
		if tt.change == nil {
			if resp.StatusCode != 400 || faultstring(t, body) != tt.want || len(s.calls) > 0 {
				t.Errorf("%s: %d %s\nwant %s", tt.name, resp.StatusCode, faultstring(t, body), tt.want)
			}
			continue
		}
		want := raidTemplate()
		tt.change(&want)
		if resp.StatusCode != 200 || len(s.calls) != 1 || leaks(body) != "" {
			t.Errorf("%s: %d %s %v", tt.name, resp.StatusCode, body, s.calls)
			continue
		}
		got := s.calls[0].(node.DeployTemplate)
		if got.Extra == nil {
			got.Extra = want.Extra
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// A server that had no templates yet answers 404 to readers and 405 to writers; so does this one for old versions.
func TestDeployTemplatesOfOldVersions(t *testing.T) {
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/v1/deploy_templates", 404}, {"GET", "/v1/deploy_templates/CUSTOM_RAID1", 404},
		{"POST", "/v1/deploy_templates", 405}, {"PATCH", "/v1/deploy_templates/CUSTOM_RAID1", 405},
		{"DELETE", "/v1/deploy_templates/CUSTOM_RAID1", 405},
	} {
		for _, version := range []string{"", "1.54"} {
			s := newServer(t)
			if resp, body := s.ask(version, tt.method, tt.path, ""); resp.StatusCode != tt.status || len(s.calls) > 0 {
				t.Errorf("%s %s at %q: %d %s", tt.method, tt.path, version, resp.StatusCode, body)
			}
		}
	}
	if resp, body := newServer(t).ask("1.55", "GET", "/deploy_templates/"+strings.ToUpper(templateA), ""); resp.StatusCode != 200 {
		t.Errorf("by the bookmark's path: %d %s", resp.StatusCode, body)
	}
}

func TestDeployTemplateErrors(t *testing.T) {
	conflict := node.Errorf(node.Conflict, "A deploy template with name CUSTOM_RAID1 already exists.")
	create := `{"name":"CUSTOM_RAID1","steps":[{"interface":"power","step":"reboot","priority":5}]}`
	for _, tt := range []struct {
		method, path, body string
		fail               error
		status             int
		want               string
	}{
		{"POST", "", create, conflict, 409, conflict.Msg},
		{"PATCH", "/" + templateA, `[{"op":"replace","path":"/name","value":"CUSTOM_RAID1"}]`, conflict, 409, conflict.Msg},
		{"GET", "/CUSTOM_NONE", "", nil, 404, "Deploy template CUSTOM_NONE could not be found."},
		{"PATCH", "/" + nodeB, `[]`, nil, 404, "Deploy template " + nodeB + " could not be found."},
		{"DELETE", "/CUSTOM_NONE", "", nil, 404, "Deploy template CUSTOM_NONE could not be found."},
		{"GET", "?fields=name,colour", "", nil, 400, `Field(s) "colour" are not valid for a deploy_template.`},
		{"GET", "?fields=name&detail=true", "", nil, 400, "Can't fetch a subset of fields with 'detail' set"},
		{"GET", "?sort_key=steps", "", nil, 400, `The sort_key value "steps" is an invalid field for sorting`},
		{"GET", "?sort_key=extra", "", nil, 400, `The sort_key value "extra" is an invalid field for sorting`},
		{"GET", "?limit=0", "", nil, 400, "Limit must be positive"},
		{"GET", "?marker=" + nodeB, "", nil, 404, "Deploy template " + nodeB + " could not be found."},
		{"GET", "/CUSTOM_RAID1?detail=true", "", nil, 400, "Unexpected arguments: detail"},
	} {
		s := newServer(t)
		s.fail = tt.fail
		resp, body := s.ask("1.115", tt.method, "/v1/deploy_templates"+tt.path, tt.body)
		if resp.StatusCode != tt.status || faultstring(t, body) != tt.want {
			t.Errorf("%s %s: %d %s\nwant %d %s", tt.method, tt.path, resp.StatusCode, body, tt.status, tt.want)
		}
	}
	if resp, body := newServer(t).ask("1.111", "GET", "/v1/deploy_templates?fields=description", ""); resp.StatusCode != 406 {
		t.Errorf("description at 1.111: %d %s", resp.StatusCode, body)
	}
}

func TestDeployTemplatePaging(t *testing.T) {
	s := newServer(t)
	for i := range 4 {
		d := raidTemplate()
		d.UUID, d.Name = fmt.Sprintf("55555555-5555-4555-8555-00000000000%d", i), fmt.Sprintf("CUSTOM_%d", i)
		s.templates = append(s.templates, d)
	}
	var got []string
	path := "/v1/deploy_templates?limit=2&fields=name&sort_key=name"
	for path != "" {
		_, body := s.ask("1.55", "GET", path, "")
		for _, d := range field(t, body, "deploy_templates").([]any) {
			got = append(got, d.(map[string]any)["name"].(string))
		}
		next, _ := field(t, body, "next").(string)
		path = strings.TrimPrefix(next, "http://metal.example:6385")
	}
	if diff := cmp.Diff([]string{"CUSTOM_RAID1", "CUSTOM_0", "CUSTOM_1", "CUSTOM_2", "CUSTOM_3"}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(node.Page{Limit: 2, SortKey: "name", Marker: s.templates[1].UUID}, s.calls[1]); diff != "" {
		t.Error(diff)
	}
}

// Whatever a body is, it is stored whole or refused.
func FuzzDeployTemplateBody(f *testing.F) {
	for _, body := range []string{
		`{"name":"CUSTOM_A","steps":[{"interface":"raid","step":"create","priority":90,"args":{"password":"` + bmcSecret + `"}}]}`,
		`{"name":"HW_CPU_X86_VMX","extra":{"a":[1e300]},"steps":[{"interface":"power","step":"hold","priority":2147483648}]}`,
		`{"name":"CUSTOM_A","steps":[null]}`, `{"name":null,"steps":null}`, `[]`, `"x"`, ``,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := newServer(t)
		resp, answer := s.ask("1.115", "POST", "/v1/deploy_templates", body)
		switch {
		case resp.StatusCode == 201 && len(s.calls) == 1:
			d := s.calls[0].(node.DeployTemplate)
			if checkTrait(d.Name) != nil || len(d.Steps) == 0 || !isUUID(d.UUID) {
				t.Errorf("%q was stored as %+v", body, d)
			}
		case resp.StatusCode == 400 && len(s.calls) == 0:
		default:
			t.Errorf("%q: %d %s, %d calls", body, resp.StatusCode, answer, len(s.calls))
		}
	})
}
