package e2e

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// One disk over two paths, with one serial number and one WWN, is deployed by a hint that both paths match and
// cleaned once. Without the hint cleaning stops: the disk may be somebody else's.
func TestLongOneDiskOverTwoPaths(t *testing.T) {
	s := newSite(t)
	m := s.machine("two-paths", "--disk", "5G", "--disk-model", "scsi", "--disk-paths", "2")
	serial := m.Disks[0].Serial
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", 2*time.Minute)
	m.provision(map[string]any{"target": "clean", "clean_steps": []map[string]any{{"interface": "deploy", "step": "erase_devices_metadata"}}})
	n := m.arrive("clean failed", 8*time.Minute)
	said := ""
	if n.LastError != nil {
		said = *n.LastError
	}
	if want := `(serial "` + serial + `") is reached over a storage network`; !strings.Contains(said, want) ||
		!strings.Contains(said, "wipe_special_filesystems") {
		t.Errorf("last_error is %q", said)
	}
	m.provision(map[string]any{"target": "manage"})
	m.arrive("manageable", 2*time.Minute)
	s.call("DELETE", "/v1/nodes/"+m.uuid+"/maintenance", nil, nil, 202)

	m.patch("/properties/root_device", map[string]any{"serial": serial})
	m.provision(map[string]any{"target": "provide"}) // and its cleaning
	m.arrive("available", 8*time.Minute)
	m.deploy(imageInfo(t, "tiny.raw"))
	m.arrive("active", 8*time.Minute)
	m.prints(4*time.Minute, "BILLET-INSTANCE-UP")
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", 8*time.Minute)
	b, err := os.ReadFile(m.Disks[0].Path)
	if err != nil || !bytes.Equal(b[:1<<20], make([]byte, 1<<20)) {
		t.Errorf("the disk still has a table (%v)", err)
	}
	out := string(s.billet("node", "erased", m.uuid))
	if strings.Count(out, "metadata overwritten") != 1 || strings.Count(out, "another path of") != 1 {
		t.Errorf("billet node erased says:\n%s", out)
	}
}
