package main

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/vishvananda/netlink"
)

// The labels that real tools write are found, and only there.
func TestLabelsOfRealFileSystems(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := writeFiles(tree, map[string]string{"openstack/latest/meta_data.json": metaData}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, command, want string
	}{
		{"iso", "genisoimage -quiet -R -J -V config-2 -o OUT " + tree, "iso9660"},
		{"iso without extensions", "genisoimage -quiet -V CONFIG-2 -o OUT " + tree, "iso9660"},
		{"another iso", "genisoimage -quiet -V cidata -o OUT " + tree, ""},
		{"fat12", "mkfs.vfat -F 12 -n CONFIG-2 -C OUT 1440", "vfat"},
		{"fat16", "mkfs.vfat -F 16 -n config-2 -C OUT 20480", "vfat"},
		{"fat32", "mkfs.vfat -F 32 -n config-2 -C OUT 65536", "vfat"},
		{"fat without a label", "mkfs.vfat -F 32 -C OUT 65536", ""},
		{"another fat", "mkfs.vfat -F 16 -n CONFIG-20 -C OUT 20480", ""},
		{"ext4 of that label", "mke2fs -q -t ext4 -L config-2 OUT 4M", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(dir, strings.ReplaceAll(tt.name, " ", "-"))
			words := strings.Fields(strings.ReplaceAll(tt.command, "OUT", out))
			if said, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s (apt-get install genisoimage dosfstools e2fsprogs)", tt.command, err, said)
			}
			if got := labelled(out, "config-2"); got != tt.want {
				t.Errorf("it is %q, want %q", got, tt.want)
			}
		})
	}
	if got := labelled(filepath.Join(dir, "none"), "config-2"); got != "" {
		t.Errorf("a disk that is not there is %q", got)
	}
}

// TestStatic: the address a card gets of the config drive; IPv4 only, whole or not at all.
func TestStatic(t *testing.T) {
	tests := []struct {
		name, network string // of the card "a"
		prefix, route string // "" none
	}{
		{"address and mask", `{"ip_address": "10.1.2.3", "netmask": "255.255.255.0", "gateway": "10.1.2.1"}`, "10.1.2.3/24", "10.1.2.1"},
		{"a prefix", `{"ip_address": "10.1.2.3/20", "gateway": "10.1.2.1"}`, "10.1.2.3/20", "10.1.2.1"},
		{"no gateway", `{"ip_address": "10.1.2.3/20"}`, "10.1.2.3/20", ""},
		{"a default route wins over the gateway", `{"ip_address": "10.1.2.3/20", "gateway": "10.1.2.1", "routes": [{"network": "0.0.0.0", ` +
			`"netmask": "0.0.0.0", "gateway": "10.1.2.9"}]}`, "10.1.2.3/20", "10.1.2.9"},
		{"another route is none",
			`{"ip_address": "10.1.2.3/20", "routes": [{"network": "10.9.0.0", "netmask": "255.255.0.0", "gateway": "10.1.2.9"}]}`, "10.1.2.3/20",
			""},
		{"a route with a strange mask is none",
			`{"ip_address": "10.1.2.3/20", "routes": [{"network": "0.0.0.0", "netmask": "255.0.0.0", "gateway": "10.1.2.9"}]}`, "10.1.2.3/20", ""},
		{"a whole mask", `{"ip_address": "10.1.2.3", "netmask": "255.255.255.255"}`, "10.1.2.3/32", ""},
		{"no mask", `{"ip_address": "10.1.2.3"}`, "", ""},
		{"a mask with holes", `{"ip_address": "10.1.2.3", "netmask": "255.0.255.0"}`, "", ""},
		{"a mask of IPv6", `{"ip_address": "10.1.2.3", "netmask": "ffff:ffff::"}`, "", ""},
		{"an address of IPv6", `{"ip_address": "fd00::3/64"}`, "", ""},
		{"an address of IPv6 with a mask of IPv4", `{"ip_address": "fd00::3", "netmask": "255.255.255.0"}`, "", ""},
		{"a prefix beyond 32", `{"ip_address": "10.1.2.3/33"}`, "", ""},
		{"a gateway of IPv6", `{"ip_address": "10.1.2.3/20", "gateway": "fd00::1"}`, "10.1.2.3/20", ""},
		{"no address", `{"netmask": "255.255.255.0"}`, "", ""},
		{"DHCP", `{"type": "ipv4_dhcp", "ip_address": "10.1.2.3/20"}`, "", ""},
		{"IPv6", `{"type": "ipv6", "ip_address": "10.1.2.3/20"}`, "", ""},
		{"another card", `{"link": "b", "ip_address": "10.1.2.3/20"}`, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want networkData
			network := map[string]any{"type": "ipv4", "link": "a"}
			if err := json.Unmarshal([]byte(tt.network), &network); err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(map[string]any{"links": []any{map[string]string{"id": "a", "ethernet_mac_address": "52:54:00:00:00:0A"}},
				"networks": []any{network}})
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			prefix, gateway, ok := static(want, "52:54:00:00:00:0a")
			if ok != (tt.prefix != "") || ok && prefix != netip.MustParsePrefix(tt.prefix) {
				t.Errorf("the address is %v, %v; want %q", prefix, ok, tt.prefix)
			}
			if gateway.IsValid() != (tt.route != "") || tt.route != "" && gateway != netip.MustParseAddr(tt.route) {
				t.Errorf("the gateway is %v, want %q", gateway, tt.route)
			}
		})
	}
}

// Of two networks of one card, the one that can be used is.
func TestStaticTakesTheUsable(t *testing.T) {
	var want networkData
	err := json.Unmarshal([]byte(`{"links": [{"id": "a", "ethernet_mac_address": "52:54:00:00:00:0a"}, {"id": "", "ethernet_mac_address": ""}],
		"networks": [{"type": "ipv4", "link": "a", "ip_address": "nonsense"}, {"type": "ipv4", "link": "a", "ip_address": "10.0.0.2/8"},
			{"type": "ipv4", "link": "", "ip_address": "10.0.0.3/8"}]}`), &want)
	if err != nil {
		t.Fatal(err)
	}
	if prefix, _, ok := static(want, "52:54:00:00:00:0a"); !ok || prefix.String() != "10.0.0.2/8" {
		t.Errorf("%v %v", prefix, ok)
	}
	if prefix, _, ok := static(want, ""); ok {
		t.Errorf("a card without a MAC, such as a tunnel, gets %v", prefix)
	}
}

// The drive's parts may be missing one by one; what is there and cannot be read is an error.
func TestPartsOfTheDrive(t *testing.T) {
	tests := []struct {
		name, meta string
		host       string
		keys       []string
		err        string
	}{
		{"nothing in it", `{}`, "", nil, ""},
		{"a name", `{"name": "n1"}`, "n1", nil, ""},
		{"the host name goes first", `{"name": "n1", "hostname": "h1"}`, "h1", nil, ""},
		{"without its domain", `{"hostname": "h1.a.b"}`, "h1", nil, ""},
		{"a name that is a domain alone", `{"hostname": ".a"}`, "", nil, ""},
		{"keys by name", `{"public_keys": {"z": "Z\n", "a": " A "}}`, "", []string{"A", "Z"}, ""},
		{"keys as a list", `{"public_keys": ["A"]}`, "", nil, "reading the metadata: json: cannot unmarshal array"},
		{"null", `null`, "", nil, ""},
		{"an array", `[]`, "", nil, "reading the metadata: json: cannot unmarshal array"},
		{"a second object", `{} {}`, "", nil, "reading the metadata: invalid character"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := drive(t, map[string]string{"meta_data.json": tt.meta})
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			if d.Hostname != tt.host {
				t.Errorf("host name %q, want %q", d.Hostname, tt.host)
			}
			if diff := cmp.Diff(tt.keys, d.Keys); diff != "" {
				t.Error(diff)
			}
			if d.UserData != nil {
				t.Errorf("user data %q", d.UserData)
			}
		})
	}
	folder := fstest.MapFS{"openstack/latest/meta_data.json": {Data: []byte("{}")}, "openstack/latest/user_data/x": {}}
	if _, err := readConfigDrive(folder); err == nil || !strings.Contains(err.Error(), "reading the user data") {
		t.Errorf("user data that is a folder: %v", err)
	}
}

// A drive never writes where its names lead: MACs become file names, and only if they are MACs.
func TestApplyToStaysInside(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a/b/root")
	var d configDrive
	err := json.Unmarshal([]byte(`{"links": [{"id": "x", "ethernet_mac_address": "../../../evil"}, {"id": "y",
		"ethernet_mac_address": "52-54-00-00-00-0b"}, {"id": "z", "ethernet_mac_address": "52:54:00:00:00:0c\nx"}],
		"networks": [{"type": "ipv4", "link": "x", "ip_address": "10.0.0.2/8"}, {"type": "ipv4", "link": "y", "ip_address": "10.0.0.3/8"},
			{"type": "ipv4", "link": "z", "ip_address": "10.0.0.4/8"}]}`), &d.Network)
	if err != nil {
		t.Fatal(err)
	}
	if err := applyTo(root, d); err != nil {
		t.Fatal(err)
	}
	var got []string
	err = filepath.Walk(filepath.Join(root, "../../.."), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			got = append(got, strings.TrimPrefix(path, root))
		}
		return err
	})
	if diff := cmp.Diff([]string{"/etc/systemd/network/10-52540000000b.network"}, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

// Keys are for those whose home it is: mode and owner are what sshd asks for.
func TestAuthorize(t *testing.T) {
	root := t.TempDir()
	home := filepath.Join(root, "home/debian")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(home, 1234, 2345); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a second time replaces, and does not add
		if err := authorize(root, "home/debian", []string{"A", "B"}); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(home, ".ssh/authorized_keys")); err != nil || string(text) != "A\nB\n" {
		t.Errorf("authorized are %q, %v", text, err)
	}
	for name, mode := range map[string]os.FileMode{".ssh": 0o700, ".ssh/authorized_keys": 0o600} {
		info, err := os.Stat(filepath.Join(home, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		if st := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && (st.Uid != 1234 || st.Gid != 2345) {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	if err := authorize(root, "home/nobody", []string{"A"}); err != nil {
		t.Errorf("a home that is not there: %v", err)
	}
	if err := authorize(root, "home/debian/.ssh/authorized_keys", []string{"A"}); err == nil {
		t.Error("a home that is a file takes keys")
	}
}

// User data that is no script is left alone; a script is run as it is, once, and its failure is said.
func TestUserDataKinds(t *testing.T) {
	for name, data := range map[string]string{"none": "", "cloud-config": "#cloud-config\nruncmd: [touch x]", "no interpreter": "touch x",
		"a gzip": "\x1f\x8b#!", "a blank first": " #!/bin/sh"} {
		root := t.TempDir()
		if err := runUserData(root, []byte(data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(root); len(left) != 0 {
			t.Errorf("%s: it left %v", name, left)
		}
	}
	root := t.TempDir()
	if err := runUserData(root, []byte("#!/no/such/interpreter\n")); err != nil {
		t.Errorf("a script that cannot run stops the first boot: %v", err)
	}
	info, err := os.Stat(filepath.Join(root, "var/lib/billet/user-data"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("user data may hold secrets, and is %v, %v", info.Mode(), err)
	}
}

// inNamespace runs the rest of a test in a network namespace of its own, as a child of the test.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("IN_NAMESPACE") == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test makes a network namespace and must run as root")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "IN_NAMESPACE="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// addVeth makes a card and its other end, which has the address given.
func addVeth(t *testing.T, card, mac, far, address string) {
	t.Helper()
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = card, hw
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: far}); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName(far)
	if err != nil {
		t.Fatal(err)
	}
	own, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(link, own); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
}

// One card has its address of the config drive, one of a DHCP server, and both end up with it.
func TestCards(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	addVeth(t, "fixed", "52:54:00:aa:00:01", "far0", "10.1.2.1/24")
	addVeth(t, "lease", "52:54:00:aa:00:02", "far1", "192.0.2.1/24")
	own := net.IPv4(192, 0, 2, 1)
	s, err := server4.NewServer("far1", &net.UDPAddr{IP: net.IPv4zero, Port: 67}, func(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
		kind := map[dhcpv4.MessageType]dhcpv4.MessageType{dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer,
			dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck}[m.MessageType()]
		reply, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 77)),
			dhcpv4.WithServerIP(own),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(own)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(own),
			dhcpv4.WithLeaseTime(3600))
		if err == nil {
			_, err = conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve()
	defer s.Close()
	var want networkData
	if err := json.Unmarshal([]byte(networkJSON), &want); err != nil {
		t.Fatal(err)
	}
	for card, line := range map[string]string{"fixed": "10.1.2.3/24 (config drive)", "lease": "192.0.2.77/24 (DHCP)"} {
		link, err := netlink.LinkByName(card)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // again is no error
			began := time.Now()
			if got, err := configureLink(link, want); err != nil || got != line {
				t.Errorf("%s: %q, %v, want %q (%s)", card, got, err, line, time.Since(began))
			}
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil || len(addrs) != 1 || !strings.HasPrefix(line, addrs[0].IPNet.String()) {
			t.Errorf("%s has %v, %v", card, addrs, err)
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	if err != nil || len(routes) == 0 {
		t.Fatalf("there is no default route: %v, %v", routes, err)
	}
	for _, r := range routes {
		if gw := r.Gw.String(); gw != "10.1.2.1" && gw != "192.0.2.1" {
			t.Errorf("a route over %s", gw)
		}
	}
}

// Who answers or refuses is reached; where nobody is, nobody is reached.
func TestReach(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	addVeth(t, "card", "52:54:00:aa:00:01", "far", "10.1.2.1/24")
	l, err := net.Listen("tcp4", "10.1.2.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lo, err := netlink.LinkByName("lo")
	if err != nil || netlink.LinkSetUp(lo) != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ address, to, want string }{
		{"10.1.2.9/24", l.Addr().String(), "yes"},
		{"10.1.2.9/24", "10.1.2.1:1", "yes"},
		{"10.9.9.9/24", "10.9.9.1:80", "no: dial tcp4 10.9.9.1:80: connect: no route to host"},
		{"10.9.9", "10.9.9.1:80", `no: netip.ParsePrefix("10.9.9"): no '/'`},
	} {
		if got := reach(c.address, c.to); got != c.want {
			t.Errorf("%s from %s: %q, want %q", c.to, c.address, got, c.want)
		}
	}
}
