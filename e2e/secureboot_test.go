package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A machine whose firmware starts only what is signed is deployed over the network and boots its disk, signed from
// end to end: shim and GRUB, the ramdisk's kernel, the image's own shim, GRUB and kernel. Billet's IPMI cannot switch
// Secure Boot, so it is on all the time.
func TestSecureBoot(t *testing.T) {
	s := newSite(t)
	m := s.machine("secure", "--firmware", "uefi", "--secure-boot", "--memory", "512", "--disk", "5G")
	m.patch("/boot_interface", "pxe")
	m.available()
	if n := m.firmware(); n.SecureBoot != nil || n.BootMode != nil {
		t.Errorf("before the machine has said anything the node says %v", n)
	}
	info := imageInfo(t, signedImage(t))
	info["capabilities"] = map[string]any{"secure_boot": "true"}
	began := time.Now()
	m.deploy(info)
	m.arrive("active", 5*time.Minute)
	t.Logf("active after %.1f s", time.Since(began).Seconds())
	ramdisk := len(m.console())
	if n := m.firmware(); n.SecureBoot == nil || !*n.SecureBoot || n.BootMode == nil || *n.BootMode != "uefi" {
		t.Errorf("the node says %v after its machine has booted with Secure Boot", n)
	}
	m.prints(3*time.Minute, "BILLET-INSTANCE-UP tiny")
	seen := m.console()
	for what, part := range map[string][]byte{"ramdisk": seen[:ramdisk], "instance": seen[ramdisk:]} {
		if !bytes.Contains(part, []byte("UEFI Secure Boot is enabled")) {
			t.Errorf("the kernel of the %s did not start with Secure Boot:\n%s", what, tail(part, 3000))
		}
	}
	if !lockedDown.Match(seen[ramdisk:]) {
		t.Errorf("the instance's kernel does not say that Secure Boot is on:\n%s", tail(seen[ramdisk:], 30000))
	}
}

// lockedDown is what a kernel says that knows of Secure Boot. One line may be lost: an emulated serial port drops
// characters when its reader is slow.
var lockedDown = regexp.MustCompile(
	`secureboot: Secure boot enabled|locked down from EFI Secure Boot|Lockdown: swapper/0: hibernation is ` +
		`restricted`)

// A firmware that starts only what is signed refuses iPXE: the deploy fails soon, with that as its reason and
// with what would help.
func TestLongSecureBootRefusesWhatNobodySigned(t *testing.T) {
	s := newSite(t, "--boot-phase-timeout", "30s")
	m := s.machine("unsigned", "--firmware", "uefi", "--secure-boot", "--memory", "512", "--disk", "5G")
	m.available()
	m.deploy(imageInfo(t, "grub.qcow2"))
	began := time.Now()
	m.fails(4*time.Minute, []string{"Gave up after", "Secure Boot refused to start something", "Access Denied",
		"set boot_interface to pxe, and install shim-signed"},
		[]string{"snponly.efi: complete", "The serial line, the last "})
	t.Logf("after %.0f s", time.Since(began).Seconds())
	if bytes.Contains(m.console(), []byte("iPXE")) {
		t.Errorf("iPXE was started:\n%s", tail(m.console(), 3000))
	}
}

// The other ways of a deploy, on machines of which nobody has said that they have Secure Boot: an inspection finds it.
func TestLongSecureBootOtherWays(t *testing.T) {
	for kind, steps := range map[string][]map[string]any{
		"iscsi": {}, "direct": {{"interface": "deploy", "step": "kexec_instance", "priority": 50}},
	} {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t)
			m := s.machine("secure-"+kind, "--firmware", "uefi", "--secure-boot", "--memory", "640", "--disk", "5G")
			m.patch("/automated_clean", false)
			m.patch("/boot_interface", "pxe")
			m.patch("/deploy_interface", kind)
			m.provision(map[string]any{"target": "manage"})
			m.arrive("manageable", time.Minute)
			m.provision(map[string]any{"target": "inspect"})
			m.arrive("manageable", 6*time.Minute)
			if n := m.firmware(); n.SecureBoot == nil || !*n.SecureBoot || n.BootMode == nil || *n.BootMode != "uefi" {
				t.Errorf("inspected, the node says %v", n)
			}
			m.provision(map[string]any{"target": "provide"})
			m.arrive("available", time.Minute)
			inspected := len(m.console())
			info := imageInfo(t, signedImage(t))
			info["capabilities"] = map[string]any{"secure_boot": "true"}
			m.patch("/instance_info", info)
			m.provision(map[string]any{
				"target": "active", "deploy_steps": steps,
				"configdrive": map[string]any{"meta_data": map[string]any{"hostname": m.name}},
			})
			m.prints(8*time.Minute, "hostname: "+m.name)
			m.arrive("active", 3*time.Minute)
			seen := m.console()[inspected:]
			if up := bytes.Index(seen, []byte("BILLET-INSTANCE-UP tiny")); up < 0 || !lockedDown.Match(seen[:up]) {
				t.Errorf("the instance's kernel is not locked down:\n%s", tail(seen, 30000))
			}
			if said := m.history(); kind == "direct" && !strings.Contains(said, "started by kexec") {
				t.Errorf("the history does not say how the instance was started: %s", said)
			}
		})
	}
}

type firmwareView struct {
	BootMode   *string `json:"boot_mode"`
	SecureBoot *bool   `json:"secure_boot"`
}

func (f firmwareView) String() string {
	b, _ := json.Marshal(f)
	return string(b)
}

// firmware is what the node says of its machine's firmware.
func (m *machine) firmware() (f firmwareView) {
	m.s.t.Helper()
	m.s.call("GET", "/v1/nodes/"+m.uuid, nil, &f, 200)
	return f
}

// signedImage is the image that starts with Secure Boot, by its name in the cache. It is built when it is first asked for.
func signedImage(t *testing.T) string {
	t.Helper()
	if out, err := exec.Command(billet, "lab", "image", "tiny-signed", "--out", filepath.Join(cache, "images")).CombinedOutput(); err != nil {
		t.Fatalf("billet lab image tiny-signed: %v: %s", err, out)
	}
	return "tiny-signed.raw"
}
