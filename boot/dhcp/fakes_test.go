package dhcp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

const (
	knownMAC   = "52:54:00:00:00:01" // boots its disk
	ipxeMAC    = "52:54:00:00:00:02" // has a record with loader ipxe
	pxeMAC     = "52:54:00:00:00:03" // has a record with loader pxe
	shimMAC    = "52:54:00:00:00:04" // has a record with loader shim
	unknownMAC = "52:54:00:00:00:99"
	ourIP      = "10.99.0.1"
)

// fakeStore is lookup in memory, and leases in a database of its own.
type fakeStore struct {
	*store.Store
	err  error // of leases
	lost error // of lookups
}

func (f *fakeStore) OfferAddress(ctx context.Context, r boot.AddressRange, mac string,
	wish netip.Addr, hold time.Duration) (netip.Addr, error) {
	if f.err != nil {
		return netip.Addr{}, f.err
	}
	return f.Store.OfferAddress(ctx, r, mac, wish, hold)
}

func (f *fakeStore) LendAddress(ctx context.Context, r boot.AddressRange, mac string,
	ip netip.Addr, life time.Duration) (time.Time, bool, error) {
	if f.err != nil {
		return time.Time{}, false, f.err
	}
	return f.Store.LendAddress(ctx, r, mac, ip, life)
}

func (f *fakeStore) Machine(_ context.Context, mac string) (boot.Machine, error) {
	switch mac {
	case knownMAC:
		return boot.Machine{NodeUUID: "node-1"}, f.lost
	case ipxeMAC:
		return boot.Machine{NodeUUID: "node-2", Record: &boot.Record{Loader: boot.IPXE, Kernel: "/k"}}, f.lost
	case pxeMAC:
		return boot.Machine{NodeUUID: "node-3", Record: &boot.Record{Loader: boot.PXE, Kernel: "/k"}}, f.lost
	case shimMAC:
		return boot.Machine{NodeUUID: "node-4", Record: &boot.Record{Loader: boot.Shim, Kernel: "/k"}}, f.lost
	}
	return boot.Machine{}, f.lost
}

func (f *fakeStore) RecordBySecret(context.Context, string) (*boot.Record, error) { return nil, nil }

// lent says which addresses are lent, and to whom.
func (f *fakeStore) lent(t *testing.T) string {
	t.Helper()
	leases, err := f.AddressLeases(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range leases {
		all = append(all, l.IP+" "+l.MAC)
	}
	return strings.Join(all, ", ")
}

// fakeTrace keeps what was told.
type fakeTrace struct {
	mu    sync.Mutex
	said  []string
	kinds []node.BootKind
}

func (f *fakeTrace) Saw(e node.BootEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !e.Kind.Known() {
		panic(fmt.Sprintf("an event of no known kind: %+v", e))
	}
	f.said = append(f.said, e.MAC+" "+e.Service+": "+e.What)
	f.kinds = append(f.kinds, e.Kind)
}

func (f *fakeTrace) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.said) == 0 {
		return ""
	}
	return f.said[len(f.said)-1]
}

func testPool() Pool {
	return Pool{
		Prefix: netip.MustParsePrefix("10.99.0.0/24"), Router: netip.MustParseAddr("10.99.0.254"),
		First: netip.MustParseAddr("10.99.0.20"), Last: netip.MustParseAddr("10.99.0.29"),
	}
}

// newServer is a server without sockets. Its boot loaders are empty files.
func newServer(t testing.TB, mode Mode) (*Server, *fakeStore, *fakeTrace) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"undionly.kpxe", "pxelinux.0", "snponly.efi", "grubnetx64.efi"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	db, err := store.Open(context.Background(), store.Config{DataDir: t.TempDir(), Host: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	leases, trace := &fakeStore{Store: db}, &fakeTrace{}
	s := &Server{
		Config: Config{
			Interface: "br0", ServerIP: netip.MustParseAddr(ourIP), Mode: mode, BaseURL: "http://10.99.0.1:8080/",
			DNS: []netip.Addr{netip.MustParseAddr("10.99.0.53")}, LeaseTime: time.Hour,
			Loaders: boot.Loaders{Dirs: []string{dir}},
			Pools: []Pool{testPool(), {
				Prefix: netip.MustParsePrefix("10.50.0.0/16"),
				First:  netip.MustParseAddr("10.50.1.1"), Last: netip.MustParseAddr("10.50.1.9"),
			}},
		},
		Lookup: leases, Leases: leases, Trace: trace, Log: slog.New(slog.DiscardHandler),
	}
	if err := s.Config.check(); err != nil {
		t.Fatal(err)
	}
	return s, leases, trace
}

// from builds a request of the kind from the MAC.
func from(t testing.TB, mac string, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithHwAddr(hw), dhcpv4.WithMessageType(kind), dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4}),
	}, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func option(code uint8, value string) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), []byte(value))
}

// The clients of the tests, by the options they send.
var (
	biosPXE  = []dhcpv4.Modifier{option(60, "PXEClient:Arch:00000:UNDI:002001"), option(93, "\x00\x00")}
	uefiPXE  = []dhcpv4.Modifier{option(60, "PXEClient:Arch:00007:UNDI:003016"), option(93, "\x00\x07"), option(97, "\x00machine-identity")}
	uefiHTTP = []dhcpv4.Modifier{option(60, "HTTPClient:Arch:00016:UNDI:003001"), option(93, "\x00\x10")}
	biosIPXE = []dhcpv4.Modifier{option(60, "PXEClient:Arch:00000:UNDI:002001"), option(93, "\x00\x00"), option(77, "iPXE"),
		option(175, "\x13\x01\x01")}
	oldIPXE = []dhcpv4.Modifier{option(60, "PXEClient:Arch:00000:UNDI:002001"), option(93, "\x00\x00"), option(77, "iPXE"),
		option(175, "\x15\x01\x01")}
	armUEFI  = []dhcpv4.Modifier{option(60, "PXEClient:Arch:00011:UNDI:003016"), option(93, "\x00\x0b")}
	ia32UEFI = []dhcpv4.Modifier{option(60, "PXEClient:Arch:00006:UNDI:003016"), option(93, "\x00\x06")}
	linux    = []dhcpv4.Modifier{option(61, "\xffclient-id")}
)

// ask sends a request as from a client on our own network.
func ask(t testing.TB, s *Server, req *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, netip.AddrPort) {
	t.Helper()
	resp, to := s.answer(context.Background(), packet{req: req, from: netip.MustParseAddrPort("0.0.0.0:68"), port: serverPort})
	if resp == nil {
		return nil, to
	}
	parsed, err := dhcpv4.FromBytes(format(resp)) // what the client sees
	if err != nil {
		t.Fatalf("the answer cannot be read: %v", err)
	}
	return parsed, to
}

func with(mods []dhcpv4.Modifier, more ...dhcpv4.Modifier) []dhcpv4.Modifier {
	return append(append([]dhcpv4.Modifier{}, mods...), more...)
}

func wish(ip string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(ip)))
}

func chosen(ip string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(ip)))
}
