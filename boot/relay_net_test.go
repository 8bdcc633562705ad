package boot_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/boot/dhcp"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store/pgtest"
)

// run runs a command of words and fails the test when it fails.
func (n *network) run(line string) {
	n.t.Helper()
	words := strings.Fields(line)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// clientScript has busybox's DHCP client write what it was given. It is written once: what runs cannot be written (ETXTBSY), nor can
// it be run while a process that is just being forked has it open for writing.
func (n *network) clientScript() string {
	n.t.Helper()
	path := filepath.Join(n.dir, "client")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	const text = "#!/bin/sh\necho \"GOT $1 $interface ip=$ip mask=$subnet router=$router dns=$dns lease=$lease boot=$boot_file\"\n" +
		"[ \"$1\" = bound ] && ip addr flush dev $interface && ip addr add $ip/$mask dev $interface && " +
		"[ -n \"$router\" ] && ip route replace default via $router\nexit 0\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		n.t.Fatal(err)
	}
	return path
}

// A rack behind a relay, which is dnsmasq's, in a subnet of its own: its range, router and name server; a renewal that goes past
// the relay; and a rack for which there is no range, which is told of.
func TestARackBehindARelay(t *testing.T) {
	n := newNetwork(t)
	rack := n.ns + "-rack"
	n.run("ip netns add " + rack)
	t.Cleanup(func() { n.run("ip netns del " + rack) })
	for i, nic := range []string{"rack0", "rack1"} { // the relay's legs, and the machines' cards
		n.run(fmt.Sprintf("ip -n %s link add %s type veth peer name eth%d netns %s", n.far, nic, i, rack))
		n.run(fmt.Sprintf("ip -n %s addr add 10.5%d.0.1/24 dev %s", n.far, i, nic))
		n.run(fmt.Sprintf("ip -n %s link set %s up", n.far, nic))
		n.run(fmt.Sprintf("ip -n %s link set eth%d address 52:54:00:00:07:0%d", rack, i, i))
		n.run(fmt.Sprintf("ip -n %s link set eth%d up", rack, i))
		n.run(fmt.Sprintf("ip -n %s route add 10.5%d.0.0/24 via %s", n.ns, i, dnsmasqIP))
	}
	n.run("ip netns exec " + n.far + " sysctl -qw net.ipv4.ip_forward=1")
	pools, err := dhcp.ParsePools("10.50.0.0/24 10.50.0.40-10.50.0.41 router=10.50.0.1 dns=10.50.0.53 lease=10m")
	if err != nil {
		t.Fatal(err)
	}
	s := n.serve(services{Mode: dhcp.Full, Pools: pools, Machines: map[string]boot.Machine{
		"52:54:00:00:07:00": {NodeUUID: "node-1", Record: &boot.Record{NodeUUID: "node-1", Loader: boot.IPXE,
			Kernel: "/k", Secret: strings.Repeat("0", 32)}},
		"52:54:00:00:07:01": {NodeUUID: "node-2"},
	}})
	relay := n.start(n.far, nil, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0",
		"--dhcp-relay=10.50.0.1,"+serverIP, "--dhcp-relay=10.51.0.1,"+serverIP)
	if !relay.until(func(s string) bool { return strings.Contains(s, "DHCP relay from 10.51.0.1") }, 20*time.Second) {
		t.Fatalf("the relay did not come up:\n%s", relay.text())
	}
	client := n.start(rack, nil, "busybox", "udhcpc", "-f", "-i", "eth0", "-t", "20", "-T", "1",
		"-V", "PXEClient:Arch:00007:UNDI:003016", "-O", "67", "-s", n.clientScript())
	const bound = "GOT bound eth0 ip=10.50.0.40 mask=255.255.255.0 router=10.50.0.1 dns=10.50.0.53 lease=600 boot=snponly.efi"
	if !client.until(func(s string) bool { return strings.Contains(s, bound) }, 60*time.Second) {
		t.Fatalf("the machine got\n%s\nthe services saw\n%s", client.text(), s.story())
	}
	if err := syscall.Kill(client.cmd.Process.Pid, syscall.SIGUSR1); err != nil { // "renew now"
		t.Fatal(err)
	}
	if !client.until(func(s string) bool { return strings.Contains(s, "GOT renew eth0 ip=10.50.0.40") }, 60*time.Second) {
		t.Errorf("no renewal past the relay:\n%s\nthe services saw\n%s", client.text(), s.story())
	}
	past := func(string) bool {
		for _, e := range s.events() {
			if e.Kind == node.DHCPAcked && !strings.Contains(e.What, "relay") {
				return true
			}
		}
		return false
	}
	if !s.until(past, 20*time.Second) || strings.Contains(s.story(), "refused") {
		t.Errorf("the renewal:\n%s", s.story())
	}
	lost := n.start(rack, nil, "busybox", "udhcpc", "-f", "-n", "-q", "-i", "eth1", "-t", "2", "-T", "1", "-s", n.clientScript())
	ignored := func(string) bool {
		for _, e := range s.events() {
			if e.MAC == "52:54:00:00:07:01" && e.Kind == node.NoRange && strings.Contains(e.What, "through the relay 10.51.0.1: ignored: no range") {
				return true
			}
		}
		return false
	}
	if !s.until(ignored, 30*time.Second) {
		t.Errorf("the rack without a range:\n%s\nthe services saw\n%s", lost.text(), s.story())
	}
}

// Two processes on one PostgreSQL answer DHCP on one network; twelve machines want its six addresses. Nobody has another's, and
// what is given back goes to who waits.
func TestTwoProcessesOnOneNetwork(t *testing.T) {
	n := newNetwork(t)
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	clients := n.ns + "-clients"
	n.run("ip netns add " + clients)
	t.Cleanup(func() { n.run("ip netns del " + clients) })
	machines := map[string]boot.Machine{}
	for i := range 12 {
		n.run(fmt.Sprintf("ip -n %s link add c%d type veth peer name eth%d netns %s", n.ns, i, i, clients))
		n.run(fmt.Sprintf("ip -n %s link set c%d master br0 up", n.ns, i))
		n.run(fmt.Sprintf("ip -n %s link set eth%d address 52:54:00:00:08:%02x", clients, i, i))
		n.run(fmt.Sprintf("ip -n %s link set eth%d up", clients, i))
		machines[fmt.Sprintf("52:54:00:00:08:%02x", i)] = boot.Machine{NodeUUID: fmt.Sprint("node-", i)}
	}
	pools := []dhcp.Pool{{Prefix: netip.MustParsePrefix("10.99.0.0/24"), First: netip.MustParseAddr("10.99.0.100"),
		Last: netip.MustParseAddr("10.99.0.105")}}
	one := services{Mode: dhcp.Full, Own: pools, Machines: machines, Database: pg.Database(t)}
	two := one
	two.IP, two.NIC = dnsmasqIP, "eth0"
	processes := []*running{n.serve(one), n.serveIn(n.far, two)}

	ask := func(i int) *running {
		return n.start(clients, nil, "busybox", "udhcpc", "-f", "-R", "-n", "-i", fmt.Sprint("eth", i),
			"-t", "4", "-T", "1", "-s", n.clientScript())
	}
	addressOf := func(r *running) string {
		_, rest, _ := strings.Cut(r.text(), "GOT bound ")
		_, ip, _ := strings.Cut(rest, "ip=")
		ip, _, _ = strings.Cut(ip, " ")
		return ip
	}
	story := func() string { return processes[0].story() + "\n--\n" + processes[1].story() }
	settled := func(s string) bool { return strings.Contains(s, "GOT bound ") || strings.Contains(s, "no lease") }
	round := func(who []int) (winners []*running, losers []int) {
		var all []*running
		for _, i := range who {
			all = append(all, ask(i))
		}
		seen := map[string]bool{}
		for j, r := range all {
			if !r.until(settled, 90*time.Second) {
				t.Fatalf("machine %d: %s\n%s", who[j], r.text(), story())
			}
			ip := addressOf(r)
			if ip == "" {
				losers = append(losers, who[j])
				continue
			}
			if seen[ip] {
				t.Fatalf("%s is lent twice\n%s", ip, story())
			}
			seen[ip] = true
			winners = append(winners, r)
		}
		return winners, losers
	}
	winners, losers := round([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	if len(winners) != 6 || len(losers) != 6 {
		t.Fatalf("%d have an address, %d have none\n%s", len(winners), len(losers), story())
	}
	free := map[string]bool{}
	for _, r := range winners[:3] {
		free[addressOf(r)] = true
		if err := syscall.Kill(-r.cmd.Process.Pid, syscall.SIGTERM); err != nil { // it gives its address back
			t.Fatal(err)
		}
		r.until(func(string) bool { return false }, 20*time.Second) // it ends
	}
	next, left := round(losers)
	if len(next) != 3 || len(left) != 3 {
		t.Errorf("of 3 addresses given back %d are lent again\n%s", len(next), story())
	}
	for _, r := range next {
		if ip := addressOf(r); !free[ip] {
			t.Errorf("%s is lent, and was not given back\n%s", ip, story())
		}
	}
	for i, p := range processes {
		kinds := map[node.BootKind]int{}
		for _, e := range p.events() {
			kinds[e.Kind]++
		}
		if kinds[node.OtherServer] > 0 || kinds[node.NoAddress] == 0 || kinds[node.DHCPOffered] == 0 {
			t.Errorf("process %d told of %v", i, kinds)
		}
		t.Logf("process %d: %v", i, kinds)
	}
}
