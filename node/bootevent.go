package node

import (
	"slices"
	"time"
)

// BootEvent is one thing a boot service saw of a machine: the evidence for `billet node why`. The program decides by
// Kind, File and Who; What is for people and is never parsed.
type BootEvent struct {
	MAC     string // lower case with colons; "" when only the address is known
	Service string // "dhcp", "tftp", "http"
	Kind    BootKind
	File    BootFile  // what was asked for; "" for DHCP
	Who     BootWho   // who asked; "" when the protocol does not tell
	Proof   BootProof // what binds it to the machine; "": anybody could have caused it
	What    string    // "DISCOVER from x86-64 UEFI, offered 10.99.0.20"
	At      time.Time
}

// BootKind is what happened.
type BootKind string

// What DHCP sees.
const (
	DHCPOffered   BootKind = "offered"          // an address was offered; firmware also got a boot file
	DHCPAcked     BootKind = "acked"            // an address was lent; firmware also got a boot file
	DHCPInformed  BootKind = "informed"         // the network was described to a machine that has an address
	OwnDisk       BootKind = "own disk"         // it must boot its own disk now, as DHCP, a script or a menu answered
	NoLoader      BootKind = "no loader"        // it is to boot over the network, and there is no boot loader for it here
	DHCPRefused   BootKind = "refused"          // the address it asked for is not its to use (DHCPNAK)
	OtherServer   BootKind = "other server"     // it took the offer of another DHCP server where Billet should be the only one
	PeerAnswers   BootKind = "left to peer"     // it took the offer of another process of this service
	OtherAnswers  BootKind = "left to other"    // the other DHCP server answers this one, as agreed (ProxyDHCP)
	NoAddress     BootKind = "no address"       // every address of the range is lent
	NoRange       BootKind = "no range"         // the network it asks from has no range of addresses
	UnknownMAC    BootKind = "unknown MAC"      // no node has a port with this address, and discovery is off
	DHCPPointless BootKind = "pointless"        // a message that asks a server for nothing
	DHCPReleased  BootKind = "released"         // it gave its address back
	DHCPDeclined  BootKind = "declined"         // it found another machine at the address
	NotEthernet   BootKind = "not ethernet"     // its hardware address is no Ethernet MAC
	Malformed     BootKind = "malformed"        // the message cannot be read
	Overloaded    BootKind = "too many at once" // dropped: others had to be answered first
	ServiceFault  BootKind = "service fault"    // Billet could not answer: its store was away, or the answer could not be made
)

// What happens to files, over TFTP and HTTP.
const (
	FileBegun   BootKind = "begun"
	FileSending BootKind = "sending" // a long transfer goes on
	FileSized   BootKind = "sized"   // only its size was asked for
	FileSent    BootKind = "sent"    // whole
	FileBroken  BootKind = "broken off"
	FileMissing BootKind = "missing"     // there is no such file
	FileRefused BootKind = "not served"  // it asked for what is not served in that way
	NotItsOwn   BootKind = "not its own" // somebody asked for the machine's script or menu who is not the machine
	FileFailed  BootKind = "unreadable"  // the file is there to be had, and could not be got: Billet's disk, or the server that has it
	BootEnded   BootKind = "boot ended"  // it asked for the files of a boot that has ended, or never was
)

// BootKinds are all kinds.
var BootKinds = []BootKind{
	DHCPOffered, DHCPAcked, DHCPInformed, OwnDisk, NoLoader, DHCPRefused, OtherServer,
	PeerAnswers, OtherAnswers, NoAddress, NoRange, UnknownMAC,
	DHCPPointless, DHCPReleased, DHCPDeclined, NotEthernet, Malformed, Overloaded, ServiceFault,
	FileBegun, FileSending, FileSized, FileSent, FileBroken, FileMissing, FileRefused, NotItsOwn, FileFailed, BootEnded,
}

// Known reports whether the kind is one of BootKinds. Events of before kinds were kept have none.
func (k BootKind) Known() bool { return slices.Contains(BootKinds, k) }

// BootFile is what a booting machine asks for.
type BootFile string

// The files of a boot, in their order.
const (
	LoaderFile  BootFile = "loader"
	GRUBFile    BootFile = "grub"   // a loader that goes on by asking for its menu
	ScriptFile  BootFile = "script" // iPXE's
	MenuFile    BootFile = "menu"   // PXELINUX's or GRUB's
	KernelFile  BootFile = "kernel"
	MediumFile  BootFile = "medium" // an image that is booted like a disc, in the kernel's place
	RamdiskFile BootFile = "ramdisk"
	ImageFile   BootFile = "image" // what the agent writes to the disk
	TokenFile   BootFile = "token" // of a ramdisk of the iSCSI family
	OtherFile   BootFile = "other" // whatever else loaders ask for, such as their modules
)

// BootProof is what binds an event to the machine whose MAC address it has. An event without proof explains what
// happened; it never decides that a machine is stuck or lives.
type BootProof string

// The proofs.
const (
	ProofSecret    BootProof = "secret"    // it knew the secret that is in the script of this boot alone
	ProofLease     BootProof = "lease"     // it came over a connection from the address that DHCP lent to this MAC
	ProofNeighbour BootProof = "neighbour" // the network itself says that the address of the connection is this MAC's
	ProofHandshake BootProof = "handshake" // it took the address that DHCP offered; whoever can send with its MAC address can
)

// Bound reports whether the event is the machine's own.
func (e BootEvent) Bound() bool { return e.Proof != "" }

// BootWho is the program that asks.
type BootWho string

// Who asks over DHCP.
const (
	AskedFirmware BootWho = "firmware"
	AskedIPXE     BootWho = "ipxe"
	AskedSystem   BootWho = "system" // no boot client: an operating system, the ramdisk's or an installed one
)
