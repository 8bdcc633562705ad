package diagnosis

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/boot/dhcp"
	"github.com/billet-metal/billet/boot/tftp"
	"github.com/billet-metal/billet/boot/web"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

const uuid1, mac1, bootSecret = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123", "52:54:00:00:00:01", "0123456789abcdef0123456789abcdef"

// answerers are the boot services as they are, on loopback, without a network to broadcast on. One machine is known.
type answerers struct {
	t       *testing.T
	mu      sync.Mutex
	events  []node.BootEvent
	known   bool
	record  *boot.Record
	dhcp    *dhcp.Server
	web     *httptest.Server
	tftp    netip.AddrPort
	loaders string
	lost    error
}

func (a *answerers) Machine(_ context.Context, mac string) (m boot.Machine, err error) {
	if mac == mac1 && a.known {
		m = boot.Machine{NodeUUID: uuid1, Record: a.record}
	}
	return m, a.lost
}

func (a *answerers) RecordBySecret(_ context.Context, secret string) (*boot.Record, error) {
	if a.record != nil && a.record.Secret == secret {
		return a.record, nil
	}
	return nil, nil
}

func (a *answerers) Saw(e node.BootEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
}

func answering(t *testing.T) *answerers {
	dir := t.TempDir()
	a := &answerers{t: t, known: true, loaders: filepath.Join(dir, "loaders")}
	if err := os.Mkdir(a.loaders, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"loaders/undionly.kpxe", "loaders/snponly.efi", "kernel", "ramdisk"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(200<<20), f.Close()); err != nil { // more than sockets take without a reader
			t.Fatal(err)
		}
	}
	a.record = &boot.Record{NodeUUID: uuid1, Loader: boot.IPXE, Secret: bootSecret, Kernel: filepath.Join(dir, "kernel"),
		Ramdisk: filepath.Join(dir, "ramdisk")}
	db, err := store.Open(t.Context(), store.Config{DataDir: t.TempDir(), Host: "here"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	log, loaders := slog.New(slog.DiscardHandler), boot.Loaders{Dirs: []string{a.loaders}}
	machine := func(netip.Addr) string { return mac1 }
	a.dhcp = &dhcp.Server{
		Config: dhcp.Config{
			Interface: "br0", ServerIP: netip.MustParseAddr("10.99.0.1"), Mode: dhcp.Full, BaseURL: "http://10.99.0.1:8080",
			Loaders: loaders, LeaseTime: time.Hour,
			Pools: []dhcp.Pool{{Prefix: netip.MustParsePrefix("10.99.0.0/24"), First: netip.MustParseAddr("10.99.0.20"),
				Last: netip.MustParseAddr("10.99.0.20")}},
		},
		Lookup: a, Leases: db, Trace: a, Log: log,
	}
	gate := &fetch.Gate{Dirs: []string{dir}}
	a.web = httptest.NewServer(&web.Handler{Lookup: a, BaseURL: "http://10.99.0.1:8080", Loaders: loaders, MACOf: machine,
		Gate: gate, Trace: a, Log: log})
	t.Cleanup(a.web.Close)
	a.tftp = a.serveTFTP(&tftp.Server{Lookup: a, Loaders: loaders, MACOf: machine, Gate: gate, Trace: a, Log: log,
		Timeout: 50 * time.Millisecond, Tries: 2})
	return a
}

// serveTFTP serves on a free port of loopback.
func (a *answerers) serveTFTP(s *tftp.Server) netip.AddrPort {
	probe, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		a.t.Fatal(err)
	}
	s.Addr = netip.MustParseAddrPort(probe.LocalAddr().String())
	probe.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.Serve(ctx); err != nil {
			a.t.Error(err)
		}
	})
	a.t.Cleanup(func() { cancel(); done.Wait() })
	return s.Addr
}

// ask sends a message over DHCP and returns the answer; nil is silence.
func (a *answerers) ask(mac string, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	a.t.Helper()
	hw, err := net.ParseMAC(mac)
	if err != nil {
		a.t.Fatal(err)
	}
	all := append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(hw), dhcpv4.WithMessageType(kind)}, mods...)
	req, err := dhcpv4.New(all...)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.raw(req.ToBytes())
}

func (a *answerers) raw(datagram []byte) *dhcpv4.DHCPv4 {
	a.t.Helper()
	reply, _ := a.dhcp.Answer(context.Background(), datagram, netip.MustParseAddrPort("0.0.0.0:68"), 67)
	if reply == nil {
		return nil
	}
	resp, err := dhcpv4.FromBytes(reply)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp
}

// get fetches over HTTP and reads as many bytes as said; 0 is all.
func (a *answerers) get(path string, most int64) {
	resp, err := http.Get(a.web.URL + path)
	if err != nil {
		a.t.Fatal(err)
	}
	if most == 0 {
		most = 1 << 40
	}
	_, _ = io.CopyN(io.Discard, resp.Body, most)
	resp.Body.Close()
}

// read asks over TFTP, and acknowledges nothing.
func (a *answerers) read(name string) {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(a.tftp))
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // the server may just start
		_, _ = conn.Write([]byte("\x00\x01" + name + "\x00octet\x00"))
		a.mu.Lock()
		told := len(a.events)
		a.mu.Unlock()
		if told > 0 {
			return
		}
	}
}

// until waits for so many events.
func (a *answerers) until(n int) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		a.mu.Lock()
		got := len(a.events)
		a.mu.Unlock()
		if got >= n {
			return
		}
	}
	a.t.Fatalf("fewer than %d events", n)
}

// What DHCP, TFTP and HTTP really write is fed to the diagnosis, which says the true cause and the mend, and speaks of
// firewalls only when the machine was given all that it needs.
func TestTheDiagnosisOfWhatIsReallyWritten(t *testing.T) {
	bios := dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00000:UNDI:002001"))
	wish := func(ip string) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(ip)))
	}
	from := func(ip string) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(ip))) }
	const discover, request = dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest
	for _, tt := range []struct {
		name       string
		do         func(a *answerers)
		kind       node.BootKind // of the last event
		want, mend string
	}{
		{"answered, and nothing fetched", func(a *answerers) {
			a.ask(mac1, discover, bios)
			a.ask(mac1, request, bios, wish("10.99.0.20"), from("10.99.0.1"))
		},
			node.DHCPAcked, "DHCP answered 52:54:00:00:00:01 2 times", "firewalls"},
		{"no address left", func(a *answerers) {
			a.ask("52:54:00:00:00:77", discover, bios)
			a.dhcp.Config.Discovery = true
			a.ask("52:54:00:00:00:77", discover, bios)
			a.ask(mac1, discover, bios)
		}, node.NoAddress, "DHCP has no address for it (last 0.0 s ago: DISCOVER from BIOS (arch 0): no address left in 10.99.0.20-10.99.0.20)",
			"make dhcp_range larger"},
		{"another server's offer taken", func(a *answerers) {
			a.ask(mac1, discover, bios)
			a.ask(mac1, request, bios, wish("10.99.0.77"), from("10.99.0.7"))
		},
			node.OtherServer, "another DHCP server answers on its network, and the machine took that one's offer (last 0.0 s ago: " +
				"REQUEST from BIOS (arch 0): it took the offer of another DHCP server, 10.99.0.7", "set dhcp_mode to proxy"},
		{"NAK", func(a *answerers) { a.ask(mac1, request, bios, wish("192.168.7.7")) },
			node.DHCPRefused, "DHCP refused the address that it insists on (last 0.0 s ago: REQUEST from BIOS (arch 0): refused 192.168.7.7",
			"power it off and on"},
		{"loader package missing", func(a *answerers) {
			if err := os.Remove(filepath.Join(a.loaders, "undionly.kpxe")); err != nil {
				a.t.Fatal(err)
			}
			a.ask(mac1, discover, bios)
			a.ask(mac1, request, bios, wish("10.99.0.20"), from("10.99.0.1"))
		}, node.NoLoader, "DHCP answered it, but Billet has no boot loader for it", "install the package ipxe"},
		{"unknown MAC", func(a *answerers) { a.known = false; a.ask(mac1, discover, bios) },
			node.UnknownMAC, "its DHCP requests came when no node had a port with this MAC address", "its next request is answered"},
		{"a relay without a range", func(a *answerers) { a.ask(mac1, discover, bios, dhcpv4.WithGatewayIP(net.IPv4(10, 60, 0, 1))) },
			node.NoRange, "its DHCP requests come from a network without a range of addresses (last 0.0 s ago: DISCOVER from BIOS (arch 0) " +
				"through the relay 10.60.0.1: ignored: no range of addresses for the network of 10.60.0.1)", "dhcp_ranges"},
		{"a port that is not to boot", func(a *answerers) { a.record = nil; a.ask(mac1, discover, bios) },
			node.OwnDisk, "Billet told it to start its own disk", "is pxe_enabled set for the port"},
		{"the store is away", func(a *answerers) { a.lost = io.ErrUnexpectedEOF; a.ask(mac1, discover, bios) },
			node.ServiceFault, "Billet could not answer its DHCP requests", "the log of this service has the reason"},
		{"a message that is cut", func(a *answerers) {
			m, _ := dhcpv4.New(dhcpv4.WithHwAddr(net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}), dhcpv4.WithMessageType(discover))
			a.raw(m.ToBytes()[:200])
		}, node.Malformed, "its DHCP requests cannot be read", "is its firmware up to date"},
		{"only its operating system", func(a *answerers) { a.ask(mac1, discover) },
			node.DHCPOffered, "it started its own disk (over DHCP only an operating system asked", "boot order"},

		{"a file broken off, HTTP", func(a *answerers) { a.get("/boot/"+bootSecret+"/kernel", 1000); a.until(2) },
			node.FileBroken, "it broke off a download (last 0.0 s ago: kernel: broken off after", "is its network sound"},
		{"a ramdisk broken off", func(a *answerers) { a.get("/boot/"+bootSecret+"/ramdisk", 1000); a.until(2) },
			node.FileBroken, "the ramdisk was asked for but never sent whole (last 0.0 s ago: ramdisk: broken off after", "enough memory"},
		{"a loader broken off, TFTP", func(a *answerers) { a.read("undionly.kpxe") },
			node.FileBroken, "it broke off a download (last 0.0 s ago: undionly.kpxe: broken off after 0 bytes", "is its network sound"},
		{"a loader that is not there", func(a *answerers) { a.read("grubnetx64.efi") },
			node.FileMissing, "it asked for a file that Billet does not have (last 0.0 s ago: grubnetx64.efi: no such file)",
			"is the package with that boot loader installed"},
		{"a ramdisk that is gone", func(a *answerers) {
			if err := os.Remove(a.record.Ramdisk); err != nil {
				a.t.Fatal(err)
			}
			a.get("/boot/"+bootSecret+"/kernel", 0)
			a.get("/boot/"+bootSecret+"/ramdisk", 0)
			a.until(3)
		}, node.FileMissing, "it asked for a file that Billet does not have", "still where they were"},
		{"a boot that has ended", func(a *answerers) { a.get("/boot/"+strings.Repeat("ab", 16)+"/kernel", 0); a.until(1) },
			node.BootEnded, "it asked for the files of a boot that has ended", "power it off and on"},
		{"a script for its own disk", func(a *answerers) { a.record = nil; a.get("/boot/ipxe?mac="+mac1, 0); a.until(1) },
			node.OwnDisk, "Billet told it to start its own disk", "pxe_enabled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := answering(t)
			tt.do(a)
			a.mu.Lock()
			defer a.mu.Unlock()
			e := Evidence{WaitedFor: node.Await{For: node.FirstCall, Text: "the agent's first heartbeat"}, Waited: time.Minute,
				MACs: []string{mac1}, Now: time.Now(), StepBegan: time.Now().Add(-time.Minute),
				Deadline: time.Now().Add(time.Hour), BootPhaseTimeout: 110 * time.Second, FirmwareTimeout: time.Hour}
			for _, ev := range a.events {
				if ev.At = e.Now; ev.MAC == mac1 {
					e.Events = append(e.Events, ev)
				}
			}
			if len(e.Events) == 0 || e.Events[len(e.Events)-1].Kind != tt.kind {
				t.Fatalf("told %+v", a.events)
			}
			got := Judge(e).TimedOut
			if !strings.Contains(got, ": "+tt.want) || !strings.Contains(got, tt.mend) ||
				strings.Contains(got, "firewall") != (tt.mend == "firewalls") {
				t.Errorf("%s\nwant %s … %s", got, tt.want, tt.mend)
			}
			if s := Judge(e).Suspect; s.Text != "" {
				t.Errorf("said at once: %s", s.Text)
			}
			e.Now, e.Waited = e.Now.Add(21*time.Second), e.Waited+21*time.Second
			told := Judge(e).Suspect.Text
			if e.trouble() != nil && e.ownDisk() == "" && !strings.Contains(told, strings.Split(tt.want, " (last")[0]) &&
				tt.kind != node.FileBroken {
				t.Errorf("after 21 s `why` says %q", told)
			}
		})
	}
}
