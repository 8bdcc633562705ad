package boot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/boot/dhcp"
)

// Real firmware in a rack behind a router, with dnsmasq's relay on it, loads its kernel and ramdisk: address, router and boot
// file come through the relay, and TFTP and HTTP through the router.
func TestFirmwareBehindARelay(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fw    firmware
		trace []string // in this order
	}{
		{"bios", biosROM, []string{
			"DISCOVER from iPXE on BIOS (arch 0)", "through the relay 10.50.0.1", "lent 10.50.0.40, boot file http://",
			"http: script: load kernel and ramdisk", "http: kernel: complete", "http: ramdisk: complete, 70000 bytes",
		}},
		{"uefi", uefiPXE, []string{
			"DISCOVER from x86-64 UEFI (arch 7)", "through the relay 10.50.0.1", "tftp: 10.50.0.40 snponly.efi: complete",
			"lent 10.50.0.40, boot file http://", "http: script: load kernel and ramdisk", "http: ramdisk: complete, 70000 bytes",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNetwork(t)
			n.moveMachineToRack()
			pools, err := dhcp.ParsePools("10.50.0.0/24 10.50.0.40-10.50.0.41 router=10.50.0.1")
			if err != nil {
				t.Fatal(err)
			}
			s := n.serve(services{Mode: dhcp.Full, Pools: pools, Machines: map[string]boot.Machine{
				machineMAC: withFiles(t, known(boot.IPXE), n.dir, tt.fw),
			}})
			relay := n.start(n.far, nil, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--dhcp-relay=10.50.0.1,"+serverIP)
			if !relay.until(func(s string) bool { return strings.Contains(s, "DHCP relay from 10.50.0.1") }, 20*time.Second) {
				t.Fatalf("the relay does not start:\n%s", relay.text())
			}
			vm := n.boot(tt.fw)
			if !s.until(func(string) bool { return inOrder(s.story(), tt.trace) }, 2*time.Minute) {
				t.Errorf("want in the trace, in order:\n%s\ngot:\n%s\nlog:\n%s\nconsole:\n%s",
					strings.Join(tt.trace, "\n"), s.story(), s.text(), console(vm.text()))
			}
			vm.stop()
		})
	}
}

// moveMachineToRack puts the machine's cable on a bridge of its own, whose only way out is the router in the far namespace.
func (n *network) moveMachineToRack() {
	n.t.Helper()
	for _, line := range []string{
		"ip -n " + n.ns + " link add rack type bridge forward_delay 0",
		"ip -n " + n.ns + " link set rack up",
		"ip -n " + n.ns + " link set tap0 master rack",
		"ip -n " + n.far + " link add leg type veth peer name rackleg netns " + n.ns,
		"ip -n " + n.ns + " link set rackleg master rack up",
		"ip -n " + n.far + " addr add 10.50.0.1/24 dev leg",
		"ip -n " + n.far + " link set leg up",
		"ip netns exec " + n.far + " sysctl -qw net.ipv4.ip_forward=1",
		"ip -n " + n.ns + " route add 10.50.0.0/24 via " + dnsmasqIP,
	} {
		n.run(line)
	}
}
