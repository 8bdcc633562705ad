package agent

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/billet-metal/billet/wire"
)

// The steps are of the raid interface on the wire: asked for as another's they are unknown, and what
// they refuse comes back with its reason.
func TestRAIDStepsOnTheWire(t *testing.T) {
	s := newService(t)
	startAgent(t, s, nil)
	c := conductorFor(t, receive(t, s.heartbeats))
	node := func(target, built string) map[string]any {
		n := map[string]any{"uuid": testNode}
		for key, text := range map[string]string{"target_raid_config": target, "raid_config": built} {
			var doc any
			if err := json.Unmarshal([]byte(text), &doc); err != nil {
				t.Fatal(err)
			}
			n[key] = doc
		}
		return n
	}
	mirror := `{"logical_disks":[` + `{"size_gb":2,"raid_level":"1","controller":"software","volume_name":"root"}` + `]}`
	for _, tt := range []struct {
		name, command, step, iface string
		node                       map[string]any
		want                       string
	}{
		{"of the deploy interface", "clean.execute_clean_step", "create_configuration", "deploy", node(mirror, `{}`),
			"this agent has no clean step deploy.create_configuration"},
		{"without an interface", "clean.execute_clean_step", "create_configuration", "", node(mirror, `{}`),
			"this agent has no clean step .create_configuration"},
		{"in another flow", "deploy.execute_deploy_step", "create_configuration", "raid", node(mirror, `{}`),
			"this agent has no deploy step raid.create_configuration"},
		{"no target", "clean.execute_clean_step", "create_configuration", "raid", node(`{}`, `{}`), "the node has no target_raid_config"},
		{"disks of some MiB", "clean.execute_clean_step", "create_configuration", "raid", node(mirror, `{}`),
			"nothing was touched: software RAID needs at least 2 disks, but this machine has 0"},
		{"RAID that is there", "clean.execute_clean_step", "create_configuration", "raid", node(mirror, mirror),
			"nothing was touched: the node has software RAID already"},
		{"an image on RAID of others", "deploy.execute_deploy_step", "write_image", "deploy", node(`{}`, mirror),
			"raid_config's logical_disks[0] has the uuid missing"},
	} {
		flow, _, _ := strings.Cut(tt.command, ".")
		step := map[string]any{"step": tt.step, "interface": tt.iface}
		if tt.step == "write_image" {
			step["args"] = map[string]any{"image_info": s.imageInfo()}
		}
		r := c.do(tt.command, map[string]any{"step": step, "node": tt.node, flow + "_version": map[string]string{}})
		if r.Status != wire.Failed || r.Error == nil || !strings.Contains(r.Error.Details, tt.want) {
			t.Errorf("%s: %s %+v\nwant %s", tt.name, r.Status, r.Error, tt.want)
		}
	}
}
