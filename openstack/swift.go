package openstack

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/billet-metal/billet/node"
)

// Objects is Swift: objects with an end, and URLs by which somebody without a login reads one for some time.
type Objects struct {
	Session *Session
	Key     string // Temp-URL-Key of the account; a secret
	Account string // of the URLs; "" is that of Billet's own project
}

// Put stores an object that Swift deletes after keep (X-Delete-After). The container is made where it is not there.
func (o *Objects) Put(ctx context.Context, container, object string, body io.ReadSeeker, keep time.Duration) error {
	ctx, cancel := o.Session.within(ctx)
	defer cancel()
	swift, err := o.Session.service(ctx, objectStore, "")
	if err != nil {
		return err
	}
	doing := "to keep " + container + "/" + object
	resp, err := swift.Put(ctx, swift.ServiceURL(url.PathEscape(container)), nil, nil,
		&gophercloud.RequestOpts{OkCodes: []int{http.StatusCreated, http.StatusAccepted, http.StatusNoContent}})
	if err != nil {
		return failure(objectStore, doing, err)
	}
	resp.Body.Close()
	resp, err = swift.ProviderClient.Request(ctx, http.MethodPut, swift.ServiceURL(url.PathEscape(container), url.PathEscape(object)),
		&gophercloud.RequestOpts{RawBody: body, OkCodes: []int{http.StatusCreated}, MoreHeaders: map[string]string{
			"Content-Type": "application/octet-stream", "X-Delete-After": strconv.Itoa(int(keep / time.Second)),
		}})
	if err != nil {
		return failure(objectStore, doing, err)
	}
	return resp.Body.Close()
}

// Delete removes an object; one that is gone is removed.
func (o *Objects) Delete(ctx context.Context, container, object string) error {
	ctx, cancel := o.Session.within(ctx)
	defer cancel()
	swift, err := o.Session.service(ctx, objectStore, "")
	if err != nil {
		return err
	}
	_, err = swift.Delete(ctx, swift.ServiceURL(url.PathEscape(container), url.PathEscape(object)), nil)
	if err = failure(objectStore, "to delete "+container+"/"+object, err); node.KindOf(err) == node.NotFound {
		return nil
	}
	return err
}

// URL is a temporary URL by which anybody may read an object until the end (Swift's middleware tempurl, signed with SHA-256).
// It is a secret.
func (o *Objects) URL(ctx context.Context, container, object string, end time.Time) (string, error) {
	ctx, cancel := o.Session.within(ctx)
	defer cancel()
	swift, err := o.Session.service(ctx, objectStore, "")
	if err != nil {
		return "", err
	}
	base, err := url.Parse(strings.TrimRight(swift.Endpoint, "/"))
	if err != nil {
		return "", fmt.Errorf("the URL of Swift: %w", err)
	}
	if o.Account != "" {
		base.Path = base.Path[:strings.LastIndex(base.Path, "/")+1] + o.Account
	}
	path := base.Path + "/" + container + "/" + object
	expires := strconv.FormatInt(end.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(o.Key))
	fmt.Fprintf(mac, "GET\n%s\n%s", expires, path)
	base.Path = path
	base.RawQuery = url.Values{"temp_url_sig": {hex.EncodeToString(mac.Sum(nil))}, "temp_url_expires": {expires}}.Encode()
	return base.String(), nil
}
