package cloud_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/compat/cloud"
	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

func TestMain(m *testing.M) { os.Exit(inScratch(m)) }

// The clients of the room openstack at the real Keystone, Glance and Swift.
func TestClientsOfTheRealServices(t *testing.T) {
	c := cloud.Shared(t, "db", "keystone", "glance", "swift")
	session, err := openstack.Open(openstack.Config{
		AuthURL: c.AuthURL(), Username: "nova", Password: cloud.Password, Project: "service", Region: "RegionOne",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("tokens", func(t *testing.T) { tokensOf(t, c, session) })
	t.Run("images", func(t *testing.T) { imagesOf(t, c, session) })
	t.Run("objects", func(t *testing.T) { objectsOf(t, c, session) })
}

func tokensOf(t *testing.T, c *cloud.Cloud, session *openstack.Session) {
	tokens := &openstack.Tokens{Session: session}
	ask := func(token string) (node.Identity, error) { return tokens.Ask(t.Context(), door.Question{Token: token}) }
	demo, admin := c.Token("demo"), c.Token("admin")
	if id, err := ask(demo); err != nil || id.Project == "" || id.System || !id.Has("member") || !id.Has("reader") || id.Has("admin") {
		t.Errorf("demo: %+v %v", id, err)
	}
	if id, err := ask(admin); err != nil || !id.Has("admin") {
		t.Errorf("admin: %+v %v", id, err)
	}
	if _, err := ask("gAAAAABnot-a-token"); node.KindOf(err) != node.NotFound {
		t.Errorf("nonsense: %v", err)
	}
	gone := c.Token("demo")
	c.Identities().Revoke(gone)
	if _, err := ask(gone); node.KindOf(err) != node.NotFound {
		t.Errorf("a revoked token: %v", err)
	}
}

func imagesOf(t *testing.T, c *cloud.Cloud, session *openstack.Session) {
	content := bytes.Repeat([]byte("an image "), 100_000)
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	id := c.MustOpenStack("admin", "image", "create", "--disk-format", "raw", "--container-format", "bare", "--file", file,
		"--property", "kernel_id=abc", "--min-disk", "3", "small", "-f", "value", "-c", "id")
	images := &openstack.Images{Session: session}
	i, err := images.Image(t.Context(), id)
	sum := sha512.Sum512(content)
	if err != nil || i.Status != "active" || i.Size != int64(len(content)) || i.HashAlgo != "sha512" ||
		i.HashValue != hex.EncodeToString(sum[:]) || i.DiskFormat != "raw" || i.MinDisk != 3 ||
		i.Properties["kernel_id"] != "abc" || i.Name != "small" {
		t.Fatalf("%+v %v", i, err)
	}
	r, err := images.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	r.Close()
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes %v", len(got), err)
	}
	if _, err := images.Image(t.Context(), "00000000-0000-4000-8000-000000000000"); node.KindOf(err) != node.NotFound {
		t.Errorf("an image that is not there: %v", err)
	}
	queued := queue(t, c)
	if i, err := images.Image(t.Context(), queued); err != nil || i.Status != "queued" || i.Size != 0 {
		t.Errorf("queued: %+v %v", i, err)
	}
	if _, err := images.Open(t.Context(), queued); node.KindOf(err) != node.NotFound {
		t.Errorf("the bytes of a queued image: %v", err)
	}
	c.MustOpenStack("admin", "image", "set", "--deactivate", id)
	if i, err := images.Image(t.Context(), id); err != nil || i.Status != "deactivated" { // an administrator may read its bytes all the same
		t.Errorf("deactivated: %+v %v", i, err)
	}
}

// queue makes an image that nothing was uploaded to; the command line always uploads something.
func queue(t *testing.T, c *cloud.Cloud) string {
	req, _ := http.NewRequestWithContext(t.Context(), "POST", c.URL("glance")+"/v2/images", strings.NewReader(`{"name": "queued"}`))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Auth-Token", c.Token("admin"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct{ ID string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || made.ID == "" {
		t.Fatalf("%d %+v %v", resp.StatusCode, made, err)
	}
	return made.ID
}

func objectsOf(t *testing.T, c *cloud.Cloud, session *openstack.Session) {
	c.MustOpenStack("nova", "object", "store", "account", "set", "--property", "Temp-URL-Key=a key")
	objects := &openstack.Objects{Session: session, Key: "a key"}
	if err := objects.Put(t.Context(), "drives", "one", strings.NewReader("a config drive"), time.Hour); err != nil {
		t.Fatal(err)
	}
	get := func(container, object string, end time.Time) (int, string) {
		u, err := objects.URL(t.Context(), container, object, end)
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequestWithContext(context.Background(), "GET", u, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if status, body := get("drives", "one", time.Now().Add(time.Minute)); status != 200 || body != "a config drive" {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get("drives", "one", time.Now().Add(-time.Minute)); status != 401 {
		t.Errorf("after its end: %d", status)
	}
	if err := objects.Delete(t.Context(), "drives", "one"); err != nil {
		t.Error(err)
	}
	if status, _ := get("drives", "one", time.Now().Add(time.Minute)); status != 404 {
		t.Errorf("after it was deleted: %d", status)
	}
	if err := objects.Delete(t.Context(), "drives", "one"); err != nil {
		t.Errorf("again: %v", err)
	}
}

// scratch is a folder of this run of the tests.
var scratch string

func inScratch(m *testing.M) int {
	dir, err := os.MkdirTemp("", "billet-cloud-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	scratch = dir
	return cloud.Run(m)
}
