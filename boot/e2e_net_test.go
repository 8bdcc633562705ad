package boot_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/boot/dhcp"
	"github.com/billet-metal/billet/boot/tftp"
	"github.com/billet-metal/billet/boot/web"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
	"github.com/billet-metal/billet/store/seal"
)

const (
	serverIP   = "10.99.0.1"
	dnsmasqIP  = "10.99.0.2"
	serviceEnv = "BILLET_TEST_BOOT_SERVICES" // set: this process is the services, not the test
)

// TestMain turns the test binary into the boot services when it is started again inside the
// network namespace: a Go process cannot enter a namespace as a whole.
func TestMain(m *testing.M) {
	if s := os.Getenv(serviceEnv); s != "" {
		if err := serveBoot([]byte(s), os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if nic := os.Getenv(routerEnv); nic != "" {
		if err := askRouter(nic, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// services is what the process in the namespace serves.
type services struct {
	Mode     dhcp.Mode
	Machines map[string]boot.Machine // by MAC
	Pools    []dhcp.Pool             // behind relays
	Own      []dhcp.Pool             // of the own network; none: 100 to 200
	Database string                  // "": one of its own
	IP, NIC  string                  // "": the first namespace's
}

func (s services) Machine(_ context.Context, mac string) (boot.Machine, error) {
	return s.Machines[mac], nil
}

func (s services) RecordBySecret(_ context.Context, secret string) (*boot.Record, error) {
	for _, m := range s.Machines {
		if m.Record != nil && m.Record.Secret == secret {
			return m.Record, nil
		}
	}
	return nil, nil
}

// jsonTrace writes events as lines for the test to read.
type jsonTrace struct {
	mu sync.Mutex
	to *json.Encoder
}

func (j *jsonTrace) Saw(e node.BootEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.to.Encode(e)
}

func serveBoot(config []byte, out io.Writer) error {
	var s services
	if err := json.Unmarshal(config, &s); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	trace := &jsonTrace{to: json.NewEncoder(out)}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ip, nic := cmp.Or(s.IP, serverIP), cmp.Or(s.NIC, "br0")
	base := "http://" + ip + ":8080"
	dir, err := os.MkdirTemp("", "billet-leases-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	leases, err := store.Open(ctx, store.Config{DataDir: dir, Host: "boot " + ip, URL: s.Database, Key: make([]byte, seal.KeySize)})
	if err != nil {
		return err
	}
	defer leases.Close()
	own := s.Own
	if own == nil {
		own = []dhcp.Pool{{
			Prefix: netip.MustParsePrefix("10.99.0.0/24"),
			First:  netip.MustParseAddr("10.99.0.100"), Last: netip.MustParseAddr("10.99.0.200"),
		}}
	}
	d := &dhcp.Server{
		Config: dhcp.Config{
			Interface: nic, ServerIP: netip.MustParseAddr(ip), Mode: s.Mode, BaseURL: base,
			Pools: append(own, s.Pools...),
		},
		Lookup: s, Leases: leases, Trace: trace, Log: log,
	}
	t := &tftp.Server{Addr: netip.MustParseAddrPort(ip + ":69"), Lookup: s, Trace: trace, Gate: fetch.Loopback("/"), Log: log}
	h := &http.Server{Addr: ip + ":8080", Handler: &web.Handler{Lookup: s, BaseURL: base, Trace: trace, Gate: fetch.Loopback("/"), Log: log}}
	failed := make(chan error, 3)
	go func() { failed <- d.Serve(ctx) }()
	go func() { failed <- t.Serve(ctx) }()
	go func() { failed <- h.ListenAndServe() }()
	defer h.Close()
	return <-failed
}

// network is a namespace with a bridge and a tap, and another where a foreign DHCP server lives.
type network struct {
	t       *testing.T
	ns, far string
	dir     string
}

// newNetwork makes it and takes it away again at the test's end, whatever happens.
func newNetwork(t *testing.T) *network {
	t.Helper()
	need(t)
	suffix := make([]byte, 4)
	rand.Read(suffix)
	sweep(t)
	n := &network{t: t, ns: namespacePrefix + hex.EncodeToString(suffix), dir: t.TempDir()}
	n.far = n.ns + "-far"
	t.Cleanup(func() {
		for _, ns := range []string{n.ns, n.far} {
			if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
				t.Errorf("leaving the namespace %s behind: %v: %s", ns, err, out)
			}
		}
	})
	for _, line := range []string{
		"ip netns add " + n.ns,
		"ip netns add " + n.far,
		"ip -n " + n.ns + " link set lo up",
		"ip -n " + n.ns + " link add br0 type bridge forward_delay 0",
		"ip -n " + n.ns + " addr add " + serverIP + "/24 dev br0",
		"ip -n " + n.ns + " link set br0 up",
		"ip -n " + n.ns + " tuntap add dev tap0 mode tap",
		"ip -n " + n.ns + " link set tap0 master br0 up",
		"ip -n " + n.ns + " link add far0 type veth peer name eth0 netns " + n.far,
		"ip -n " + n.ns + " link set far0 master br0 up",
		"ip -n " + n.far + " addr add " + dnsmasqIP + "/24 dev eth0",
		"ip -n " + n.far + " link set eth0 up",
	} {
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	return n
}

const namespacePrefix = "blt-boot-"

// sweep removes the namespaces of test runs that were killed before they could. One that has
// processes, or is young, is somebody's.
func sweep(t *testing.T) {
	t.Helper()
	old, err := filepath.Glob("/run/netns/" + namespacePrefix + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range old {
		st, err := os.Stat(path)
		if err != nil || time.Since(st.ModTime()) < 10*time.Minute {
			continue
		}
		ns := filepath.Base(path)
		if pids, err := exec.Command("ip", "netns", "pids", ns).Output(); err == nil && len(pids) == 0 {
			_ = exec.Command("ip", "netns", "del", ns).Run() // another run may have been quicker
		}
	}
}

// self is the test binary.
func (n *network) self() string {
	n.t.Helper()
	path, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	return path
}

// macOf reads the hardware address of an interface in the first namespace.
func (n *network) macOf(nic string) net.HardwareAddr {
	n.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", n.ns, "cat", "/sys/class/net/"+nic+"/address").Output()
	if err != nil {
		n.t.Fatal(err)
	}
	mac, err := net.ParseMAC(strings.TrimSpace(string(out)))
	if err != nil {
		n.t.Fatal(err)
	}
	return mac
}

// need fails with what to do when this machine cannot run the test.
func need(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test makes network namespaces and taps: run it as root")
	}
	for tool, pkg := range map[string]string{
		"qemu-system-x86_64": "qemu-system-x86", "ip": "iproute2", "dnsmasq": "dnsmasq-base",
	} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: apt-get install %s", tool, pkg)
		}
	}
	for file, pkg := range map[string]string{
		"/usr/share/OVMF/OVMF_CODE_4M.fd": "ovmf", "/usr/lib/ipxe/qemu/pxe-virtio.rom": "ipxe-qemu",
		"/usr/lib/ipxe/snponly.efi": "ipxe", "/usr/lib/PXELINUX/pxelinux.0": "pxelinux",
		"/usr/lib/syslinux/modules/bios/ldlinux.c32":         "syslinux-common",
		"/usr/lib/grub/x86_64-efi/monolithic/grubnetx64.efi": "grub-efi-amd64-bin",
	} {
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("%s is missing: apt-get install %s", file, pkg)
		}
	}
}

// running is a process in a namespace. Its output is read by one goroutine that stop waits for.
type running struct {
	cmd  *exec.Cmd
	done sync.WaitGroup

	mu    sync.Mutex
	out   strings.Builder
	ended bool
	more  chan struct{} // has a token when out grew
}

// start runs a command in a namespace until the test ends.
func (n *network) start(ns string, env []string, words ...string) *running {
	n.t.Helper()
	r := &running{cmd: exec.Command("ip", append([]string{"netns", "exec", ns}, words...)...), more: make(chan struct{}, 1)}
	r.cmd.Env = append(os.Environ(), env...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	read, write, err := os.Pipe()
	if err != nil {
		n.t.Fatal(err)
	}
	r.cmd.Stdout, r.cmd.Stderr = write, write
	if err := r.cmd.Start(); err != nil {
		n.t.Fatalf("starting %s: %v", words[0], err)
	}
	write.Close()
	r.done.Go(func() { r.collect(read) })
	n.t.Cleanup(r.stop)
	return r
}

func (r *running) collect(from *os.File) {
	defer from.Close()
	chunk := make([]byte, 4096)
	for {
		n, err := from.Read(chunk)
		r.mu.Lock()
		r.out.Write(chunk[:n])
		r.ended = err != nil
		r.mu.Unlock()
		select {
		case r.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// stop ends the process and its children; twice is harmless.
func (r *running) stop() {
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	_ = r.cmd.Wait()
	r.done.Wait()
}

func (r *running) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// until waits for found to be true of the output so far.
func (r *running) until(found func(text string) bool, deadline time.Duration) bool {
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	for !found(r.text()) {
		r.mu.Lock()
		ended := r.ended
		r.mu.Unlock()
		if ended {
			return found(r.text())
		}
		select {
		case <-r.more:
		case <-timer.C:
			return found(r.text())
		}
	}
	return true
}

// events takes the trace out of what the services wrote.
func (r *running) events() []node.BootEvent {
	var all []node.BootEvent
	for line := range strings.Lines(r.text()) {
		var e node.BootEvent
		if json.Unmarshal([]byte(line), &e) == nil {
			all = append(all, e)
		}
	}
	return all
}

// story is the trace as one text, a line for each event.
func (r *running) story() string {
	var b strings.Builder
	for _, e := range r.events() {
		fmt.Fprintf(&b, "%s %s %s: %s\n", e.At.Format("05.000"), e.MAC, e.Service, e.What)
	}
	return b.String()
}

// serve starts the boot services and waits until the three of them answer.
func (n *network) serve(s services) *running { return n.serveIn(n.ns, s) }

func (n *network) serveIn(ns string, s services) *running {
	n.t.Helper()
	config, err := json.Marshal(s)
	if err != nil {
		n.t.Fatal(err)
	}
	r := n.start(ns, []string{serviceEnv + "=" + string(config)}, n.self())
	up := func(text string) bool {
		return (s.Mode == dhcp.Off || strings.Contains(text, "dhcp serves")) && strings.Contains(text, "tftp serves")
	}
	if !r.until(up, 20*time.Second) {
		n.t.Fatalf("the boot services did not come up:\n%s", r.text())
	}
	return r
}

// foreignDHCP starts dnsmasq as the network's own DHCP server.
func (n *network) foreignDHCP(more ...string) *running {
	n.t.Helper()
	r := n.start(n.far, nil, append([]string{"dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0",
		"--dhcp-range=10.99.0.50,10.99.0.60,10m", "--dhcp-leasefile=" + n.dir + "/leases", "--log-dhcp"}, more...)...)
	if !r.until(func(s string) bool { return strings.Contains(s, "DHCP, IP range") }, 10*time.Second) {
		n.t.Fatalf("dnsmasq did not come up:\n%s", r.text())
	}
	return r
}

// console is a machine's serial output without what terminals add, line ends among it: the
// BIOS breaks lines at column 80.
func console(text string) string {
	var b bytes.Buffer
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == 0x1b && i+1 < len(text) && text[i+1] == '[':
			for i += 2; i < len(text) && !(text[i] >= '@' && text[i] <= '~'); i++ {
			}
		case c >= ' ':
			b.WriteByte(c)
		}
	}
	return b.String()
}

// inOrder reports whether the parts follow each other in the text.
func inOrder(text string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool {
		_, after, found := strings.Cut(text, part)
		text = after
		return !found
	})
}
