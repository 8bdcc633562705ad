package cache_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/image/cache"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
	"github.com/billet-metal/billet/openstack/openstacktest"
)

const imageID = "3b8d3f2c-0000-4000-8000-000000000001"

// world is a store with a cache in front of a Glance that fails on request.
type world struct {
	*image.Store
	cloud *openstacktest.Cloud
	cfg   cache.Config
	data  []byte
}

func newWorld(t *testing.T, change func(*cache.Config)) *world {
	t.Helper()
	w := &world{cloud: openstacktest.New(t), data: bytes.Repeat([]byte("an image of Glance "), 50_000)}
	w.cloud.Glance.Add(imageID, w.data, nil)
	w.cfg = cache.Config{Dir: filepath.Join(t.TempDir(), "cache"), Pause: time.Millisecond, Rest: time.Millisecond}
	if change != nil {
		change(&w.cfg)
	}
	w.Store = w.process(t)
	return w
}

// process is another process's store on the same cache.
func (w *world) process(t *testing.T) *image.Store {
	t.Helper()
	session, err := openstack.Open(openstack.Config{AuthURL: w.cloud.AuthURL(), Username: openstacktest.Username,
		Password: openstacktest.Password, Project: openstacktest.Project, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	glance := &openstack.Images{Session: session}
	cfg := w.cfg
	cfg.Open = glance.Open
	kept, err := cache.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &image.Store{Registry: glance, Cache: kept, Away: func(err error) bool { return node.KindOf(err) == node.Unavailable }}
}

// resolve asks as long as the image is on its way.
func resolve(t *testing.T, s *image.Store, ref image.Ref) (image.Resolved, error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		r, err := s.Resolve(t.Context(), ref)
		if _, fetching := errors.AsType[*image.Fetching](err); !fetching {
			return r, err
		}
		if time.Now().After(deadline) {
			t.Fatal("the image does not arrive")
		}
	}
}

// downloads counts how often Glance was asked for bytes.
func (w *world) downloads() (n int) {
	for _, asked := range w.cloud.Glance.Asked("GET") {
		if strings.HasSuffix(asked, "/file") {
			n++
		}
	}
	return n
}

// ofBytes makes a fault of the requests for bytes alone, n times.
func ofBytes(n int32, fault func(w http.ResponseWriter)) openstacktest.Fault {
	var done atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/file") || done.Add(1) > n {
			return false
		}
		fault(w)
		return true
	}
}

func TestFetchesOnceForManyNodesAndProcesses(t *testing.T) {
	w := newWorld(t, nil)
	w.cloud.Glance.Fail(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/file") {
			time.Sleep(100 * time.Millisecond) // all others come meanwhile
		}
		return false
	})
	stores := []*image.Store{w.Store, w.process(t), w.process(t)}
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			r, err := resolve(t, stores[i%len(stores)], image.Ref{Source: imageID})
			if err != nil {
				t.Errorf("node %d: %v", i, err)
				return
			}
			got, err := os.ReadFile(r.Path)
			if sum := sha512.Sum512(w.data); err != nil || !bytes.Equal(got, w.data) || r.HashAlgo != "sha512" ||
				r.HashValue != hex.EncodeToString(sum[:]) || r.Size != int64(len(w.data)) || r.Info.Format != image.Raw {
				t.Errorf("node %d: %+v, %d bytes, %v", i, r, len(got), err)
			}
		})
	}
	all.Wait()
	if n := w.downloads(); n != 1 {
		t.Errorf("Glance was asked for the bytes %d times", n)
	}
	for _, source := range []string{imageID, strings.ToUpper(imageID), "glance://" + imageID, "Glance://" + imageID} {
		if r, err := w.Resolve(t.Context(), image.Ref{Source: source}); err != nil || r.Path == "" {
			t.Errorf("%s: %+v %v", source, r, err)
		}
	}
}

// What can be known by the document is known before a byte is fetched.
func TestRefusesByTheDocument(t *testing.T) {
	for name, tt := range map[string]struct {
		doc  map[string]any
		says string
	}{
		"queued":      {map[string]any{"status": "queued", "size": nil, "checksum": nil, "os_hash_value": nil}, "nothing was uploaded"},
		"saving":      {map[string]any{"status": "saving"}, "its upload has not ended"},
		"deactivated": {map[string]any{"status": "deactivated"}, "it was deactivated"},
		"deleted":     {map[string]any{"status": "deleted"}, "it was deleted"},
		"failed":      {map[string]any{"status": "killed"}, "its upload failed"},
		"unknown":     {map[string]any{"status": "dancing"}, `its status is "dancing"`},
		"empty":       {map[string]any{"size": 0}, "it is empty"},
		"no sum":      {map[string]any{"checksum": nil, "os_hash_value": nil}, "no checksum"},
		"vmdk":        {map[string]any{"disk_format": "vmdk"}, "its disk_format is vmdk"},
		"kernel":      {map[string]any{"disk_format": "aki"}, "a kernel or a ramdisk"},
		"container":   {map[string]any{"container_format": "ova"}, "its container_format is ova"},
		"too large":   {map[string]any{"size": 1 << 40}, "holds 1073741824 at most (image_cache_size_gb)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *cache.Config) { c.Limit = 1 << 30 })
			w.cloud.Glance.Add(imageID, w.data, tt.doc)
			_, err := w.Begin(t.Context(), image.Ref{Source: imageID})
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), imageID) {
				t.Errorf("got %v", err)
			}
			if node.KindOf(err) == node.Unavailable {
				t.Error("it is tried again")
			}
			if n := w.downloads(); n != 0 {
				t.Errorf("%d downloads", n)
			}
		})
	}
	w := newWorld(t, nil)
	_, err := w.Begin(t.Context(), image.Ref{Source: "3b8d3f2c-0000-4000-8000-000000000002"})
	if node.KindOf(err) != node.NotFound || !strings.Contains(err.Error(), "or Billet's account may not see it") {
		t.Errorf("an image that is not there: %v", err)
	}
}

// A fault that passes costs a try, one that stays ends the fetch with its reason; nothing of either is kept.
func TestFaultsOfTheBytes(t *testing.T) {
	half := func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "950000")
		_, _ = w.Write(make([]byte, 1000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	status := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(code) }
	}
	other := func(w http.ResponseWriter) { _, _ = w.Write(bytes.Repeat([]byte("x"), 950_000)) }
	for name, tt := range map[string]struct {
		fault func(http.ResponseWriter)
		times int32
		says  string
		kind  node.Kind
		tries int
	}{
		"half a body, once":   {half, 1, "", 0, 2},
		"half a body":         {half, 99, "Glance broke off after 1000 of 950000 bytes", node.Unavailable, 3},
		"503, twice":          {status(503), 2, "", 0, 3},
		"503":                 {status(503), 999, "answered 503", node.Unavailable, 3 * 3}, // the session tries, too
		"401, once":           {status(401), 1, "", 0, 2},
		"403":                 {status(403), 99, "answered 403", node.Forbidden, 1},
		"404":                 {status(404), 99, "answered 404", node.NotFound, 1},
		"204":                 {status(204), 99, "has no bytes", node.NotFound, 1},
		"wrong content, once": {other, 1, "", 0, 2},
		"wrong content":       {other, 99, "but Glance says", node.Invalid, 3},
		"too much":            {func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 960_000)) }, 99, "sends more", node.Invalid, 3},
		"silence": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "950000")
			_, _ = w.Write(make([]byte, 1000))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Second)
		}, 1, "", 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *cache.Config) { c.Silence, c.Rest = 300*time.Millisecond, time.Hour })
			w.cloud.Glance.Fail(ofBytes(tt.times, tt.fault))
			r, err := resolve(t, w.Store, image.Ref{Source: imageID})
			if tt.says == "" {
				if got, other := os.ReadFile(r.Path); err != nil || other != nil || !bytes.Equal(got, w.data) {
					t.Errorf("%v %v", err, other)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.says) || node.KindOf(err) != tt.kind {
				t.Errorf("kind %v: %v", node.KindOf(err), err)
			}
			if n := w.downloads(); n != tt.tries {
				t.Errorf("%d tries", n)
			}
			if tt.says != "" {
				w.nothingKept(t)
			}
		})
	}
}

func (w *world) nothingKept(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(w.cfg.Dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f, ".lock") {
			t.Errorf("%s is kept", f)
		}
	}
}

// What a killed fetch left counts for nothing, and neither does a file that somebody changed.
func TestTrustsNothingThatWasLeft(t *testing.T) {
	w := newWorld(t, nil)
	r, err := resolve(t, w.Store, image.Ref{Source: imageID})
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(w.data)
	changed[5] ^= 1
	if err := os.WriteFile(r.Path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.Path+".part", changed, 0o600); err != nil {
		t.Fatal(err)
	}
	later := w.process(t)
	if left, _ := filepath.Glob(w.cfg.Dir + "/*.part"); len(left) > 0 {
		t.Errorf("left after a start: %v", left)
	}
	r, err = resolve(t, later, image.Ref{Source: imageID})
	if got, other := os.ReadFile(r.Path); err != nil || other != nil || !bytes.Equal(got, w.data) {
		t.Errorf("%v %v", err, other)
	}
	if n := w.downloads(); n != 2 {
		t.Errorf("%d downloads", n)
	}
}

// The images that nobody used for the longest time go first, and never one that a machine reads or is about to.
func TestDropsByUse(t *testing.T) {
	reading := ""
	w := newWorld(t, func(c *cache.Config) {
		c.Limit, c.Fresh = 3_000_000, time.Hour
		c.InUse = func(context.Context) ([]string, error) { return []string{reading}, nil }
	})
	id := func(n int) string { return fmt.Sprintf("3b8d3f2c-0000-4000-8000-%012d", n) }
	fetch := func(n int) (string, error) {
		data := make([]byte, 950_000)
		_, _ = rand.Read(data)
		data[510], data[511] = 0, 0
		w.cloud.Glance.Add(id(n), data, nil)
		r, err := resolve(t, w.Store, image.Ref{Source: id(n)})
		return r.Path, err
	}
	paths := map[int]string{}
	for n := 10; n < 13; n++ {
		path, err := fetch(n)
		if err != nil {
			t.Fatal(err)
		}
		paths[n] = path
	}
	if _, err := fetch(13); node.KindOf(err) != node.Unavailable || !strings.Contains(err.Error(), "raise image_cache_size_gb") {
		t.Errorf("all were used lately: %v", err)
	}
	for n, hours := range map[int]time.Duration{10: 5, 11: 9, 12: 2} {
		old := time.Now().Add(-hours * time.Hour)
		if err := os.Chtimes(paths[n]+".json", old, old); err != nil {
			t.Fatal(err)
		}
	}
	reading = paths[11] // the oldest
	if _, err := fetch(14); err != nil {
		t.Fatal(err)
	}
	for n, there := range map[int]bool{10: false, 11: true, 12: true} {
		if _, err := os.Stat(paths[n]); (err == nil) != there {
			t.Errorf("image %d: %v", n, err)
		}
	}
}

// An image is judged by its first bytes while the rest is on its way.
func TestBeginsByTheFirstBytes(t *testing.T) {
	w := newWorld(t, nil)
	unsafe := append([]byte("KDMV"), make([]byte, 900_000)...)
	w.cloud.Glance.Add(imageID, unsafe, nil)
	hang := make(chan struct{})
	w.cloud.Glance.Fail(ofBytes(1, func(rw http.ResponseWriter) {
		_, _ = rw.Write(unsafe[:100_000])
		_ = http.NewResponseController(rw).Flush()
		<-hang
	}))
	defer close(hang)
	_, err := w.Begin(t.Context(), image.Ref{Source: imageID})
	if _, refused := errors.AsType[*image.Refusal](err); !refused || !strings.Contains(err.Error(), "vmdk image refused") {
		t.Errorf("got %v", err)
	}
}

// MD5 can be forged: machines are given a better sum, of the bytes that had the right MD5.
func TestMD5IsReplaced(t *testing.T) {
	w := newWorld(t, nil)
	w.cloud.Glance.Add(imageID, w.data, map[string]any{"os_hash_algo": nil, "os_hash_value": nil})
	r, err := resolve(t, w.Store, image.Ref{Source: imageID})
	if err != nil || r.HashAlgo != "sha256" || len(r.HashValue) != 64 {
		t.Errorf("%+v %v", r, err)
	}
}

// A checksum on the node besides must be right, too.
func TestChecksumOnTheNode(t *testing.T) {
	w := newWorld(t, nil)
	_, err := resolve(t, w.Store, image.Ref{Source: imageID, HashAlgo: "sha256", HashValue: strings.Repeat("0", 64)})
	if err == nil || !strings.Contains(err.Error(), "but instance_info asks for 000") {
		t.Errorf("got %v", err)
	}
}

// While Glance is away a kernel that was fetched before serves, and an image is waited for.
func TestGlanceAway(t *testing.T) {
	w := newWorld(t, nil)
	source := "glance://" + imageID
	var path string
	for deadline := time.Now().Add(time.Minute); path == "" && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		path, _ = w.KeepFile(t.Context(), source)
	}
	w.cloud.Glance.Close()
	if got, err := w.KeepFile(t.Context(), source); err != nil || got != path {
		t.Errorf("%q %v", got, err)
	}
	if _, err := w.Begin(t.Context(), image.Ref{Source: source}); node.KindOf(err) != node.Unavailable {
		t.Errorf("got %v", err)
	}
	if _, err := w.File(t.Context(), source); err != nil {
		t.Errorf("nobody can say that it is not there: %v", err)
	}
}
