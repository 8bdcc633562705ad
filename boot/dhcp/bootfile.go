package dhcp

import (
	"cmp"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

// bootFile is what a client is to start. Without a file it starts nothing; kind says why to the program, why to people.
type bootFile struct {
	file string
	kind node.BootKind
	why  string
}

// chooseFile decides what a client of the given machine starts. It depends on nothing
// but the record as it is now, so a machine that is done with its boot goes to its own disk.
func (s *Server) chooseFile(c client, m boot.Machine) bootFile {
	r := m.Boots()
	switch {
	case !c.pxe:
		return bootFile{why: "no boot file: not a boot client"} // which is all it wants
	case r == nil && c.ipxe && c.ipxeHTTP && m.Known():
		return bootFile{file: s.files().Script(c.mac), kind: node.OwnDisk} // answers "boot your disk"
	case r == nil:
		return bootFile{kind: node.OwnDisk, why: "no boot file: it boots its own disk"}
	case c.ipxe && r.Loader == boot.IPXE && (c.ipxeHTTP || s.loops.many(c.mac)):
		return bootFile{file: s.files().Script(c.mac)}
	}
	return s.firmwareFile(c, r.Loader)
}

func (s *Server) firmwareFile(c client, kind boot.Loader) bootFile {
	arch := c.arch
	if c.http && arch == boot.BIOS { // option 93 left out
		arch = boot.UEFIHTTP
	}
	file, missing := s.files().First(arch, kind, c.http)
	if missing != "" {
		return bootFile{kind: node.NoLoader, why: "no boot file: " + missing}
	}
	if c.ipxe && kind == boot.IPXE {
		s.loops.count(c.mac)
	}
	return bootFile{file: file}
}

func (s *Server) files() boot.Files {
	return boot.Files{BaseURL: s.Config.BaseURL, Loaders: s.Config.Loaders}
}

// or is what an answer with the given kind and this file has told the client.
func (b bootFile) or(kind node.BootKind) node.BootKind { return cmp.Or(b.kind, kind) }

// isURL reports whether the file is not for TFTP.
func (b bootFile) isURL() bool { return strings.Contains(b.file, "://") }

// String says what was given, for people.
func (b bootFile) String() string {
	if b.file == "" {
		return b.why
	}
	return "boot file " + b.file
}

// loopGuard stops iPXE from chain-loading iPXE in an endless loop: an iPXE without HTTP is given another
// iPXE, which says of itself the same, may lack HTTP just the same, and asks again.
type loopGuard struct {
	mu   sync.Mutex
	seen map[string]loopCount
}

type loopCount struct {
	since time.Time
	n     int
}

const (
	loopWindow = 3 * time.Minute
	loopLimit  = 6 // messages, two for each round
)

func (g *loopGuard) count(mac string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen == nil || len(g.seen) >= maxHeard { // a flood of made-up MACs
		g.seen = map[string]loopCount{}
	}
	l := g.seen[mac]
	if time.Since(l.since) > loopWindow {
		l = loopCount{since: time.Now()}
	}
	l.n++
	g.seen[mac] = l
}

func (g *loopGuard) many(mac string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	l, ok := g.seen[mac]
	if ok && time.Since(l.since) > loopWindow {
		delete(g.seen, mac)
		return false
	}
	return l.n >= loopLimit
}
