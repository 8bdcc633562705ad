package e2e

import (
	"bytes"
	"testing"
	"time"
)

// A UEFI machine whose firmware has no PXE, only an HTTP client, is deployed by the boot interface
// http-ipxe: no file is fetched by TFTP.
func TestUEFIHTTPBoot(t *testing.T) {
	s := newSite(t)
	m := s.machine("uefi-http", "--firmware", "uefi", "--nic-rom", "http", "--memory", "384", "--disk", "5G")
	m.patch("/boot_interface", "http-ipxe")
	m.patch("/properties/capabilities", "boot_mode:uefi")
	m.available()
	began := time.Now()
	m.deploy(imageInfo(t, "grub.raw"))
	m.arrive("active", 5*time.Minute)
	t.Logf("active after %.1f s", time.Since(began).Seconds())
	m.prints(3*time.Minute, "BILLET-INSTANCE-UP grub")
	if seen := m.console(); !bytes.Contains(seen, []byte("HTTP Boot")) {
		t.Errorf("the firmware did not boot over HTTP:\n%s", tail(seen, 3000))
	}
	if why := s.billet("node", "why", m.uuid); bytes.Contains(why, []byte("TFTP")) {
		t.Errorf("files were fetched by TFTP:\n%s", why)
	}
}
