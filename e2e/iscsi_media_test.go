package e2e

import (
	"bytes"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the service's own database is read

	"github.com/billet-metal/billet/boot"
)

// The token comes on virtual media: the machine waits for the labelled medium, takes the token from it and
// asks nobody by TFTP. What a BMC would insert the test writes into the file in the CD drive.
func TestISCSITokenOnMedia(t *testing.T) {
	s := newSite(t)
	medium := filepath.Join(s.dir, "medium.iso")
	blank := s.labelled("EMPTY", "token", "not this one")
	if err := os.WriteFile(medium, blank, 0o644); err != nil {
		t.Fatal(err)
	}
	m := s.machine("media", "--firmware", "bios", "--memory", "384", "--disk", "5G", "--cdrom", medium)
	m.patch("/deploy_interface", "iscsi")
	m.patch("/driver_info/kernel_append_params", "console=ttyS0 boot_method=vmedia")
	m.available()
	m.deploy(imageInfo(t, "grub.qcow2"))

	m.prints(3*time.Minute, "no medium labelled ir-vfd-dev with a file token is there")
	r := boot.Record{NodeUUID: m.uuid, Hidden: s.hidden(m.uuid)} // which nothing on the console tells
	if bytes.Contains(m.console(), []byte(r.Hidden)) {
		t.Error("what the token is made of is on the console")
	}
	full := s.labelled("ir-vfd-dev", "token", r.DeployToken())
	if len(full) != len(blank) {
		t.Fatalf("the media have %d and %d bytes; a drive's medium does not grow", len(blank), len(full))
	}
	f, err := os.OpenFile(medium, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(full); err != nil {
		t.Fatal(err)
	}
	m.prints(time.Minute, "from=/dev/sr0")
	m.runsWholeDisk("media")
	if bytes.Contains(m.console(), []byte("from=TFTP")) || bytes.Contains(m.console(), []byte(r.DeployToken())) {
		t.Error("the token came by TFTP, or is on the console")
	}
}

// hidden is what the token of the node's boot is made of, from the service's own database.
func (s *site) hidden(uuid string) (hidden string) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "data", "billet.db")+"?mode=ro")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT hidden FROM boot_records r JOIN nodes n ON n.id = r.node_id WHERE n.uuid = $1`,
		uuid).Scan(&hidden); err != nil || hidden == "" {
		s.t.Fatalf("hidden %q: %v", hidden, err)
	}
	return hidden
}

// labelled is a medium with one file.
func (s *site) labelled(label, name, text string) []byte {
	s.t.Helper()
	dir, path := s.t.TempDir(), filepath.Join(s.t.TempDir(), "iso")
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command("genisoimage", "-quiet", "-V", label, "-o", path, dir).CombinedOutput(); err != nil {
		s.t.Fatalf("genisoimage: %v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}
