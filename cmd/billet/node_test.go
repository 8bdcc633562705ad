package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asJSON is what a value looks like on the wire.
func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// matches compares a result with the wanted JSON, or an error with its wanted words.
func matches(t *testing.T, name string, got any, err error, want string) {
	t.Helper()
	if err != nil {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		return
	}
	if s := asJSON(t, got); s != want {
		t.Errorf("%s: %s, want %s", name, s, want)
	}
}

func TestPairs(t *testing.T) {
	for _, tt := range []struct {
		in   []string
		want string
	}{
		{nil, `{}`},
		{[]string{"a=b", "c=", "d=e=f"}, `{"a":"b","c":"","d":"e=f"}`},
		{[]string{"a=1", "b=true", "c=null"}, `{"a":"1","b":"true","c":"null"}`}, // passwords may look like numbers
		{[]string{`a={"x":1}`, `b=["y"]`, `c={broken`}, `{"a":{"x":1},"b":["y"],"c":"{broken"}`},
		{[]string{"a=1", "a=2"}, `{"a":"2"}`},
		{[]string{"novalue"}, `--driver-info "novalue" is not key=value`},
		{[]string{"=x"}, `--driver-info "=x" is not key=value`},
	} {
		got, err := pairs("driver-info", tt.in)
		matches(t, strings.Join(tt.in, " "), got, err, tt.want)
	}
}

func TestInstancePatch(t *testing.T) {
	sha256, sha512 := strings.Repeat("a", 64), strings.Repeat("b", 128)
	for _, tt := range []struct{ image, checksum, hint, want string }{
		{"", "", "", `null`},
		{"http://x/i", "", "", `[{"op":"add","path":"/instance_info","value":{"image_source":"http://x/i"}}]`},
		{"i", sha256, "", `[{"op":"add","path":"/instance_info","value":{"image_os_hash_algo":"sha256","image_os_hash_value":"` + sha256 +
			`","image_source":"i"}}]`},
		{"i", sha512, `{"size":">10"}`, `[{"op":"add","path":"/instance_info","value":{"image_os_hash_algo":"sha512","image_os_hash_value":"` +
			sha512 + `","image_source":"i","root_device":{"size":"\u003e10"}}}]`},
		{"i", "d41d8cd98f00b204e9800998ecf8427e", "", "--checksum: 32 characters; sha256 has 64 and sha512 has 128"},
		{"i", "", "sda", "--root-device: invalid character"},
		{"", sha256, "", "--checksum and --root-device need --image"},
		{"", "", "{}", "--checksum and --root-device need --image"},
	} {
		got, err := instancePatch(tt.image, tt.checksum, tt.hint)
		matches(t, tt.image+" "+tt.checksum+" "+tt.hint, got, err, tt.want)
	}
}

func TestConfigDriveParts(t *testing.T) {
	dir := t.TempDir()
	key, data := filepath.Join(dir, "id.pub"), filepath.Join(dir, "user-data")
	secret, network := filepath.Join(dir, "id"), filepath.Join(dir, "network.json")
	for file, text := range map[string]string{
		network: `{"links":[]}`, secret: "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",
		key: "ssh-ed25519 AAAA me\n", data: "#!/bin/sh\necho hi\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, hostname string
		keys           []string
		userData       string
		network, want  string
	}{
		{"nothing", "", nil, "", "", `null`},
		{"host name", "web1", nil, "", "", `{"meta_data":{"hostname":"web1","name":"web1"}}`},
		{"keys", "", []string{key, key}, "", "", `{"meta_data":{"public_keys":{"key-1":"ssh-ed25519 AAAA me","key-2":"ssh-ed25519 AAAA me"}}}`},
		{"user data", "", nil, data, "", `{"user_data":"#!/bin/sh\necho hi\n"}`},
		{"a key itself", "", []string{"ssh-ed25519 AAAA me"}, "", "", `{"meta_data":{"public_keys":{"key-1":"ssh-ed25519 AAAA me"}}}`},
		{"a private key", "", []string{secret}, "", "",
			"--ssh-key: " + secret + " is a private key: name the public one, mostly " + secret + ".pub"},
		{"missing key", "", []string{dir + "/none"}, "", "", "--ssh-key: open " + dir + "/none: no such file"},
		{"network data", "", nil, "", network, `{"network_data":{"links":[]}}`},
		{"damaged network data", "", nil, "", data, "--network-data: invalid character '#'"},
		{"missing user data", "", nil, dir + "/none", "", "--user-data: open " + dir + "/none: no such file"},
	} {
		parts, err := configDrive(driveFlags{tt.hostname, tt.keys, tt.userData, tt.network})
		if parts == nil {
			matches(t, tt.name, parts, err, tt.want)
			continue
		}
		got, err := onTheWire(nil, "", *parts)
		matches(t, tt.name, got, err, tt.want)
	}
}
