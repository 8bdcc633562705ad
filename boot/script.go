package boot

import (
	"net"
	"strings"
)

// RamdiskName is what the loaders call the ramdisk. The kernel's EFI stub finds it by this name.
const RamdiskName = "ramdisk"

// ScriptURL is where iPXE on the machine with this MAC (canonical) asks what to do.
func ScriptURL(base, mac string) string {
	return strings.TrimSuffix(base, "/") + ScriptPath + "?mac=" + mac
}

// CanonicalMAC turns any usual form of a MAC into lower case with colons; ok is false for what
// is not a 48-bit MAC.
func CanonicalMAC(s string) (mac string, ok bool) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return "", false
	}
	return hw.String(), true
}

// BootIf is the BOOTIF kernel parameter: the hardware type (1, Ethernet) and the MAC, as
// PXELINUX's IPAPPEND 2 writes it.
func BootIf(mac string) string { return "BOOTIF=01-" + strings.ReplaceAll(mac, ":", "-") }

const ipxeDeploy = `#!ipxe
echo Billet: node %[1]s loads its ramdisk from %[2]s
set tries:int32 0
:load
imgfree
kernel %[3]s initrd=%[5]s %[6]s || goto failed
initrd --name %[5]s %[4]s || goto failed
boot || goto failed
:failed
echo Billet: loading the kernel and the ramdisk from %[2]s failed
echo Billet: the reason is above, as a link to ipxe.org/err
inc tries
iseq ${tries} 5 && goto again ||
sleep 3
goto load
:again
echo Billet: asking the server again in 30 seconds what to boot
sleep 30
set tries 0
chain --replace %[7]s || goto again
`

// iPXE reads the medium piece by piece. A system whose kernel has started has no such drive any more.
const ipxeMedium = `#!ipxe
echo Billet: node %[1]s boots a medium from %[2]s
set tries:int32 0
:load
sanboot --no-describe %[3]s ||
echo Billet: booting the medium failed; the reason is above, as a link to ipxe.org/err
inc tries
iseq ${tries} 5 && goto again ||
sleep 3
goto load
:again
echo Billet: asking the server again in 30 seconds what to boot
sleep 30
set tries 0
chain --replace %[4]s || goto again
`

const ipxeLocal = `#!ipxe
echo Billet: nothing to boot over the network, starting the local disk
iseq ${platform} efi && exit ||
sanboot --no-describe --drive 0x80 || exit
`

// A record whose parameters a loader cannot be told is not booted by that loader. The boot interfaces refuse such
// parameters for the loader they ask for; here a machine may have come to another one.
const (
	ipxeUnsaid = `#!ipxe
echo Billet: node %[1]s has kernel parameters that cannot be written for iPXE
sleep 30
chain --replace %[2]s || exit
`
	pxelinuxUnsaid = `DEFAULT local
PROMPT 0
TIMEOUT 0
LABEL local
SAY Billet: node %s has kernel parameters that cannot be written for PXELINUX
LOCALBOOT 0
`
	grubUnsaid = `echo "Billet: node %s has kernel parameters that cannot be written for GRUB"
sleep 30
exit
`
)

// IPXEScript is iPXE's script for the machine; r nil starts the local disk. It tries again for as
// long as it fails, and asks anew what to boot now and then: an ended record then boots the disk.
func IPXEScript(base, mac string, r *Record) string {
	if r == nil {
		return ipxeLocal
	}
	base = strings.TrimSuffix(base, "/")
	owner, server, again := plain[ipxeText](r.NodeUUID), plain[ipxeText](base), plain[ipxeText](ScriptURL(base, mac))
	kernel, ramdisk := server+plain[ipxeText](KernelPath(r.Secret)), server+plain[ipxeText](RamdiskPath(r.Secret))
	if r.Medium() {
		return script(ipxeMedium, owner, server, kernel, again)
	}
	line, err := ipxeLine(strings.TrimSpace(BootIf(mac) + " " + r.CommandLine))
	if err != nil {
		return script(ipxeUnsaid, owner, again)
	}
	return script(ipxeDeploy, owner, server, kernel, ramdisk, RamdiskName, line, again)
}

const pxelinuxDeploy = `DEFAULT billet
PROMPT 0
TIMEOUT 0
LABEL billet
SAY Billet: node %s loads its ramdisk
LINUX %s
INITRD %s
APPEND %s
IPAPPEND 2
`

const pxelinuxLocal = `DEFAULT local
PROMPT 0
TIMEOUT 0
LABEL local
SAY Billet: nothing to boot over the network, starting the local disk
LOCALBOOT 0
`

// PXELinuxConfig is PXELINUX's configuration; r nil starts the local disk. IPAPPEND 2 adds BOOTIF.
func PXELinuxConfig(r *Record) string {
	if r == nil {
		return pxelinuxLocal
	}
	owner := plain[pxelinuxText](r.NodeUUID)
	line, err := pxelinuxLine(r.CommandLine)
	if err != nil {
		return script(pxelinuxUnsaid, owner)
	}
	return script(pxelinuxDeploy, owner, plain[pxelinuxText](KernelPath(r.Secret)[1:]), plain[pxelinuxText](RamdiskPath(r.Secret)[1:]), line)
}

// GRUBMachinePath is where GRUB fetches the configuration of one machine; its MAC follows.
const GRUBMachinePath = "grub/machine/"

// GRUBEntry is the grub.cfg every machine gets first: GRUB knows its MAC, the TFTP server only
// an address.
const GRUBEntry = `source ($root)/` + GRUBMachinePath + `$net_default_mac
`

const grubDeploy = `echo "Billet: node %[1]s loads its ramdisk"
for try in 1 2 3 4 5; do
  if linux ($root)%[2]s %[4]s; then
    if initrd ($root)%[3]s; then
      boot
    fi
  fi
  echo "Billet: loading the kernel and the ramdisk failed; the reason is above"
  sleep 3
done
echo "Billet: asking the server again in 30 seconds what to boot"
sleep 30
configfile ($root)/%[5]s
`

const grubLocal = `echo "Billet: nothing to boot over the network, going on to the next boot device"
exit
`

// GRUBConfig is GRUB's configuration for the machine; r nil goes on to the next boot device.
func GRUBConfig(mac string, r *Record) string {
	if r == nil {
		return grubLocal
	}
	owner := plain[grubText](r.NodeUUID)
	line, err := grubLine(strings.TrimSpace(BootIf(mac) + " " + r.CommandLine))
	if err != nil {
		return script(grubUnsaid, owner)
	}
	return script(grubDeploy, owner, plain[grubText](KernelPath(r.Secret)), plain[grubText](RamdiskPath(r.Secret)),
		line, plain[grubText](GRUBMachinePath+mac))
}
