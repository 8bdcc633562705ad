package ipmi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/driver/quirk"
)

// What this driver can do about a BMC that strays from the specification. None of it takes a packet whose
// authentication does not hold.
const (
	codePadding   quirk.Kind = "code padding"       // zeros after the codes of RAKP 2 and 4, up to so many
	packetPadding quirk.Kind = "packet padding"     // zeros after a session packet's code, up to so many
	tagZero       quirk.Kind = "tag zero"           // log-in messages are answered with message tag 0
	badChecksum   quirk.Kind = "bad checksum"       // the checksum of a message inside an authenticated packet is wrong
	suiteLies     quirk.Kind = "suite lies"         // a cipher suite that is offered cannot log in; the next one is tried
	uefiDisk      quirk.Kind = "UEFI disk selector" // the boot flags' number of the disk in a UEFI boot
	keepMask      quirk.Kind = "keep boot flags"    // the mask of what must not clear the boot flags (spec table 28-14, parameter 3)
	powerSettles  quirk.Kind = "power settles"      // a power state is believed after so many seconds without another
	powerWithin   quirk.Kind = "power within"       // a power change may take so many seconds
)

// quirks is what was seen of BMCs. The first rows are about the log-in, before a BMC has said who it is: they
// hold for all. Each has a profile of the same name in lab/bmc, and a line in docs/hardware-ipmi.md.
var quirks = quirk.Table{
	{Name: "code-padding", Does: codePadding, Value: 12,
		Why: "zeros follow the codes that prove the password in RAKP messages 2 and 4", Seen: "Supermicro H8QME (FreeIPMI's supermicro20)"},
	{Name: "packet-padding", Does: packetPadding, Value: 16,
		Why: "zeros follow the packets of a session", Seen: "shared network ports that fill packets up"},
	{Name: "tag-zero", Does: tagZero, Value: 1,
		Why: "log-in messages are answered with message tag 0 instead of ours", Seen: "OpenBMC: Lenovo XCC3, IBM AC922 (xCAT 7555)"},
	{Name: "bad-checksum", Does: badChecksum, Value: 1,
		Why:  "messages have a wrong checksum inside packets that are authenticated",
		Seen: "Supermicro X9SCM-iiF, X9DRi-F, X9DRFR (FreeIPMI's nochecksumcheck)"},
	{Name: "suite-17-broken", Does: suiteLies, Value: 1,
		Why: "cipher suite 17 is offered and never logs in", Seen: "firmware that added the suite to its list first"},

	{Name: "supermicro-uefi-disk", Who: quirk.Match{Manufacturers: []uint32{10876, 47488}}, Does: uefiDisk, Value: 9,
		Why:  "in UEFI mode the disk has the selector of the primary remote medium (24h in the boot flags)",
		Seen: "Supermicro (OpenStack story 2008241)"},
	{Name: "clears-boot-flags", Who: quirk.Match{Asked: true}, Does: keepMask, Value: 0x1F,
		Why:  "a power control or reset over the network counts as a button and clears the boot device",
		Seen: "BMCs that read parameter 3 literally"},
	{Name: "slow-power", Who: quirk.Match{Asked: true}, Does: powerSettles, Value: 10,
		Why: "power status goes back and forth for some seconds after a power command", Seen: "chassis controllers behind a slow bus"},
	{Name: "slow-power-on", Who: quirk.Match{Asked: true}, Does: powerWithin, Value: 300,
		Why: "power status follows a power command only after minutes", Seen: "machines that test their memory first"},
}

// quirksKey is the driver_info key by which a node names rows that its BMC does not match by itself.
const quirksKey = "ipmi_quirks"

// quirks reads the key: a list, or a text with commas.
func (r *reader) quirks(table quirk.Table) (names []string) {
	switch v := r.info[quirksKey].(type) {
	case nil:
		return nil
	case string:
		names = strings.FieldsFunc(v, func(c rune) bool { return c == ',' || c == ' ' })
	case []any:
		for _, e := range v {
			names = append(names, fmt.Sprint(e))
		}
	default:
		r.refuse(quirksKey, "must be a list of names, or a text with names and commas")
	}
	for _, name := range names {
		if !slices.Contains(table.Names(), name) {
			r.refuse(quirksKey, fmt.Sprintf("names %q; allowed: %s", name, strings.Join(table.Names(), ", ")))
		}
	}
	return names
}

// identify asks the BMC who it is, once in the life of this process (Get Device ID, spec table 20-2), and has the
// table's rows about it hold. A BMC that does not say is nobody.
func (s *session) identify(ctx context.Context) {
	if s.slot.identity == nil {
		s.slot.identity = &quirk.Identity{}
		d, err := s.ask(ctx, "tell who it is", netApp, getDeviceID, nil)
		if err == nil && len(d) >= 11 {
			s.slot.identity = &quirk.Identity{
				Manufacturer: uint32(d[6]) | uint32(d[7])<<8 | uint32(d[8]&0x0F)<<16,
				Product:      uint16(d[9]) | uint16(d[10])<<8,
				Firmware:     fmt.Sprintf("%d.%02x", d[2]&0x7F, d[3]),
			}
		}
	}
	s.quirks = s.options.Quirks.Of(*s.slot.identity, s.asked...)
}
