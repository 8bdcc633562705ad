package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

const provisionPath = "/v1/nodes/rack1-u7/states/provision"

func TestProvisionRequests(t *testing.T) {
	step := node.PlannedStep{Interface: node.Deploy, Step: "erase_devices", Args: map[string]any{}}
	raid := node.PlannedStep{Interface: node.RAID, Step: "create", Args: map[string]any{"a": 1.0}, Priority: 90}
	for _, tt := range []struct {
		version, body string
		want          node.ProvisionRequest
	}{
		{"1.4", `{"target":"manage"}`, node.ProvisionRequest{Event: node.EventManage}},
		{"1.4", `{"target":"provide"}`, node.ProvisionRequest{Event: node.EventProvide}},
		{"1.1", `{"target":"deleted"}`, node.ProvisionRequest{Event: node.EventDelete}},
		{"1.1", `{"target":"undeploy"}`, node.ProvisionRequest{Event: node.EventDelete}},
		{"1.73", `{"target":"deploy"}`, node.ProvisionRequest{Event: node.EventDeploy}},
		{"1.1", `{"target":"active","configdrive":"` + driveData + `"}`, node.ProvisionRequest{Event: node.EventDeploy, ConfigDrive: driveData}},
		{"1.1", `{"target":"active","configdrive":null}`, node.ProvisionRequest{Event: node.EventDeploy}},
		{"1.35", `{"target":"rebuild","configdrive":"https://x/drive"}`,
			node.ProvisionRequest{Event: node.EventRebuild, ConfigDrive: "https://x/drive"}},
		{"1.56", `{"target":"active","configdrive":{}}`, node.ProvisionRequest{Event: node.EventDeploy,
			DriveParts: &node.ConfigDriveParts{MetaData: node.Document{}, NetworkData: node.Document{}, VendorData: node.Document{}}}},
		{"1.56", `{"target":"active","configdrive":{"meta_data":null,"user_data":[1],"network_data":{"links":[]}}}`,
			node.ProvisionRequest{Event: node.EventDeploy, DriveParts: &node.ConfigDriveParts{
				MetaData: node.Document{}, UserData: []any{1.0}, NetworkData: node.Document{"links": []any{}}, VendorData: node.Document{},
			}}},
		{"1.59", `{"target":"rebuild","configdrive":{"meta_data":{"a":"b"},"user_data":"#!","vendor_data":{"c":1}}}`,
			node.ProvisionRequest{Event: node.EventRebuild, DriveParts: &node.ConfigDriveParts{
				MetaData: node.Document{"a": "b"}, NetworkData: node.Document{}, UserData: "#!", VendorData: node.Document{"c": 1.0},
			}}},
		{"1.69", `{"target":"active","deploy_steps":[{"interface":"raid","step":"create","args":{"a":1},"priority":90}]}`,
			node.ProvisionRequest{Event: node.EventDeploy, DeploySteps: []node.PlannedStep{raid}}},
		{"1.6", `{"target":"inspect"}`, node.ProvisionRequest{Event: node.EventInspect}},
		{"1.17", `{"target":"adopt"}`, node.ProvisionRequest{Event: node.EventAdopt}},
		{"1.15", `{"target":"clean","clean_steps":[{"interface":"deploy","step":"erase_devices"}]}`,
			node.ProvisionRequest{Event: node.EventClean, CleanSteps: []node.PlannedStep{step}}},
		{"1.70", `{"target":"clean","disable_ramdisk":true,"clean_steps":[{"interface":"raid","step":"create","args":{"a":1},"priority":90,` +
			`"order":2},{"interface":"deploy","step":"erase_devices","order":1}]}`,
			node.ProvisionRequest{Event: node.EventClean, NoRamdisk: true, CleanSteps: []node.PlannedStep{step, raid}}},
		{"1.110", `{"target":"abort"}`, node.ProvisionRequest{Event: node.EventAbort}},
		{"1.38", `{"target":"rescue","rescue_password":"pw"}`, node.ProvisionRequest{Event: node.EventRescue, RescuePassword: "pw"}},
		{"1.38", `{"target":"unrescue"}`, node.ProvisionRequest{Event: node.EventUnrescue}},
		{"1.85", `{"target":"unhold"}`, node.ProvisionRequest{Event: node.EventUnhold}},
		{"1.108", `{"target":"service","disable_ramdisk":false,"service_steps":[{"interface":"deploy","step":"erase_devices"}]}`,
			node.ProvisionRequest{Event: node.EventService, ServiceSteps: []node.PlannedStep{step}}},
	} {
		s := newServer(t)
		path := provisionPath
		if tt.version == "1.1" || tt.version == "1.4" {
			path = "/v1/nodes/" + nodeA + "/states/provision"
		}
		resp, body := s.ask(tt.version, "PUT", path, tt.body)
		if resp.StatusCode != 202 || body != "" || resp.Header.Get("Location") == "" || len(s.calls) != 1 {
			t.Errorf("%s: %d %s %v", tt.body, resp.StatusCode, body, s.calls)
			continue
		}
		if diff := cmp.Diff(tt.want, s.calls[0].(provisioned).ProvisionRequest); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.body, diff)
		}
	}
}

func TestProvisionRefusals(t *testing.T) {
	const all = "abort, active, adopt, clean, deleted, deploy, inspect, manage, provide, rebuild, rescue, service, undeploy, unhold, unrescue"
	needs := func(what, v string) string {
		return "Request not acceptable. The minimal required API version for " + what + " is " + v + "."
	}
	for _, tt := range []struct {
		version, body string
		status        int
		want          string
	}{
		{"1.90", `{}`, 400, `The requested action "<nil>" is not valid. Allowed are: ` + all},
		{"1.90", `{"target":"explode"}`, 400, `The requested action "explode" is not valid. Allowed are: ` + all},
		{"1.90", `{"target":"manage","force":true}`, 400, "Unexpected arguments: force"},
		{"1.72", `{"target":"deploy"}`, 406, needs("the target 'deploy'", "1.73")},
		{"1.5", `{"target":"inspect"}`, 406, needs("the target 'inspect'", "1.6")},
		{"1.12", `{"target":"abort"}`, 406, needs("the target 'abort'", "1.13")},
		{"1.109", `{"target":"abort"}`, 406, needs("aborting in 'wait call-back'", "1.110")},
		{"1.37", `{"target":"rescue","rescue_password":"x"}`, 406, needs("the target 'rescue'", "1.38")},
		{"1.86", `{"target":"service","service_steps":[]}`, 406, needs("the target 'service'", "1.87")},
		{"1.90", `{"target":"rescue"}`, 400, `A non-empty "rescue_password" is required when setting target provision state to rescue`},
		{"1.90", `{"target":"rescue","rescue_password":"  "}`, 400,
			`A non-empty "rescue_password" is required when setting target provision state to rescue`},
		{"1.90", `{"target":"active","rescue_password":"x"}`, 400, `"rescue_password" can not be used when setting provision state to active.`},
		{"1.90", `{"target":"clean"}`, 400, `"clean_steps" is required when setting target provision state to clean`},
		{"1.90", `{"target":"service"}`, 400, `"service_steps" is required when setting target provision state to service`},
		{"1.90", `{"target":"provide","clean_steps":[]}`, 400, `"clean_steps" can not be used when setting provision state to provide.`},
		{"1.69", `{"target":"clean","disable_ramdisk":true,"clean_steps":[{"interface":"raid","step":"x"}]}`, 406,
			needs("'disable_ramdisk' with 'clean'", "1.70")},
		{"1.107", `{"target":"service","disable_ramdisk":true,"service_steps":[{"interface":"raid","step":"x"}]}`, 406,
			needs("'disable_ramdisk' with 'service'", "1.108")},
		{"1.92", `{"target":"clean","runbook":"r"}`, 400, "Runbooks are not served here; send the steps themselves."},

		{"1.68", `{"target":"active","deploy_steps":[]}`, 406, needs("the argument 'deploy_steps'", "1.69")},
		{"1.90", `{"target":"deploy","deploy_steps":[]}`, 400, `"deploy_steps" can not be used when setting provision state to deploy.`},
		{"1.90", `{"target":"active","deploy_steps":{}}`, 400, `"deploy_steps" must be a list of steps, not an object.`},
		{"1.90", `{"target":"active","deploy_steps":[5]}`, 400, "deploy_steps[0] must be an object, not a number."},
		{"1.90", `{"target":"active","deploy_steps":[{"interface":"deploy","step":"x","args":{}}]}`, 400,
			`deploy_steps[0] needs "priority": a whole number of at least 0; 0 leaves the step out.`},
		{"1.90", `{"target":"active","deploy_steps":[{"interface":"deploy","step":"x","priority":-1}]}`, 400,
			"deploy_steps[0] has a priority of -1; it must be a whole number of at least 0."},
		{"1.90", `{"target":"active","deploy_steps":[{"interface":"deploy","step":"x","priority":1.5}]}`, 400,
			"deploy_steps[0] has a priority of 1.5; it must be a whole number of at least 0."},
		{"1.90", `{"target":"active","deploy_steps":[{"interface":"network","step":"x","priority":1}]}`, 400,
			`deploy_steps[0] needs "interface" to be one of: vendor, power, management, firmware, deploy, bios, raid.`},
		{"1.90", `{"target":"active","deploy_steps":[{"interface":"deploy","step":"","priority":1}]}`, 400,
			`deploy_steps[0] needs "step": the name of a step.`},
		{"1.90", `{"target":"active","deploy_steps":[{"interface":"deploy","step":"x","priority":1,"order":1}]}`, 400,
			`deploy_steps[0] has an unknown key "order". Allowed are: interface, step, args, priority.`},
		{"1.90", `{"target":"active","deploy_steps":[{"interface":"deploy","step":"x","priority":1,"args":[]}]}`, 400,
			"Field deploy_steps args must be an object, not a list."},
		{"1.90", `{"target":"active","deploy_steps":[{"interface":"deploy","step":"x","priority":1},{"interface":"deploy","step":"x",` +
			`"priority":2}]}`, 400, "deploy_steps names the step x of the interface deploy twice."},
		{"1.90", `{"target":"clean","clean_steps":[{"interface":"vendor","step":"send_raw"}]}`, 400,
			"The step send_raw of the interface vendor is not allowed over the API."},
		{"1.90", `{"target":"clean","clean_steps":[{"interface":"deploy","step":"x","order":"a"}]}`, 400,
			"clean_steps[0] has an order of a; it must be a whole number of at least 0."},

		{"1.90", `{"target":"deploy","configdrive":"https://x/"}`, 400,
			"Adding a config drive is only supported when setting provision state to active, rebuild, not deploy."},
		{"1.90", `{"target":"deleted","configdrive":"https://x/"}`, 400,
			"Adding a config drive is only supported when setting provision state to active, rebuild, not deleted."},
		{"1.34", `{"target":"rebuild","configdrive":"https://x/"}`, 406, needs("'configdrive' with 'rebuild'", "1.35")},
		{"1.90", `{"target":"active","configdrive":5}`, 400, "A config drive must be a string or an object, not a number."},
		{"1.90", `{"target":"active","configdrive":""}`, 400, "The config drive is empty."},
		{"1.55", `{"target":"active","configdrive":{}}`, 406, needs("a config drive given as an object", "1.56")},
		{"1.58", `{"target":"active","configdrive":{"vendor_data":{}}}`, 406, needs("'vendor_data' of a config drive", "1.59")},
		{"1.90", `{"target":"active","configdrive":{"files":{}}}`, 400,
			`A config drive has no "files". Allowed are: meta_data, network_data, user_data, vendor_data.`},
		{"1.90", "{\"target\":\"active\",\"configdrive\":{\"user_data\":\"\x1f\x8b\x08\"}}",
			400, "The body is not valid JSON: it is not UTF-8 text, which JSON must be (RFC 8259)."},
		{"1.90", `{"target":"active","configdrive":{"meta_data":"x"}}`, 400, "Field configdrive.meta_data must be an object, not a string."},
		{"1.90", `{"target":"active","configdrive":{"user_data":5}}`,
			400, "user_data of a config drive must be a string, an object or a list, not a number."},
	} {
		s := newServer(t)
		path := provisionPath
		if tt.version == "1.4" {
			path = "/v1/nodes/" + nodeA + "/states/provision"
		}
		resp, body := s.ask(tt.version, "PUT", path, tt.body)
		if resp.StatusCode != tt.status || faultstring(t, body) != tt.want {
			t.Errorf("%s at %s:\n got %d %s\nwant %d %s", tt.body, tt.version, resp.StatusCode, faultstring(t, body), tt.status, tt.want)
		}
		if len(s.calls) > 0 {
			t.Errorf("%s: the conductor was asked: %v", tt.body, s.calls)
		}
	}
}

// What may be aborted depends on the node's state and the client's version.
func TestAbortGrewOverTheVersions(t *testing.T) {
	for _, tt := range []struct {
		state   node.State
		version string
		status  int
	}{
		{node.CleanWait, "1.13", 202}, {node.CleanWait, "1.12", 406},
		{node.InspectWait, "1.40", 406}, {node.InspectWait, "1.41", 202},
		{node.DeployWait, "1.109", 406}, {node.DeployWait, "1.110", 202},
		{node.ServiceWait, "1.87", 202},
	} {
		s := newServer(t)
		s.nodes[0].State = tt.state
		if resp, body := s.ask(tt.version, "PUT", provisionPath, `{"target":"abort"}`); resp.StatusCode != tt.status {
			t.Errorf("%s at %s: %d %s", tt.state, tt.version, resp.StatusCode, body)
		}
	}
}

func FuzzProvisionBody(f *testing.F) {
	for _, body := range []string{
		`{"target":"active","configdrive":{"user_data":"#!/bin/sh"},"deploy_steps":[{"interface":"raid","step":"x","priority":1}]}`,
		`{"target":"clean","clean_steps":[{"interface":"deploy","step":"erase_devices","order":1e300}]}`,
		`{"target":"rescue","rescue_password":"` + bmcSecret + `"}`, `{"target":null}`, `[]`, `"x"`, `{"target":"abort"}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := newServer(t)
		resp, answer := s.ask("1.115", "PUT", provisionPath, body)
		switch {
		case resp.StatusCode == 202 && len(s.calls) == 1:
		case resp.StatusCode == 400 && len(s.calls) == 0:
		default:
			t.Errorf("%q: %d %s, %d calls", body, resp.StatusCode, answer, len(s.calls))
		}
	})
}
