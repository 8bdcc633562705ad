package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// maxAnswer bounds an agent's answer; collected logs are the largest.
const maxAnswer = 32 << 20

// Client says how agents are talked to. The zero value has Ironic's times.
type Client struct {
	Timeout  time.Duration // of one request; 0: 60 s
	Attempts int           // when the connection fails; 0: 3
	Pause    time.Duration // between attempts; 0: 1 s
}

// dialTime bounds opening a connection: the kernel of a machine that lives answers at once.
const dialTime = 10 * time.Second

func (c Client) attempts() int {
	if c.Attempts > 0 {
		return c.Attempts
	}
	return 3
}

// session talks to one agent. It is made for each use and shared with nobody.
type session struct {
	Client
	base  *url.URL
	token string
	http  *http.Client
}

// open prepares to talk to the agent; it connects to nothing.
func (c Client) open(a node.Agent) (*session, error) {
	if a.URL == "" {
		return nil, errors.New("no agent of this machine is known: none has called since it was last switched on")
	}
	base, err := url.Parse(strings.TrimSuffix(a.URL, "/"))
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("the agent's URL %q cannot be read; https://host:port is allowed", redact(a.URL))
	}
	if base.Scheme != "https" {
		return nil, fmt.Errorf("the agent's URL is %s://…; only https is allowed, as the token and the image's location go over it", base.Scheme)
	}
	config, err := pinned(a.VerifyCA)
	if err != nil {
		return nil, err
	}
	c.Timeout = orElse(c.Timeout, time.Minute)
	c.Pause = orElse(c.Pause, time.Second)
	c.Attempts = c.attempts()
	dialer := net.Dialer{Timeout: dialTime}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: config, DisableKeepAlives: true, Proxy: nil}
	return &session{Client: c, base: base, token: a.Token, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// pinned trusts one certificate alone: the one the agent sent with its token. The clock it is
// judged by is its own, since a machine's clock may be years off, and being the very certificate
// says more than any date.
func pinned(certificate string) (*tls.Config, error) {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		return nil, errors.New("the agent sent no certificate (agent_verify_ca), so nobody can tell who answers at its URL")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the agent's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{
		RootCAs:    roots,
		MinVersion: tls.VersionTLS12,
		Time:       func() time.Time { return cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) / 2) },
	}, nil
}

// waiting says whether a command's answer comes at its end or at its start.
type waiting bool

const (
	atItsEnd   waiting = true
	atItsStart waiting = false
)

// commands lists what the agent was asked since it started, oldest first.
func (s *session) commands(ctx context.Context) ([]wire.CommandResult, error) {
	var list wire.Commands
	err := s.retry(ctx, func() error { return s.do(ctx, http.MethodGet, "the command list", nil, atItsStart, &list) })
	return list.Commands, err
}

// ask has a command carried out and waits for its result. Only commands that may be carried out
// twice are asked so.
func (s *session) ask(ctx context.Context, name string, params map[string]any, result any) error {
	var r wire.CommandResult
	err := s.retry(ctx, func() error {
		return s.do(ctx, http.MethodPost, name, &wire.Command{Name: name, Params: params}, atItsEnd, &r)
	})
	if err != nil {
		return err
	}
	if r.Status != wire.Succeeded {
		return &failed{name, r.Error}
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(r.Result, result); err != nil {
		return fmt.Errorf("reading the agent's result of %s: %w", name, err)
	}
	return nil
}

// start has a command begun and returns how it stands. last is the id of the newest command in
// the agent's list before: after a request without an answer, a newer one of the same name is
// the one asked for, so no command is begun twice.
func (s *session) start(ctx context.Context, name string, params map[string]any, last string) (wire.CommandResult, error) {
	var r wire.CommandResult
	err := s.retry(ctx, func() error {
		err := s.do(ctx, http.MethodPost, name, &wire.Command{Name: name, Params: params}, atItsStart, &r)
		if !isUnreachable(err) && !isRefused(err, http.StatusConflict) {
			return err
		}
		if begun, ok := s.begun(ctx, name, last); ok {
			r = begun
			return nil
		}
		return err
	})
	return r, err
}

// begun looks in the agent's list for a command that may have got there without our knowing.
func (s *session) begun(ctx context.Context, name, last string) (wire.CommandResult, bool) {
	var list wire.Commands
	if err := s.do(ctx, http.MethodGet, "the command list", nil, atItsStart, &list); err != nil || len(list.Commands) == 0 {
		return wire.CommandResult{}, false
	}
	newest := list.Commands[len(list.Commands)-1]
	return newest, newest.Name == shortName(name) && newest.ID != last
}

// shortName is a command's name in the agent's list: without the extension.
func shortName(name string) string {
	_, short, found := strings.Cut(name, ".")
	if !found {
		return name
	}
	return short
}

// retry repeats a request that got no answer.
func (s *session) retry(ctx context.Context, request func() error) error {
	for attempt := 1; ; attempt++ {
		err := request()
		if !isUnreachable(err) || attempt >= s.Attempts {
			return err
		}
		select {
		case <-time.After(s.Pause):
		case <-ctx.Done():
			return err
		}
	}
}

// do sends one request and decodes the answer.
func (s *session) do(ctx context.Context, method, what string, body *wire.Command, wait waiting, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	req, err := s.request(ctx, method, body, wait)
	if err != nil {
		return fmt.Errorf("asking the agent for %s: %w", what, err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return &unreachable{s.base.Host, scrub(err)}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &unreachable{s.base.Host, scrub(err)}
	}
	if resp.StatusCode != http.StatusOK {
		return &refused{what, resp.StatusCode, faultOf(text, resp.Status)}
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("reading the agent's answer to %s: %w", what, err)
	}
	return nil
}

func (s *session) request(ctx context.Context, method string, body *wire.Command, wait waiting) (*http.Request, error) {
	query := url.Values{"agent_token": {s.token}}
	var content io.Reader
	if body != nil {
		if body.Params == nil {
			body.Params = map[string]any{}
		}
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
		query.Set("wait", strconv.FormatBool(bool(wait)))
	}
	u := s.base.JoinPath("v1", "commands/")
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, scrub(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// longestFault bounds an agent's words for an error. They are cut to what is kept where the node's secrets have been
// taken out: half a secret is not recognised.
const longestFault = 64 << 10

// faultOf returns the agent's own words for an error.
func faultOf(text []byte, status string) string {
	var f wire.Fault
	if json.Unmarshal(text, &f) == nil && f.FaultString != "" {
		return redact(f.FaultString)
	}
	if s := strings.TrimSpace(string(text)); s != "" {
		return redact(s[:min(len(s), longestFault)])
	}
	return status
}
