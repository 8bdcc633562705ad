package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/openstack"
	"github.com/billet-metal/billet/openstack/openstacktest"
)

// The parts are put together so that an image of Glance comes to a machine by the cache, which nobody may name, or by Swift.
func TestImagesOfACloud(t *testing.T) {
	const id = "3b8d3f2c-0000-4000-8000-000000000001"
	data := bytes.Repeat([]byte("an image of Glance "), 10_000)
	for _, source := range []string{"cache", "swift"} {
		t.Run(source, func(t *testing.T) {
			c, store := cloudOf(t, "--image-download-source="+source, "--url-allowed-networks=127.0.0.0/8")
			c.cloud.Glance.Add(id, data, nil)
			if source == "swift" {
				objects := store.URLs.(*openstack.ImageURLs).Objects
				if err := objects.Put(t.Context(), "glance", id, bytes.NewReader(data), 0); err != nil {
					t.Fatal(err)
				}
			}
			var r image.Resolved
			for deadline := time.Now().Add(time.Minute); r.Size == 0; time.Sleep(time.Millisecond) {
				got, err := store.Resolve(t.Context(), image.Ref{Source: id})
				if r = got; err != nil && time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
			if source == "swift" {
				if r.Path != "" || !strings.Contains(r.URL, "temp_url_sig=") {
					t.Errorf("%+v", r)
				}
				return
			}
			if filepath.Dir(r.Path) != c.ImageCacheDir || r.URL != "" {
				t.Fatalf("%+v", r)
			}
			if f, _, err := served(c.Config, c.gate()).Open(r.Path); err != nil {
				t.Errorf("machines are not served it: %v", err)
			} else {
				f.Close()
			}
			if _, err := store.File(t.Context(), "file://"+r.Path); err == nil || !strings.Contains(err.Error(), "may not be read") {
				t.Errorf("by its path: %v", err)
			}
		})
	}
}

type cloudConfig struct {
	*Config
	cloud *openstacktest.Cloud
}

// cloudOf is a configuration with a cloud around it, and its image store.
func cloudOf(t *testing.T, args ...string) (cloudConfig, *image.Store) {
	t.Helper()
	cloud := openstacktest.New(t)
	cmd := serveCommand()
	if err := cmd.ParseFlags(append([]string{"--data-dir=" + t.TempDir(), "--openstack-auth-url=" + cloud.AuthURL(),
		"--openstack-username=" + openstacktest.Username, "--openstack-password=" + openstacktest.Password}, args...)); err != nil {
		t.Fatal(err)
	}
	c, _, err := loadConfig(cmd.Flags(), nil)
	if err != nil {
		t.Fatal(err)
	}
	session, err := c.session()
	if err != nil {
		t.Fatal(err)
	}
	store, err := imageSources(t.Context(), c, session, c.gate(), func(context.Context) ([]string, error) { return nil, nil },
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return cloudConfig{c, cloud}, store
}

// A cloud that is half configured is said, and one that is not there changes nothing.
func TestNoCloud(t *testing.T) {
	c := &Config{ImageDir: t.TempDir()}
	session, err := c.session()
	if session != nil || err != nil {
		t.Fatalf("%v %v", session, err)
	}
	store, err := imageSources(t.Context(), c, nil, c.gate(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	const name = "3b8d3f2c-0000-4000-8000-000000000001"
	if err := os.WriteFile(filepath.Join(c.ImageDir, name), []byte("an image"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := store.Resolve(t.Context(), image.Ref{Source: name}); err != nil || r.Path != filepath.Join(c.ImageDir, name) {
		t.Errorf("a file whose name is a UUID: %+v %v", r, err)
	}
	err = store.Validate(image.Ref{Source: "glance://" + name})
	if err == nil || !strings.Contains(err.Error(), "this service knows no cloud") {
		t.Errorf("got %v", err)
	}
}
