package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/boot/web"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

// own are the files of a service that nobody is given, in data_dir; made those that are for machines.
var (
	own = []string{"secret.key", "billet.db", "billet.db-wal", "billet.db-shm", "ephemeral-123", "deploy-logs/node-1.tar.gz", "anything",
		"image-cache/3b8d3f2c.ab"}
	made = []string{"images/debian.raw", "ramdisk/vmlinuz", "ramdisk/initramfs", "ramdisk/vmlinuz-arm64"}
)

// layouts are ways in which the directories of the configuration lie to each other. @ is a fresh folder, in which
// everything is made; the first one is the built-in defaults, moved there.
var layouts = []struct {
	name  string
	flags []string
	open  []string // beside what is made for machines
	shut  []string // beside the service's own
}{
	{"defaults", []string{"--data-dir=@/var/lib/billet"}, nil, []string{"etc/htpasswd", "var/lib/other"}},
	{"data_dir is allowed", []string{"--data-dir=@/var/lib/billet", "--file-url-allowed-paths=@/var/lib/billet"},
		nil, []string{"etc/htpasswd"}},
	{"above data_dir is allowed", []string{"--data-dir=@/var/lib/billet", "--file-url-allowed-paths=@/var/lib"},
		[]string{"var/lib/other"}, []string{"etc/htpasswd"}},
	{"everything is allowed", []string{"--data-dir=@/var/lib/billet", "--file-url-allowed-paths=/"}, []string{"var/lib/other", "etc/issue"},
		[]string{"etc/htpasswd", "etc/billet.yaml"}},
	{"a folder in data_dir is allowed", []string{"--data-dir=@/var/lib/billet", "--file-url-allowed-paths=@/var/lib/billet/shared"},
		[]string{"var/lib/billet/shared/x"}, nil},
	{"the folder of the logs' folder is allowed",
		[]string{"--data-dir=@/var/lib/billet", "--file-url-allowed-paths=@/var/lib/billet/"}, nil, nil},
	{"images elsewhere", []string{"--data-dir=@/var/lib/billet", "--image-dir=@/srv"}, []string{"srv/x"}, []string{"etc/issue"}},
	{"data_dir by a link", []string{"--data-dir=@/link", "--file-url-allowed-paths=@/link,@/var/lib/billet"}, nil, nil},
	{"allowed by a link", []string{"--data-dir=@/var/lib/billet", "--file-url-allowed-paths=@/link"}, nil, nil},
	{"the key elsewhere", []string{"--data-dir=@/var/lib/billet", "--secret-key-file=@/srv/secret.key", "--file-url-allowed-paths=@/srv"},
		[]string{"srv/x"}, []string{"srv/secret.key"}},
	{"the cache of Glance's images in an allowed folder",
		[]string{"--data-dir=@/var/lib/billet", "--image-cache-dir=@/srv/cache", "--file-url-allowed-paths=@/srv,@/srv/cache"},
		[]string{"srv/x"}, []string{"srv/cache/3b8d3f2c.ab"}},
	{"the key among the images", []string{"--data-dir=@/var/lib/billet", "--secret-key-file=@/var/lib/billet/images/k"},
		nil, []string{"var/lib/billet/images/k"}},
	{"the passwords in an allowed folder", []string{"--data-dir=@/var/lib/billet", "--file-url-allowed-paths=@/etc"}, []string{"etc/issue"},
		[]string{"etc/htpasswd", "etc/billet.yaml"}},
	{"a ramdisk elsewhere", []string{"--data-dir=@/var/lib/billet", "--deploy-kernel=@/boot/vmlinuz", "--deploy-ramdisk=file://@/boot/initrd"},
		[]string{"boot/vmlinuz", "boot/initrd"}, []string{"boot/other"}},
	{"a ramdisk in data_dir itself", []string{"--data-dir=@/var/lib/billet", "--deploy-kernel=@/var/lib/billet/vmlinuz"},
		[]string{"var/lib/billet/vmlinuz"}, nil},
	{"data_dir inside an allowed folder inside another", []string{"--data-dir=@/var/lib/billet", "--file-url-allowed-paths=@/var,@/var/lib"},
		[]string{"var/lib/other"}, nil},
}

func layout(t *testing.T, flags []string) (c *Config, base string) {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"etc/htpasswd", "etc/issue", "var/lib/other", "var/lib/billet/shared/x", "srv/x", "srv/secret.key",
		"var/lib/billet/images/k", "boot/vmlinuz", "boot/initrd", "boot/other", "var/lib/billet/vmlinuz"}
	for _, name := range append(append([]string{}, own...), made...) {
		files = append(files, "var/lib/billet/"+name)
	}
	for _, name := range files {
		path := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("content of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(base, "etc/billet.yaml")
	if err := os.WriteFile(file, []byte("log_level: info\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(base, "var/lib/billet"), filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	cmd := serveCommand()
	args := []string{"--config=" + file, "--htpasswd-file=" + filepath.Join(base, "etc/htpasswd")}
	for _, flag := range flags {
		args = append(args, strings.ReplaceAll(flag, "@", base))
	}
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	if c, _, err = loadConfig(cmd.Flags(), nil); err != nil {
		t.Fatal(err)
	}
	return c, base
}

// TestEveryPairOfDirectories: however the directories of the configuration lie to each other, machines get what is
// made for them and nobody gets what is the service's own; by whatever name, and whoever reads.
func TestEveryPairOfDirectories(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			c, base := layout(t, l.flags)
			gate := c.gate()
			store := &image.Store{Dir: c.ImageDir, Gate: gate}
			records := fixedRecord{}
			server := httptest.NewServer(&web.Handler{Lookup: records, Gate: gate, Trace: noTrace{},
				Log: slog.New(slog.DiscardHandler)})
			defer server.Close()
			elsewhere := strings.Contains(strings.Join(l.flags, " "), "image-dir")
			check := func(path string, ok bool) {
				t.Helper()
				f, _, err := gate.Open(path)
				if (err == nil) != ok {
					t.Errorf("%s: %v", path, err)
				}
				if err == nil {
					f.Close()
				}
				if _, err := store.File(t.Context(), "file://"+path); (err == nil) != ok {
					t.Errorf("%s for an instance: %v", path, err)
				}
				if _, err := store.Resolve(t.Context(), image.Ref{Source: "file://" + path}); (err == nil) != ok {
					t.Errorf("%s as an image: %v", path, err)
				}
				records["kernel"] = path
				resp, err := server.Client().Get(server.URL + boot.KernelPath(strings.Repeat("a", 32)))
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if got := strings.HasPrefix(string(body), "content of"); got != ok {
					t.Errorf("%s from the boot service: %s %.40q", path, resp.Status, body)
				}
			}
			for _, root := range []string{"var/lib/billet", "link"} {
				named := strings.Contains(strings.Join(l.flags, " "), "@/link") || root != "link"
				for _, name := range own {
					check(filepath.Join(base, root, name), false)
				}
				for _, name := range made {
					if strings.HasPrefix(name, "images") && elsewhere {
						continue
					}
					if named {
						check(filepath.Join(base, root, name), true)
					}
				}
			}
			for _, name := range l.open {
				check(filepath.Join(base, name), true)
			}
			for _, name := range l.shut {
				check(filepath.Join(base, name), false)
			}
			for _, name := range []string{"secret.key", "billet.db", "htpasswd"} { // named images, which lie in no such place
				if _, err := store.Resolve(t.Context(), image.Ref{Source: name}); err == nil && !strings.Contains(l.name, "elsewhere") {
					t.Errorf("the image named %s is read", name)
				}
			}
		})
	}
}

// TestTheDefaultsThemselves: no built-in default of one key opens what is another one's.
func TestTheDefaultsThemselves(t *testing.T) {
	cmd := serveCommand()
	c, _, err := loadConfig(cmd.Flags(), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := c.gate()
	dirs := []string{c.DataDir, filepath.Dir(c.DataDir), c.ImageDir, filepath.Dir(c.DeployKernel), filepath.Join(c.DataDir, "deploy-logs"),
		"/etc", "/root", "/tmp", "/proc", "/dev"}
	open := []string{c.ImageDir, filepath.Dir(c.DeployKernel)}
	for _, dir := range append(dirs, c.FileURLPaths...) {
		want := false
		for _, o := range append(open, c.FileURLPaths...) {
			want = want || dir == o
		}
		for _, name := range []string{"secret.key", "x", "billet.db"} {
			if err := g.Check(filepath.Join(dir, name)); (err == nil) != want {
				t.Errorf("%s: %v", filepath.Join(dir, name), err)
			}
		}
	}
	for _, url := range []string{"http://127.0.0.1:6385/v1/nodes", "http://localhost:6386/", "http://169.254.169.254/"} {
		if g.CheckURL(url) == nil {
			t.Errorf("%s is asked", url)
		}
	}
	for _, url := range []string{
		"http://10.99.0.1/image", "https://images.example.org/i", "http://192.168.1.1:8080/i", "http://172.16.0.1/i", "http://[fd00::1]/i",
	} {
		if err := g.CheckURL(url); err != nil {
			t.Error(err)
		}
	}
}

func TestImagesBesideTheKey(t *testing.T) {
	for _, dir := range []string{"/srv/billet", "/srv", "/", "/srv/billet/"} {
		cmd := serveCommand()
		if err := cmd.ParseFlags([]string{"--data-dir=/srv/billet", "--image-dir=" + dir}); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("image_dir: %s is data_dir or above it", dir)
		if _, _, err := loadConfig(cmd.Flags(), nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// fixedRecord answers every secret with one record.
type fixedRecord map[string]string

func (r fixedRecord) Machine(context.Context, string) (boot.Machine, error) {
	return boot.Machine{}, nil
}

func (r fixedRecord) RecordBySecret(_ context.Context, secret string) (*boot.Record, error) {
	return &boot.Record{NodeUUID: "n", Secret: secret, Kernel: r["kernel"], Ramdisk: "x"}, nil
}

type noTrace struct{}

func (noTrace) Saw(node.BootEvent) {}
