package boot

import (
	"bufio"
	"context"
	"net/netip"
	"strings"
	"testing"
)

var goldenRecord = Record{
	NodeUUID: "9d3c2f5e-6f0c-4c53-9d4f-0b1fd1a5c0de", Secret: "0123456789abcdef0123456789abcdef",
	Kernel: "/k", Ramdisk: "/r", CommandLine: "nofb vga=normal ipa-api-url=http://10.99.0.1:6385",
}

const goldenMAC = "52:54:00:00:00:01"

func TestScripts(t *testing.T) {
	odd := goldenRecord
	odd.CommandLine = `"a=b c" c=$d e;f plain=1,2 ; #g`
	setting, lines := goldenRecord, goldenRecord
	setting.CommandLine, lines.CommandLine = "a=${user-class}", "a\nkernel b"
	tests := []struct{ name, got, want string }{
		{"ipxe", IPXEScript("http://10.99.0.1:8080/", goldenMAC, &goldenRecord), `#!ipxe
echo Billet: node 9d3c2f5e-6f0c-4c53-9d4f-0b1fd1a5c0de loads its ramdisk from http://10.99.0.1:8080
set tries:int32 0
:load
imgfree
kernel http://10.99.0.1:8080/boot/0123456789abcdef0123456789abcdef/kernel initrd=ramdisk BOOTIF=01-52-54-00-00-00-01 nofb vga=normal ipa-api-url=http://10.99.0.1:6385 || goto failed
initrd --name ramdisk http://10.99.0.1:8080/boot/0123456789abcdef0123456789abcdef/ramdisk || goto failed
boot || goto failed
:failed
echo Billet: loading the kernel and the ramdisk from http://10.99.0.1:8080 failed
echo Billet: the reason is above, as a link to ipxe.org/err
inc tries
iseq ${tries} 5 && goto again ||
sleep 3
goto load
:again
echo Billet: asking the server again in 30 seconds what to boot
sleep 30
set tries 0
chain --replace http://10.99.0.1:8080/boot/ipxe?mac=52:54:00:00:00:01 || goto again
`},
		{"ipxe, local disk", IPXEScript("http://10.99.0.1:8080", goldenMAC, nil), `#!ipxe
echo Billet: nothing to boot over the network, starting the local disk
iseq ${platform} efi && exit ||
sanboot --no-describe --drive 0x80 || exit
`},
		{"pxelinux", PXELinuxConfig(&goldenRecord), `DEFAULT billet
PROMPT 0
TIMEOUT 0
LABEL billet
SAY Billet: node 9d3c2f5e-6f0c-4c53-9d4f-0b1fd1a5c0de loads its ramdisk
LINUX boot/0123456789abcdef0123456789abcdef/kernel
INITRD boot/0123456789abcdef0123456789abcdef/ramdisk
APPEND nofb vga=normal ipa-api-url=http://10.99.0.1:6385
IPAPPEND 2
`},
		{"pxelinux, local disk", PXELinuxConfig(nil), `DEFAULT local
PROMPT 0
TIMEOUT 0
LABEL local
SAY Billet: nothing to boot over the network, starting the local disk
LOCALBOOT 0
`},
		{"grub", GRUBConfig(goldenMAC, &goldenRecord), `echo "Billet: node 9d3c2f5e-6f0c-4c53-9d4f-0b1fd1a5c0de loads its ramdisk"
for try in 1 2 3 4 5; do
  if linux ($root)/boot/0123456789abcdef0123456789abcdef/kernel BOOTIF=01-52-54-00-00-00-01 nofb vga=normal ipa-api-url=http://10.99.0.1:6385; then
    if initrd ($root)/boot/0123456789abcdef0123456789abcdef/ramdisk; then
      boot
    fi
  fi
  echo "Billet: loading the kernel and the ramdisk failed; the reason is above"
  sleep 3
done
echo "Billet: asking the server again in 30 seconds what to boot"
sleep 30
configfile ($root)/grub/machine/52:54:00:00:00:01
`},
		{"grub, quoting", strings.Split(GRUBConfig(goldenMAC, &odd), "\n")[2],
			`  if linux ($root)/boot/0123456789abcdef0123456789abcdef/kernel BOOTIF=01-52-54-00-00-00-01 ` +
				`'a=b c' 'c=$d' 'e;f' plain=1,2 ';' '#g'; then`},
		{"ipxe, words", strings.Split(IPXEScript("http://b", goldenMAC, &odd), "\n")[5],
			`kernel http://b/boot/0123456789abcdef0123456789abcdef/kernel initrd=ramdisk BOOTIF=01-52-54-00-00-00-01 "a=b c" c=$d e;f plain=1,2 ` +
				`${billet-nothing}; ${billet-nothing}#g || goto failed`},
		{"ipxe, cannot", IPXEScript("http://b", goldenMAC, &setting), `#!ipxe
echo Billet: node 9d3c2f5e-6f0c-4c53-9d4f-0b1fd1a5c0de has kernel parameters that cannot be written for iPXE
sleep 30
chain --replace http://b/boot/ipxe?mac=52:54:00:00:00:01 || exit
`},
		{"pxelinux, cannot", PXELinuxConfig(&lines), `DEFAULT local
PROMPT 0
TIMEOUT 0
LABEL local
SAY Billet: node 9d3c2f5e-6f0c-4c53-9d4f-0b1fd1a5c0de has kernel parameters that cannot be written for PXELINUX
LOCALBOOT 0
`},
		{"grub, cannot", GRUBConfig(goldenMAC, &lines),
			`echo "Billet: node 9d3c2f5e-6f0c-4c53-9d4f-0b1fd1a5c0de has kernel parameters that cannot be written for GRUB"
sleep 30
exit
`},
		{"grub, local disk", GRUBConfig(goldenMAC, nil), `echo "Billet: nothing to boot over the network, going on to the next boot device"
exit
`},
		{"grub, first", GRUBEntry, "source ($root)/grub/machine/$net_default_mac\n"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, tt.got, tt.want)
		}
	}
}

func TestCanonicalMAC(t *testing.T) {
	for in, want := range map[string]string{
		"52:54:00:00:00:01": "52:54:00:00:00:01", "52-54-00-AB-CD-EF": "52:54:00:ab:cd:ef",
		"5254.0000.0001": "52:54:00:00:00:01",
		"":               "", "52:54:00:00:00": "", "52:54:00:00:00:01:02:03": "", "../../etc/passwd": "",
	} {
		if got, ok := CanonicalMAC(in); got != want || ok != (want != "") {
			t.Errorf("CanonicalMAC(%q) = %q, %v; want %q", in, got, ok, want)
		}
	}
}

func TestFilePaths(t *testing.T) {
	secret := goldenRecord.Secret
	tests := []struct {
		path, secret, file string
	}{
		{KernelPath(secret), secret, "kernel"},
		{RamdiskPath(secret)[1:], secret, "ramdisk"},
		{ImagePath(secret), secret, "image"},
		{"/boot/" + secret, "", ""},
		{"/boot/" + secret + "/", "", ""},
		{"/boot/" + secret + "/passwd", "", ""},
		{"/boot/" + secret + "/kernel/..", "", ""},
		{"/boot/" + secret[1:] + "/kernel", "", ""},
		{"/boot/zz23456789abcdef0123456789abcdef/kernel", "", ""},
		{"/boat/" + secret + "/kernel", "", ""},
		{"", "", ""},
	}
	for _, tt := range tests {
		s, f, ok := ParseFilePath(tt.path)
		if s != tt.secret || f != tt.file || ok != (tt.secret != "") {
			t.Errorf("ParseFilePath(%q) = %q, %q, %v; want %q, %q", tt.path, s, f, ok, tt.secret, tt.file)
		}
	}
}

func TestRedact(t *testing.T) {
	secret := goldenRecord.Secret
	for in, want := range map[string]string{
		"/boot/" + secret + "/kernel":            "/boot/…/kernel",
		"boot//" + strings.ToUpper(secret) + "/": "boot//…/",
		secret + secret:                          "…",
		"pxelinux.cfg/01-52-54-00-00-00-01":      "pxelinux.cfg/01-52-54-00-00-00-01",
		"a\x1b[2Jb":                              `"a\x1b[2Jb"`,
		strings.Repeat("x", 300):                 strings.Repeat("x", 200) + "…",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("/boot/", "/kernel")
	f.Add("\x00", "\xff")
	f.Fuzz(func(t *testing.T, before, after string) {
		if got := Redact(before + goldenRecord.Secret + after); strings.Contains(got, goldenRecord.Secret) {
			t.Errorf("Redact let the secret through: %q", got)
		}
	})
}

func FuzzParseFilePath(f *testing.F) {
	f.Add(KernelPath(goldenRecord.Secret))
	f.Add("boot/x/../image")
	f.Fuzz(func(t *testing.T, path string) {
		secret, file, ok := ParseFilePath(path)
		if ok && "/"+strings.TrimPrefix(path, "/") != FilePath(secret, file) {
			t.Errorf("ParseFilePath(%q) = %q, %q, which is another path", path, secret, file)
		}
	})
}

func TestNeighbour(t *testing.T) {
	const table = `IP address       HW type     Flags       HW address            Mask     Device
10.99.0.100      0x1         0x2         52:54:00:B1:11:E7     *        br0
10.99.0.101      0x1         0x0         00:00:00:00:00:00     *        br0
short
`
	for ip, want := range map[string]string{"10.99.0.100": "52:54:00:b1:11:e7", "10.99.0.101": "", "10.99.0.10": ""} {
		if got := neighbourIn(bufio.NewScanner(strings.NewReader(table)), ip); got != want {
			t.Errorf("neighbour %s: %q, want %q", ip, got, want)
		}
	}
	if got := Neighbour(netip.MustParseAddr("203.0.113.1")); got != "" {
		t.Errorf("a neighbour nobody has: %q", got)
	}
}

type oneMachine struct{ known bool }

func (o oneMachine) Machine(context.Context, string) (Machine, error) {
	if o.known {
		return Machine{NodeUUID: goldenRecord.NodeUUID}, nil
	}
	return Machine{}, nil
}

func (oneMachine) RecordBySecret(context.Context, string) (*Record, error) { return nil, nil }

func TestDiscovering(t *testing.T) {
	record := Record{Kernel: "/k", Ramdisk: "/r", Secret: NewSecret()}
	unknown, err := Discovering{oneMachine{}, record}.Machine(t.Context(), goldenMAC)
	if err != nil || unknown.Known() || unknown.Boots() == nil || unknown.Boots().Secret != record.Secret {
		t.Errorf("an unknown machine boots %+v, %v; want the discovery record", unknown, err)
	}
	known, err := Discovering{oneMachine{known: true}, record}.Machine(t.Context(), goldenMAC)
	if err != nil || known.Boots() != nil {
		t.Errorf("a known machine boots %+v, %v; want its disk", known, err)
	}
	r, err := Discovering{oneMachine{}, record}.RecordBySecret(t.Context(), record.Secret)
	if err != nil || r == nil || r.Kernel != "/k" {
		t.Errorf("the discovery record by its secret: %+v, %v", r, err)
	}
	if r, _ := (Discovering{oneMachine{}, Record{}}).RecordBySecret(t.Context(), ""); r != nil {
		t.Errorf("an empty secret opens %+v", r)
	}
}

// A record without a ramdisk is of a medium, which iPXE boots as a disc.
func TestIPXEBootsAMedium(t *testing.T) {
	r := &Record{NodeUUID: "n1", Loader: IPXE, Kernel: "/images/rescue.iso", Secret: strings.Repeat("ab", 16)}
	got := IPXEScript("http://10.0.0.1:8080/", "52:54:00:00:00:01", r)
	for _, want := range []string{
		"#!ipxe\n", "sanboot --no-describe http://10.0.0.1:8080/boot/" + r.Secret + "/kernel ||\n",
		"chain --replace http://10.0.0.1:8080/boot/ipxe?mac=52:54:00:00:00:01 || goto again\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for _, never := range []string{"initrd", "\nkernel ", "BOOTIF", "%!"} {
		if strings.Contains(got, never) {
			t.Errorf("%q in\n%s", never, got)
		}
	}
	if (&Record{}).Medium() || (&Record{Image: "/a"}).Medium() || (&Record{Kernel: "/k", Ramdisk: "/r"}).Medium() {
		t.Error("a record that only serves an image, or has a ramdisk, is no medium")
	}
}
