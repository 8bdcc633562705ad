package pxe

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// ramdiskFiles are the two files of a deploy or rescue ramdisk.
type ramdiskFiles struct{ kernel, ramdisk bootFile }

// bootFile is where a file lies and which setting said so.
type bootFile struct {
	key   string
	place string // absolute path, or http(s) URL
}

// ramdisk picks the two files of the flow under way and checks them without a network.
func (b *Boot) ramdisk(t *driver.Task) (ramdiskFiles, error) {
	prefixes := []string{"deploy_"}
	if t.Node.Plan != nil && t.Node.Plan.Flow == node.FlowRescue {
		prefixes = []string{"rescue_", "deploy_"}
	}
	kernel, err := pick(t.Node, prefixes, "kernel", b.Kernel)
	if err != nil {
		return ramdiskFiles{}, err
	}
	ramdisk, err := pick(t.Node, prefixes, "ramdisk", b.Ramdisk)
	return ramdiskFiles{kernel, ramdisk}, err
}

func pick(n *node.Node, prefixes []string, what, service string) (bootFile, error) {
	for _, prefix := range prefixes {
		if s := n.DriverInfo.String(prefix + what); s != "" {
			return locate("driver_info/"+prefix+what, s)
		}
	}
	if service != "" {
		return locate("the service's default deploy "+what, service)
	}
	return bootFile{}, node.Errorf(node.Invalid, "driver_info/deploy_%s is missing for node %s, and the service has no default: set it to an absolute path, or to a file://, http:// or https:// URL.", what, n.UUID)
}

// locate checks one setting's form and, for a file, that it is there.
func locate(key, s string) (bootFile, error) {
	if boot.IsURL(s) {
		if u, err := url.Parse(s); err != nil || u.Host == "" {
			return bootFile{}, node.Errorf(node.Invalid, "%s is not a URL that can be fetched: %q.", key, s)
		}
		return bootFile{key, s}, nil
	}
	path := s
	if u, err := url.Parse(s); err == nil && u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") {
		path = u.Path
	}
	if !filepath.IsAbs(path) {
		return bootFile{}, node.Errorf(node.Invalid, "%s is %q; it must be an absolute path, or a file://, http:// or https:// URL.", key, s)
	}
	f, err := os.Stat(path)
	if err != nil {
		return bootFile{}, &node.Err{Kind: node.Invalid, Msg: key + " cannot be read", Cause: err}
	}
	if !f.Mode().IsRegular() || f.Size() == 0 {
		return bootFile{}, node.Errorf(node.Invalid, "%s: %s is not a regular file with content.", key, path)
	}
	return bootFile{key, path}, nil
}

const urlTimeout = 10 * time.Second

// reachable asks the servers of URLs whether they have the files, so that a wrong URL is the
// deploy's error now and not a machine waiting at its console.
func (f ramdiskFiles) reachable(ctx context.Context) error {
	for _, file := range []bootFile{f.kernel, f.ramdisk} {
		if !boot.IsURL(file.place) {
			continue
		}
		if err := file.ask(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f bootFile) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, urlTimeout)
	defer cancel()
	resp, err := boot.Fetch(ctx, http.MethodHead, f.place, nil)
	if err != nil {
		return &node.Err{Kind: node.Invalid, Msg: f.key + " cannot be fetched", Cause: err}
	}
	resp.Body.Close()
	if resp.StatusCode >= 400 && resp.StatusCode != http.StatusMethodNotAllowed && resp.StatusCode != http.StatusNotImplemented {
		return node.Errorf(node.Invalid, "%s cannot be fetched: the server of %s answered %s.", f.key, boot.WithoutSecrets(f.place), resp.Status)
	}
	return nil
}
