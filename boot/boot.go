// Package boot owns the one question boot services ask: what does this machine boot now, and
// until when? The answers are rows with an end; without a row a machine boots its own disk.
package boot

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/billet-metal/billet/node"
)

// Loader is a family of boot loaders.
type Loader string

// The loaders the boot interfaces ask for.
const (
	IPXE Loader = "ipxe" // iPXE, everything over HTTP
	PXE  Loader = "pxe"  // PXELINUX (BIOS) or GRUB (UEFI), everything over TFTP
	Shim Loader = "shim" // PXE for machines with Secure Boot: on UEFI shim and the GRUB that it accepts
)

// Record is what one node boots over the network now.
type Record struct {
	NodeUUID    string
	Loader      Loader
	Kernel      string // absolute path of a file, or http(s) URL; without a ramdisk it is a medium, see Medium
	Ramdisk     string // absolute path of a file, or http(s) URL; "": Kernel is a medium
	CommandLine string // kernel parameters; the boot services add initrd= and BOOTIF=
	Image       string // absolute path of the image file this node may read, or ""
	Secret      string // 32 hex digits; every URL of this boot's files carries it
	Key         string // 32 hex digits; the URL that its ramdisk calls carries it. "" in records from before there were keys
	Hidden      string // 32 hex digits that are in no script and in no URL: see DeployToken
	AskedBy     string // which address asked first for this boot's script: see Keeper
	Until       time.Time
	CreatedAt   time.Time
}

// Machine is the answer to the one question.
type Machine struct {
	NodeUUID string  // "": no port has this MAC
	Record   *Record // nil: boots its own disk
}

// Known reports whether the MAC belongs to a node.
func (m Machine) Known() bool { return m.NodeUUID != "" }

// Boots returns the record the machine boots over the network now; nil: its own disk. A record
// without a kernel only serves an image.
func (m Machine) Boots() *Record {
	if m.Record == nil || m.Record.Kernel == "" {
		return nil
	}
	return m.Record
}

// Medium reports that the record is of a medium, such as an ISO image, that the machine boots as if it were a disc
// in its drive. Only iPXE can; the medium is where the kernel would be.
func (r *Record) Medium() bool { return r.Kernel != "" && r.Ramdisk == "" }

// Lookup answers the one question. Records past their end are not returned.
type Lookup interface {
	// Machine asks by MAC, lower case with colons.
	Machine(ctx context.Context, mac string) (Machine, error)
	// RecordBySecret asks by the secret of a URL; nil when there is none or it has ended.
	RecordBySecret(ctx context.Context, secret string) (*Record, error)
}

// Records is what boot interfaces write. Putting a record replaces the node's earlier one.
type Records interface {
	PutRecord(ctx context.Context, r Record) error
	// DropRecord removes the record of the node. Removing it twice is no error.
	DropRecord(ctx context.Context, nodeUUID string) error
	// RecordOf returns the node's record; nil when there is none or it has ended.
	RecordOf(ctx context.Context, nodeUUID string) (*Record, error)
}

// Images lets a node read one image file from the boot service.
type Images interface {
	// ServeImage puts path (absolute, on this machine) into the node's record, or into a fresh
	// record without a kernel when it has none. It returns the URL's path on the boot service,
	// "/boot/<secret>/image", which is a secret: not for logs. The same call again returns
	// the same path. Dropping the record ends it.
	ServeImage(ctx context.Context, nodeUUID, path string) (urlPath string, err error)
}

// Trace records what a boot service saw of a machine. It never blocks on a database.
type Trace interface {
	Saw(e node.BootEvent)
}

// AddressLease is an IPv4 address lent to a MAC.
type AddressLease struct {
	MAC   string
	IP    string // dotted quad
	Until time.Time
}

// AddressRange is the addresses of one IPv4 network that are lent.
type AddressRange struct {
	Network     netip.Prefix
	First, Last netip.Addr   // both lent
	Never       []netip.Addr // but not these, of servers and routers
}

// Holds reports whether the address may be lent to somebody.
func (r AddressRange) Holds(ip netip.Addr) bool {
	return ip.Is4() && !ip.Less(r.First) && !r.Last.Less(ip) && !slices.Contains(r.Never, ip)
}

// AddressLeases decides who has which address, for all processes that answer DHCP. A MAC has at most one address in a
// network, an address at most one MAC, whichever processes ask at the same moment.
type AddressLeases interface {
	// OfferAddress holds an address for the MAC: the one it has or had, the one it wishes, one never lent, or the one
	// that has been free for the longest time. The zero Addr: none is left.
	OfferAddress(ctx context.Context, r AddressRange, mac string, wish netip.Addr, hold time.Duration) (netip.Addr, error)
	// LendAddress lends the address; false when it is not the MAC's to have. What is kept is half a life longer than
	// the client is told, so that the rounds of one network boot write once; it returns until when that is.
	LendAddress(ctx context.Context, r AddressRange, mac string, ip netip.Addr, life time.Duration) (until time.Time, ok bool, err error)
	// ReleaseAddress ends a lease; the MAC gets the same address again while nobody else needs it.
	ReleaseAddress(ctx context.Context, mac string, ip netip.Addr) error
	// DeclineAddress takes the MAC's address out of use for a while: it found another machine there.
	DeclineAddress(ctx context.Context, mac string, ip netip.Addr, hold time.Duration) error

	// AnswersDHCP lets the other processes know that this one answers as ip.
	AnswersDHCP(ctx context.Context, ip netip.Addr) error
	// IsOurs reports whether a DHCP server with this address is one of these processes.
	IsOurs(ctx context.Context, ip netip.Addr) (bool, error)
}
