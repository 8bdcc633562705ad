package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// The whole life of a machine, on both firmwares: verify, inspect, clean, deploy, undeploy, delete.
func TestLife(t *testing.T) {
	for _, tt := range []struct {
		firmware, image string
		prints          []string
	}{
		{"bios", "tiny.qcow2", []string{"bios-tiny login:", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJpbGxldA"}},
		{"uefi", "tiny.raw", []string{"uefi-tiny login:", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJpbGxldA"}},
	} {
		t.Run(tt.firmware, func(t *testing.T) {
			s := newSite(t)
			m := s.machine(tt.firmware+"-tiny", "--firmware", tt.firmware, "--memory", "384", "--disk", "5G")
			m.patch("/properties/capabilities", "boot_mode:"+tt.firmware)
			m.provision(map[string]any{"target": "manage"})
			m.arrive("manageable", time.Minute)

			m.provision(map[string]any{"target": "inspect"})
			m.arrive("manageable", 4*time.Minute)
			m.checkInventory(tt.firmware)

			m.provision(map[string]any{"target": "provide"})
			m.arrive("available", 4*time.Minute)

			m.deploy(imageInfo(t, tt.image))
			m.arrive("active", 5*time.Minute)
			m.prints(3*time.Minute, tt.prints...)

			m.provision(map[string]any{"target": "deleted"})
			m.arrive("available", 4*time.Minute)
			m.provision(map[string]any{"target": "manage"})
			m.arrive("manageable", time.Minute)
			s.call("DELETE", "/v1/nodes/"+m.uuid, nil, nil, 204)
		})
	}
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
	l, err := listen(provisionIP)
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
