package bmc

import (
	"context"
	"time"
)

// Boot option parameters (spec table 28-14).
const (
	bootInProgress = 0
	bootClearing   = 3
	bootAck        = 4
	bootFlags      = 5

	bootFlagsValid      = 0x80
	bootFlagsPersistent = 0x40
	bootFlagsEFI        = 0x20
	bootKeepPastTimeout = 0x08 // parameter 3: the flags outlive 60 s without a chassis control
	bootFlagTimeout     = 60 * time.Second
)

// bootDevices maps the device selector of the boot flags to our names.
var bootDevices = map[byte]string{0: "", 1: "pxe", 2: "disk", 3: "safe", 5: "cdrom", 6: "bios"}

// patience is how long chassis control waits for the machine before it says yes: a real BMC
// answers before the power supply has done anything.
const patience = 400 * time.Millisecond

func chassisCapabilities(*loop, *call) (byte, []byte) {
	return codeOK, []byte{0, 0x20, 0x20, 0x20, 0x20}
}

func chassisStatus(l *loop, _ *call) (byte, []byte) {
	if l.faults.BrokenPower {
		return codeUnspecified, nil
	}
	state := byte(0x60) // power restore policy unknown
	if l.shownPower() {
		state |= 1
	}
	return codeOK, []byte{state, 0, 0}
}

type powerJob struct {
	action Action
	done   chan byte // completion code
}

// chassisControl is spec table 28-4. Cycle, reset and soft-off of a machine that is off are D5h.
func chassisControl(l *loop, c *call) (byte, []byte) {
	actions := map[byte]Action{0: Off, 1: On, 2: Cycle, 3: Reset, 4: NMI, 5: Soft}
	action, ok := actions[c.data[0]&0x0F]
	on := l.srv.Machine.PoweredOn()
	switch {
	case !ok:
		return codeBadField, nil
	case action != On && action != Off && !on:
		return codeNotNow, nil
	case l.faults.LiesAboutPower:
		return codeOK, nil
	}
	l.boot.expire(l.srv.Machine, time.Now())
	l.boot.setAt = time.Time{}
	if l.faults.LosesSessions && c.session != nil {
		c.session.closing = true
	}
	if action == On && on || action == Off && !on {
		return codeOK, nil
	}
	l.controlled(action, on)
	job := powerJob{action: action, done: make(chan byte, 1)}
	select {
	case l.power <- job:
	default:
		return codeBusy, nil
	}
	c.later = func(ctx context.Context) byte {
		select {
		case code := <-job.done:
			return code
		case <-time.After(patience):
		case <-ctx.Done():
		}
		return codeOK
	}
	return codeOK, nil
}

// switchPower carries out power jobs one after another.
func (l *loop) switchPower(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-l.power:
			select {
			case <-time.After(max(l.srv.currentFaults().DelaysPower, l.srv.currentFaults().SlowPower)):
			case <-ctx.Done():
				return
			}
			code := byte(codeOK)
			if err := l.srv.Machine.SetPower(ctx, job.action); err != nil {
				l.srv.Log.Error("the machine did not switch", "action", job.action.String(), "error", err)
				code = codeUnspecified
			}
			l.srv.count(func(st *Stats) { st.PowerActions++ })
			job.done <- code
		}
	}
}

// bootOptions is what the BMC itself keeps of the boot options; the override is the machine's.
type bootOptions struct {
	inProgress byte
	clearing   byte
	ack        [2]byte
	unstuck    bool      // somebody said that setting is complete, for Quirks.StuckSetting
	setAt      time.Time // when the flags were set, while the 60 s run
}

// expire forgets a once-only override that no chassis control followed within 60 s (spec table
// 28-14, parameter 3): the trap that makes slow set-ups boot from the wrong device.
func (o *bootOptions) expire(m Machine, now time.Time) {
	if o.setAt.IsZero() || o.clearing&bootKeepPastTimeout != 0 || now.Sub(o.setAt) < bootFlagTimeout {
		return
	}
	o.setAt = time.Time{}
	if d := m.BootDevice(); !d.Persistent {
		_ = m.SetBootDevice(BootDevice{}) // no error: nobody waits for the answer
	}
}

func setBootOption(l *loop, c *call) (byte, []byte) {
	param, data := c.data[0]&0x7F, c.data[1:]
	need := map[byte]int{bootInProgress: 1, bootClearing: 1, bootAck: 2, bootFlags: 5}
	n, ok := need[param]
	switch {
	case !ok:
		return codeNoParameter, nil
	case len(data) < n:
		return codeTooShort, nil
	case param == bootInProgress && data[0] == 1 && l.boot.inProgress == 1:
		return codeOverLimit, nil // 81h: somebody else is setting
	case param != bootInProgress && l.faults.StuckSetting && !l.boot.unstuck:
		return codeOverLimit, nil
	}
	l.boot.unstuck = l.boot.unstuck || param == bootInProgress && data[0] == 0
	switch param {
	case bootInProgress:
		l.boot.inProgress = data[0] & 3
	case bootClearing:
		l.boot.clearing = data[0]
	case bootAck:
		l.boot.ack = [2]byte(data)
	case bootFlags:
		return l.setBootFlags(data), nil
	}
	return codeOK, nil
}

func (l *loop) setBootFlags(data []byte) byte {
	device, ok := l.bootDevice(data[1]>>2&0x0F, data[0]&bootFlagsEFI != 0)
	if !ok {
		return codeBadField
	}
	d := BootDevice{Device: device, Persistent: data[0]&bootFlagsPersistent != 0, UEFI: data[0]&bootFlagsEFI != 0}
	if data[0]&bootFlagsValid == 0 || device == "" {
		d = BootDevice{}
	}
	if l.faults.LiesAboutBoot || l.faults.ForgetsBoot == ForgetsAtOnce {
		return codeOK
	}
	if err := l.srv.Machine.SetBootDevice(d); err != nil {
		l.srv.Log.Error("the machine did not take the boot device", "device", d.Device, "error", err)
		return codeUnspecified
	}
	l.boot.setAt = time.Now()
	return codeOK
}

func getBootOption(l *loop, c *call) (byte, []byte) {
	param := c.data[0] & 0x7F
	answer := []byte{0x01, param}
	switch param {
	case bootInProgress:
		return codeOK, append(answer, l.boot.inProgress)
	case bootClearing:
		return codeOK, append(answer, l.boot.clearing)
	case bootAck:
		return codeOK, append(answer, l.boot.ack[0], l.boot.ack[1])
	case bootFlags:
		l.boot.expire(l.srv.Machine, time.Now())
		return codeOK, append(answer, l.packBootFlags(l.srv.Machine.BootDevice())...)
	}
	return codeNoParameter, nil
}

// bootDevice is what a selector of the boot flags means to this BMC. Where the disk of a UEFI boot has a number of its
// own, the usual one is taken and starts nothing in particular.
func (l *loop) bootDevice(selector byte, efi bool) (device string, ok bool) {
	own := l.faults.UEFIDisk
	switch {
	case own != 0 && efi && selector == own:
		return "disk", true
	case own != 0 && efi && selector == 2:
		return "", true
	}
	device, ok = bootDevices[selector]
	return device, ok
}

func (l *loop) packBootFlags(d BootDevice) []byte {
	flags := make([]byte, 5)
	if d.Device == "" {
		return flags
	}
	flags[0] = bootFlagsValid
	if d.Persistent {
		flags[0] |= bootFlagsPersistent
	}
	if d.UEFI {
		flags[0] |= bootFlagsEFI
	}
	for selector, name := range bootDevices {
		if name == d.Device {
			flags[1] = selector << 2
		}
	}
	if own := l.faults.UEFIDisk; own != 0 && d.UEFI && d.Device == "disk" {
		flags[1] = own << 2
	}
	return flags
}
