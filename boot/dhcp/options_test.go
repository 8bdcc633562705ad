package dhcp

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// pick is what dnsmasq gives of a port's options to a client, by number: a tagged one where its tag is the client's.
func pick(opts []node.DHCPOption, ipxe bool) map[string]string {
	given := map[string]string{}
	for _, o := range opts {
		tag, number, tagged := strings.Cut(o.Name, ",")
		switch {
		case !tagged:
			given[o.Name] = o.Value
		case tag == "tag:ipxe" && ipxe, tag == "tag:!ipxe" && !ipxe:
			given[number] = o.Value
		}
	}
	return given
}

// signedProgram is the header of a program for UEFI that says it is signed, as shim's GRUB must be.
func signedProgram() []byte {
	b := make([]byte, 512)
	copy(b, "MZ")
	binary.LittleEndian.PutUint32(b[0x3c:], 64)
	copy(b[64:], "PE\x00\x00\x64\x86")
	binary.LittleEndian.PutUint16(b[84:], 240)
	binary.LittleEndian.PutUint16(b[88:], 0x20b)
	binary.LittleEndian.PutUint32(b[88+108:], 16)
	binary.LittleEndian.PutUint32(b[88+112+4*8+4:], 1500)
	return b
}

// A machine hears from another DHCP server what it would hear from Billet's own, whatever boots it.
func TestOptionsForAnotherServer(t *testing.T) {
	s, _, _ := newServer(t, Full)
	for _, name := range []string{"shimx64.efi.signed", "grubx64.efi", "snponly-arm64.efi", "grubnetaa64.efi"} {
		if err := os.WriteFile(filepath.Join(s.Config.Loaders.Dirs[0], name), signedProgram(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	macs := map[boot.Loader]string{boot.IPXE: ipxeMAC, boot.PXE: pxeMAC, boot.Shim: shimMAC}
	for _, tt := range []struct {
		name   string
		arch   boot.Arch
		client []dhcpv4.Modifier
		ipxe   bool
		want   map[boot.Loader]string // the boot file
	}{
		{"BIOS", boot.BIOS, biosPXE, false,
			map[boot.Loader]string{boot.IPXE: "undionly.kpxe", boot.PXE: "pxelinux.0", boot.Shim: "pxelinux.0"}},
		{"BIOS with iPXE", boot.BIOS, biosIPXE, true,
			map[boot.Loader]string{boot.IPXE: "http://10.99.0.1:8080/boot/ipxe?mac=" + ipxeMAC, boot.PXE: "pxelinux.0", boot.Shim: "pxelinux.0"}},
		{"UEFI", boot.UEFI, uefiPXE, false,
			map[boot.Loader]string{boot.IPXE: "snponly.efi", boot.PXE: "grubnetx64.efi", boot.Shim: "shimx64.efi.signed"}},
		{"UEFI on arm64", boot.UEFIArm64, armUEFI, false,
			map[boot.Loader]string{boot.IPXE: "snponly-arm64.efi", boot.PXE: "grubnetaa64.efi"}},
		{"UEFI HTTP", boot.UEFIHTTP, uefiHTTP, false,
			map[boot.Loader]string{boot.IPXE: "http://10.99.0.1:8080/boot/loader/snponly.efi"}},
	} {
		for loader, want := range tt.want {
			t.Run(tt.name+" "+string(loader), func(t *testing.T) {
				mac := macs[loader]
				answer, _ := ask(t, s, from(t, mac, dhcpv4.MessageTypeDiscover, tt.client...))
				got := pick(s.files().Options(s.Config.ServerIP, boot.Client{MAC: mac, Arch: tt.arch, Loader: loader}), tt.ipxe)
				if got["67"] != want || answer.BootFileNameOption() != want {
					t.Errorf("told to start %q by options and %q by Billet's DHCP, want %q", got["67"], answer.BootFileNameOption(), want)
				}
				if got["server-ip-address"] != answer.ServerIPAddr.String() {
					t.Errorf("next server %q by options and %s by Billet's DHCP", got["server-ip-address"], answer.ServerIPAddr)
				}
				if byTFTP := answer.TFTPServerName(); byTFTP != "" && got["66"] != byTFTP {
					t.Errorf("TFTP server %q by options and %q by Billet's DHCP", got["66"], byTFTP)
				}
				if got["60"] != answer.ClassIdentifier() {
					t.Errorf("class %q by options and %q by Billet's DHCP", got["60"], answer.ClassIdentifier())
				}
				if (got["175"] == "b0:01:01") != slices.Equal(answer.Options.Get(dhcpv4.OptionEtherboot), boot.NoProxyDHCP) {
					t.Errorf("option 175 is %q by options and %x by Billet's DHCP", got["175"], answer.Options.Get(dhcpv4.OptionEtherboot))
				}
			})
		}
	}
}
