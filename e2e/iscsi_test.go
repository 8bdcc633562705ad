package e2e

import (
	"testing"
	"time"
)

// A machine is deployed through iSCSI by Billet's own agent: it exports its disk, the conductor
// writes it, and it boots what was written.
func TestISCSI(t *testing.T) {
	s := newSite(t)
	m := s.machine("iscsi", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/deploy_interface", "iscsi")
	m.available()
	m.deploy(imageInfo(t, "grub.qcow2"))
	m.arrive("active", 5*time.Minute)
	m.prints(3*time.Minute, "BILLET-INSTANCE-UP grub", "iscsi")
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)
}
