package door

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// A web browser on the operator's machine reaches what that machine reaches, and any page can have it send requests:
// with fetch and forms to other addresses (cross-site requests), and to a name of the page's own whose address has
// changed to ours meanwhile (DNS rebinding), for which the browser takes us for the page's own server. Where nobody
// logs in, being reachable is all the right there is, so these requests are refused. A browser also adds a login that
// it remembers by itself, so cross-site requests are refused with a login too. Clients other than browsers send neither
// Origin nor Sec-Fetch-Site and ask for an address, or for a name that is configured.

// Pages refuses what a page of somebody else may have made a browser send.
type Pages struct {
	hosts     []string
	login     bool
	crossSite *http.CrossOriginProtection
}

// PagesConfig is what is known of the names that lead here.
type PagesConfig struct {
	AllowedHosts   []string // names and addresses of ours, besides the one that is listened on and PublicEndpoint's
	PublicEndpoint string   // "https://host:port", or ""
	Login          bool     // people log in, so that being reachable gives no right
}

// NewPages builds the guard, or says what is wrong with the public endpoint.
func NewPages(cfg PagesConfig) (*Pages, error) {
	p := &Pages{login: cfg.Login, crossSite: http.NewCrossOriginProtection()}
	for _, h := range cfg.AllowedHosts {
		if strings.Contains(h, ":") && !strings.Contains(h, "]") && strings.Count(h, ":") > 1 {
			h = "[" + h + "]" // an IPv6 address
		}
		p.hosts = append(p.hosts, bareHost(h))
	}
	if cfg.PublicEndpoint == "" {
		return p, nil
	}
	u, err := url.Parse(cfg.PublicEndpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not an http or https URL", cfg.PublicEndpoint)
	}
	p.hosts = append(p.hosts, bareHost(u.Host))
	return p, p.crossSite.AddTrustedOrigin(u.Scheme + "://" + u.Host)
}

// OfPeople checks a request at the API's door. Its error is a node.Forbidden.
func (p *Pages) OfPeople(r *http.Request) error {
	if !p.login && !p.ownHost(r) {
		return node.Errorf(node.Forbidden, "The API is asked for as %q. Without a login it answers only to the address it listens on, "+
			"to localhost and to the names in allowed_hosts, since a web page could have any other name lead here.", r.Host)
	}
	if p.crossSite.Check(r) != nil || crossRead(r) {
		return node.Errorf(node.Forbidden, "A web page of another site makes this request; the API takes none of those.")
	}
	return nil
}

// crossRead is a request that only reads, made by a page of somewhere else and not by a person who follows a link.
func crossRead(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// OfMachines refuses what no firmware, boot loader or agent sends: a browser's request, or one for a name that its
// sender may have had lead here. Machines are told addresses.
func (p *Pages) OfMachines(r *http.Request) error {
	_, err := netip.ParseAddr(hostOf(r))
	if OfBrowser(r) || err != nil && !p.ownHost(r) {
		return node.Errorf(node.Forbidden, "This is for machines that boot or deploy, which ask for an address: web browsers are not answered, "+
			"and names only when they are in allowed_hosts.")
	}
	return nil
}

// OfBrowser tells a browser's request: by the headers that a page cannot leave out, and by the name that all browsers
// go by, which a page cannot change where it needs no permission to send.
func OfBrowser(r *http.Request) bool {
	return r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" || strings.HasPrefix(r.UserAgent(), "Mozilla/")
}

// ownHost reports whether the host asked for is one that nobody else can have lead here. A request without any, which
// HTTP/1.0 allows, is no browser's.
func (p *Pages) ownHost(r *http.Request) bool {
	host := hostOf(r)
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(p.hosts, host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if ip = ip.Unmap(); ip.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	own, err := netip.ParseAddrPort(local.String())
	return err == nil && own.Addr().Unmap().WithZone("") == ip.WithZone("")
}

// hostOf is the host a request asks for, without port, in lower case.
func hostOf(r *http.Request) string { return bareHost(r.Host) }

func bareHost(host string) string {
	u := url.URL{Host: host}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
}

// MachinesOnly keeps browsers away from other handlers of the provisioning listener.
func (p *Pages) MachinesOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.OfMachines(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		if r.ContentLength != 0 { // nobody reads it: the server looks for its end no longer than this
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(DrainTime))
		}
		h.ServeHTTP(w, r)
	})
}
