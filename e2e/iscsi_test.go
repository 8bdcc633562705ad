package e2e

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A machine is deployed through iSCSI by Billet's own agent: it exports its disk, the conductor
// writes it, and it boots what was written.
func TestISCSI(t *testing.T) {
	s := newSite(t)
	m := s.iscsiMachine("iscsi", "bios")
	m.deploy(imageInfo(t, "grub.qcow2"))
	s.strangersAreRefused(m)
	m.runsWholeDisk("iscsi")
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)
}

// The same on UEFI machines, from qcow2 and raw: the agent enters the disk's loader in the firmware
// before it reboots, as the conductor cannot reach that.
func TestLongISCSIWholeDiskUEFI(t *testing.T) {
	for _, format := range []string{"qcow2", "raw"} {
		t.Run(format, func(t *testing.T) {
			s := newSite(t)
			m := s.iscsiMachine("iuefi-"+format, "uefi")
			began := time.Now()
			m.deploy(imageInfo(t, "grub."+format))
			m.runsWholeDisk(m.name)
			t.Logf("up after %.1f s", time.Since(began).Seconds())
			m.prints(time.Minute, `"Billet instance" from HD(`) // the firmware says which entry it starts
		})
	}
}

// iscsiMachine is an available machine of the given firmware whose node is deployed through iSCSI.
func (s *site) iscsiMachine(name, firmware string) *machine {
	s.t.Helper()
	m := s.virtual(name, "--firmware", firmware, "--memory", "512", "--disk", "5G")
	// Linux's target takes a CHAP name that begins with 0b for base64: one node in 256 has such a UUID, this one always.
	var random [10]byte
	rand.Read(random[:])
	m.uuid = fmt.Sprintf("0b%06x-%04x-4000-8000-%012x", random[:3], random[:2], random[4:10])
	s.call("POST", "/v1/nodes", map[string]any{"uuid": m.uuid, "name": m.name, "driver": "ipmi", "driver_info": map[string]any{
		"ipmi_address": "127.0.0.1", "ipmi_port": m.BMC.Port, "ipmi_username": m.BMC.User, "ipmi_password": m.BMC.Password}}, nil, 201)
	s.call("POST", "/v1/ports", map[string]any{"node_uuid": m.uuid, "address": m.NICs[0].MAC}, nil, 201)
	m.patch("/deploy_interface", "iscsi")
	m.patch("/properties/capabilities", "boot_mode:"+firmware)
	m.available()
	return m
}

// runsWholeDisk waits until the instance of the image "grub" runs, with its config drive applied.
func (m *machine) runsWholeDisk(hostname string) {
	m.s.t.Helper()
	m.arrive("active", 8*time.Minute)
	m.prints(8*time.Minute, "BILLET-CONFIG-DRIVE:", `"`+hostname+`"`, "BILLET-INSTANCE-UP grub")
}

// strangersAreRefused calls as somebody who knows neither token nor key: 403 (or 409 while the node
// is worked on), and the deploy goes on.
func (s *site) strangersAreRefused(m *machine) {
	s.t.Helper()
	body := `{"address":"192.0.2.66","key":"guessed","iqn":"iqn.2008-10.org.openstack:` + m.uuid + `","error":""}`
	s.eventually(time.Minute, "a stranger to be refused", func() (bool, string) {
		req, err := http.NewRequest("POST", "http://"+s.listen+"/v1/nodes/"+m.uuid+"/vendor_passthru/pass_deploy_info", strings.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("X-Auth-Token", "guessed")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusConflict {
			s.t.Fatalf("a stranger's pass_deploy_info: %s", resp.Status)
		}
		return resp.StatusCode == http.StatusForbidden, resp.Status
	})
}
