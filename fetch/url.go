package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// IsURL reports whether a place lies behind http or https.
func IsURL(place string) bool {
	lower := strings.ToLower(place)
	return strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://")
}

// CheckURL refuses, without a network, a URL that is not of the form http(s)://host/path, or whose host is an
// address that is not asked. A name is looked at when it is asked: see Client.
func (g *Gate) CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return &Denial{fmt.Sprintf("the URL %s cannot be read", Redact(raw))} // err may quote a part of a password
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return &Denial{fmt.Sprintf("the URL %s is not of the form http(s)://host/path", Redact(raw))}
	}
	return g.checkURL(u)
}

func (g *Gate) checkURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return &Denial{fmt.Sprintf("a URL of the scheme %q is not of the form http(s)://host/path", u.Scheme)}
	}
	for _, begin := range g.closed(u) {
		if p := path.Clean("/" + u.Path); p == "/" || p == begin || strings.HasPrefix(p, begin+"/") {
			return &Denial{fmt.Sprintf("%s is the service itself, whose own calls are made for nobody", u.Host)}
		}
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761, section 6.3
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	return g.checkAddress(u.Hostname(), ip, portOf(u))
}

func (g *Gate) closed(u *url.URL) []string {
	if g == nil {
		return nil
	}
	return g.Closed[net.JoinHostPort(strings.ToLower(u.Hostname()), strconv.Itoa(int(portOf(u))))]
}

func portOf(u *url.URL) uint16 {
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	if u.Scheme == "https" {
		return 443
	}
	return 80
}

// checkAddress refuses an address that is not asked; host is the name that led to it.
func (g *Gate) checkAddress(host string, ip netip.Addr, port uint16) error {
	if g == nil {
		g = &Gate{}
	}
	ip = embedded(ip.WithZone("").Unmap())
	holds := func(p netip.Prefix) bool { return p.Contains(ip) }
	if slices.ContainsFunc(g.Denied, holds) {
		return &Denial{fmt.Sprintf("%s is in a network that is not asked for anybody (url_denied_networks)", host)}
	}
	own := slices.Contains(g.Ports, port) && isOurs(ip)
	for _, p := range g.Near {
		if holds(p.Net) && (p.Port == port || p.Port == 0 && !own) {
			return nil
		}
	}
	what := near(ip)
	if own {
		what = "this service itself"
	}
	if what == "" {
		return nil
	}
	return &Denial{fmt.Sprintf("%s leads to %s, which is asked for nobody unless url_allowed_networks has it", host, what)}
}

// nat64, sixToFour and the like carry an IPv4 address that is asked in the end.
var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixToFour = netip.MustParsePrefix("2002::/16")    // RFC 3056
	compat    = netip.MustParsePrefix("::/96")        // RFC 4291, section 2.5.5.1
	thisNet   = netip.MustParsePrefix("0.0.0.0/8")    // RFC 1122, section 3.2.1.3: this host
)

// embedded is the IPv4 address inside of an IPv6 address, or the address itself.
func embedded(ip netip.Addr) netip.Addr {
	b := ip.As16()
	switch {
	case !ip.Is6() || ip == netip.IPv6Loopback() || ip.IsUnspecified():
		return ip
	case nat64.Contains(ip), compat.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return ip
}

// near says in what way an address is near; "" when it is not.
func near(ip netip.Addr) string {
	switch {
	case ip.IsLoopback(), ip.IsUnspecified(), thisNet.Contains(ip):
		return "this machine itself (loopback)"
	case ip.IsLinkLocalUnicast(): // also where clouds keep their metadata
		return "a link-local address"
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "a multicast or broadcast address"
	}
	return ""
}

// isOurs reports whether an address is one of this machine.
func isOurs(ip netip.Addr) bool {
	if ip.IsLoopback() || ip.IsUnspecified() || thisNet.Contains(ip) {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().WithZone("").Unmap() == ip
	})
}

const (
	dialTimeout  = 10 * time.Second
	firstByte    = 30 * time.Second // of an answer; the whole may take longer
	maxRedirects = 5
)

// Client asks what CheckURL allows and whose address, once its name is resolved, is asked: of the first URL and of
// each that it redirects to. It sends nothing to a second host that was meant for the first.
func (g *Gate) Client() *http.Client {
	if g == nil {
		return none.Client()
	}
	g.once.Do(func() {
		g.client = &http.Client{CheckRedirect: Redirect, Transport: guarded{g, &http.Transport{
			Proxy:                  g.proxy,
			DialContext:            g.dial,
			TLSClientConfig:        g.TLS.Clone(),
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    dialTimeout,
			ResponseHeaderTimeout:  firstByte,
			MaxResponseHeaderBytes: 256 << 10,
			ReadBufferSize:         g.Buffer,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConnsPerHost:    8,
			DisableCompression:     true, // sizes and checksums are of the file as it is stored
		}}}
	})
	return g.client
}

var none = &Gate{}

// guarded looks at the URL of each request, also of those after a redirect.
type guarded struct {
	gate *Gate
	http.RoundTripper
}

func (t guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.gate.checkURL(r.URL); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	return t.RoundTripper.RoundTrip(r)
}

// dial looks at the address that a name has been resolved to when it is connected to, and no second time:
// what a name server answers may change.
func (g *Gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	host, _, _ := net.SplitHostPort(address)
	if _, isProxy := g.proxies.Load(address); !isProxy {
		d.Control = func(_, resolved string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return &Denial{fmt.Sprintf("%s leads to what is no address", host)}
			}
			if _, closed := g.Closed[resolved]; closed && resolved != address { // by a name that no path is known of
				return &Denial{fmt.Sprintf("%s leads to the service itself", host)}
			}
			return g.checkAddress(host, a.Addr(), a.Port())
		}
	}
	return d.DialContext(ctx, network, address)
}

// proxy picks the operator's proxy, as the environment names it. The proxy resolves names by itself, so what
// this machine knows of a name is looked at here.
func (g *Gate) proxy(r *http.Request) (*url.URL, error) {
	choose := g.Proxy
	if choose == nil {
		choose = http.ProxyFromEnvironment
	}
	p, err := choose(r)
	if err != nil || p == nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(r.Context(), "ip", r.URL.Hostname())
	for _, ip := range ips {
		if err := g.checkAddress(r.URL.Hostname(), ip, portOf(r.URL)); err != nil {
			return nil, err
		}
	}
	if err != nil && r.Context().Err() != nil {
		return nil, err
	}
	port := p.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[p.Scheme]
		if port == "" {
			port = "1080"
		}
	}
	if g.strange {
		return p, nil
	}
	g.proxies.Store(net.JoinHostPort(p.Hostname(), port), true)
	return p, nil
}

// public are the headers of a request that no server learns a secret from.
var public = []string{"Accept", "Accept-Encoding", "User-Agent", "Range", "If-Range", "If-Match",
	"If-None-Match", "If-Modified-Since", "If-Unmodified-Since"}

// Redirect follows redirects to mirrors, a bounded number, but never from https to http: whoever stands in between
// could read what is secret in the URL, or answer with a checksum of their own. A password for one server is not
// sent to another, and neither is the URL that led there, which may be signed.
func Redirect(r *http.Request, via []*http.Request) error {
	last := via[len(via)-1].URL
	if len(via) > maxRedirects {
		return &Denial{fmt.Sprintf("the server redirects more than %d times", maxRedirects)}
	}
	if r.URL.Scheme != "https" && last.Scheme == "https" {
		return &Denial{fmt.Sprintf("the server redirects from https to %s at %s, which is not followed", r.URL.Scheme, r.URL.Host)}
	}
	r.Header.Del("Referer")
	if !SameServer(r.URL, via[0].URL) {
		for name := range r.Header {
			if !slices.Contains(public, name) {
				r.Header.Del(name)
			}
		}
	}
	return nil
}

// SameServer reports whether two URLs are of one server: scheme, host and port.
func SameServer(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

// hostShape is what stands between :// and the path when there is no user.
var hostShape = regexp.MustCompile(`^(\[[0-9A-Fa-f:.%]+\]|[^:@\s"\[\]]*)(:[0-9]*)?$`)

// Redact cuts what may be secret out of a URL: user, password and the query, where signatures are. Other
// places stay as they are.
func Redact(place string) string {
	if !IsURL(place) {
		return place
	}
	scheme, rest, _ := strings.Cut(place, "://")
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	host, path, found := strings.Cut(rest, "/")
	if !hostShape.MatchString(host) { // a user; a password may hold a slash
		at := strings.LastIndex(rest, "@")
		host, path, found = strings.Cut(rest[at+1:], "/")
		if at < 0 || !hostShape.MatchString(host) {
			return scheme + "://…"
		}
	}
	if found {
		host += "/" + path
	}
	return scheme + "://" + host
}

// Scrub takes the URL out of the errors of net/http and net/url, since a signed one is a secret. A Denial
// stands for itself.
func Scrub(err error) error {
	if d, ok := errors.AsType[*Denial](err); ok {
		return d
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
