package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The whole life of a UEFI machine, through the API: verify, inspect, clean, deploy, undeploy, delete.
func TestLife(t *testing.T) {
	s := newSite(t)
	m := s.machine("uefi-tiny", "--firmware", "uefi", "--memory", "384", "--disk", "5G")
	m.patch("/properties/capabilities", "boot_mode:uefi")
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)

	m.provision(map[string]any{"target": "inspect"})
	m.arrive("manageable", 4*time.Minute)
	m.checkInventory("uefi")

	m.provision(map[string]any{"target": "provide"})
	m.arrive("available", 4*time.Minute)

	m.deploy(imageInfo(t, "tiny.raw"))
	m.arrive("active", 5*time.Minute)
	m.prints(3*time.Minute, "uefi-tiny login:", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJpbGxldA")

	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", 4*time.Minute)
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	s.call("DELETE", "/v1/nodes/"+m.uuid, nil, nil, 204)
}

// The whole life of a BIOS machine with nothing but Debian's openstack command.
func TestOpenStackClientDrivesAMachine(t *testing.T) {
	s := newSite(t)
	m := s.virtual("osc", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	image := imageInfo(t, "tiny.qcow2")
	s.openstack("node", "create", "--driver", "ipmi", "--name", "osc", "--driver-info", "ipmi_address=127.0.0.1",
		"--driver-info", fmt.Sprintf("ipmi_port=%d", m.BMC.Port), "--driver-info", "ipmi_username="+m.BMC.User,
		"--driver-info", "ipmi_password="+m.BMC.Password)
	s.openstack("port", "create", "--node", s.field("osc", "uuid"), m.NICs[0].MAC)
	for _, step := range [][]string{{"manage", "60", "manageable"}, {"inspect", "300", "manageable"}, {"provide", "300", "available"}} {
		s.openstack("node", step[0], "--wait", step[1], "osc")
		if got := s.field("osc", "provision_state"); got != step[2] {
			t.Fatalf("after %s: %s, want %s", step[0], got, step[2])
		}
	}
	for _, key := range []string{"image_source", "image_os_hash_algo", "image_os_hash_value"} {
		s.openstack("node", "set", "osc", "--instance-info", fmt.Sprintf("%s=%s", key, image[key]))
	}
	s.openstack("node", "deploy", "--wait", "600", "--config-drive", `{"meta_data": {"hostname": "osc"}}`, "osc")
	m.prints(3*time.Minute, "osc login:")
	if got := s.field("osc", "power_state"); got != "power on" {
		t.Errorf("power_state %q", got)
	}
	s.openstack("node", "undeploy", "--wait", "300", "osc")
	s.openstack("node", "manage", "--wait", "60", "osc")
	s.openstack("node", "delete", "osc")
	if list := s.openstack("node", "list", "-f", "value"); strings.TrimSpace(list) != "" {
		t.Errorf("nodes are left: %s", list)
	}
}

// openstack runs `openstack baremetal …` against the site and returns what it prints.
func (s *site) openstack(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("openstack", append([]string{"--os-auth-type", "none", "--os-endpoint", "http://" + s.listen, "baremetal"}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("openstack baremetal %s: %v: %s", strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// field reads one field of a node with the openstack command.
func (s *site) field(node, name string) string {
	s.t.Helper()
	return strings.TrimSpace(s.openstack("node", "show", node, "--fields", name, "-f", "value", "-c", name))
}

// checkInventory compares what inspection found with what the lab built.
func (m *machine) checkInventory(firmware string) {
	m.s.t.Helper()
	var inv struct {
		Inventory struct {
			Interfaces []struct {
				MAC string `json:"mac_address"`
			}
			Disks []struct {
				Name, Serial string
				Size         int64
			}
			CPU    struct{ Architecture string }
			Memory struct {
				PhysicalMB int64 `json:"physical_mb"`
			}
			Boot struct {
				Mode string `json:"current_boot_mode"`
				PXE  string `json:"pxe_interface"`
			}
		}
	}
	m.s.call("GET", "/v1/nodes/"+m.uuid+"/inventory", nil, &inv, 200)
	i := inv.Inventory
	if len(i.Interfaces) != 1 || i.Interfaces[0].MAC != m.NICs[0].MAC || i.Boot.PXE != m.NICs[0].MAC {
		m.s.t.Errorf("interfaces %+v (PXE %s), want the one %s", i.Interfaces, i.Boot.PXE, m.NICs[0].MAC)
	}
	if len(i.Disks) != 1 || i.Disks[0].Size != 5<<30 || i.Disks[0].Serial != m.Disks[0].Serial {
		m.s.t.Errorf("disks %+v, want one of 5 GiB with serial %s", i.Disks, m.Disks[0].Serial)
	}
	if i.CPU.Architecture != "x86_64" || i.Memory.PhysicalMB != 384 || i.Boot.Mode != firmware {
		m.s.t.Errorf("got %s, %d MiB, %s; want x86_64, 384 MiB, %s", i.CPU.Architecture, i.Memory.PhysicalMB, i.Boot.Mode, firmware)
	}
}

// A deploy survives kill -9 of the service, twice, at moments nobody chose.
func TestDeploySurvivesKillNine(t *testing.T) {
	s := newSite(t)
	m := s.machine("phoenix", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.available()
	m.deploy(imageInfo(t, "tiny.raw"))
	for i := range 2 {
		after := time.Duration(rand.Int64N(int64(9 * time.Second)))
		time.Sleep(after)
		state := m.show().State
		s.stop(syscall.SIGKILL)
		t.Logf("kill -9 number %d, %.1f s later, in state %q", i+1, after.Seconds(), state)
		s.start()
	}
	m.arrive("active", 5*time.Minute)
	m.prints(3*time.Minute, "phoenix login:")
}

// Images from another web server, on UEFI through the pxe boot interface (GRUB over TFTP), in the
// 256 MB the agent must do with.
func TestDeployFromWebServerOverTFTP(t *testing.T) {
	for _, firmware := range []string{"bios", "uefi"} {
		t.Run(firmware, func(t *testing.T) {
			s := newSite(t)
			web := s.webServer()
			m := s.machine("tftp-"+firmware, "--firmware", firmware, "--memory", "256", "--disk", "5G")
			m.patch("/boot_interface", "pxe")
			m.patch("/properties/capabilities", "boot_mode:"+firmware)
			m.available()
			info := imageInfo(t, "grub.qcow2")
			info["image_source"] = web + "/grub.qcow2"
			m.deploy(info)
			m.arrive("active", 5*time.Minute)
			m.prints(3*time.Minute, "BILLET-INSTANCE-UP grub", "tftp-"+firmware)
		})
	}
}

// webServer serves the image cache on the provisioning network.
func (s *site) webServer() string {
	s.t.Helper()
	srv := httptest.NewUnstartedServer(http.FileServer(http.Dir(filepath.Join(cache, "images"))))
	l, err := listen(s.ip)
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	s.t.Cleanup(srv.Close)
	return fmt.Sprintf("http://%s", l.Addr())
}

// A real Debian, built from the distribution's packages, to its login prompt with the host name of
// the config drive.
func TestDebian(t *testing.T) {
	s := newSite(t)
	s.lab("image", "debian", "--out", filepath.Join(cache, "images"))
	m := s.machine("debian", "--firmware", "bios", "--memory", "1024", "--disk", "5G")
	m.available()
	m.deploy(imageInfo(t, "debian.qcow2"))
	m.arrive("active", 5*time.Minute)
	m.prints(8*time.Minute, "debian login:")
}
