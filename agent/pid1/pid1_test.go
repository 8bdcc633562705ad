package pid1

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/klauspost/compress/zstd"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"virtio:d00000001v*", "virtio:d00000001v00001AF4", true},
		{"virtio:d00000002v*", "virtio:d00000001v00001AF4", false},
		{"pci:v00008086d000010D3sv*sd*bc*sc*i*", "pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00", true},
		{"pci:v*d*sv*sd*bc01sc06i01*", "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01", true},
		{"pci:v*d*sv*sd*bc01sc06i01*", "pci:v00008086d00002922sv00001AF4sd00001100bc01sc01i01", false},
		{"usb:v*p*d*dc*dsc*dp*ic08isc0[56]ip*in*", "usb:v0781p5567d0126dc00dsc00dp00ic08isc06ip50in00", true},
		{"usb:v*ic08isc0[!6]ip*", "usb:v0781ic08isc06ip50", false},
		{"of:N*T*Carm,pl011C*", "of:NserialT(null)Carm,pl011Carm/primecell", true},
		{"a?c", "abc", true}, {"a?c", "ac", false},
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"a*", "a", true}, {"*b*c", "abbc", true}, {"*b*c", "abb", false},
		{"[a-c]x", "bx", true}, {"[a-c]x", "dx", false}, {"[]]", "]", true}, {"[a", "[a", true}, {"[", "a", false},
	} {
		if got := match(tt.pattern, tt.s); got != tt.want {
			t.Errorf("match(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("pci:v*d[0-9]*?", "pci:v1d2a")
	f.Add("[!a-", "[")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		_ = match(pattern, s)
		if !match("*", s) {
			t.Errorf("* does not match %q", s)
		}
		if !strings.ContainsAny(pattern, "*?[") && match(pattern, s) != (pattern == s) {
			t.Errorf("%q and %q", pattern, s)
		}
	})
}

// tree writes files: path → content.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestModules(t *testing.T) {
	dir := tree(t, map[string]string{
		"modules/order": "# always\nkernel/fs/vfat.ko\n\n./kernel/fs/isofs.ko\n",
		"modules/modules.alias": "# Aliases\nalias virtio:d00000001v* virtio_net\nalias virtio:d00000002v* virtio-blk\nalias pci:v00001AF4d* " +
			"virtio_pci\nalias pci:v00001AF4d* not_shipped\nalias nothing here at all\n",
		"modules/modules.dep": "kernel/fs/vfat.ko:\nkernel/fs/isofs.ko:\nkernel/net/virtio_net.ko: kernel/net/net_failover.ko " +
			"kernel/virtio/virtio.ko kernel/net/failover.ko\nkernel/block/virtio_blk.ko: kernel/virtio/virtio.ko\nkernel/virtio/virtio-pci.ko: " +
			"kernel/virtio/virtio.ko\nkernel/virtio/virtio.ko:\n",
		"sys/bus/pci/devices/0000:00:03.0/modalias": "pci:v00001AF4d00001000\n",
		"sys/bus/pci/devices/0000:00:1f.0/modalias": "pci:v00008086d00002918\n",
	})
	var loaded []string
	m := Modules{Dir: dir + "/modules", Sys: dir + "/sys", Log: slog.New(slog.DiscardHandler), Load: func(file string) error {
		loaded = append(loaded, strings.TrimPrefix(file, dir+"/modules/kernel/"))
		if strings.HasSuffix(file, "virtio-pci.ko") { // the driver finds a network card behind the PCI function
			bus := dir + "/sys/bus/virtio/devices/virtio0"
			if err := os.MkdirAll(bus, 0o755); err != nil {
				return err
			}
			return os.WriteFile(bus+"/modalias", []byte("virtio:d00000001v00001AF4\n"), 0o644)
		}
		if strings.HasSuffix(file, "isofs.ko") {
			return errors.New("unknown symbol")
		}
		return nil
	}}
	if err := m.LoadAll(); err != nil {
		t.Fatal(err)
	}
	want := "fs/vfat.ko fs/isofs.ko virtio/virtio.ko virtio/virtio-pci.ko net/failover.ko net/net_failover.ko net/virtio_net.ko"
	if got := strings.Join(loaded, " "); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestModulesWithoutTables(t *testing.T) {
	m := Modules{Dir: t.TempDir(), Sys: t.TempDir(), Log: slog.New(slog.DiscardHandler), Load: func(string) error { return nil }}
	if err := m.LoadAll(); err != nil {
		t.Error(err)
	}
}

func TestLoadModuleErrors(t *testing.T) {
	err := LoadModule(filepath.Join(t.TempDir(), "none.ko"))
	if err == nil || !strings.Contains(err.Error(), "opening the module") {
		t.Error(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.ko")
	if err := os.WriteFile(bad, []byte("not ELF"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err = LoadModule(bad); err == nil || !strings.Contains(err.Error(), "loading bad.ko") {
		t.Error(err)
	}
}

// The kernel says the same of a packed module as of a plain one: it has been given the same bytes.
func TestPackedModules(t *testing.T) {
	dir := t.TempDir()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"bad.ko.zst": enc.EncodeAll([]byte("not ELF"), nil), "damaged.ko.zst": []byte("not zstd")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"bad.ko": "loading bad.ko", "damaged.ko": "unpacking damaged.ko",
		"none.ko": "opening the module"} {
		if err := LoadModule(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := Modules{Dir: dir}
	for range 2 {
		if err := m.Discard(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the modules are still there")
	}
}

// What is to be loaded later outlives the rest, packed or not, with what it needs; and an agent that
// is started again finds it.
func TestDiscardKeepsFileSystems(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"order": "virtio.ko\n", "modules.dep": "virtio.ko:\next4.ko: jbd2.ko\njbd2.ko:\nxfs.ko:\n", "modules.alias": "",
		"virtio.ko": "", "ext4.ko.zst": "", "jbd2.ko": "", "xfs.ko": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		var loaded []string
		m := Modules{Dir: dir, Sys: t.TempDir(), Log: slog.New(slog.DiscardHandler), Load: func(file string) error {
			loaded = append(loaded, filepath.Base(file))
			return nil
		}}
		if err := m.LoadAll(); err != nil {
			t.Fatal(err)
		}
		if err := m.Discard("ext4", "btrfs"); err != nil {
			t.Fatal(err)
		}
		loaded = nil
		m.LoadNamed("ext4")
		m.LoadNamed("btrfs")
		if fmt.Sprint(loaded) != "[jbd2.ko ext4.ko]" {
			t.Errorf("loaded %v", loaded)
		}
		left, _ := filepath.Glob(dir + "/*")
		for i := range left {
			left[i] = filepath.Base(left[i])
		}
		if fmt.Sprint(left) != "[ext4.ko.zst jbd2.ko modules.dep]" {
			t.Errorf("left: %v", left)
		}
	}
}

func TestRunChildReapsAndTellsTheEnd(t *testing.T) {
	for script, want := range map[string]string{
		"exit 3":                     "exit status 3",
		"kill -9 $$":                 "killed by signal killed",
		"(exit 7) & sleep 0; exit 0": "exit status 0",
	} {
		got, err := runChild([]string{"/bin/sh", "-c", script}, nil)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v", script, got, err)
		}
	}
	if _, err := runChild([]string{"/none"}, nil); err == nil || !strings.Contains(err.Error(), "starting /none") {
		t.Error(err)
	}
}

func TestEnding(t *testing.T) {
	if got := ending(syscall.WaitStatus(2 << 8)); got != "exit status 2" {
		t.Error(got)
	}
}

func TestResolvConf(t *testing.T) {
	servers := []net.IP{net.IPv4(192, 0, 2, 1), net.IPv4(192, 0, 2, 2)}
	for _, tt := range []struct{ domain, want string }{
		{"example.org", "search example.org\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"},
		{"", "nameserver 192.0.2.1\nnameserver 192.0.2.2\n"},
		{"evil\nnameserver 6.6.6.6", "nameserver 192.0.2.1\nnameserver 192.0.2.2\n"},
		{"padded\x00", "search padded\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"},
	} {
		if got := resolvConf(servers, tt.domain); got != tt.want {
			t.Errorf("%q gave %q", tt.domain, got)
		}
	}
}

func TestRoutes(t *testing.T) {
	_, net10, _ := net.ParseCIDR("10.0.0.0/8")
	_, link, _ := net.ParseCIDR("198.51.100.0/24")
	for _, tt := range []struct {
		name string
		opts []dhcpv4.Modifier
		want string
	}{
		{"none", nil, ""},
		{"router", []dhcpv4.Modifier{dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1))}, "0.0.0.0/0 via 192.0.2.1;"},
		{"classless beats router", []dhcpv4.Modifier{
			dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1)),
			dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(
				&dhcpv4.Route{Dest: net10, Router: net.IPv4(192, 0, 2, 9)},
				&dhcpv4.Route{Dest: link, Router: net.IPv4zero})),
		}, "10.0.0.0/8 via 192.0.2.9;198.51.100.0/24 via <nil>;"},
	} {
		ack, err := dhcpv4.New(tt.opts...)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, r := range routes(ack, 3) {
			got += r.Dst.String() + " via " + r.Gw.String() + ";"
			if r.LinkIndex != 3 {
				t.Errorf("%s: link %d", tt.name, r.LinkIndex)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

func TestPatienceGrowsAndEnds(t *testing.T) {
	if a, b, c := patience(0), patience(3), patience(1000); a != 2*time.Second || b != 8*time.Second || c != 15*time.Second {
		t.Error(a, b, c)
	}
}
