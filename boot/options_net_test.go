package boot_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/boot/dhcp"
)

// neutronDHCP starts dnsmasq as Neutron's DHCP agent does, with a hosts file and an options file as it writes them for one port
// (neutron/agent/linux/dhcp.py: _output_hosts_file, _format_option). Without the port it answers nobody.
func (n *network) neutronDHCP(files boot.Files, c boot.Client) *running {
	n.t.Helper()
	const port = "port-2c3a84ab-7c5a-4b32-9e36-4b0ec1f7a3c5"
	var opts strings.Builder
	for _, o := range files.Options(netip.MustParseAddr(serverIP), c) {
		tag, name, tagged := strings.Cut(o.Name, ",")
		if !tagged {
			tag, name = "", o.Name
		}
		if strings.ContainsAny(name, "abcdefghijklmnopqrstuvwxyz") {
			name = "option:" + name
		}
		if tagged {
			tag += ","
		}
		fmt.Fprintf(&opts, "tag:%s,%s%s,%s\n", port, tag, name, o.Value)
	}
	write(n.t, filepath.Join(n.dir, "opts"), []byte(opts.String()))
	write(n.t, filepath.Join(n.dir, "host"),
		[]byte(c.MAC+",host-10-99-0-50.openstacklocal,10.99.0.50,set:"+port+"\n"))
	r := n.start(n.far, nil, "dnsmasq", "--no-daemon", "--no-hosts", "--no-resolv", "--port=0", "--bind-dynamic", "--interface=eth0",
		"--dhcp-hostsfile="+n.dir+"/host", "--dhcp-optsfile="+n.dir+"/opts", "--dhcp-leasefile="+n.dir+"/leases",
		"--dhcp-match=set:ipxe,175", "--dhcp-userclass=set:ipxe6,iPXE", "--local-service",
		"--dhcp-range=set:subnet-1,10.99.0.0,static,255.255.255.0,86400s", "--dhcp-option-force=option:mtu,1500", "--dhcp-lease-max=256",
		"--conf-file=/dev/null", "--log-dhcp")
	if !r.until(func(s string) bool { return strings.Contains(s, "read "+n.dir+"/opts") }, 20*time.Second) {
		n.t.Fatalf("dnsmasq did not come up:\n%s", r.text())
	}
	return r
}

// Real firmware under Neutron's DHCP, with the options that Billet gives to its port, loads kernel and ramdisk from Billet; with
// nothing to boot it starts its own disk.
func TestFirmwareUnderNeutronsDHCP(t *testing.T) {
	loaded := []string{"http: kernel: complete", "http: ramdisk: complete, 70000 bytes"}
	for _, tt := range []struct {
		name    string
		fw      firmware
		arch    boot.Arch
		machine boot.Machine
		loader  boot.Loader
		trace   []string // in this order
		console []string // in this order
	}{
		{"bios-ipxe", biosROM, boot.BIOS, known(boot.IPXE), boot.IPXE, append([]string{"http: script: load kernel and ramdisk"}, loaded...), nil},
		{"bios-ipxe-own-disk", biosROM, boot.BIOS, boot.Machine{NodeUUID: machineUUID}, boot.IPXE,
			[]string{"http: script: boot its own disk"}, []string{"starting the local disk", "STARTED FROM THE DIS"}},
		{"bios-pxelinux", biosROM, boot.BIOS, known(boot.PXE), boot.PXE,
			[]string{"tftp: pxelinux.0: complete", "tftp: pxelinux.cfg/01-52-54-00-b1-11-e7: complete", "ramdisk: complete, 70000 bytes"}, nil},
		{"uefi-ipxe", uefiPXE, boot.UEFI, known(boot.IPXE), boot.IPXE,
			append([]string{"tftp: snponly.efi: complete", "http: script: load kernel and ramdisk"}, loaded...), nil},
		{"uefi-shim", uefiPXE, boot.UEFI, known(boot.Shim), boot.Shim, []string{"tftp: shimx64.efi.signed: complete",
			"tftp: grubx64.efi: complete", "tftp: /grub/machine/" + machineMAC + ": complete"}, nil},
		{"uefi-http", uefiHTTP, boot.UEFIHTTP, known(boot.IPXE), boot.IPXE,
			append([]string{"http: loader snponly.efi: complete", "http: script: load kernel and ramdisk"}, loaded...), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNetwork(t)
			s := services{Mode: dhcp.Off, Machines: map[string]boot.Machine{machineMAC: withFiles(t, tt.machine, n.dir, tt.fw)}}
			srv := n.serve(s)
			neutron := n.neutronDHCP(boot.Files{BaseURL: "http://" + serverIP + ":8080"},
				boot.Client{MAC: machineMAC, Arch: tt.arch, Loader: tt.loader})
			vm := n.boot(tt.fw)
			traced := srv.until(func(string) bool { return inOrder(srv.story(), tt.trace) }, 4*time.Minute)
			shown := vm.until(func(text string) bool { return inOrder(console(text), tt.console) }, time.Minute)
			vm.stop()
			if !traced || !shown || strings.Contains(srv.story(), " dhcp: ") {
				t.Errorf("want in the trace, in order:\n%s\nand on the console:\n%s\ngot the trace:\n%s\ndnsmasq:\n%s\nconsole:\n%s",
					strings.Join(tt.trace, "\n"), strings.Join(tt.console, "\n"), srv.story(), neutron.text(), console(vm.text()))
			}
		})
	}
}
