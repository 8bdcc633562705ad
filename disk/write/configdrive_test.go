package write

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/disktest"
)

// isoDrive is a config drive as Nova and cloud-init know it.
func isoDrive(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "in/openstack/latest"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "in/openstack/latest/meta_data.json"), []byte(`{"hostname":"one"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	iso := filepath.Join(dir, "drive.iso")
	disktest.Run(t, "genisoimage", "-quiet", "-J", "-r", "-V", "config-2", "-o", iso, filepath.Join(dir, "in"))
	b, err := os.ReadFile(iso)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pack is a config drive as the API carries it.
func pack(t testing.TB, drive []byte) string {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	if _, err := zip.Write(drive); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// findDrive asks blkid and sgdisk for the config drive at a partition of the disk.
func findDrive(t testing.TB, d *disk.Device, offset int64) {
	t.Helper()
	out := disktest.Run(t, "blkid", "--probe", "--offset", fmt.Sprint(offset), "-o", "export", d.Path())
	if !strings.Contains(out, "LABEL=config-2") || !strings.Contains(out, "TYPE=iso9660") {
		t.Errorf("blkid at %d: %s", offset, out)
	}
}

func TestConfigDriveIsAddedToAGPT(t *testing.T) {
	raw, drive := rawImage(t), isoDrive(t)
	s := serveFile(t, raw)
	d := dirtyDisk(t, 20<<20)
	if _, err := write(t, s, d, imageOf(s.URL, "raw", raw), pack(t, drive)); err != nil {
		t.Fatal(err)
	}
	disktest.Verify(t, d.Path())
	if out := disktest.Run(t, "sgdisk", "--info=3", d.Path()); !strings.Contains(out, "Partition name: 'config-2'") ||
		!strings.Contains(out, "First sector: 36864") { // the last whole MiB before the backup table
		t.Errorf("sgdisk: %s", out)
	}
	findDrive(t, d, 36864*512)
	got := contents(t, d)
	if !bytes.Equal(got[18<<20:18<<20+len(drive)], drive) {
		t.Error("the config drive differs")
	}
	want := fitted(t, raw, 20<<20)
	if i := disktest.FirstDifference(got[2<<20:17<<20], want[2<<20:17<<20]); i >= 0 {
		t.Errorf("the image differs at %d", i+2<<20)
	}
}

func TestConfigDriveIsAddedToAnMBR(t *testing.T) {
	raw, drive := disktest.DOSImage(t, 2), isoDrive(t)
	s := serveFile(t, raw)
	d := dirtyDisk(t, 20<<20)
	if _, err := write(t, s, d, imageOf(s.URL, "raw", raw), pack(t, drive)); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s3 : start=       38912, size=        2048, type=83", d.Path())
	if out := disktest.Run(t, "sfdisk", "--dump", d.Path()); !strings.Contains(out, want) {
		t.Errorf("sfdisk: %s", out)
	}
	disktest.Run(t, "sfdisk", "--verify", d.Path())
	findDrive(t, d, 19<<20)
}

func TestConfigDriveUsesAPartitionOfItsName(t *testing.T) {
	d := dirtyDisk(t, 20<<20)
	if _, err := d.WriteAt(rawImage(t), 0); err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, "sgdisk", "--move-second-header", "--new=3:10240:14335", "--change-name=3:config-2", d.Path())
	for range 2 { // safe to run again
		if err := addConfigDrive(d, isoDrive(t)); err != nil {
			t.Fatal(err)
		}
	}
	findDrive(t, d, 10240*512)
	if out := disktest.Run(t, "sgdisk", "--print", d.Path()); strings.Contains(out, "   4  ") {
		t.Errorf("another partition was made: %s", out)
	}
}

func TestNoPlaceForAConfigDrive(t *testing.T) {
	full := disktest.DOSImage(t, 4)
	for _, tt := range []struct {
		name  string
		image []byte
		size  int64
		want  string
	}{
		{"no room in a GPT", rawImage(t), imageSize, "but only"},
		{"no table", disktest.Pattern(4 << 20), 20 << 20, "the image has no partition table, so there is no place for a config drive"},
		{"four partitions", full, 20 << 20, "all four primary partitions"},
		{"no room in an MBR", disktest.DOSImage(t, 3)[:5<<20], 5 << 20, "are needed after the last partition"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := dirtyDisk(t, tt.size)
			if _, err := d.WriteAt(tt.image, 0); err != nil {
				t.Fatal(err)
			}
			err := addConfigDrive(d, make([]byte, 10<<20))
			disktest.WantError(t, err, "adding the config drive", tt.want)
		})
	}
}

func TestConfigDriveByURL(t *testing.T) {
	drive := isoDrive(t)
	mux := http.NewServeMux()
	text := pack(t, drive)
	mux.HandleFunc("/drive", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, text[:40]+"\n"+text[40:]+"\n") })
	s := httptest.NewServer(mux)
	defer s.Close()
	got, err := writer(s).fetchConfigDrive(t.Context(), s.URL+"/drive", 512)
	if err != nil || !bytes.Equal(got, drive) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	_, err = writer(s).fetchConfigDrive(t.Context(), s.URL+"/none?token=secret", 512)
	disktest.WantError(t, err, "fetching the config drive", "/none: the server answered 404")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows a secret: %v", err)
	}
}
