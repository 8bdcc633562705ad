package openstack

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Swift's ETag is an MD5; it tells that a body arrived whole, not who sent it
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/billet-metal/billet/node"
)

// Objects is Swift: objects with an end, and URLs by which somebody without a login reads one for some time.
type Objects struct {
	Session  *Session
	Key      string       // Temp-URL-Key of the account; a secret. "": the one that the account has, or else one made for it
	Account  string       // of the URLs; "" is that of Billet's own project
	Endpoint string       // http://host:port of the URLs, where machines reach Swift elsewhere than Billet does; "": the same
	Log      *slog.Logger // told when the account gets a key; may be nil

	mu   sync.Mutex
	keys accountKey
}

// MostObject bounds what Billet keeps in one object. Swift's own bound is 5 GiB as a rule.
const MostObject = 1 << 30

// slowest is the rate at which an upload still has a chance within its deadline, in bytes a second.
const slowest = 1 << 20

// Put stores an object that Swift deletes after keep (X-Delete-After); 0 is never. The container is made where it is not there.
// Swift takes the object whole or not at all: it compares the body's length and checksum with what it was told before.
func (o *Objects) Put(ctx context.Context, container, object string, body io.ReadSeeker, keep time.Duration) error {
	sum := md5.New() //nolint:gosec // see above
	size, err := io.Copy(sum, body)
	if err != nil {
		return fmt.Errorf("reading what is to be kept in Swift: %w", err)
	}
	if size > MostObject {
		return node.Errorf(node.Invalid, "%s/%s has %d bytes; Billet keeps at most %d in Swift", container, object, size, MostObject)
	}
	header := map[string]string{"Content-Type": "application/octet-stream", "ETag": hex.EncodeToString(sum.Sum(nil))}
	if keep > 0 {
		header["X-Delete-After"] = strconv.Itoa(int(max(keep, time.Second) / time.Second))
	}
	ctx, cancel := context.WithTimeout(ctx, o.Session.cfg.Timeout+time.Duration(size/slowest)*time.Second)
	defer cancel()
	for try := 0; ; try++ {
		if err = o.container(ctx, container); err != nil {
			return err
		}
		err = o.put(ctx, container, object, body, header)
		if node.KindOf(err) != node.NotFound || try > 0 { // else somebody deleted the container between the two
			return err
		}
	}
}

func (o *Objects) container(ctx context.Context, name string) error {
	_, err := o.ask(ctx, http.MethodPut, []string{name}, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusCreated, http.StatusAccepted, http.StatusNoContent},
	}, "to make the container "+name)
	return err
}

func (o *Objects) put(ctx context.Context, container, object string, body io.ReadSeeker, header map[string]string) error {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading what is to be kept in Swift: %w", err)
	}
	_, err := o.ask(ctx, http.MethodPut, []string{container, object}, &gophercloud.RequestOpts{
		RawBody: body, OkCodes: []int{http.StatusCreated}, MoreHeaders: header,
	}, "to keep "+container+"/"+object)
	return err
}

// Get reads an object of at most so many bytes; node.NotFound when it is not there, or has come to its end.
func (o *Objects) Get(ctx context.Context, container, object string, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Session.cfg.Timeout+time.Duration(most/slowest)*time.Second)
	defer cancel()
	doing := "for " + container + "/" + object
	resp, err := o.ask(context.WithValue(ctx, stream{}, true), http.MethodGet, []string{container, object},
		&gophercloud.RequestOpts{KeepResponseBody: true, OkCodes: []int{http.StatusOK}}, doing)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	switch n, err := io.Copy(&b, io.LimitReader(resp.Body, most+1)); {
	case err != nil:
		return nil, failure(objectStore, doing, err)
	case n > most:
		return nil, node.Errorf(node.Invalid, "%s/%s in Swift has more than %d bytes", container, object, most)
	}
	return b.Bytes(), nil
}

// List names the objects of a container that begin with a prefix; node.NotFound when there is no container.
func (o *Objects) List(ctx context.Context, container, prefix string) ([]string, error) {
	ctx, cancel := o.Session.within(ctx)
	defer cancel()
	swift, err := o.Session.service(ctx, objectStore, "")
	if err != nil {
		return nil, err
	}
	var found []struct{ Name string }
	where := swift.ServiceURL(url.PathEscape(container)) + "?" + url.Values{"format": {"json"}, "prefix": {prefix}}.Encode()
	_, err = swift.ProviderClient.Request(ctx, http.MethodGet, where, &gophercloud.RequestOpts{JSONResponse: &found})
	names := make([]string, 0, len(found))
	for _, f := range found {
		names = append(names, f.Name)
	}
	return names, failure(objectStore, "for the objects of "+container, err)
}

// Delete removes an object; one that is gone is removed.
func (o *Objects) Delete(ctx context.Context, container, object string) error {
	ctx, cancel := o.Session.within(ctx)
	defer cancel()
	_, err := o.ask(ctx, http.MethodDelete, []string{container, object},
		&gophercloud.RequestOpts{OkCodes: []int{http.StatusNoContent, http.StatusAccepted}}, "to delete "+container+"/"+object)
	if node.KindOf(err) == node.NotFound {
		return nil
	}
	return err
}

// ask sends a request about what is at a path below the account.
func (o *Objects) ask(ctx context.Context, method string, path []string, opts *gophercloud.RequestOpts, doing string,
) (*http.Response, error) {
	swift, err := o.Session.service(ctx, objectStore, "")
	if err != nil {
		return nil, err
	}
	escaped := make([]string, len(path))
	for i := range path {
		escaped[i] = url.PathEscape(path[i])
	}
	where := swift.ServiceURL(escaped...)
	if len(path) == 0 {
		where = where[:len(where)-1] // Swift tells an account from a container without a name
	}
	resp, err := swift.ProviderClient.Request(ctx, method, where, opts)
	return resp, failure(objectStore, doing, err)
}
