// Package bmc is a virtual baseboard management controller: it speaks IPMI 2.0 (RMCP+, cipher
// suites 3 and 17) over UDP for a Machine that somebody else runs, and misbehaves on request the
// way real ones do. It owns sessions, the command table and serial over LAN. It refuses IPMI 1.5
// sessions, unauthenticated or unencrypted RMCP+ sessions, and to know what a machine is.
//
// "Spec" in comments is the IPMI v2.0 specification, document revision 1.1.
package bmc

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Action is what chassis control asks of a machine.
type Action int

// The actions a BMC can ask for (spec table 28-4).
const (
	Off   Action = iota // hard, at once
	On                  // does nothing to a machine that is on
	Cycle               // off, a pause, on
	Reset               // like the reset button
	Soft                // ACPI shutdown: the operating system decides
	NMI                 // diagnostic interrupt; the power stays as it is
)

func (a Action) String() string {
	names := [...]string{"off", "on", "cycle", "reset", "soft", "nmi"}
	if a < 0 || int(a) >= len(names) {
		return fmt.Sprintf("action %d", int(a))
	}
	return names[a]
}

// BootDevice is a boot device override (spec table 28-14, parameter 5).
type BootDevice struct {
	Device     string // "" no override, "pxe", "disk", "cdrom", "bios" (set-up), "safe"
	Persistent bool   // for every boot; otherwise the machine clears it at the next start
	UEFI       bool   // ask for an EFI boot; otherwise legacy
}

// Machine is what a BMC manages. Methods are called from several goroutines, but SetPower only
// from one at a time. PoweredOn, BootDevice and SetBootDevice must not block: the BMC answers
// nothing meanwhile.
type Machine interface {
	PoweredOn() bool
	// SetPower may take as long as it needs; the BMC answers its client after a moment anyway.
	SetPower(ctx context.Context, a Action) error
	// BootDevice returns the override in force; a machine clears one that is not persistent
	// when it starts.
	BootDevice() BootDevice
	SetBootDevice(d BootDevice) error
	// Console connects to the serial port. Closing it must end a Read under way.
	Console(ctx context.Context) (io.ReadWriteCloser, error)
}

// Faults are ways to misbehave. The zero value is a healthy BMC.
type Faults struct {
	Dead           bool          // answers nothing
	Delay          time.Duration // every answer leaves this late
	DropEvery      int           // loses every Nth packet, in each direction; 0: none
	DropPercent    int           // loses this share of packets at random (from a fixed seed), in each direction
	RefuseLogin    bool          // every password is wrong
	NoSlots        bool          // no room for another session
	LiesAboutPower bool          // says yes to chassis control and does nothing
	LiesAboutBoot  bool          // says yes to set boot options and forgets them
	BusyCommands   int           // the next N commands in a session get completion code C0h, node busy
	BrokenPower    bool          // chassis status gets completion code FFh, unspecified error
	Garbage        bool          // every answer's last byte is flipped
	StrictSequence bool          // ignores a session sequence number seen before (spec 6.12.13), as some firmware does
	Quirks                       // what single kinds of BMC do
}

// Server is one BMC. Set the fields, then call Serve once.
type Server struct {
	Conn     net.PacketConn // closed by Serve
	User     string         // at most 16 bytes
	Password string         // at most 20 bytes
	Machine  Machine
	Log      *slog.Logger // nil: none
	GUID     [16]byte     // the system's GUID, in the order it goes over the wire

	KG             []byte        // BMC key, at most 20 bytes; nil: one-key logins
	CipherSuites   []int         // offered, of 3 and 17; nil: both
	Privilege      Privilege     // the user's limit; 0: administrator
	MaxSessions    int           // 0: 8
	SessionTimeout time.Duration // an idle session ends after this; 0: 60 s (spec 6.12.15)

	mu     sync.Mutex
	faults Faults
	stats  Stats
	live   *loop // while Serve runs
}

// Privilege is a privilege level (spec 6.8: callback 1, user 2, operator 3, administrator 4).
type Privilege uint8

// Privilege levels.
const (
	Callback      Privilege = 1
	User          Privilege = 2
	Operator      Privilege = 3
	Administrator Privilege = 4
)

// Stats counts what a BMC did, for tests.
type Stats struct {
	Sessions     int // open now
	Opened       int // sessions ever activated
	MaxSessions  int // most sessions open at the same time
	Packets      int // received, lost ones included
	PowerActions int // chassis controls carried out
}

// SetFaults changes how the BMC misbehaves from the next packet on.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}
