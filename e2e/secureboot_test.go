package e2e

import (
	"bytes"
	"os/exec"
	"path/filepath"
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
	m.patch("/properties/capabilities", "boot_mode:uefi,secure_boot:true")
	m.available()
	info := imageInfo(t, signedImage(t))
	info["capabilities"] = map[string]any{"secure_boot": "true"}
	began := time.Now()
	m.deploy(info)
	m.arrive("active", 5*time.Minute)
	t.Logf("active after %.1f s", time.Since(began).Seconds())
	ramdisk := len(m.console())
	m.prints(3*time.Minute, "BILLET-INSTANCE-UP tiny")
	seen := m.console()
	for what, part := range map[string][]byte{"ramdisk": seen[:ramdisk], "instance": seen[ramdisk:]} {
		if !bytes.Contains(part, []byte("UEFI Secure Boot is enabled")) {
			t.Errorf("the kernel of the %s did not start with Secure Boot:\n%s", what, tail(part, 3000))
		}
	}
	if !bytes.Contains(seen[ramdisk:], []byte("secureboot: Secure boot enabled")) {
		t.Errorf("the instance's kernel does not say that Secure Boot is on:\n%s", tail(seen[ramdisk:], 3000))
	}
}

// signedImage is the image that starts with Secure Boot, by its name in the cache. It is built when it is first asked for.
func signedImage(t *testing.T) string {
	t.Helper()
	if out, err := exec.Command(billet, "lab", "image", "tiny-signed", "--out", filepath.Join(cache, "images")).CombinedOutput(); err != nil {
		t.Fatalf("billet lab image tiny-signed: %v: %s", err, out)
	}
	return "tiny-signed.raw"
}
