// Package openstack owns what is said to Keystone, Glance, Neutron and Swift: one session that logs in for Billet and finds the
// services, and a small client for each of them. It decides nothing about nodes, and refuses to wait without an end: every
// request has a deadline, and what it could not do is a *node.Err whose kind says whether to try again (node.Unavailable).
package openstack

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/billet-metal/billet/node"
)

// Config is how Billet logs in to a cloud. Either Username and Password with a project or the whole system, or an application
// credential, is needed.
type Config struct {
	AuthURL string // of Keystone, with or without /v3

	Username, Password, UserDomain string // domains by name
	Project, ProjectDomain         string
	UserDomainID, ProjectDomainID  string // instead of the names
	System                         bool   // log in for the whole system instead of a project

	ApplicationCredentialID, ApplicationCredentialSecret string

	Region    string            // "" takes the first
	Interface string            // public, internal or admin; default internal
	Endpoints map[string]string // by type of service; they win over the catalog
	CAFile    string            // PEM certificates of the cloud's authority; "" for the system's
	Timeout   time.Duration     // of one request; default 30 s
}

// Types of services, as the catalog of Keystone has them.
const (
	identity    = "identity"
	image       = "image"
	network     = "network"
	objectStore = "object-store"
)

// names of services in sentences.
var names = map[string]string{identity: "Keystone", image: "Glance", network: "Neutron", objectStore: "Swift"}

// refusedFor is how long a login that was refused is not tried again, so that an account with an old password is not locked.
const refusedFor = 10 * time.Second

// Session is Billet's own login. It logs in when it is first needed and again when its token ends.
type Session struct {
	cfg  Config
	http http.Client

	mu       sync.Mutex
	provider *gophercloud.ProviderClient // nil: not logged in yet
	project  string                      // ID of the one it is logged in to
	catalog  *tokens.ServiceCatalog
	listed   time.Time // when Keystone gave the catalog
	refused  error     // the last login's end
	until    time.Time
}

// Open checks a configuration. It asks nobody.
func Open(cfg Config) (*Session, error) {
	password := cfg.Username != "" && cfg.Password != "" && (cfg.Project != "" || cfg.System)
	if credential := cfg.ApplicationCredentialID != "" && cfg.ApplicationCredentialSecret != ""; password == credential {
		return nil, fmt.Errorf("a login to the cloud needs a user name and a password with a project or the system, " +
			"or an application credential's ID and secret, and not both")
	}
	switch cfg.Interface {
	case "":
		cfg.Interface = "internal"
	case "public", "internal", "admin":
	default:
		return nil, fmt.Errorf("the interface %q is none of the catalog's: public, internal, admin", cfg.Interface)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	cfg.AuthURL = strings.TrimSuffix(strings.TrimRight(cfg.AuthURL, "/"), "/v3")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("the cloud's authority: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the cloud's authority: %s holds no PEM certificate", cfg.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	transport.ResponseHeaderTimeout = cfg.Timeout
	return &Session{cfg: cfg, http: http.Client{Transport: bounded{transport}, CheckRedirect: Stays}}, nil
}

// Stays is a client's CheckRedirect that refuses to be led to another place: net/http would show it the token, which is in a header of
// OpenStack's own.
func Stays(next *http.Request, via []*http.Request) error {
	if asked := via[0].URL; len(via) > 5 || next.URL.Host != asked.Host || next.URL.Scheme != asked.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

// within gives a request its deadline.
func (s *Session) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.cfg.Timeout)
}

// mostAnswer bounds an answer that is read as a whole.
const mostAnswer = 64 << 20

type stream struct{}

// bounded cuts answers off that are longer than any of these services gives, but those of a context that has the value stream{}.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil && r.Context().Value(stream{}) == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, mostAnswer), resp.Body}
	}
	return resp, err
}

// service returns a client of a service, below path of its endpoint.
func (s *Session) service(ctx context.Context, kind, path string) (*gophercloud.ServiceClient, error) {
	provider, catalog, err := s.login(ctx)
	if err != nil {
		return nil, err
	}
	url := s.cfg.Endpoints[kind]
	if url == "" && kind == identity {
		url = s.cfg.AuthURL
	}
	if url == "" {
		url = s.endpoint(catalog, kind)
	}
	if url == "" { // perhaps it was made since
		if provider, catalog, err = s.renew(ctx, catalog); err != nil {
			return nil, err
		}
		url = s.endpoint(catalog, kind)
	}
	if url == "" {
		return nil, node.Errorf(node.Unavailable, "The catalog of Keystone has no %s endpoint of type %s%s.", s.cfg.Interface, kind, s.region())
	}
	url = strings.TrimSuffix(strings.TrimRight(url, "/"), path)
	return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: url + path + "/"}, nil
}

func (s *Session) region() string {
	if s.cfg.Region == "" {
		return ""
	}
	return " in region " + s.cfg.Region
}

func (s *Session) endpoint(catalog *tokens.ServiceCatalog, kind string) string {
	for _, entry := range catalog.Entries {
		if entry.Type != kind {
			continue
		}
		for _, e := range entry.Endpoints {
			if e.Interface == s.cfg.Interface && (s.cfg.Region == "" || e.Region == s.cfg.Region || e.RegionID == s.cfg.Region) {
				return e.URL
			}
		}
	}
	return ""
}

// catalogLife is how long a catalog is believed that does not name a service.
const catalogLife = 10 * time.Second

// renew logs in anew for the catalog of now, unless the one at hand is quite new. What others do with the old login goes on.
func (s *Session) renew(ctx context.Context, old *tokens.ServiceCatalog) (*gophercloud.ProviderClient, *tokens.ServiceCatalog, error) {
	s.mu.Lock()
	if s.catalog == old && node.Now().Sub(s.listed) >= catalogLife {
		s.provider = nil
	}
	s.mu.Unlock()
	return s.login(ctx)
}

// login logs in when nobody has yet. One does it while the others wait.
func (s *Session) login(ctx context.Context) (*gophercloud.ProviderClient, *tokens.ServiceCatalog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.provider != nil {
		return s.provider, s.catalog, nil
	}
	if s.refused != nil && node.Now().Before(s.until) {
		return nil, nil, s.refused
	}
	s.refused = nil
	ctx, cancel := s.within(ctx)
	defer cancel()
	provider, catalog, err := s.authenticate(ctx)
	if err != nil {
		return nil, nil, s.loginFailed(err)
	}
	login := provider.ReauthFunc
	provider.ReauthFunc = func(ctx context.Context) error { return s.loginAgain(ctx, login) }
	provider.RetryFunc = again
	s.provider, s.catalog, s.listed = provider, catalog, node.Now()
	return provider, catalog, nil
}

// loginAgain gets a new token when the old one has ended.
func (s *Session) loginAgain(ctx context.Context, login func(context.Context) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused != nil && node.Now().Before(s.until) {
		return s.refused
	}
	s.refused = nil
	if err := login(ctx); err != nil {
		return s.loginFailed(err)
	}
	return nil
}

// loginFailed makes of whatever stopped a login that the service can not be used; one that was refused is remembered.
func (s *Session) loginFailed(err error) error {
	err = failure(identity, "to log Billet in", err)
	if errors.Is(err, node.ErrServiceAway) {
		return err
	}
	said := &node.Err{Kind: node.Unavailable, Msg: err.Error()}
	if node.KindOf(err) == node.Forbidden {
		s.refused, s.until = said, node.Now().Add(refusedFor)
	}
	return said
}

func (s *Session) authenticate(ctx context.Context) (*gophercloud.ProviderClient, *tokens.ServiceCatalog, error) {
	provider, err := openstack.NewClient(s.cfg.AuthURL)
	if err != nil {
		return nil, nil, err
	}
	provider.HTTPClient = s.http
	provider.UserAgent.Prepend("billet")
	provider.UseTokenLock()
	if err := openstack.AuthenticateV3(ctx, provider, s.options(), gophercloud.EndpointOpts{}); err != nil {
		return nil, nil, err
	}
	result, ok := provider.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return nil, nil, fmt.Errorf("the answer to the login is a %T", provider.GetAuthResult())
	}
	if project, err := result.ExtractProject(); err == nil && project != nil {
		s.project = project.ID
	}
	catalog, err := result.ExtractServiceCatalog()
	return provider, catalog, err
}

// home is the project that Billet is logged in to, with its ID; "" before the first login and without one.
func (s *Session) home() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.project
}

func (s *Session) options() *gophercloud.AuthOptions {
	if s.cfg.ApplicationCredentialID != "" {
		return &gophercloud.AuthOptions{
			AllowReauth:             true,
			ApplicationCredentialID: s.cfg.ApplicationCredentialID, ApplicationCredentialSecret: s.cfg.ApplicationCredentialSecret,
		}
	}
	scope := &gophercloud.AuthScope{
		ProjectName: s.cfg.Project, DomainName: domain(s.cfg.ProjectDomain, s.cfg.ProjectDomainID), DomainID: s.cfg.ProjectDomainID,
	}
	if s.cfg.System {
		scope = &gophercloud.AuthScope{System: true}
	}
	return &gophercloud.AuthOptions{
		AllowReauth: true, Username: s.cfg.Username, Password: s.cfg.Password, Scope: scope,
		DomainName: domain(s.cfg.UserDomain, s.cfg.UserDomainID), DomainID: s.cfg.UserDomainID,
	}
}

// domain is the name of a domain that is not named by ID; the one that Keystone has from its start is Default.
func domain(name, id string) string {
	if id != "" {
		return ""
	}
	return cmp.Or(name, "Default")
}
