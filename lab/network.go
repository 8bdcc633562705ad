package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// network is the lab's wire: a namespace with a bridge in it, machines' taps on the bridge, and a
// veth whose other end is on the host, where `billet serve` listens.
type network struct {
	namespace string
	host      string // the host's end of the veth
}

const (
	bridge = "br0" // inside the namespace
	uplink = "up0" // the veth's inner end
)

// What a card with a switch port has of its own is called as its tap, but for the first letter.
const (
	ownBridge  = "b" // inside the namespace, as is
	cableEnd   = "c" // the end of the cable
	switchPort = "s" // its other end, on this host
)

// needed are the capabilities the lab's commands use: links, namespaces, and /run/netns.
var needed = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN, unix.CAP_DAC_OVERRIDE}

// mayMakeNetworks says at once what is missing, before anything is made.
func mayMakeNetworks() error {
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("the program ip is missing; run: apt-get install iproute2")
	}
	var header = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("asking for this process's capabilities: %w", err)
	}
	for _, c := range needed {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return rightsError()
		}
	}
	return nil
}

func rightsError() error {
	self, err := os.Executable()
	if err != nil {
		self = "billet"
	}
	return fmt.Errorf("a lab makes a network namespace, a bridge and taps, and this user may not: "+
		"run it with sudo, or give the program the rights once: sudo setcap cap_net_admin,cap_sys_admin,cap_dac_override+ep %s", self)
}

// command prepares a program that acts with our own rights. Capabilities of a file (setcap) do
// not reach children by themselves.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.AmbientCaps = needed
	}
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd
}

func ip(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := command(ctx, "ip", args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// exists asks for the namespace and for the host's interface.
func (n network) exists(context.Context) bool {
	_, nsErr := os.Stat(n.path())
	_, linkErr := net.InterfaceByName(n.host)
	return nsErr == nil || linkErr == nil
}

// path is where iproute2 keeps a named namespace.
func (n network) path() string { return filepath.Join("/run/netns", n.namespace) }

func (n network) make(ctx context.Context, host netip.Prefix) error {
	if err := unused(host); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"netns", "add", n.namespace},
		{"-n", n.namespace, "link", "set", "lo", "up"},
		{"-n", n.namespace, "link", "add", bridge, "type", "bridge", "forward_delay", "0", "stp_state", "0", "mcast_snooping", "0"},
		{"-n", n.namespace, "link", "set", bridge, "up"},
		{"link", "add", n.host, "type", "veth", "peer", "name", uplink, "netns", n.namespace},
		{"-n", n.namespace, "link", "set", uplink, "master", bridge, "up"},
		{"addr", "add", host.String(), "dev", n.host},
		{"link", "set", n.host, "up"},
	} {
		if _, err := ip(ctx, args...); err != nil {
			return fmt.Errorf("making the lab's network: %w", err)
		}
	}
	return nil
}

// unused refuses a network that the host already has an address in: the host would answer the
// machines through the wrong interface.
func unused(want netip.Prefix) error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("asking for this host's addresses: %w", err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Overlaps(want) {
			return fmt.Errorf("the lab's network %s overlaps this host's address %s; choose another --cidr", want, p)
		}
	}
	return nil
}

// addTap puts a card's tap on the lab's bridge or, with a switch port, alone on a bridge with a cable to it. QEMU opens the tap anew at
// each power on, so it must stay where it is.
func (n network) addTap(ctx context.Context, card NIC) error {
	on := bridge
	if card.SwitchPort != "" {
		on = card.own(ownBridge)
		if err := n.addCable(ctx, card); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"-n", n.namespace, "tuntap", "add", "dev", card.Tap, "mode", "tap"},
		{"-n", n.namespace, "link", "set", card.Tap, "addrgenmode", "none"},
		{"-n", n.namespace, "link", "set", card.Tap, "master", on, "up"},
	} {
		if _, err := ip(ctx, args...); err != nil {
			return fmt.Errorf("making a machine's network interface: %w", err)
		}
	}
	return nil
}

// forwardAll is a bridge's group_fwd_mask (IEEE 802.1Q table 8-1) with all bits that Linux allows: a switch's LLDP comes through.
const forwardAll = "65528"

// addCable makes a bridge of a card's own and the cable to its switch port. Nobody but the machine speaks there: no address makes the
// kernel send nothing.
func (n network) addCable(ctx context.Context, card NIC) error {
	own, cable := card.own(ownBridge), card.own(cableEnd)
	for _, args := range [][]string{
		{"-n", n.namespace, "link", "add", own, "type", "bridge", "forward_delay", "0", "stp_state", "0", "mcast_snooping", "0",
			"group_fwd_mask", forwardAll},
		{"-n", n.namespace, "link", "set", own, "addrgenmode", "none"},
		{"-n", n.namespace, "link", "set", own, "up"},
		{"link", "add", card.SwitchPort, "type", "veth", "peer", "name", cable, "netns", n.namespace},
		{"-n", n.namespace, "link", "set", cable, "addrgenmode", "none"},
		{"-n", n.namespace, "link", "set", cable, "master", own, "up"},
		{"link", "set", card.SwitchPort, "addrgenmode", "none"},
		{"link", "set", card.SwitchPort, "up"},
	} {
		if _, err := ip(ctx, args...); err != nil {
			return fmt.Errorf("making a machine's switch port: %w", err)
		}
	}
	return nil
}

// removeTap takes a card's interfaces away; those that are gone already are no error.
func (n network) removeTap(ctx context.Context, card NIC) error {
	links := []string{card.Tap}
	if card.SwitchPort != "" {
		links = append(links, card.own(cableEnd), card.own(ownBridge)) // the switch port goes with its other end
	}
	var errs []error
	for _, link := range links {
		if _, err := ip(ctx, "-n", n.namespace, "link", "del", link); err != nil && !n.lacks(ctx, link) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lacks reports whether the namespace is known to have no such link.
func (n network) lacks(ctx context.Context, link string) bool {
	list, err := ip(ctx, "-n", n.namespace, "-br", "link", "show")
	for line := range strings.Lines(list) {
		if name, _, _ := strings.Cut(strings.Fields(line)[0], "@"); name == link {
			return false
		}
	}
	return err == nil
}

// removeCables removes the switch ports of all machines, wherever they have been put. The kernel would do it with the namespace, but later.
func (n network) removeCables(ctx context.Context) error {
	list, err := ip(ctx, "-n", n.namespace, "-br", "link", "show", "type", "veth")
	errs := []error{err}
	for line := range strings.Lines(list) {
		if name, _, _ := strings.Cut(line, "@"); strings.HasPrefix(name, cableEnd) {
			_, err := ip(ctx, "-n", n.namespace, "link", "del", name)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// killAll ends whatever still runs inside the namespace.
func (n network) killAll(ctx context.Context) error {
	if _, err := os.Stat(n.path()); err != nil {
		return nil
	}
	list, err := ip(ctx, "netns", "pids", n.namespace)
	if err != nil {
		return err
	}
	var ps []process
	for field := range strings.FieldsSeq(list) {
		pid, err := strconv.Atoi(field)
		if p, alive := findProcess(pid); err == nil && alive {
			ps = append(ps, p)
		}
	}
	return killProcesses(ctx, ps)
}

// remove takes away what is there; links inside the namespace go with it. The namespace lives on
// while a process is in it, so killAll comes first.
func (n network) remove(ctx context.Context) error {
	var errs []error
	if _, err := net.InterfaceByName(n.host); err == nil {
		_, err := ip(ctx, "link", "del", n.host)
		errs = append(errs, err)
	}
	if _, err := os.Stat(n.path()); err == nil {
		errs = append(errs, n.removeCables(ctx))
		_, err := ip(ctx, "netns", "del", n.namespace)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
