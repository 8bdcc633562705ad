package pxe

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// Which loader another DHCP server is to name follows from what the node asks for and from its boot interface.
func TestOptionsFollowTheNode(t *testing.T) {
	const mac = "52:54:00:00:00:01"
	for _, tt := range []struct {
		name     string
		loader   boot.Loader
		firmware Firmware
		change   func(*driver.Task)
		want     string // name=value; "" : no option at all
	}{
		{"nothing is known", boot.IPXE, "", func(*driver.Task) {}, "tag:!ipxe,67=snponly.efi"},
		{"the script is of this MAC", boot.IPXE, "", func(*driver.Task) {}, "tag:ipxe,67=http://10.99.0.1:6385/boot/ipxe?mac=" + mac},
		{"BIOS by capability", boot.IPXE, "", func(t *driver.Task) {
			t.Node.Properties = node.Document{"capabilities": "boot_mode:bios"}
		}, "tag:!ipxe,67=undionly.kpxe"},
		{"BIOS as the machine said", boot.IPXE, "", func(t *driver.Task) { t.Node.BootMode = "bios" }, "tag:!ipxe,67=undionly.kpxe"},
		{"pxe, which may have Secure Boot", boot.PXE, "", func(*driver.Task) {}, "67=shimx64.efi.signed"},
		{"pxe, which has none", boot.PXE, "", func(t *driver.Task) { t.Node.SecureBoot = new(bool) }, "67=grubnetx64.efi"},
		{"pxe, Secure Boot of the instance alone", boot.PXE, "", func(t *driver.Task) {
			t.Node.InstanceInfo["capabilities"] = "secure_boot:true"
		}, "67=shimx64.efi.signed"},
		{"HTTP boot", boot.IPXE, UEFIHTTP, func(t *driver.Task) { t.Node.BootMode = "bios" },
			"tag:!ipxe,67=http://10.99.0.1:6385/boot/loader/snponly.efi"},
		{"a port that may not boot over the network", boot.IPXE, "", func(t *driver.Task) { t.Ports[0].PXEEnabled = false }, ""},
		{"no boot services here", boot.IPXE, "", func(t *driver.Task) { t.Hardware.Boot.(*Boot).Server = netip.Addr{} }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, _, task, dir := secureWorld(t, tt.loader)
			if err := os.WriteFile(filepath.Join(dir, "undionly.kpxe"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			b.Server, b.Firmware = netip.MustParseAddr("10.99.0.1"), tt.firmware
			tt.change(task)
			var got []string
			for _, o := range b.DHCPOptions(task, mac) {
				got = append(got, o.Name+"="+o.Value)
			}
			all := strings.Join(got, " ")
			if tt.want == "" && all != "" || !strings.Contains(" "+all+" ", " "+tt.want+" ") && tt.want != "" {
				t.Errorf("options %s, want %q among them", all, tt.want)
			}
		})
	}
}
