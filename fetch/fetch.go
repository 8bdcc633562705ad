// Package fetch owns reading files and URLs for somebody else: which files of this machine, which
// addresses, and what is sent along. Whoever reads what a user has named asks a Gate. It refuses this
// service's own secrets, everything that is no regular file, and the addresses of this machine.
package fetch

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
)

// Gate says what may be read for somebody else. The zero Gate, and a nil one, read no file at all and
// ask every address that is not near. It is safe for use from many goroutines; its fields must not
// change after the first use.
type Gate struct {
	Dirs    []string // directories below which files are read; "" and relative ones allow nothing
	Files   []string // single files that are read, such as the deploy ramdisk of the configuration
	Secrets []string // files and directories of the service; only a directory of Dirs inside one is read

	Near   []Place             // addresses that are asked although they are near, or this service's own
	Denied []netip.Prefix      // addresses that are never asked
	Ports  []uint16            // TCP ports of this service's listeners, on whatever address of this machine
	Closed map[string][]string // host:port of a URL → beginnings of paths that are not asked there
	Buffer int                 // bytes read from a connection at once; 0: net/http's own

	Proxy func(*http.Request) (*url.URL, error) // nil: http.ProxyFromEnvironment
	TLS   *tls.Config                           // nil: the system's authorities

	strange bool // the proxy is not the operator's
	once    sync.Once
	client  *http.Client
	proxies sync.Map // host:port of a proxy that was chosen → true
}

// With is a Gate for files that reads those below one more directory, too.
func (g *Gate) With(dir string) *Gate {
	if g == nil {
		return &Gate{Dirs: []string{dir}}
	}
	return &Gate{Dirs: append(slices.Clone(g.Dirs), dir), Files: g.Files, Secrets: g.Secrets}
}

// Also is a Gate that reads the files below one more directory, too, although it may be one of the service's own, and is the same
// otherwise.
func (g *Gate) Also(dir string) *Gate {
	if g == nil {
		return &Gate{Dirs: []string{dir}}
	}
	secrets := slices.DeleteFunc(slices.Clone(g.Secrets), func(secret string) bool { return secret == dir })
	return &Gate{Dirs: append(slices.Clone(g.Dirs), dir), Files: g.Files, Secrets: secrets, Near: g.Near, Denied: g.Denied, Ports: g.Ports,
		Closed: g.Closed, Buffer: g.Buffer, Proxy: g.Proxy, TLS: g.TLS, strange: g.strange}
}

// Through is a client of its own that asks by way of other proxies than the operator's, which must be such as the
// gate asks itself: somebody else has named them.
func (g *Gate) Through(proxy func(*http.Request) (*url.URL, error)) *http.Client {
	if g == nil {
		g = none
	}
	own := &Gate{Near: g.Near, Denied: g.Denied, Ports: g.Ports, TLS: g.TLS, Proxy: proxy, strange: true}
	return own.Client()
}

// Denial says why something is not read. Every other error of this package is a failed read.
type Denial struct{ Reason string }

func (d *Denial) Error() string { return d.Reason }

// Place is an address that a Gate allows although it is near.
type Place struct {
	Net  netip.Prefix
	Port uint16 // 0: every port but those of this service's listeners
}

// ParsePlace reads an address, a network, or address:port.
func ParsePlace(text string) (Place, error) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return Place{netip.PrefixFrom(ap.Addr().WithZone(""), ap.Addr().BitLen()), ap.Port()}, nil
	}
	p, err := ParseNet(text)
	return Place{Net: p}, err
}

// ParseNet reads an address or a network.
func ParseNet(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(ip.WithZone(""), ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", text)
	}
	return p.Masked(), nil
}

// Loopback is a Gate that asks servers on this machine, for tests.
func Loopback(dirs ...string) *Gate {
	return &Gate{Dirs: dirs, Near: []Place{{Net: netip.MustParsePrefix("127.0.0.0/8")}, {Net: netip.MustParsePrefix("::1/128")}}}
}
