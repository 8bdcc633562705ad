package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// switchFrame is what a switch says of itself by LLDP: chassis 00:1c:73:aa:bb:cc, port Ethernet7,
// two minutes to live, name leaf1.
const switchFrame = "\x01\x80\xc2\x00\x00\x0e\x00\x1c\x73\x00\x00\x01\x88\xcc" +
	"\x02\x07\x04\x00\x1c\x73\xaa\xbb\xcc" + "\x04\x0a\x05Ethernet7" + "\x06\x02\x00\x78" + "\x0a\x05leaf1" + "\x00\x00"

// The process's first thread belongs to the main goroutine: were it to enter a lab's network, the whole
// process would count as one of the lab's, and end with it.
func init() { runtime.LockOSThread() }

// speaksLLDP sends the frame to a machine once a second, as the other end of its cable, until the
// test ends. Bridges pass no LLDP on, so it goes into the machine's tap.
func (s *site) speaksLLDP(tap string) {
	s.t.Helper()
	failed, done := make(chan error, 1), make(chan struct{})
	s.t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends here, and with it its network
		fd, to, err := inTap(filepath.Join("/run/netns", "billet-"+s.name), tap)
		failed <- err
		if err != nil {
			return
		}
		defer unix.Close(fd)
		for s.t.Context().Err() == nil {
			_ = unix.Sendto(fd, []byte(switchFrame), 0, to) // refused while the machine is off
			time.Sleep(time.Second)
		}
	}()
	if err := <-failed; err != nil {
		s.t.Fatal(err)
	}
}

// inTap moves the thread into a network namespace and opens a raw socket to an interface there.
func inTap(namespace, tap string) (fd int, to unix.Sockaddr, err error) {
	ns, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, nil, err
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return 0, nil, err
	}
	link, err := netlink.LinkByName(tap)
	if err != nil {
		return 0, nil, err
	}
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	return fd, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}, err
}

// A machine that hears its switch: the inventory has the raw fields and the PCI devices, the plugin
// data has them in words, and the port knows where it is plugged in.
func TestInspectionHearsTheSwitch(t *testing.T) {
	s := newSite(t, "--inspection-lldp=true")
	m := s.machine("linked", "--firmware", "bios", "--memory", "384", "--disk", "5G", "--nic-model", "virtio")
	var lab struct{ NICs []struct{ Tap string } }
	if err := json.Unmarshal(s.lab("show", m.name, "--output", "json"), &lab); err != nil {
		t.Fatal(err)
	}
	s.speaksLLDP(lab.NICs[0].Tap)
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", 5*time.Minute)
	began := time.Now()
	m.provision(map[string]any{"target": "inspect"})
	m.arrive("manageable", 15*time.Minute)
	t.Logf("inspected in %.1f s", time.Since(began).Seconds())

	var inv struct {
		Inventory struct {
			Interfaces []struct{ LLDP [][]any }
			BMC        string `json:"bmc_address"`
		}
		Plugin struct {
			Parsed map[string]map[string]any `json:"parsed_lldp"`
			PCI    []struct {
				Vendor string `json:"vendor_id"`
				Class  string
				Bus    string
			} `json:"pci_devices"`
		} `json:"plugin_data"`
	}
	s.call("GET", "/v1/nodes/"+m.uuid+"/inventory", nil, &inv, 200)
	if nics := inv.Inventory.Interfaces; len(nics) != 1 || len(nics[0].LLDP) != 4 || nics[0].LLDP[3][1] != "6c65616631" {
		t.Errorf("interfaces %+v", nics)
	}
	if inv.Inventory.BMC != "0.0.0.0" {
		t.Errorf("the BMC of a machine that sees none is at %q", inv.Inventory.BMC)
	}
	for name, said := range inv.Plugin.Parsed {
		if said["switch_system_name"] != "leaf1" || said["switch_port_id"] != "Ethernet7" || said["switch_chassis_id"] != "00:1c:73:aa:bb:cc" {
			t.Errorf("%s heard %v", name, said)
		}
	}
	if len(inv.Plugin.Parsed) != 1 {
		t.Errorf("parsed_lldp %v", inv.Plugin.Parsed)
	}
	cards := 0
	for _, d := range inv.Plugin.PCI {
		if d.Vendor == "1af4" && strings.HasPrefix(d.Class, "0200") { // Red Hat, Ethernet controller
			cards++
		}
	}
	if cards != 1 {
		t.Errorf("%d virtio network cards among the PCI devices %+v", cards, inv.Plugin.PCI)
	}
	var ports struct {
		Ports []struct {
			Address string
			Link    map[string]any `json:"local_link_connection"`
		}
	}
	s.call("GET", "/v1/nodes/"+m.uuid+"/ports/detail", nil, &ports, 200)
	if p := ports.Ports; len(p) != 1 || p[0].Address != m.NICs[0].MAC || p[0].Link["switch_id"] != "00:1c:73:aa:bb:cc" ||
		p[0].Link["port_id"] != "Ethernet7" {
		t.Errorf("ports %+v", ports.Ports)
	}
}

// The agent asks the BMC from inside, as /dev/ipmi0, where it is reached, and measures the machine when it is
// asked to, without writing to its disk.
func TestInspectionAsksTheBMC(t *testing.T) {
	s := newSite(t, "--inspection-extra-kernel-params", "ipa-inspection-benchmarks=cpu,disk", "--inspection-hooks",
		"ramdisk-error,validate-interfaces,ports,architecture,extra-hardware")
	out := filepath.Join(cache, "generic") // the cloud kernel has no drivers of BMCs
	s.billet("ramdisk", "build", "--flavor", "generic", "--out", out)
	m := s.machine("managed", "--firmware", "bios", "--memory", "384", "--disk", "5G", "--bmc-inside")
	m.patch("/driver_info/deploy_kernel", filepath.Join(out, "vmlinuz"))
	m.patch("/driver_info/deploy_ramdisk", filepath.Join(out, "initramfs"))
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", 2*time.Minute)
	m.provision(map[string]any{"target": "inspect"})
	m.arrive("manageable", 8*time.Minute)
	var inv struct {
		Inventory struct {
			Address   string `json:"bmc_address"`
			V6Address string `json:"bmc_v6address"`
			MAC       string `json:"bmc_mac"`
		}
		Plugin struct {
			Extra map[string]map[string]map[string]float64
		} `json:"plugin_data"`
	}
	s.call("GET", "/v1/nodes/"+m.uuid+"/inventory", nil, &inv, 200)
	if got := inv.Inventory; got.Address != "127.0.0.1" || got.V6Address != "::/0" || got.MAC != "52:54:00:00:00:00" {
		t.Errorf("the BMC is at %+v", got)
	}
	figures := inv.Plugin.Extra
	if figures["cpu"]["logical"]["loops_per_sec"] <= 0 || figures["disk"]["vda"]["standalone_read_1M_KBps"] <= 0 ||
		figures["disk"]["vda"]["standalone_randread_4k_IOps"] <= 0 {
		t.Errorf("figures %v", figures)
	}
	disk, err := readStart(m.Disks[0].Path, 64<<20)
	if err != nil || len(bytes.TrimLeft(disk, "\x00")) > 0 {
		t.Errorf("the disk was written to: %v", err)
	}
}

// readStart reads the first n bytes of a file, which may be sparse and large.
func readStart(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}
