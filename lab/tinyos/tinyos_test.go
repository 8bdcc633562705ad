package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func iso(label string) []byte {
	b := make([]byte, 17*2048)
	copy(b[16*2048:], "\x01CD001\x01\x00")
	copy(b[16*2048+40:], label+strings.Repeat(" ", 32-len(label)))
	return b
}

func fat(at int, label string) []byte {
	b := make([]byte, 4096)
	copy(b[at:], label+strings.Repeat(" ", 11-len(label)))
	b[510], b[511] = 0x55, 0xaa
	return b
}

func TestLabelOf(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"iso", iso("config-2"), "iso9660"},
		{"iso in capitals", iso("CONFIG-2"), "iso9660"},
		{"another iso", iso("config-20"), ""},
		{"fat16", fat(43, "CONFIG-2"), "vfat"},
		{"fat32", fat(71, "config-2"), "vfat"},
		{"another fat", fat(43, "ESP"), ""},
		{"empty", nil, ""},
		{"zeros", make([]byte, 64<<10), ""},
	} {
		if got := labelOf(bytes.NewReader(c.data), "config-2"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func FuzzLabelOf(f *testing.F) {
	f.Add(iso("config-2"))
	f.Add(fat(43, "CONFIG-2"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if kind := labelOf(bytes.NewReader(data), "config-2"); kind != "" && !strings.Contains(strings.ToLower(string(data)), "config-2") {
			t.Errorf("%q is found where it is not", kind)
		}
	})
}

const (
	metaData = `{"uuid": "u", "hostname": "m1.example.org", "name": "other", "public_keys": {"b": "ssh-rsa BBB b\n", "a": "ssh-ed25519 ` +
		`AAA a"}}`
	networkJSON = `{"links": [{"id": "tap0", "ethernet_mac_address": "52:54:00:AA:00:01", "type": "phy"}, {"id": "tap1",
		"ethernet_mac_address": "52:54:00:aa:00:02"}],
"networks": [{"id": "n1", "type": "ipv4_dhcp", "link": "tap1"},
{"id": "n0", "type": "ipv4", "link": "tap0", "ip_address": "10.1.2.3", "netmask": "255.255.255.0", "routes": [{"network": "0.0.0.0",
	"netmask": "0.0.0.0", "gateway": "10.1.2.1"}]}]}`
)

func drive(t *testing.T, files map[string]string) (configDrive, error) {
	t.Helper()
	m := fstest.MapFS{}
	for name, text := range files {
		m["openstack/latest/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return readConfigDrive(m)
}

func TestReadConfigDrive(t *testing.T) {
	d, err := drive(t, map[string]string{"meta_data.json": metaData, "network_data.json": networkJSON, "user_data": "#!/bin/sh\n"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Hostname != "m1" || string(d.UserData) != "#!/bin/sh\n" {
		t.Errorf("hostname %q, user data %q", d.Hostname, d.UserData)
	}
	if diff := cmp.Diff([]string{"ssh-ed25519 AAA a", "ssh-rsa BBB b"}, d.Keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	prefix, gateway, ok := static(d.Network, "52:54:00:aa:00:01")
	if !ok || prefix != netip.MustParsePrefix("10.1.2.3/24") || gateway != netip.MustParseAddr("10.1.2.1") {
		t.Errorf("the first card's address: %v %v %v", prefix, gateway, ok)
	}
	if _, _, ok := static(d.Network, "52:54:00:aa:00:02"); ok {
		t.Error("a card with DHCP has a fixed address")
	}
	if _, _, ok := static(d.Network, "52:54:00:aa:00:03"); ok {
		t.Error("a card nobody named has a fixed address")
	}
	if n := d.Network; !n.Given || !n.names("52:54:00:AA:00:01") || !n.names("52:54:00:aa:00:02") || n.names("52:54:00:aa:00:03") {
		t.Errorf("cards with a network: %+v", n)
	}
	if d, err := drive(t, map[string]string{"meta_data.json": "{}", "network_data.json": "{}"}); err != nil ||
		!d.Network.Given || d.Network.names("52:54:00:aa:00:01") {
		t.Errorf("empty network data mean no network, as to cloud-init: %+v, %v", d.Network, err)
	}
	if d, err := drive(t, map[string]string{"meta_data.json": `{"name": "n"}`}); err != nil || d.Network.Given || d.Hostname != "n" {
		t.Errorf("the least drive: %+v, %v", d, err)
	}
	for want, files := range map[string]map[string]string{
		"reading the metadata: open openstack/latest/meta_data.json: file does not exist": {},
		"reading the metadata: unexpected end of JSON input":                              {"meta_data.json": ""},
		"reading the network data: unexpected end of JSON input":                          {"meta_data.json": "{}", "network_data.json": ""},
	} {
		if _, err := drive(t, files); err == nil || err.Error() != want {
			t.Errorf("%v: got %v, want %s", files, err, want)
		}
	}
}

func FuzzReadConfigDrive(f *testing.F) {
	f.Add([]byte(metaData), []byte(networkJSON))
	f.Add([]byte("{}"), []byte(`{"links":[{"id":"a"}],"networks":[{"type":"ipv4","link":"a","ip_address":"1.2.3.4/33"}]}`))
	f.Fuzz(func(t *testing.T, meta, network []byte) {
		d, err := readConfigDrive(fstest.MapFS{
			"openstack/latest/meta_data.json":    {Data: meta},
			"openstack/latest/network_data.json": {Data: network},
		})
		if err != nil {
			return
		}
		for _, l := range d.Network.Links {
			if prefix, _, ok := static(d.Network, l.MAC); ok && !prefix.IsValid() {
				t.Errorf("an address that is none for %q", l.MAC)
			}
		}
	})
}

func TestApplyTo(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "root"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := configDrive{Hostname: "m1", Keys: []string{"ssh-ed25519 AAA a", "ssh-rsa BBB b"}}
	if err := json.Unmarshal([]byte(networkJSON), &d.Network); err != nil {
		t.Fatal(err)
	}
	if err := applyTo(root, d); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"etc/hostname":              "m1\n",
		"etc/hosts":                 "127.0.0.1 localhost\n127.0.1.1 m1\n::1 localhost ip6-localhost\n",
		"root/.ssh/authorized_keys": "ssh-ed25519 AAA a\nssh-rsa BBB b\n",
		"etc/systemd/network/10-525400aa0001.network": "[Match]\nMACAddress=52:54:00:aa:00:01\n\n[Network]\nAddress=10.1.2.3/24\n" +
			"Gateway=10.1.2.1\n",
	} {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "root/.ssh/authorized_keys")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("authorized_keys: %v %v, want mode 600 (sshd refuses others)", info, err)
	}
	if _, err := os.Stat(filepath.Join(root, "home/debian")); err == nil {
		t.Error("a home that was not there has been made")
	}
}

func TestUserData(t *testing.T) {
	root := t.TempDir()
	proof := filepath.Join(root, "ran")
	if err := runUserData(root, []byte("#cloud-config\n")); err != nil {
		t.Error(err)
	}
	if err := runUserData(root, []byte("#!/bin/sh\necho yes > "+proof+"\nexit 3\n")); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(proof); err != nil || string(got) != "yes\n" {
		t.Errorf("the script left %q, %v", got, err)
	}
}
