package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/wire"
)

// requestTimeout bounds each call to the service.
const requestTimeout = 30 * time.Second

// fallbackVersion is taken for a service that does not say its version.
const fallbackVersion = 31

// client speaks to the Bare Metal service. Its methods are safe for several goroutines.
type client struct {
	http      *http.Client
	requestID string
	authToken string // X-Auth-Token; "" sends none
	log       *slog.Logger

	mu      sync.Mutex
	urls    []string // the one that worked last is first
	version int      // the service's highest minor; 0 unknown
}

// statusError is an answer of the service that is not what was hoped for.
type statusError struct {
	call    string // "GET /v1/lookup"
	code    int
	message string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: the service answered %d: %s", e.call, e.code, e.message)
}

// call sends one request and decodes the answer into out, unless that is nil. It tries each URL of
// the service until one can be reached. minor is the microversion sent; 0 sends none.
func (c *client) call(ctx context.Context, method, path string, minor int, in, out any) (http.Header, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, fmt.Errorf("writing the body of %s %s: %w", method, path, err)
		}
	}
	var last error
	for _, base := range c.order() {
		header, err := c.try(ctx, method, base, path, minor, body, out)
		if answer := (*statusError)(nil); err == nil || errors.As(err, &answer) {
			c.prefer(base)
			return header, err
		}
		last = err
	}
	return nil, last
}

func (c *client) order() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.urls...)
}

func (c *client) prefer(base string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, u := range c.urls {
		if u == base {
			copy(c.urls[1:i+1], c.urls[:i])
			c.urls[0] = base
		}
	}
}

func (c *client) try(ctx context.Context, method, base, path string, minor int, body []byte, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making a request to %s: %w", base, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	if minor > 0 {
		req.Header.Set("X-OpenStack-Ironic-API-Version", fmt.Sprintf("1.%d", minor))
	}
	if c.authToken != "" {
		req.Header.Set("X-Auth-Token", c.authToken)
	}
	if c.requestID != "" {
		req.Header.Set("X-OpenStack-Request-ID", c.requestID)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("calling the service: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s %s%s: %w", method, base, path, err)
	}
	shown, _, _ := strings.Cut(path, "?")
	if shown == "" {
		shown = base
	}
	if resp.StatusCode >= 300 {
		return resp.Header, &statusError{call: method + " " + shown, code: resp.StatusCode, message: faultText(answer)}
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			return resp.Header, &statusError{call: method + " " + shown, code: resp.StatusCode,
				message: "its body is not the JSON expected: " + err.Error()}
		}
	}
	return resp.Header, nil
}

// faultText takes the sentence out of an error body. The Bare Metal API encodes it twice: the
// value of error_message is JSON in a string.
func faultText(body []byte) string {
	var outer struct {
		Message json.RawMessage `json:"error_message"`
	}
	text := body
	if json.Unmarshal(body, &outer) == nil && len(outer.Message) > 0 {
		text = outer.Message
		var inner string
		if json.Unmarshal(text, &inner) == nil {
			text = []byte(inner)
		}
	}
	var fault wire.Fault
	if json.Unmarshal(text, &fault) == nil && fault.FaultString != "" {
		return fault.FaultString
	}
	if len(text) > 300 {
		text = text[:300]
	}
	return strings.TrimSpace(string(text))
}

// negotiate learns the service's version, and returns its clock when it tells it.
func (c *client) negotiate(ctx context.Context) (time.Time, error) {
	var root wire.ServiceRoot
	header, err := c.call(ctx, http.MethodGet, "/", 0, nil, &root)
	if err != nil {
		return time.Time{}, fmt.Errorf("asking for the service's version: %w", err)
	}
	n, err := minor(root.DefaultVersion.Version)
	if err != nil {
		c.log.Warn("the service does not say its version", "assuming", fmt.Sprintf("1.%d", fallbackVersion), "error", err)
		n = fallbackVersion
	}
	c.setVersion(n)
	clock, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}, nil
	}
	return clock, nil
}

func (c *client) setVersion(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version = n
}

// upTo is the version to send: what the agent knows, or less when the service is older.
func (c *client) upTo(known int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(c.version, known)
}

// speaks reports whether the service knows a version.
func (c *client) speaks(minor int) bool { return c.upTo(minor) == minor }

// lookup asks once which node this machine is.
func (c *client) lookup(ctx context.Context, macs []string, nodeUUID string) (wire.Lookup, error) {
	query := "addresses=" + url.QueryEscape(strings.Join(macs, ","))
	if nodeUUID != "" {
		query += "&node_uuid=" + url.QueryEscape(nodeUUID)
	}
	var out wire.Lookup
	_, err := c.call(ctx, http.MethodGet, "/v1/lookup?"+query, c.upTo(wire.LookupVersion), nil, &out)
	if err == nil && out.Node.UUID == "" {
		err = &statusError{call: "GET /v1/lookup", code: http.StatusOK, message: "the answer names no node"}
	}
	return out, err
}

// heartbeat tells the service once that this agent lives.
func (c *client) heartbeat(ctx context.Context, node string, h wire.Heartbeat) error {
	version := c.upTo(wire.HeartbeatVersion)
	if version < 36 {
		h.AgentVersion = ""
	}
	if version < 62 {
		h.AgentToken = ""
	}
	if version < 68 {
		h.AgentVerifyCA = ""
	}
	_, err := c.call(ctx, http.MethodPost, "/v1/heartbeat/"+node, version, h, nil)
	return err
}

// progress tells a Billet how far the command under way is.
func (c *client) progress(ctx context.Context, node string, p wire.Progress) error {
	_, err := c.call(ctx, http.MethodPost, "/billet/v1/progress/"+node, 0, p, nil)
	return err
}

// logLines tells a Billet the last lines of the agent's log.
func (c *client) logLines(ctx context.Context, node string, l wire.LogLines) error {
	_, err := c.call(ctx, http.MethodPost, "/billet/v1/log/"+node, 0, l, nil)
	return err
}

// continueInspection sends an inspection to an absolute URL.
func (c *client) continueInspection(ctx context.Context, to string, i wire.Inspection) error {
	body, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("writing the inspection data: %w", err)
	}
	_, err = c.try(ctx, http.MethodPost, to, "", 0, body, nil)
	return err
}
