package bmc

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// Quirks are ways in which BMCs of one maker stray from the specification, and mean no harm.
type Quirks struct {
	Manufacturer uint32 // of Get Device ID
	Product      uint16

	CodePadding    int   // zeros after the codes of RAKP 2 and 4
	PacketPadding  int   // zeros after each packet of a session
	TagZero        bool  // log-in messages are answered with message tag 0
	BadChecksum    bool  // messages inside sessions have a wrong second checksum
	OpenRole       bool  // codes are made with the Open Session request's privilege level instead of RAKP 1's
	OddPadding     bool  // encrypted payloads end in a whole block of padding more, of zeros
	Suite17Broken  bool  // cipher suite 17 is offered and its codes are wrong
	ListsSuites    []int // what Get Channel Cipher Suites says instead of the truth
	RepeatsSuites  bool  // the first piece of that list is the answer to every index, filled up to 16 bytes
	UEFIDisk       byte  // boot flags' selector of the disk in a UEFI boot; the usual one is taken and means nothing
	StuckSetting   bool  // boot options are refused (81h) until somebody says that setting is complete
	LosesSessions  bool  // a chassis control ends every session
	ClearsBootKeys bool  // a chassis control clears the boot device, unless parameter 3 says that nothing may

	ForgetsBoot Forgets       // loses a boot device that it said yes to
	SlowPower   time.Duration // a power command acts so much later; its end is shown at once, and then the old state again
	DelaysPower time.Duration // a power command shows, and acts, so much later
}

// Forgets says when a BMC loses the boot device.
type Forgets string

// When it is lost.
const (
	ForgetsAtOnce  Forgets = "at once"  // it never has one
	ForgetsWhenOff Forgets = "when off" // with the power
	ForgetsAtStart Forgets = "at start" // it shows it to everybody but the firmware
)

// Profiles are BMCs to try a client on. The names of those that a client must know of are the same as in its own table.
var Profiles = map[string]Faults{
	"code-padding":         {Quirks: Quirks{CodePadding: 12}},
	"packet-padding":       {Quirks: Quirks{PacketPadding: 4}},
	"tag-zero":             {Quirks: Quirks{TagZero: true, OddPadding: true}},
	"bad-checksum":         {Quirks: Quirks{BadChecksum: true}},
	"suite-17-broken":      {Quirks: Quirks{Suite17Broken: true}},
	"supermicro-uefi-disk": {Quirks: Quirks{Manufacturer: 10876, Product: 0x0888, UEFIDisk: 9}},
	"clears-boot-flags":    {Quirks: Quirks{ClearsBootKeys: true}},
	"slow-power":           {Quirks: Quirks{SlowPower: 4 * time.Second}},
	"slow-power-on":        {Quirks: Quirks{DelaysPower: 90 * time.Second}},

	"open-role":            {Quirks: Quirks{OpenRole: true}},
	"odd-padding":          {Quirks: Quirks{OddPadding: true}},
	"wrong-suites":         {Quirks: Quirks{ListsSuites: []int{1, 8}}},
	"repeats-suites":       {Quirks: Quirks{ListsSuites: []int{1, 8}, RepeatsSuites: true}},
	"stuck-setting":        {Quirks: Quirks{StuckSetting: true}},
	"loses-sessions":       {Quirks: Quirks{LosesSessions: true}},
	"forgets-boot":         {Quirks: Quirks{ForgetsBoot: ForgetsAtOnce}},
	"forgets-boot-off":     {Quirks: Quirks{ForgetsBoot: ForgetsWhenOff}},
	"forgets-boot-started": {Quirks: Quirks{ForgetsBoot: ForgetsAtStart}},
}

// ProfileNames lists the profiles.
func ProfileNames() []string { return slices.Sorted(maps.Keys(Profiles)) }

// deviceID is spec table 20-2: IPMI 2.0; chassis, FRU, SEL, SDR.
func deviceID(l *loop, _ *call) (byte, []byte) {
	d := []byte{0x20, 0x01, 0x01, 0x00, 0x02, 0x8E}
	d = append(d, binary.LittleEndian.AppendUint32(nil, l.faults.Manufacturer)[:3]...)
	d = binary.LittleEndian.AppendUint16(d, l.faults.Product)
	return codeOK, append(d, 0, 0, 0, 0)
}

// code is what goes behind a RAKP message of the session.
func (l *loop) code(s *session, mac []byte) []byte {
	mac = slices.Clone(mac)
	if l.faults.Suite17Broken && s.suite.id == 17 {
		mac[0] ^= 0xFF
	}
	return append(mac, make([]byte, l.faults.CodePadding)...)
}

// seal wraps a payload for the session's client.
func (l *loop) seal(s *session, kind byte, payload []byte) []byte {
	more := 0
	if l.faults.OddPadding {
		more = 1
	}
	if l.faults.BadChecksum && kind == payloadIPMI {
		payload = slices.Clone(payload)
		payload[len(payload)-1] ^= 0x55
	}
	return append(s.seal(kind, payload, more), make([]byte, l.faults.PacketPadding)...)
}

// tagged sets the message tag of an answer to a log-in message.
func (l *loop) tagged(answer []byte) []byte {
	if l.faults.TagZero && len(answer) > 0 {
		answer = slices.Clone(answer)
		answer[0] = 0
	}
	return answer
}

// listed are the cipher suites that the BMC says it has.
func (l *loop) listed() (list []suite) {
	if l.faults.ListsSuites == nil {
		return l.srv.offered()
	}
	for _, id := range l.faults.ListsSuites {
		list = append(list, suite{id: id, auth: 1})
	}
	return list
}

// starts reports whether an action makes a machine start.
func starts(a Action, on bool) bool { return a == Cycle || a == Reset || a == On && !on }

// controlled does to the boot device what this BMC does at a chassis control.
func (l *loop) controlled(a Action, on bool) {
	q := l.faults.Quirks
	lost := q.ForgetsBoot == ForgetsWhenOff && (a == Off || a == Cycle) || q.ForgetsBoot == ForgetsAtStart && starts(a, on)
	const nothing = 0x1F
	if lost || q.ClearsBootKeys && l.boot.clearing&nothing != nothing && starts(a, on) {
		_ = l.srv.Machine.SetBootDevice(BootDevice{}) // no error: nobody waits for the answer
	}
	l.promises(a)
}

// promises has the status show what an action will lead to, for a third of the time that it takes.
func (l *loop) promises(a Action) {
	if slow := l.faults.SlowPower; slow > 0 {
		l.promise, l.until = a != Off && a != Soft, time.Now().Add(patience+slow/3)
	}
}

// shownPower is the power state as Get Chassis Status has it.
func (l *loop) shownPower() bool {
	if time.Now().Before(l.until) {
		return l.promise
	}
	return l.srv.Machine.PoweredOn()
}
