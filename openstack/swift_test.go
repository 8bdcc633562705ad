package openstack_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
	"github.com/billet-metal/billet/openstack/openstacktest"
)

const accountPath = "/v1/" + openstacktest.Account

func objects(t *testing.T) (*openstacktest.Cloud, *openstack.Objects) {
	c := openstacktest.New(t)
	return c, &openstack.Objects{Session: open(t, config(c))}
}

func get(t *testing.T, signed string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, signed, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// Whose key a temporary URL is signed with: the configured one, the account's, or a new one that no other is lost for.
func TestTheKeyOfTemporaryURLs(t *testing.T) {
	for name, tt := range map[string]struct {
		configured, account string
		works               bool
		sets                bool
	}{
		"nobody has one":         {"", "", true, true},
		"the account has one":    {"", "theirs", true, false},
		"configured alone":       {"ours", "", true, true},
		"both, the same":         {"ours", "ours", true, false},
		"both, and not the same": {"ours", "theirs", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, o := objects(t)
			o.Key = tt.configured
			c.Swift.SetKey(tt.account)
			if err := o.Put(t.Context(), "drives", "one", strings.NewReader("a drive"), time.Hour); err != nil {
				t.Fatal(err)
			}
			signed, err := o.URL(t.Context(), "drives", "one", time.Now().Add(time.Minute))
			if !tt.works {
				if node.KindOf(err) != node.Invalid || strings.Contains(err.Error(), "ours") || strings.Contains(err.Error(), "theirs") {
					t.Errorf("got %q %v", signed, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if status, body := get(t, signed); status != 200 || body != "a drive" {
				t.Errorf("%d %s", status, body)
			}
			if sets := len(c.Swift.Asked("POST "+accountPath)) > 0; sets != tt.sets {
				t.Errorf("the account was given a key: %v", sets)
			}
			if tt.account != "" && c.Swift.Key() != tt.account {
				t.Error("the account's key was overwritten")
			}
			if err := o.Check(t.Context(), signed); err != nil {
				t.Error(err)
			}
		})
	}
}

// A key that the account gets later is used soon, and what is wrong with a URL is said without the URL's signature.
func TestATemporaryURLThatSwiftDoesNotTake(t *testing.T) {
	c, o := objects(t)
	if err := o.Put(t.Context(), "drives", "one", strings.NewReader("a drive"), time.Hour); err != nil {
		t.Fatal(err)
	}
	signed, err := o.URL(t.Context(), "drives", "one", time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	_, signature, _ := strings.Cut(signed, "?")
	c.Swift.SetKey("another")
	for what, prepare := range map[string]func(){
		"another key": func() {},
		"away":        func() { c.Swift.Fail(openstacktest.Abort) },
		"no object": func() {
			c.Swift.Fail(openstacktest.Answer(404, ""))
		},
	} {
		prepare()
		err := o.Check(t.Context(), signed)
		if err == nil || strings.Contains(err.Error(), signature) || strings.Contains(err.Error(), "temp_url_sig") {
			t.Errorf("%s: %v", what, err)
		}
		c.Swift.Fail(nil)
	}
}

// A machine reads a URL that lives for a minute though Swift's clock is an hour off.
func TestSwiftsClockIsWrong(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		c, o := objects(t)
		c.Swift.Now = func() time.Time { return time.Now().Add(off) }
		if err := o.Put(t.Context(), "drives", "one", strings.NewReader("a drive"), 2*time.Hour); err != nil {
			t.Fatal(err)
		}
		signed, err := o.URL(t.Context(), "drives", "one", time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if status, _ := get(t, signed); status != 200 {
			t.Errorf("%s off: %d", off, status)
		}
		late, err := o.URL(t.Context(), "drives", "one", time.Now().Add(-time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if status, _ := get(t, late); status != 401 {
			t.Errorf("%s off, and too late: %d", off, status)
		}
	}
}

// What Swift does wrong while an object is kept: it is there as a whole or not at all, and the error says whether to try again.
func TestAnObjectIsKeptWholeOrNotAtAll(t *testing.T) {
	const put = "PUT " + accountPath + "/drives/one"
	content := bytes.Repeat([]byte("a drive "), 100_000)
	for name, tt := range map[string]struct {
		fault func(*openstacktest.Cloud) openstacktest.Fault
		kind  node.Kind // of the error; -1: none
		text  string
	}{
		"too large": {func(*openstacktest.Cloud) openstacktest.Fault { return openstacktest.Answer(413, "<html>") },
			node.Invalid, "Swift was asked to keep drives/one and answered 413 (Request Entity Too Large)"},
		"full": {func(*openstacktest.Cloud) openstacktest.Fault { return openstacktest.Answer(507, "<html>") },
			node.Unavailable, "Swift was asked to keep drives/one and answered 507 (Insufficient Storage)"},
		"busy twice": {func(*openstacktest.Cloud) openstacktest.Fault {
			return openstacktest.Times(2, openstacktest.Later("0"))
		}, -1, ""},
		"busy for a minute": {func(*openstacktest.Cloud) openstacktest.Fault { return openstacktest.Later("60") },
			node.Unavailable, "Swift was asked to keep drives/one and answered 503 (Service Unavailable)"},
		"killed in the middle, once": {func(*openstacktest.Cloud) openstacktest.Fault {
			return openstacktest.Times(1, func(w http.ResponseWriter, r *http.Request) bool {
				_, _ = io.CopyN(io.Discard, r.Body, 1000)
				return openstacktest.Abort(w, r)
			})
		}, -1, ""},
		"a token ends in the middle": {func(c *openstacktest.Cloud) openstacktest.Fault {
			return openstacktest.Times(1, func(http.ResponseWriter, *http.Request) bool { c.Keystone.Revoke(); return false })
		}, -1, ""},
		"the container is deleted before": {func(c *openstacktest.Cloud) openstacktest.Fault {
			return openstacktest.Times(1, func(http.ResponseWriter, *http.Request) bool { c.Swift.RemoveContainer("drives"); return false })
		}, -1, ""},
		"the container is deleted always": {func(c *openstacktest.Cloud) openstacktest.Fault {
			return func(http.ResponseWriter, *http.Request) bool { c.Swift.RemoveContainer("drives"); return false }
		}, node.NotFound, "Swift was asked to keep drives/one and answered 404 (Not Found)"},
		"changed on its way": {func(*openstacktest.Cloud) openstacktest.Fault {
			return func(_ http.ResponseWriter, r *http.Request) bool {
				r.Body = io.NopCloser(strings.NewReader(strings.Repeat("X", len(content))))
				return false
			}
		}, node.Invalid, "Swift was asked to keep drives/one and answered 422 (Unprocessable Entity)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, o := objects(t)
			c.Swift.Fail(openstacktest.On(put, tt.fault(c)))
			err := o.Put(t.Context(), "drives", "one", bytes.NewReader(content), time.Hour)
			c.Swift.Fail(nil)
			if tt.kind < 0 {
				got, getErr := o.Get(t.Context(), "drives", "one", 1<<20)
				if err != nil || getErr != nil || !bytes.Equal(got, content) {
					t.Errorf("%v, %d bytes, %v", err, len(got), getErr)
				}
				return
			}
			if err == nil || node.KindOf(err) != tt.kind || !strings.HasPrefix(err.Error(), tt.text) {
				t.Errorf("got %v of kind %v", err, node.KindOf(err))
			}
			if there := c.Swift.Objects("drives"); len(there) > 0 {
				t.Errorf("it is there: %v", there)
			}
		})
	}
}

// What is read back is bounded, and an object that has come to its end is not there.
func TestObjectsAreReadWithinBounds(t *testing.T) {
	c, o := objects(t)
	if err := o.Put(t.Context(), "drives", "one", strings.NewReader("a drive"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if b, err := o.Get(t.Context(), "drives", "one", 6); node.KindOf(err) != node.Invalid {
		t.Errorf("too much: %s %v", b, err)
	}
	if names, err := o.List(t.Context(), "drives", "on"); err != nil || !slices.Equal(names, []string{"one"}) {
		t.Errorf("%v %v", names, err)
	}
	if names, err := o.List(t.Context(), "drives", "two"); err != nil || len(names) > 0 {
		t.Errorf("%v %v", names, err)
	}
	if _, err := o.List(t.Context(), "none", ""); node.KindOf(err) != node.NotFound {
		t.Error(err)
	}
	c.Swift.Fail(openstacktest.Half(200, "a dri"))
	if b, err := o.Get(t.Context(), "drives", "one", 100_000); node.KindOf(err) != node.Unavailable {
		t.Errorf("half: %s %v", b, err)
	}
	c.Swift.Fail(nil)
	c.Swift.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if b, err := o.Get(t.Context(), "drives", "one", 100); node.KindOf(err) != node.NotFound {
		t.Errorf("after its end: %s %v", b, err)
	}
	if err := o.Delete(t.Context(), "drives", "one"); err != nil {
		t.Errorf("deleted after its end: %v", err)
	}
	if there := c.Swift.Objects("drives"); !slices.Equal(there, []string{}) {
		t.Errorf("%v", there)
	}
}
