package rules

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/billet-metal/billet/fetch"
)

// An "api-call" action has this service make an HTTP request for whoever writes rules. The fetch gate decides what may be
// called, and the limits keep a slow server from holding the node's lease.

// Call is an HTTP GET that an "api-call" action asks for. Its URL and headers may hold secrets.
type Call struct {
	URL     string
	Headers map[string]string
	Proxies map[string]string // scheme ("http", "https") → URL
	Timeout time.Duration     // of each try
	Retries int               // tries after the first
	Backoff time.Duration     // before the first retry; doubled for each further one
}

// Limits of what a rule may ask for: the node is locked meanwhile.
const (
	maxCallTimeout = time.Minute
	maxCallRetries = 10
	maxCallTime    = 5 * time.Minute // all tries together
	maxCallBackoff = 30 * time.Second
)

func callAPI(ctx context.Context, w *work, args map[string]any) error {
	c, err := callOf(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxCallTime)
	defer cancel()
	get := w.Get
	if get == nil {
		get = HTTPGet(nil)
	}
	if err := get(ctx, c); err != nil {
		return &fault{"its call failed", err.Error()}
	}
	return nil
}

func callOf(args map[string]any) (Call, error) {
	c := Call{}
	var err error
	if c.URL, err = textArg(args, "url"); err != nil {
		return c, err
	}
	if u, err := url.Parse(c.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return c, faultf("its URL is not one", "only http and https URLs are called")
	}
	if c.Headers, err = textsArg(args, "headers"); err != nil {
		return c, err
	}
	if c.Proxies, err = textsArg(args, "proxies"); err != nil {
		return c, err
	}
	for scheme, proxy := range c.Proxies {
		if u, err := url.Parse(proxy); err != nil || u.Host == "" {
			return c, faultf("a proxy's URL is not one", "that of %s", scheme)
		}
	}
	timeout, err := numberArg(args, "timeout", 5, maxCallTimeout.Seconds())
	if err != nil {
		return c, err
	}
	if timeout == 0 {
		return c, faultf("an argument is out of range", "timeout must be more than 0")
	}
	retries, err := numberArg(args, "retries", 3, maxCallRetries)
	if err != nil {
		return c, err
	}
	backoff, err := numberArg(args, "backoff_factor", 0.3, maxCallBackoff.Seconds())
	c.Timeout, c.Retries, c.Backoff = seconds(timeout), int(retries), seconds(backoff)
	return c, err
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

func numberArg(args map[string]any, name string, def, most float64) (float64, error) {
	v, given := args[name]
	if !given || v == nil {
		return def, nil
	}
	f, ok := number(v)
	if !ok || f < 0 || f > most {
		return 0, faultf("an argument is out of range", "%s must be a number of at most %s", name, strconv.FormatFloat(most, 'f', -1, 64))
	}
	return f, nil
}

func textsArg(args map[string]any, name string) (map[string]string, error) {
	v, given := args[name]
	if !given || v == nil {
		return nil, nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, faultf("an argument is not an object", "%s is %s", name, kindOf(v))
	}
	out := map[string]string{}
	for k, e := range object {
		text, ok := e.(string)
		if !ok {
			return nil, faultf("an argument is not an object of texts", "%s has %s", name, kindOf(e))
		}
		out[k] = text
	}
	return out, nil
}

// retried are the answers after which a call is tried again.
var retried = map[int]bool{
	http.StatusTooManyRequests: true, http.StatusInternalServerError: true, http.StatusBadGateway: true,
	http.StatusServiceUnavailable: true, http.StatusGatewayTimeout: true,
}

// HTTPGet carries a call out, for servers that the gate asks. Errors name the host only.
func HTTPGet(gate *fetch.Gate) func(context.Context, Call) error {
	return func(ctx context.Context, c Call) error {
		client := gate.Through(func(r *http.Request) (*url.URL, error) {
			if proxy := c.Proxies[r.URL.Scheme]; proxy != "" {
				return url.Parse(proxy)
			}
			return nil, nil
		})
		defer client.CloseIdleConnections()
		client.Timeout = c.Timeout
		return tries(ctx, client, c)
	}
}

func tries(ctx context.Context, client *http.Client, c Call) error {
	wait := c.Backoff
	for try := 0; ; try++ {
		again, err := once(ctx, client, c)
		if err == nil || !again || try >= c.Retries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(min(wait, maxCallBackoff)):
		}
		wait *= 2
	}
}

func once(ctx context.Context, client *http.Client, c Call) (again bool, err error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return false, fmt.Errorf("the URL cannot be read")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return false, fmt.Errorf("%s: the request cannot be made", u.Host)
	}
	for k, v := range c.Headers {
		r.Header.Set(k, v)
	}
	resp, err := client.Do(r)
	if err != nil {
		_, denied := errors.AsType[*fetch.Denial](err)
		return !denied, fmt.Errorf("%s: %s", u.Host, withoutURL(err))
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode >= 400 {
		return retried[resp.StatusCode], fmt.Errorf("%s answers %s", u.Host, resp.Status)
	}
	return false, nil
}

// withoutURL is what went wrong with a request, without the URL that the error quotes.
func withoutURL(err error) string {
	if d, ok := errors.AsType[*fetch.Denial](err); ok {
		return d.Reason
	}
	if e, ok := err.(*url.Error); ok {
		if e.Timeout() {
			return "no answer in time"
		}
		err = e.Err
	}
	return strings.TrimSpace(err.Error())
}
