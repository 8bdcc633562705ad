package pxe

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
)

// TestEveryKeyIsAskedAtTheGate: whoever names a file or a URL for a machine, and under whichever key, gets neither
// the service's key nor its own listener nor the machine it runs on.
func TestEveryKeyIsAskedAtTheGate(t *testing.T) {
	secrets := t.TempDir()
	if err := os.WriteFile(filepath.Join(secrets, "secret.key"), []byte("the sealing key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{
		secrets + "/secret.key", "file://" + secrets + "/secret.key", "/etc/shadow", "file:///proc/self/environ", "/dev/zero",
		"http://127.0.0.1:6385/v1/nodes", "http://localhost:6385/v1/nodes",
		"http://169.254.169.254/latest/meta-data", "http://[::1]/", "https://0.0.0.0/",
	} {
		for key, set := range map[string]func(n *node.Node){
			"driver_info/deploy_kernel":    func(n *node.Node) { n.DriverInfo["deploy_kernel"] = place },
			"driver_info/deploy_ramdisk":   func(n *node.Node) { n.DriverInfo["deploy_ramdisk"] = place },
			"driver_info/rescue_kernel":    func(n *node.Node) { n.Plan.Flow, n.DriverInfo["rescue_kernel"] = node.FlowRescue, place },
			"driver_info/rescue_ramdisk":   func(n *node.Node) { n.Plan.Flow, n.DriverInfo["rescue_ramdisk"] = node.FlowRescue, place },
			"the service's default deploy": func(n *node.Node) { delete(n.DriverInfo, "deploy_kernel") },
			"instance_info/kernel":         func(n *node.Node) { n.InstanceInfo["kernel"] = place },
			"instance_info/ramdisk":        func(n *node.Node) { n.InstanceInfo["ramdisk"] = place },
			"instance_info/boot_iso":       func(n *node.Node) { n.InstanceInfo = node.Document{"boot_iso": place} },
			"the image's kernel":           func(n *node.Node) { n.DriverInternalInfo["netboot_kernel"] = place },
			"the image's ramdisk":          func(n *node.Node) { n.DriverInternalInfo["netboot_ramdisk"] = place },
		} {
			b, w, task := setUp(t, boot.IPXE)
			dir := filepath.Dir(strings.TrimPrefix(task.Node.DriverInfo.String("deploy_kernel"), "file://"))
			b.Gate = &fetch.Gate{Dirs: []string{dir, secrets}, Secrets: []string{secrets}, Ports: []uint16{6385}}
			b.Kernel = place
			task.Node.State = node.Available
			task.Node.InstanceInfo = node.Document{"kernel": "file://" + dir + "/kernel", "ramdisk": "file://" + dir + "/ramdisk"}
			task.Node.DriverInternalInfo = node.Document{}
			if strings.HasPrefix(key, "instance_info") {
				task.Hardware.Deploy = inMemory{}
			}
			if strings.HasPrefix(key, "the image") {
				task.Node.DriverInternalInfo = node.Document{"netboot_kernel": dir + "/kernel",
					"netboot_ramdisk": dir + "/ramdisk", "root_uuid_or_disk_id": "u"}
			}
			set(task.Node)
			prepare := b.PrepareInstance
			if strings.HasPrefix(key, "driver_info") || strings.HasPrefix(key, "the service") {
				prepare = func(ctx context.Context, task *driver.Task) error { return b.PrepareRamdisk(ctx, task, nil) }
			}
			if err := prepare(t.Context(), task); err == nil || !strings.HasPrefix(err.Error(), key) || node.KindOf(err) != node.Invalid {
				t.Errorf("%s is %s: %v", key, place, err)
			}
			if err := b.Validate(t.Context(), task); err == nil && !strings.HasPrefix(key, "the image") {
				t.Errorf("%s is %s: valid", key, place)
			}
			if len(w.records) > 0 {
				t.Errorf("%s is %s: a record was written: %v", key, place, w.records)
			}
		}
	}
}
