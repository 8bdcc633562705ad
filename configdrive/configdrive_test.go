package configdrive

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

const (
	uuidA = "7a9c1d44-0e2b-4c55-8f6e-1b2c3d4e5f60"
	uuidB = "0d9f2b1a-5c3e-4f7a-9b8c-7d6e5f4a3b2c"
)

// run is another's program; one that is missing is a failure that says so.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is needed: run scripts/deps test", name)
	}
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

// save puts an image where other programs can read it.
func save(t testing.TB, image []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "drive")
	if err := os.WriteFile(file, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// built is the image of a drive in parts, as a machine unpacks it.
func built(t testing.TB, p node.ConfigDriveParts, n *node.Node) []byte {
	t.Helper()
	text, err := Build(p, n)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(text); err != nil {
		t.Fatalf("the drive built is refused: %v", err)
	}
	image, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func contents(files []File) map[string]string {
	m := map[string]string{}
	for _, f := range files {
		m[f.Path] = string(f.Data)
	}
	return m
}

var long = strings.Repeat("# a line of user data\n", 5000)

func wholeDrive() node.ConfigDriveParts {
	return node.ConfigDriveParts{
		MetaData:    node.Document{"hostname": "web-1.example", "public_keys": map[string]any{"me": "ssh-ed25519 AAAA"}},
		NetworkData: node.Document{"links": []any{}}, UserData: long, VendorData: node.Document{"cloud-init": "#cloud-config"},
	}
}

var wholeFiles = map[string]string{
	"openstack/latest/meta_data.json": `{"hostname":"web-1.example","name":"rack1-u7","public_keys":{"me":"ssh-ed25519 AAAA"},"uuid":"` +
		uuidA + `"}`,
	"openstack/latest/network_data.json": `{"links":[]}`,
	"openstack/latest/user_data":         long,
	"openstack/latest/vendor_data2.json": `{"cloud-init":"#cloud-config"}`,
}

// A drive is read by mkisofs's reader, by Rock Ridge and by Joliet, and by GRUB.
func TestADriveIsReadableByOthers(t *testing.T) {
	image := built(t, wholeDrive(), &node.Node{UUID: uuidA, Name: "rack1-u7"})
	file := save(t, image)
	info := run(t, "isoinfo", "-d", "-i", file)
	for _, want := range []string{"Volume id: config-2\n", "Rock Ridge signatures version 1 found", "Joliet with UCS level 3 found"} {
		if !strings.Contains(info, want) {
			t.Errorf("%q is missing: %s", want, info)
		}
	}
	want := "/openstack\n/openstack/latest\n/openstack/latest/meta_data.json\n/openstack/latest/network_data.json\n" +
		"/openstack/latest/user_data\n/openstack/latest/vendor_data2.json\n"
	for _, names := range []string{"-R", "-J"} {
		if diff := cmp.Diff(want, run(t, "isoinfo", names, "-f", "-i", file)); diff != "" {
			t.Errorf("%s: %s", names, diff)
		}
	}
	for name, want := range wholeFiles {
		for _, names := range []string{"-R", "-J"} {
			if got := run(t, "isoinfo", names, "-i", file, "-x", "/"+name); got != want {
				t.Errorf("%s %s holds %.200q, want %.200q", names, name, got, want)
			}
		}
		if got := run(t, "grub-fstest", file, "cat", "(loop0)/"+name); got != want {
			t.Errorf("to GRUB %s holds %.200q, want %.200q", name, got, want)
		}
	}
	if out := run(t, "blkid", "-p", "-o", "export", file); !strings.Contains(out, "\nLABEL=config-2\n") ||
		!strings.Contains(out, "\nTYPE=iso9660\n") {
		t.Errorf("blkid: %s", out)
	}
	files, err := readISO(image)
	if diff := cmp.Diff(wholeFiles, contents(files)); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// What was not given has no file: not even what is given as empty.
func TestWhatWasNotGivenHasNoFile(t *testing.T) {
	meta := func(name string) map[string]string {
		return map[string]string{"openstack/latest/meta_data.json": `{"hostname":"` + name + `","name":"` + name + `","uuid":"` + uuidA + `"}`}
	}
	with := func(m map[string]string, name, text string) map[string]string {
		m["openstack/latest/"+name] = text
		return m
	}
	n1 := &node.Node{UUID: uuidA, Name: "n1"}
	for _, tt := range []struct {
		name  string
		node  *node.Node
		parts node.ConfigDriveParts
		want  map[string]string
	}{
		{"nothing", n1, node.ConfigDriveParts{}, meta("n1")},
		{"nothing, to a node without a name", &node.Node{UUID: uuidA}, node.ConfigDriveParts{}, meta(uuidA)},
		{"empty parts", n1, node.ConfigDriveParts{MetaData: node.Document{}, NetworkData: node.Document{},
			UserData: "", VendorData: node.Document{}}, meta("n1")},
		{"an empty object as user data", n1, node.ConfigDriveParts{UserData: map[string]any{}}, meta("n1")},
		{"an empty list as user data", n1, node.ConfigDriveParts{UserData: []any{}}, meta("n1")},
		{"null in the metadata", n1,
			node.ConfigDriveParts{MetaData: node.Document{"uuid": nil, "name": nil, "meta": nil, "files": nil, "hostname": ""}}, meta("n1")},
		{"the node's network data", &node.Node{UUID: uuidA, Name: "n1", NetworkData: node.Document{"a": 1}},
			node.ConfigDriveParts{NetworkData: node.Document{}},
			with(meta("n1"), "network_data.json", `{"a":1}`)},
		{"network data that say that there is no network", n1, node.ConfigDriveParts{NetworkData: node.Document{"links": []any{}}},
			with(meta("n1"), "network_data.json", `{"links":[]}`)},
		{"user data as an object", n1, node.ConfigDriveParts{UserData: map[string]any{"a": "<&>"}}, with(meta("n1"), "user_data", `{"a":"<&>"}`)},
		{"user data as a list", n1, node.ConfigDriveParts{UserData: []any{"a"}}, with(meta("n1"), "user_data", `["a"]`)},
		{"the name", n1, node.ConfigDriveParts{MetaData: node.Document{"name": "web", "uuid": uuidB}},
			map[string]string{"openstack/latest/meta_data.json": `{"hostname":"web","name":"web","uuid":"` + uuidB + `"}`}},
	} {
		files, err := Files(tt.parts, tt.node)
		if diff := cmp.Diff(tt.want, contents(files)); diff != "" || err != nil {
			t.Errorf("%s: %v %s", tt.name, err, diff)
		}
	}
}

func TestPartsCanNotNameFilesOfTheDrive(t *testing.T) {
	for key, value := range map[string]any{
		"files":          []any{map[string]any{"path": "/etc/motd", "content_path": "/content/0000"}},
		"network_config": map[string]any{"content_path": "/content/0001"},
	} {
		_, err := Build(node.ConfigDriveParts{MetaData: node.Document{key: value}}, &node.Node{UUID: uuidA})
		if err == nil || node.KindOf(err) != node.Invalid ||
			!strings.HasPrefix(err.Error(), `meta_data of a config drive in parts can not have "`+key+`": `) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestCheck(t *testing.T) {
	good, err := Pack([]byte("drive"))
	if err != nil {
		t.Fatal(err)
	}
	const neither = "The config drive must be an http or https URL, or base64 of a gzipped image; this is neither."
	for _, tt := range []struct{ text, want string }{
		{good, ""},
		{good[:20] + "\n" + good[20:] + "\n", ""},
		{"https://x/y", ""},
		{"http://192.0.2.1:8080/drive?sig=1", ""},
		{"https://", "The config drive is a URL without a host."},
		{good[:len(good)-8], "The config drive is damaged: its base64 or gzip does not decode."},
		{"ftp://x/y", neither},
		{"hello", neither},
		{"", neither},
		{base64.StdEncoding.EncodeToString([]byte("not gzip")), neither},
	} {
		got := ""
		if err := Check(tt.text); err != nil {
			got = err.Error()
			if node.KindOf(err) != node.Invalid {
				t.Errorf("%q is not invalid input but %v", tt.text, err)
			}
		}
		if got != tt.want {
			t.Errorf("%.40q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

// User data are secrets: they are in no file while a drive is built, also when nothing can be written.
func TestBuildingADriveNeedsNoFiles(t *testing.T) {
	t.Setenv("TMPDIR", "/proc/none")
	if _, err := Build(wholeDrive(), &node.Node{UUID: uuidA}); err != nil {
		t.Error(err)
	}
}

func TestADriveThatIsTooLarge(t *testing.T) {
	_, err := Build(node.ConfigDriveParts{UserData: strings.Repeat("x", MaxSize)}, &node.Node{UUID: uuidA})
	if err == nil || node.KindOf(err) != node.Invalid || !strings.Contains(err.Error(), "at most 67108864 are allowed") {
		t.Error(err)
	}
}

func TestDecodeLimits(t *testing.T) {
	pack := func(b []byte) string {
		text, err := Pack(b)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, tt := range []struct{ text, want string }{
		{pack(make([]byte, MaxSize+1)), "larger than 67108864 bytes"},
		{pack(nil), "the config drive is empty"},
		{pack([]byte(long))[:200], "unpacking the config drive"},
		{"%", "the config drive is not base64"},
		{"aGVsbG8=", "the config drive is not gzipped"},
	} {
		if _, err := Decode(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.20s: %v, want %s", tt.text, err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	good, _ := Pack([]byte("drive"))
	for _, text := range []string{good, "", "H4sI"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if b, err := Decode(text); (err == nil) != (len(b) > 0) {
			t.Errorf("%d bytes and %v", len(b), err)
		}
	})
}

// A drive built from any parts is one that machines can read back, with the same files, on disks of
// both kinds.
func FuzzParts(f *testing.F) {
	for _, parts := range []string{`{}`, `{"meta_data":{"name":"x"},"user_data":"#!/bin/sh\n"}`, `{"user_data":{"a":[1]},"vendor_data":{}}`,
		`{"network_data":{"links":[{"id":"é"}]}}`, `{"meta_data":{"files":null,"uuid":5}}`} {
		f.Add(parts)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p node.ConfigDriveParts
		if json.Unmarshal([]byte(text), &p) != nil {
			return
		}
		n := &node.Node{UUID: uuidA}
		want, err := Files(p, n)
		if err != nil {
			if node.KindOf(err) != node.Invalid {
				t.Fatalf("%s: %v", text, err)
			}
			return
		}
		for _, sector := range []int64{512, 4096} {
			drive, err := Fit(built(t, p, n), sector)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			read := readISO
			if sector > 2048 {
				read = readFAT
			}
			got, err := read(drive)
			if diff := cmp.Diff(contents(want), contents(got)); diff != "" || err != nil {
				t.Fatalf("%s on sectors of %d: %v %s", text, sector, err, diff)
			}
		}
	})
}
