package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

// The operator's commands speak the public API over HTTP, not the store: so they work from any host, are held to the same rules
// as every other client, and show what that client would see.

// client speaks the Bare Metal API for the operator's commands, as any other client would.
type client struct {
	base, user, password string
	http                 http.Client

	mu    sync.Mutex // a command may make several servers at once
	token string     // of Keystone, once it was asked for
}

// clientVersion is the microversion the commands are written against.
const clientVersion = "1.115"

// newClient reads --api and BILLET_API, BILLET_USER, BILLET_PASSWORD. A service that wants a token of Keystone gets that of OS_TOKEN, or
// one for the login of the variables OS_*, which the openstack command reads too.
func newClient(cmd *cobra.Command) *client {
	base, _ := cmd.Flags().GetString("api")
	if base == "" {
		base = os.Getenv("BILLET_API")
	}
	if base == "" {
		base = "http://127.0.0.1:6385"
	}
	return &client{
		base: strings.TrimSuffix(base, "/"),
		user: os.Getenv("BILLET_USER"), password: os.Getenv("BILLET_PASSWORD"),
		http: http.Client{Timeout: 90 * time.Second, CheckRedirect: openstack.Stays},
	}
}

// do sends one request and decodes the answer into out, which may be nil. An answer that is not a
// success is an error with the service's own words.
func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = b
	}
	resp, err := c.send(ctx, method, path, body)
	if err == nil && wantsToken(resp) {
		resp.Body.Close()
		if err := c.login(ctx); err != nil {
			return err
		}
		resp, err = c.send(ctx, method, path, body)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("reading the answer of %s %s: %w", method, path, err)
	}
	if wantsToken(resp) {
		return node.Errorf(node.Forbidden, "%s (HTTP 401; Keystone knows no such token, or it has ended)", faultText(answer))
	}
	if resp.StatusCode == http.StatusUnauthorized {
		return node.Errorf(node.Forbidden, "%s (HTTP 401; BILLET_USER and BILLET_PASSWORD name who is asking)", faultText(answer))
	}
	if resp.StatusCode >= 300 {
		return node.Errorf(kindOf(resp.StatusCode), "%s (HTTP %d)", faultText(answer), resp.StatusCode)
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	return decodeShown(answer, out)
}

// kindOf is what a status means to a program that goes on after it.
func kindOf(status int) node.Kind {
	switch {
	case status == http.StatusForbidden:
		return node.Forbidden
	case status == http.StatusNotFound:
		return node.NotFound
	case status == http.StatusConflict:
		return node.Conflict
	case status == http.StatusTooManyRequests, status >= 500:
		return node.Unavailable
	}
	return node.Invalid
}

// login gets a token; what asks at the same time waits for it.
func (c *client) login(ctx context.Context) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token, err = userToken(ctx)
	return err
}

func (c *client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-OpenStack-Ironic-API-Version", clientVersion)
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	switch {
	case token != "":
		req.Header.Set("X-Auth-Token", token)
	case c.user != "":
		req.SetBasicAuth(c.user, c.password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the service: %w (is `billet serve` running there? --api or BILLET_API names it)", err)
	}
	return resp, nil
}

// wantsToken reports whether a service refused a request for want of a token of Keystone that is good.
func wantsToken(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized && strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Keystone ")
}

// userToken is the token of whoever calls the command. A service is shown one only after it has asked.
func userToken(ctx context.Context) (string, error) {
	if token := os.Getenv("OS_TOKEN"); token != "" {
		return token, nil
	}
	session, err := userSession()
	if err != nil {
		return "", fmt.Errorf("the service wants a token of Keystone: %w", err)
	}
	return session.Token(ctx)
}

// below is the part of a link behind the base URL: the service may name itself by another host, and
// the base may have a path of its own, that of a proxy. "" when there is no link.
func (c *client) below(link string) string {
	next, err := url.Parse(link)
	if err != nil || link == "" {
		return ""
	}
	base, err := url.Parse(c.base)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(next.RequestURI(), base.EscapedPath())
}

// faultText finds the sentence in an error body: error_message is a string of JSON.
func faultText(body []byte) string {
	var outer struct {
		ErrorMessage string `json:"error_message"`
		Error        struct{ Message string }
	}
	var inner struct{ FaultString, Description, Title string }
	if json.Unmarshal(body, &outer) == nil && json.Unmarshal([]byte(outer.ErrorMessage), &inner) == nil {
		for _, s := range []string{inner.FaultString, inner.Description, inner.Title} {
			if s != "" {
				return s
			}
		}
	}
	if outer.Error.Message != "" {
		return outer.Error.Message
	}
	return strings.TrimSpace(string(body))
}
