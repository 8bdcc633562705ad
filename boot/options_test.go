package boot

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The options of a port, as Neutron is given them. What boot/dhcp would answer is compared there.
func TestOptionsAsNeutronNamesThem(t *testing.T) {
	const mac = "52:54:00:00:00:01"
	dir := t.TempDir()
	for _, name := range []string{"undionly.kpxe", "snponly.efi", "pxelinux.0"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files := Files{BaseURL: "http://10.99.0.1:6386/", Loaders: Loaders{Dirs: []string{dir}}}
	files6 := Files{BaseURL: "http://[2001:db8::1]:6386", Loaders: files.Loaders}
	four, six := netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("2001:db8::1")
	script, script6 := "http://10.99.0.1:6386/boot/ipxe?mac="+mac, "http://[2001:db8::1]:6386/boot/ipxe?mac="+mac
	for _, tt := range []struct {
		name   string
		files  Files
		server netip.Addr
		client Client
		want   []string
	}{
		{"iPXE on BIOS", files, four, Client{mac, BIOS, IPXE}, []string{
			"v4 tag:ipxe,67=" + script, "v4 tag:!ipxe,67=undionly.kpxe", "v4 66=10.99.0.1", "v4 150=10.99.0.1",
			"v4 server-ip-address=10.99.0.1", "v4 tag:ipxe,175=b0:01:01",
		}},
		{"PXELINUX", files, four, Client{mac, BIOS, PXE}, []string{
			"v4 67=pxelinux.0", "v4 66=10.99.0.1", "v4 150=10.99.0.1",
			"v4 server-ip-address=10.99.0.1", "v4 tag:ipxe,175=b0:01:01",
		}},
		{"a loader that is not installed", files, four, Client{mac, UEFI, PXE}, []string{
			"v4 66=10.99.0.1", "v4 150=10.99.0.1", "v4 server-ip-address=10.99.0.1", "v4 tag:ipxe,175=b0:01:01",
		}},
		{"UEFI HTTP", files, four, Client{mac, UEFIHTTP, IPXE}, []string{
			"v4 tag:ipxe,67=" + script, "v4 tag:!ipxe,67=http://10.99.0.1:6386/boot/loader/snponly.efi",
			"v4 tag:!ipxe,60=HTTPClient", "v4 server-ip-address=10.99.0.1", "v4 tag:ipxe,175=b0:01:01",
		}},
		{"IPv6", files6, six, Client{mac, UEFI, IPXE}, []string{
			"v6 tag:ipxe6,59=" + script6, "v6 tag:!ipxe6,59=tftp://[2001:db8::1]/snponly.efi",
		}},
		{"IPv6, UEFI HTTP", files6, six, Client{mac, UEFIHTTP, IPXE}, []string{
			"v6 tag:ipxe6,59=" + script6, "v6 tag:!ipxe6,59=http://[2001:db8::1]:6386/boot/loader/snponly.efi",
			"v6 tag:!ipxe6,16=00:00:01:57:00:0a:48:54:54:50:43:6c:69:65:6e:74",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, o := range tt.files.Options(tt.server, tt.client) {
				got = append(got, fmt.Sprintf("v%d %s=%s", o.IPVersion, o.Name, o.Value))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("options (-want +got):\n%s", d)
			}
		})
	}
}
