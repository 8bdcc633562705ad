package configdrive

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

const eth0 = "52:54:00:12:34:56"

// understood is what cloud-init makes of a drive.
type understood struct {
	Refused      bool // the drive is none to it
	Instance     string
	Hostname     string
	FQDN         string `json:"fqdn"`
	Keys         []string
	NetworkGiven bool              `json:"network_given"`
	Netplan      map[string]string // files by name
	ENI          map[string]string `json:"eni"`
	Networkd     map[string]string
	User, Vendor [][2]string // kind and text of each part
}

// cloudInit has Debian's cloud-init read the files of drives. It is unpacked by scripts/deps, not
// installed: installed, it would set this host up anew at its next start.
func cloudInit(t *testing.T, drives ...string) []understood {
	t.Helper()
	where, err := filepath.Abs("../.cache/cloud-init")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(where); err != nil {
		t.Fatalf("cloud-init is needed: run scripts/deps test (%v)", err)
	}
	// Debian's Python has the modules that cloud-init uses.
	cmd := exec.Command("/usr/bin/python3", append([]string{"testdata/cloudinit.py", where, eth0}, drives...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cloud-init: %v: %s", err, errs.String())
	}
	var u []understood
	if err := json.Unmarshal(out, &u); err != nil {
		t.Fatalf("cloud-init: %v: %s", err, out)
	}
	return u
}

// unpackISO and unpackFAT have others take the files off a drive.
func unpackISO(t *testing.T, image []byte) string {
	t.Helper()
	file, files := save(t, image), map[string]string{}
	for name := range strings.Lines(run(t, "isoinfo", "-R", "-f", "-i", file)) {
		if name = strings.TrimSpace(name); strings.Count(name, "/") == 3 { // a file of /openstack/latest
			files[name] = run(t, "isoinfo", "-R", "-i", file, "-x", name)
		}
	}
	return plant(t, files)
}

func unpackFAT(t *testing.T, image []byte) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "mcopy", "-s", "-i", save(t, image), "::/openstack", dir)
	return dir
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprint(z, text)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const (
	byDHCP = "\nnetwork:\n    ethernets:\n        eth0:\n            dhcp4: true\n" +
		"            match:\n                macaddress: '" + eth0 + "'\n            set-name: eth0\n    version: 2\n"
	noNet    = "\nnetwork:\n    version: 2\n"
	isStatic = "\nnetwork:\n    version: 2\n    ethernets:\n        eth0:\n            addresses:\n" +
		"            - 192.0.2.10/24\n            match:\n                macaddress: '" + eth0 + "'\n" +
		"            nameservers:\n                addresses:\n                - 192.0.2.53\n                search: []\n" +
		"            routes:\n" +
		"            -   to: 0.0.0.0/0\n                via: 192.0.2.1\n            set-name: eth0\n"
)

func networkData(kind string) node.Document {
	network := map[string]any{"id": "n0", "link": "nic0", "type": kind}
	if kind == "ipv4" {
		network["ip_address"], network["netmask"] = "192.0.2.10", "255.255.255.0"
		network["routes"] = []any{map[string]any{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}}
	}
	services := []any{}
	if kind == "ipv4" {
		services = append(services, map[string]any{"type": "dns", "address": "192.0.2.53"})
	}
	return node.Document{
		"links":    []any{map[string]any{"id": "nic0", "type": "phy", "ethernet_mac_address": eth0}},
		"networks": []any{network}, "services": services,
	}
}

// What Billet puts on a drive means to cloud-init what was asked for, on disks of both kinds; and what was
// not given means nothing, where an empty file would take the network from the machine.
func TestCloudInitUnderstandsTheDrive(t *testing.T) {
	n := &node.Node{UUID: uuidA, Name: "rack1-u7"}
	multipart := "Content-Type: multipart/mixed; boundary=\"B\"\nMIME-Version: 1.0\n\n" +
		"--B\nContent-Type: text/cloud-config\n\n#cloud-config\n{}\n" +
		"--B\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n--B--\n"
	cases := []struct {
		name    string
		parts   node.ConfigDriveParts
		netplan string
		want    understood // without the network's files
	}{
		{"nothing", node.ConfigDriveParts{}, byDHCP, understood{Hostname: "rack1-u7"}},
		{"empty parts", node.ConfigDriveParts{MetaData: node.Document{}, NetworkData: node.Document{}, UserData: "", VendorData: node.Document{}},
			byDHCP,
			understood{Hostname: "rack1-u7"}},
		{"null members", node.ConfigDriveParts{MetaData: node.Document{"meta": nil, "files": nil, "network_config": nil, "public_keys": nil}},
			byDHCP,
			understood{Hostname: "rack1-u7"}},
		{"host name and keys", node.ConfigDriveParts{MetaData: node.Document{"hostname": "web-1.example.org",
			"public_keys": map[string]any{"a": "ssh-ed25519 AAAA a", "b": "ssh-rsa BBBB b"}}}, byDHCP,
			understood{Hostname: "web-1", FQDN: "web-1.example.org", Keys: []string{"ssh-ed25519 AAAA a", "ssh-rsa BBBB b"}}},
		{"DHCP by network data", node.ConfigDriveParts{NetworkData: networkData("ipv4_dhcp")},
			strings.Replace(byDHCP, "    version: 2\n", "", 1) + "", understood{Hostname: "rack1-u7", NetworkGiven: true}},
		{"a fixed address", node.ConfigDriveParts{NetworkData: networkData("ipv4")}, isStatic,
			understood{Hostname: "rack1-u7", NetworkGiven: true}},
		{"no network, said in words",
			node.ConfigDriveParts{NetworkData: node.Document{"links": []any{}, "networks": []any{}, "services": []any{}}}, noNet,
			understood{Hostname: "rack1-u7", NetworkGiven: true}},
		{"a script", node.ConfigDriveParts{UserData: "#!/bin/sh\necho é > /x\n"}, byDHCP,
			understood{Hostname: "rack1-u7", User: [][2]string{{"text/x-shellscript", "#!/bin/sh\necho é > /x\n"}}}},
		{"a cloud-config", node.ConfigDriveParts{UserData: "#cloud-config\nruncmd: [[ls]]\n"}, byDHCP,
			understood{Hostname: "rack1-u7", User: [][2]string{{"text/cloud-config", "#cloud-config\nruncmd: [[ls]]\n"}}}},
		{"several parts", node.ConfigDriveParts{UserData: multipart}, byDHCP,
			understood{Hostname: "rack1-u7", User: [][2]string{{"text/cloud-config", "#cloud-config\n{}"}, {"text/x-shellscript", "#!/bin/sh"}}}},
		{"user data that are no text", node.ConfigDriveParts{UserData: gzipped(t, "#!/bin/sh\n")}, byDHCP,
			understood{Hostname: "rack1-u7", User: [][2]string{{"text/x-shellscript", "#!/bin/sh\n"}}}},
		{"vendor data", node.ConfigDriveParts{VendorData: node.Document{"cloud-init": "#cloud-config\nbootcmd: [[ls]]\n"}}, byDHCP,
			understood{Hostname: "rack1-u7", Vendor: [][2]string{{"text/cloud-config", "#cloud-config\nbootcmd: [[ls]]\n"}}}},
	}
	var drives []string
	for _, tt := range cases {
		image := built(t, tt.parts, n)
		fat, err := Fit(image, 4096)
		if err != nil {
			t.Fatal(err)
		}
		drives = append(drives, unpackISO(t, image), unpackFAT(t, fat))
	}
	all := cloudInit(t, drives...)
	for i, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			got := all[2*i]
			if diff := cmp.Diff(got, all[2*i+1]); diff != "" {
				t.Errorf("by ISO 9660 and by FAT: %s", diff)
			}
			eni, networkd := got.ENI["network"], got.Networkd["10-cloud-init-eth0.network"]
			if dhcp := strings.Contains(tt.netplan, "dhcp4: true"); strings.Contains(eni, "iface eth0 inet dhcp") != dhcp ||
				strings.Contains(networkd, "DHCP=ipv4") != dhcp {
				t.Errorf("other renderers: %s %s", eni, networkd)
			}
			if diff := cmp.Diff(normal(tt.netplan), normal(got.Netplan["network"])); diff != "" {
				t.Errorf("netplan: %s", diff)
			}
			if tt.want.FQDN == "" {
				tt.want.FQDN = tt.want.Hostname
			}
			tt.want.Instance = uuidA
			got.Netplan, got.ENI, got.Networkd, got.FQDN = nil, nil, nil, strings.TrimSuffix(got.FQDN, ".localdomain")
			got.User, got.Vendor, got.Keys = some(got.User), some(got.Vendor), some(got.Keys)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// normal leaves the version, whose place differs, out of netplan's text.
func normal(s string) string { return strings.Replace(s, "    version: 2\n", "", 1) }

// some makes no difference between none and an empty list, nor counts an empty part.
func some[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	if p, ok := any(list[0]).([2]string); ok && p[1] == "" {
		return nil
	}
	return list
}

// Why a file that holds nothing must not be there: of one cloud-init makes a machine without a network, of
// a name of a file that is missing a drive that it does not take.
func TestWhatCloudInitMakesOfEmptyFiles(t *testing.T) {
	network := plant(t, map[string]string{"openstack/latest/meta_data.json": `{"uuid":"u"}`, "openstack/latest/network_data.json": "{}"})
	named := plant(t,
		map[string]string{"openstack/latest/meta_data.json": `{"uuid":"u","files":[{"path":"/etc/motd","content_path":"/content/0000"}]}`})
	null := plant(t, map[string]string{"openstack/latest/meta_data.json": `{"uuid":"u","meta":null}`})
	got := cloudInit(t, network, named, null)
	if !got[0].NetworkGiven || normal(got[0].Netplan["network"]) != normal(noNet) {
		t.Errorf("of empty network data: %+v", got[0])
	}
	if !got[1].Refused {
		t.Errorf("of a file that is not there: %+v", got[1])
	}
	if !got[2].Refused {
		t.Errorf("of null in the metadata: %+v", got[2])
	}
}
