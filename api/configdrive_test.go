package api

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// unpack undoes base64 and gzip and writes the image where other programs can read it.
func unpack(t testing.TB, drive string) (file string, image []byte) {
	t.Helper()
	zipped, err := base64.StdEncoding.DecodeString(drive)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	if image, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "drive.iso")
	if err := os.WriteFile(file, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, image
}

// isoinfo is genisoimage's reader: another's eyes on the image.
func isoinfo(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("isoinfo"); err != nil {
		t.Fatal("isoinfo is needed: install genisoimage")
	}
	out, err := exec.Command("isoinfo", args...).Output()
	if err != nil {
		t.Fatalf("isoinfo %v: %v", args, err)
	}
	return string(out)
}

func TestConfigDriveInPartsIsReadableByOthers(t *testing.T) {
	s := newServer(t)
	s.nodes[0].NetworkData = node.Document{"links": []any{}}
	long := strings.Repeat("# a line of user data\n", 5000)
	request, _ := json.Marshal(map[string]any{"target": "active", "configdrive": map[string]any{
		"meta_data":   map[string]any{"hostname": "web-1.example", "public_keys": map[string]string{"me": "ssh-ed25519 AAAA"}},
		"user_data":   long,
		"vendor_data": map[string]any{"cloud-init": "#cloud-config"},
	}})
	resp, body := s.ask("1.59", "PUT", provisionPath, string(request))
	if resp.StatusCode != 202 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	file, _ := unpack(t, s.calls[0].(provisioned).ConfigDrive)
	if info := isoinfo(t, "-d", "-i", file); !strings.Contains(info, "Volume id: config-2\n") || !strings.Contains(info, "Rock Ridge") {
		t.Errorf("the image is %s", info)
	}
	var names []string
	for l := range strings.SplitSeq(strings.TrimSpace(isoinfo(t, "-R", "-f", "-i", file)), "\n") {
		names = append(names, l)
	}
	want := []string{"/openstack", "/openstack/latest", "/openstack/latest/meta_data.json", "/openstack/latest/network_data.json",
		"/openstack/latest/user_data", "/openstack/latest/vendor_data2.json"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{
		"meta_data.json":    `{"hostname":"web-1.example","name":"rack1-u7","public_keys":{"me":"ssh-ed25519 AAAA"},"uuid":"` + nodeA + `"}`,
		"network_data.json": `{"links":[]}`,
		"user_data":         long,
		"vendor_data2.json": `{"cloud-init":"#cloud-config"}`,
	} {
		if got := isoinfo(t, "-R", "-i", file, "-x", "/openstack/latest/"+name); got != want {
			t.Errorf("%s holds %.200q, want %.200q", name, got, want)
		}
	}
}

func TestConfigDriveDefaults(t *testing.T) {
	for _, tt := range []struct {
		node  *node.Node
		parts node.ConfigDriveParts
		want  string
	}{
		{&node.Node{UUID: nodeA, Name: "n1"}, node.ConfigDriveParts{}, `{"hostname":"n1","name":"n1","uuid":"` + nodeA + `"}`},
		{&node.Node{UUID: nodeA}, node.ConfigDriveParts{}, `{"hostname":"` + nodeA + `","name":"` + nodeA + `","uuid":"` + nodeA + `"}`},
		{&node.Node{UUID: nodeA, Name: "n1"}, node.ConfigDriveParts{MetaData: node.Document{"name": "web", "uuid": nodeB}},
			`{"hostname":"web","name":"web","uuid":"` + nodeB + `"}`},
	} {
		files, err := (&driveParts{tt.parts}).files(tt.node)
		if err != nil || files[0].path != "openstack/latest/meta_data.json" || string(files[0].data) != tt.want {
			t.Errorf("got %s %s %v, want %s", files[0].path, files[0].data, err, tt.want)
		}
		if len(files) != 3 {
			t.Errorf("%d files without user data", len(files))
		}
	}
	files, err := (&driveParts{node.ConfigDriveParts{UserData: map[string]any{"a": "<&>"}}}).files(idle())
	if err != nil || string(files[3].data) != `{"a":"<&>"}` {
		t.Errorf("user data as an object: %s %v", files[3].data, err)
	}
}

func TestConfigDriveText(t *testing.T) {
	damaged := driveData[:len(driveData)-8]
	for _, tt := range []struct{ text, want string }{
		{driveData, ""},
		{driveData[:20] + "\n" + driveData[20:] + "\n", ""},
		{"https://x/y", ""},
		{"http://192.0.2.1:8080/drive?sig=1", ""},
		{damaged, "The config drive is damaged: its base64 or gzip does not decode."},
		{"ftp://x/y", "The config drive must be an http or https URL, or base64 of a gzipped image; this is neither."},
		{base64.StdEncoding.EncodeToString([]byte("not gzip")), "The config drive must be an http or https URL, or base64 of a gzipped image; this is neither."},
	} {
		err := checkDriveText(tt.text)
		if got := errText(err); got != tt.want {
			t.Errorf("%.40q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestNothingIsLeftOfBuildingADrive(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	if _, err := makeISO("config-2", []isoFile{{"openstack/latest/user_data", []byte(bmcSecret)}}); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// A drive built from any parts is one that agents can read back.
func FuzzConfigDrive(f *testing.F) {
	for _, drive := range []string{
		`{"meta_data":{"name":"x"},"user_data":"#!/bin/sh\n"}`, `{"user_data":{"a":[1]},"vendor_data":{}}`, `{}`,
		`"` + driveData + `"`, `"https://x/"`, `"http://%zz"`, `"H4sI"`, `5`, `{"network_data":{"links":[{"id":"é"}]}}`,
	} {
		f.Add(drive)
	}
	f.Fuzz(func(t *testing.T, drive string) {
		value, err := decodeValue([]byte(drive))
		if err != nil {
			return
		}
		parts, text, err := readConfigDrive(maxVersion, "active", value)
		if err != nil {
			if node.KindOf(err) != node.Invalid {
				t.Fatalf("%s: %v", drive, err)
			}
			return
		}
		if s, ok := value.(string); ok && text != s {
			t.Fatalf("%q became %q", s, text)
		}
		built, err := parts.build(idle())
		if err != nil {
			t.Fatalf("%s: %v", drive, err)
		}
		if built != "" {
			if err := checkDriveText(built); err != nil {
				t.Fatalf("%s: the drive built is refused: %v", drive, err)
			}
			if _, image := unpack(t, built); !bytes.Contains(image, []byte("config-2")) {
				t.Fatalf("%s: no label", drive)
			}
		}
	})
}
