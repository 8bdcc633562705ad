package e2e

import (
	"net/http"
	"strings"
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
	s.strangersAreRefused(m)
	m.arrive("active", 5*time.Minute)
	m.prints(3*time.Minute, "BILLET-INSTANCE-UP grub", "iscsi")
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)
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
