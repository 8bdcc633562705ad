package diagnosis_test

import (
	"testing"
	"time"

	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

func TestLostFirst(t *testing.T) {
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	const lost = "The machine was lost first at 12:10:00 UTC in step deploy.write_image, 600 s after that began"
	step := diagnosis.Evidence{Now: at.Add(10 * time.Minute), Step: "deploy.write_image", StepBegan: at}
	silent := step
	silent.Silence.Since = at.Add(9 * time.Minute)
	for _, tt := range []struct {
		name     string
		e        diagnosis.Evidence
		progress *node.Progress
		want     string
	}{
		{"nothing told", step, nil, lost + ": its agent is gone."},
		{"silent before", silent, nil, lost + " (it has not answered since 12:09:00 UTC): its agent is gone."},
		{"at work", step, &node.Progress{Step: "write_image", Detail: "writing", Done: 1, Total: 4, At: at.Add(time.Minute)},
			lost + ": its agent is gone. Under way, as last told: writing (25 %) at 12:01:00 UTC."},
		{"at work on disks", step, &node.Progress{Step: "write_image", At: at.Add(time.Minute),
			Disks: []node.DiskProgress{{Name: "/dev/sda", What: "erasing", Done: 1, Total: 2}, {Name: "/dev/sdb", What: "waits"}}},
			lost + ": its agent is gone. Under way, as last told: /dev/sda erasing (50 %), /dev/sdb waits at 12:01:00 UTC."},
		{"another step's progress", step, &node.Progress{Step: "image", At: at.Add(time.Minute)}, lost + ": its agent is gone."},
		{"of an earlier start", step, &node.Progress{Step: "write_image", At: at.Add(-time.Minute)}, lost + ": its agent is gone."},
	} {
		if got := tt.e.LostFirst("its agent is gone", tt.progress); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// A report tells of the whole flow; without the events of the whole flow it tells of the step's.
func TestReport(t *testing.T) {
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	ofStep := []node.BootEvent{{At: at.Add(time.Minute), Service: "http", Kind: node.FileSent, File: node.KernelFile}}
	all := append([]node.BootEvent{{At: at.Add(time.Second), Service: "dhcp", Kind: node.DHCPAcked}}, ofStep...)
	e := diagnosis.Evidence{Now: at.Add(2 * time.Minute), Flow: "The deploy", FlowBegan: at, Step: "deploy.deploy",
		StepBegan: at.Add(30 * time.Second), Events: ofStep}
	n := &node.Node{UUID: "n1", Plan: &node.Plan{Flow: node.FlowDeploy, StartedAt: at,
		Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "deploy"}}}}
	for _, tt := range []struct {
		all    []node.BootEvent
		phases int
	}{{all, 2}, {nil, 1}, {[]node.BootEvent{}, 0}} {
		r := e.Report(n, tt.all)
		if r.NodeUUID != "n1" || r.Flow != node.FlowDeploy || len(r.Steps) != 1 || len(r.Phases) != tt.phases || len(r.BootEvents) != tt.phases ||
			r.Sentence != "The deploy has run for 120 s; step deploy.deploy has been under way for 90 s." {
			t.Errorf("%d events: %+v", len(tt.all), r)
		}
	}
}
