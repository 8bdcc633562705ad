package diagnosis

import (
	"fmt"
	"regexp"

	"github.com/billet-metal/billet/node"
)

// ownSystem is what a machine shows that starts what is on its disk.
var ownSystem = regexp.MustCompile(`(?i)\blogin: *$|\bGNU GRUB +version|^Welcome to GRUB!|` +
	`Booting from Hard Disk|\bBoot[0-9A-F]{4} .*\bHD\(`)

// triedNetwork is what firmware shows of a boot over the network: iPXE, UEFI's PXE and HTTP boot, a BIOS's PXE.
var triedNetwork = regexp.MustCompile(`(?i)ipxe\.org/|^iPXE initialising|\bPXE-[EM][0-9A-F]{2}\b|>>\s*Start (?:PXE|HTTP Boot) over|` +
	`^Booting from ROM`)

// ownDisk says that the machine started its own disk, though it was to boot over the network: its firmware asked for nothing,
// and an operating system asked for an address, or shows itself on the console. "" while there is no sign of that.
func (e Evidence) ownDisk() string {
	if len(e.of("tftp", "http")) > 0 {
		return ""
	}
	var asked *node.BootEvent
	for i, ev := range e.of("dhcp") {
		if ev.Who != node.AskedSystem {
			return ""
		}
		asked = &e.of("dhcp")[i]
	}
	shown, tried := e.shownLast(ownSystem), e.shownLast(triedNetwork)
	switch {
	case asked == nil && (shown == "" || tried != ""): // firmware that got no answer goes on to the disk
		return ""
	case tried != "":
		return fmt.Sprintf("its firmware tried to boot over the network and no request of it was seen%s; then it started its own disk, "+
			"whose operating system asked over DHCP (last %s: %s). The switch may pass nothing in the first seconds of a link: "+
			"let the port forward at once (edge port, portfast); or the firmware tried another interface than the system.",
			tried, e.ago(asked.At), asked.What)
	}
	sign := "nothing asked over DHCP"
	if e.OtherDHCP != "" {
		sign = "it fetched nothing from here"
	}
	if asked != nil {
		sign = fmt.Sprintf("over DHCP only an operating system asked, and never its firmware; last %s: %s", e.ago(asked.At), asked.What)
	}
	return fmt.Sprintf("it started its own disk (%s%s): %s. Put network boot first in the firmware's boot order, "+
		"or mend what the BMC does with a boot device; `ipmitool chassis bootparam get 5` shows what it keeps.",
		sign, shown, e.overrideTold())
}

// overrideTold is what the BMC said of the boot device when it was asked for it before the start.
func (e Evidence) overrideTold() string {
	switch o := e.Override; o.Answer {
	case OverrideLost:
		return fmt.Sprintf("the BMC took the boot device %s and forgot it, also when it was told again", o.Device)
	case OverrideKept:
		return fmt.Sprintf("the BMC took the boot device %s and still named it right before the start, "+
			"so the firmware did not hear of it or went past it", o.Device)
	}
	return "the BMC accepted the network boot and did not do it, or the firmware went past it"
}

// shownLast is the last line of the console, of this wait, that looks so.
func (e Evidence) shownLast(look *regexp.Regexp) string {
	began := e.waitBegan()
	for i := len(e.Serial.Lines) - 1; i >= 0 && !e.Serial.Lines[i].At.Before(began); i-- {
		if l := e.Serial.Lines[i]; look.MatchString(l.Text) {
			return fmt.Sprintf("; its console showed %q %s", bare(l.Text), e.ago(l.At))
		}
	}
	return ""
}
