package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	m.prints(3*time.Minute, "uefi-tiny login:", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJpbGxldA", " (DHCP)") // without network data

	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", 4*time.Minute)
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", time.Minute)
	s.call("DELETE", "/v1/nodes/"+m.uuid, nil, nil, 204)
}

// The whole life of a BIOS machine with nothing but Debian's openstack command: the commands of the README, as they
// stand there.
func TestOpenStackClientDrivesAMachine(t *testing.T) {
	s := newSite(t)
	m := s.virtual("web1", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	image := imageInfo(t, "tiny.qcow2")
	fill := strings.NewReplacer(
		"ipmi_address=10.0.0.5", fmt.Sprintf("ipmi_address=127.0.0.1 --driver-info ipmi_port=%d", m.BMC.Port),
		"ipmi_username=admin", "ipmi_username="+m.BMC.User, "ipmi_password=…", "ipmi_password="+m.BMC.Password,
		"52:54:00:12:34:56", m.NICs[0].MAC,
		"image_source=https://…/debian.qcow2", fmt.Sprintf("image_source=%s", image["image_source"]),
		"image_os_hash_value=…", fmt.Sprintf("image_os_hash_value=%s", image["image_os_hash_value"]))
	reaches := map[string]string{"create": "enroll", "manage": "manageable", "inspect": "manageable",
		"provide": "available", "deploy": "active"}
	ran := 0
	for _, args := range readmeCommands(t, fill) {
		if i := slices.Index(args, nodeUUID); i >= 0 {
			args[i] = s.field("web1", "uuid")
		}
		s.openstack(args...)
		if want := reaches[args[1]]; args[0] == "node" && want != "" {
			ran++
			if got := s.field("web1", "provision_state"); got != want {
				t.Fatalf("after %s: %s, want %s", strings.Join(args, " "), got, want)
			}
		}
	}
	if ran != len(reaches) {
		t.Fatalf("%d of the README's commands that change a state ran, want %d", ran, len(reaches))
	}
	m.prints(3*time.Minute, "web1 login:")
	if got := s.field("web1", "power_state"); got != "power on" {
		t.Errorf("power_state %q", got)
	}
	s.openstack("node", "undeploy", "--wait", "300", "web1")
	s.openstack("node", "manage", "--wait", "60", "web1")
	s.openstack("node", "delete", "web1")
	if list := s.openstack("node", "list", "-f", "value"); strings.TrimSpace(list) != "" {
		t.Errorf("nodes are left: %s", list)
	}
}

// nodeUUID is how the README asks for the node's UUID where the API takes no name.
const nodeUUID = "$(openstack baremetal node show web1 -c uuid -f value)"

// readmeCommands are the README's `openstack baremetal …` commands, as arguments, with what the reader fills in.
func readmeCommands(t *testing.T, fill *strings.Replacer) [][]string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "openstack baremetal ")
		if !ok {
			continue
		}
		rest, _, _ = strings.Cut(rest, " #")
		var args []string
		for _, word := range regexp.MustCompile(`'[^']*'|\$\([^)]*\)|\S+`).FindAllString(fill.Replace(rest), -1) {
			args = append(args, strings.Trim(word, "'"))
		}
		all = append(all, args)
	}
	return all
}

// openstack runs `openstack baremetal …` against the site and returns what it prints.
func (s *site) openstack(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("openstack", append([]string{"--os-auth-type", "none", "--os-endpoint", "http://" + s.listen, "baremetal"},
		args...)...)
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
