package cloud_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/compat/cloud"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/image/cache"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

// sourcesOf is the image store of a Billet that logs in as one of the cloud's users.
func sourcesOf(t *testing.T, c *cloud.Cloud, user, project, password string) (*image.Store, *openstack.Session) {
	t.Helper()
	session, err := openstack.Open(openstack.Config{
		AuthURL: c.AuthURL(), Username: user, Password: password, Project: project, Region: "RegionOne",
	})
	if err != nil {
		t.Fatal(err)
	}
	glance := &openstack.Images{Session: session}
	kept, err := cache.New(t.Context(), cache.Config{Dir: t.TempDir() + "/cache", Limit: 1 << 30, Open: glance.Open})
	if err != nil {
		t.Fatal(err)
	}
	return &image.Store{Gate: fetch.Loopback(), Registry: glance, Cache: kept,
		Away: func(err error) bool { return node.KindOf(err) == node.Unavailable }}, session
}

// glanceDo asks Glance as an administrator.
func glanceDo(t *testing.T, c *cloud.Cloud, method, path, body string, header map[string]string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.URL("glance")+"/v2/images"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", c.Token("admin"))
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, answer, err)
	}
	return answer
}

// upload makes an image in one of Glance's stores, and returns its ID.
func upload(t *testing.T, c *cloud.Cloud, content, store, properties string) string {
	t.Helper()
	var made struct{ ID string }
	answer := glanceDo(t, c, "POST", "", `{"name": "h", "disk_format": "raw", "container_format": "bare"`+properties+`}`,
		map[string]string{"Content-Type": "application/json"})
	if err := json.Unmarshal(answer, &made); err != nil || made.ID == "" {
		t.Fatalf("%s %v", answer, err)
	}
	glanceDo(t, c, "PUT", "/"+made.ID+"/file", content,
		map[string]string{"Content-Type": "application/octet-stream", "X-Image-Meta-Store": store})
	t.Cleanup(func() {
		req, _ := http.NewRequest(http.MethodDelete, c.URL("glance")+"/v2/images/"+made.ID, nil)
		req.Header.Set("X-Auth-Token", c.Token("admin"))
		if resp, err := http.DefaultClient.Do(req); err == nil { // one test deletes it itself
			resp.Body.Close()
		}
	})
	return made.ID
}

func resolveThere(t *testing.T, s *image.Store, source string) (image.Resolved, error) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		r, err := s.Resolve(t.Context(), image.Ref{Source: source})
		if _, fetching := errors.AsType[*image.Fetching](err); !fetching {
			return r, err
		}
		if time.Now().After(deadline) {
			t.Fatal("the image does not arrive")
		}
	}
}

// Images of the real Glance, from files and from the real Swift, by way of the cache and by temporary URLs; and what Glance does not
// give, each with its own sentence.
func TestImagesOfTheRealGlance(t *testing.T) {
	c := cloud.Shared(t, "db", "keystone", "glance", "swift")
	content := strings.Repeat("an image of Glance ", 300_000)
	// Glance's objects are in the account of project service.
	billet, session := sourcesOf(t, c, "nova", "service", cloud.Password)
	inFile := upload(t, c, content, "file", `, "visibility": "public", "min_disk": 3, "hw_firmware_type": "uefi", "img_type": "whole-disk"`)
	inSwift := upload(t, c, content, "swift", `, "visibility": "public"`)
	for _, id := range []string{inFile, inSwift} {
		r, err := resolveThere(t, billet, "glance://"+id)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(r.Path); err != nil || string(got) != content || r.HashAlgo != "sha512" || r.Info.Format != image.Raw {
			t.Errorf("%s: %+v, %d bytes, %v", id, r, len(got), err)
		}
	}
	d, err := billet.Describe(t.Context(), image.Ref{Source: inFile})
	if err != nil || d.MinDisk != 3 || d.Kind != "whole-disk" || d.Capabilities["boot_mode"] != "uefi" || d.Status != "active" {
		t.Errorf("%+v %v", d, err)
	}
	t.Run("temporary URL", func(t *testing.T) {
		byURL, _ := sourcesOf(t, c, "nova", "service", cloud.Password)
		byURL.URLs = &openstack.ImageURLs{Objects: &openstack.Objects{Session: session}, Container: "glance", Life: time.Hour}
		temporary(t, byURL, inSwift, content)
		r, err := resolveThere(t, byURL, inFile)
		if err != nil || r.URL != "" || r.Path == "" {
			t.Errorf("an image that is not in Swift goes by the cache: %+v %v", r, err)
		}
	})
	t.Run("refusals", func(t *testing.T) { refusals(t, c, billet, inFile) })
}

// temporary reads an image as a machine would, by another program where there is one.
func temporary(t *testing.T, s *image.Store, id, content string) {
	r, err := s.Resolve(t.Context(), image.Ref{Source: id})
	if err != nil || !strings.Contains(r.URL, "temp_url_sig=") || r.Size != int64(len(content)) || r.HashAlgo != "sha512" || r.Path != "" {
		t.Fatalf("%+v %v", r, err)
	}
	resp, err := http.Get(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, []byte(content)) {
		t.Errorf("%d %d bytes %v", resp.StatusCode, len(got), err)
	}
}

func refusals(t *testing.T, c *cloud.Cloud, billet *image.Store, public string) {
	stranger, _ := sourcesOf(t, c, "demo", "demo", "demo")
	private := upload(t, c, "bytes", "file", `, "visibility": "private"`)
	gone := upload(t, c, "bytes", "file", "")
	glanceDo(t, c, "DELETE", "/"+gone, "", nil)
	idle := upload(t, c, "bytes", "file", "")
	glanceDo(t, c, "POST", "/"+idle+"/actions/deactivate", "", nil)
	for name, tt := range map[string]struct {
		store    *image.Store
		id, says string
	}{
		"queued":      {billet, queue(t, c), "nothing was uploaded to it yet"},
		"deactivated": {billet, idle, "it was deactivated"},
		"deleted":     {billet, gone, "Glance has no image " + gone + ", or Billet's account may not see it"},
		"private":     {stranger, private, "Glance has no image " + private + ", or Billet's account may not see it"},
	} {
		_, err := tt.store.Begin(t.Context(), image.Ref{Source: tt.id})
		if err == nil || !strings.Contains(fmt.Sprint(err), tt.says) || node.KindOf(err) == node.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := stranger.Describe(t.Context(), image.Ref{Source: public}); err != nil {
		t.Errorf("a public image: %v", err)
	}
	if _, err := billet.Describe(t.Context(), image.Ref{Source: private}); err != nil {
		t.Errorf("an administrator sees every image: %v", err)
	}
}
