package openstack

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/billet-metal/billet/node"
)

// Headers of an account, by which Swift knows whose signature a URL has (middleware tempurl). Only the account's owner sees them.
const (
	firstKey  = "X-Account-Meta-Temp-Url-Key"
	secondKey = "X-Account-Meta-Temp-Url-Key-2"
)

// keysFor is how long an account's key is used before it is read again: somebody may have changed it.
const keysFor = time.Minute

// accountKey is what URLs are signed with, and how far Swift's clock is ahead of this one's.
type accountKey struct {
	key   string
	ahead time.Duration
	until time.Time
}

// URL is a temporary URL by which anybody may read an object until the end (Swift's middleware tempurl, signed with SHA-256),
// which Swift's clock decides. It is a secret.
func (o *Objects) URL(ctx context.Context, container, object string, end time.Time) (string, error) {
	ctx, cancel := o.Session.within(ctx)
	defer cancel()
	base, err := o.account(ctx)
	if err != nil {
		return "", err
	}
	keys, err := o.key(ctx, base)
	if err != nil {
		return "", err
	}
	path := base.Path + "/" + container + "/" + object
	expires := strconv.FormatInt(end.Add(keys.ahead).Unix(), 10)
	mac := hmac.New(sha256.New, []byte(keys.key))
	fmt.Fprintf(mac, "GET\n%s\n%s", expires, path)
	if o.Endpoint != "" {
		if base, err = url.Parse(o.Endpoint); err != nil {
			return "", fmt.Errorf("the URL of Swift for machines: %w", err)
		}
	}
	base.Path = path
	base.RawQuery = url.Values{"temp_url_sig": {hex.EncodeToString(mac.Sum(nil))}, "temp_url_expires": {expires}}.Encode()
	return base.String(), nil
}

// account is the URL of the account that URLs are about.
func (o *Objects) account(ctx context.Context) (*url.URL, error) {
	swift, err := o.Session.service(ctx, objectStore, "")
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(strings.TrimRight(swift.Endpoint, "/"))
	if err != nil {
		return nil, fmt.Errorf("the URL of Swift: %w", err)
	}
	if o.Account != "" {
		base.Path = base.Path[:strings.LastIndex(base.Path, "/")+1] + o.Account
	}
	return base, nil
}

// key finds what URLs are signed with. One looks while the others wait.
func (o *Objects) key(ctx context.Context, account *url.URL) (accountKey, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if node.Now().Before(o.keys.until) {
		return o.keys, nil
	}
	found, has, err := o.readKeys(ctx, account)
	if err == nil && found.key == "" {
		found, err = o.makeKey(ctx, account, has)
	}
	if err != nil {
		return accountKey{}, err
	}
	found.until = node.Now().Add(keysFor)
	o.keys = found
	return found, nil
}

// readKeys returns the key to use that the account has, and whether it has any. Of an account of somebody else, which does not show
// its keys, the configured one is believed.
func (o *Objects) readKeys(ctx context.Context, account *url.URL) (found accountKey, has bool, err error) {
	before := node.Now()
	resp, err := o.askAccount(ctx, http.MethodHead, account, nil, "about the account of temporary URLs")
	if err != nil && (o.Key == "" || o.Account == "" || node.KindOf(err) != node.Forbidden) {
		return found, false, err
	}
	if err != nil {
		return accountKey{key: o.Key}, true, nil
	}
	found.ahead = ahead(resp.Header, before)
	keys := []string{resp.Header.Get(firstKey), resp.Header.Get(secondKey)}
	for _, key := range keys {
		if has = has || key != ""; key != "" && (o.Key == "" || o.Key == key) {
			found.key = key
			return found, true, nil
		}
	}
	if !has && o.Account != "" {
		found.key = o.Key // nobody but the owner is shown a key
	}
	return found, has, nil
}

// makeKey gives Billet's own account a key: the configured one, or a new one. It overwrites none.
func (o *Objects) makeKey(ctx context.Context, account *url.URL, has bool) (accountKey, error) {
	switch {
	case has:
		return accountKey{}, node.Errorf(node.Invalid, "The account of Swift has another key for temporary URLs than the configured one: "+
			"configure the account's, or none, and Billet reads it from there")
	case o.Account != "":
		return accountKey{}, node.Errorf(node.Invalid, "The account %s of Swift shows Billet no key for temporary URLs: configure it", o.Account)
	}
	key := o.Key
	if key == "" {
		key = rand.Text()
	}
	if _, err := o.askAccount(ctx, http.MethodPost, account, map[string]string{firstKey: key}, "to give the account a key"); err != nil {
		return accountKey{}, err
	}
	if o.Log != nil {
		o.Log.Info("the account of Swift had no key for temporary URLs (X-Account-Meta-Temp-Url-Key) and got one", "configured", o.Key != "")
	}
	pause(ctx, time.Second) // another process may have done the same: the last one counts for all
	found, _, err := o.readKeys(ctx, account)
	if err == nil && found.key == "" {
		err = node.Errorf(node.Unavailable, "The account of Swift got a key for temporary URLs and does not have it")
	}
	return found, err
}

func (o *Objects) askAccount(ctx context.Context, method string, account *url.URL, header map[string]string, doing string,
) (*http.Response, error) {
	swift, err := o.Session.service(ctx, objectStore, "")
	if err != nil {
		return nil, err
	}
	resp, err := swift.ProviderClient.Request(ctx, method, account.String(), &gophercloud.RequestOpts{
		MoreHeaders: header, OkCodes: []int{http.StatusOK, http.StatusNoContent, http.StatusAccepted, http.StatusCreated},
	})
	return resp, failure(objectStore, doing, err)
}

// ahead is how far the clock of the service that answered is ahead of this one: a URL that lives for minutes is no URL where the
// clocks differ by more. Seconds are the answer's own time.
func ahead(h http.Header, asked time.Time) time.Duration {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	if d := theirs.Sub(asked); d.Abs() > 5*time.Second {
		return d
	}
	return 0
}

// Check reads the head of what a temporary URL is of, as a machine would, and says what is wrong before one does.
func (o *Objects) Check(ctx context.Context, signed string) error {
	ctx, cancel := o.Session.within(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, signed, nil)
	if err != nil {
		return fmt.Errorf("the temporary URL is none")
	}
	resp, err := o.Session.http.Do(req)
	if err != nil {
		return failure(objectStore, "for a temporary URL", err)
	}
	resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNoContent:
		return nil
	case http.StatusUnauthorized:
		return node.Errorf(node.Forbidden, "Swift does not take a temporary URL (401): its key is not the account's, or its clock is wrong")
	}
	return failure(objectStore, "for a temporary URL",
		gophercloud.ErrUnexpectedResponseCode{URL: signed, Method: http.MethodHead, Actual: resp.StatusCode})
}
