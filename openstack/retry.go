package openstack

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/billet-metal/billet/node"
)

// A request that a service could not serve at the moment is sent anew, when sending it twice does what sending it once does
// (RFC 9110, section 9.2.2), a few times, and within the request's own deadline. That bridges a worker that starts anew and a
// connection that breaks. A service that is away for longer is the matter of who asked: the error has the kind node.Unavailable,
// and a node's step that ends with it is run again (node.ErrServiceAway).
const (
	mostTries   = 3
	firstWait   = 100 * time.Millisecond
	longestWait = 5 * time.Second // a service that wants more patience (Retry-After) is away
)

var idempotent = []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete}

// again waits and returns nil where a request that failed is to be sent anew. It has the form of gophercloud.RetryFunc.
func again(ctx context.Context, method, _ string, o *gophercloud.RequestOpts, err error, failed uint) error {
	wait := firstWait<<failed - rand.N(firstWait)
	if answer := answerOf(err); answer != nil {
		if !passing(answer.Actual) {
			return err
		}
		wait = max(wait, retryAfter(answer.ResponseHeader))
	}
	if failed >= mostTries || wait > longestWait || !slices.Contains(idempotent, method) || !pause(ctx, wait) {
		return err
	}
	if body, ok := o.RawBody.(io.Seeker); ok {
		if _, seekErr := body.Seek(0, io.SeekStart); seekErr != nil {
			return errors.Join(err, seekErr)
		}
	} else if o.RawBody != nil {
		return err
	}
	return nil
}

// passing are the statuses of a service that may do it when it is asked again.
func passing(status int) bool {
	switch status {
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusInsufficientStorage:
		return false
	}
	return kindOf(status) == node.Unavailable
}

// retryAfter is the time that a service asks for, in seconds or as a date (RFC 9110, section 10.2.3); 0 where it does not.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, node.Until(at))
	}
	return 0
}

// pause reports whether there was time to wait.
func pause(ctx context.Context, d time.Duration) bool {
	if end, bounded := ctx.Deadline(); bounded && time.Until(end) <= d {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
