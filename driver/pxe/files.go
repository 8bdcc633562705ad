package pxe

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
)

// ramdiskFiles are the two files of a deploy or rescue ramdisk.
type ramdiskFiles struct{ kernel, ramdisk bootFile }

// bootFile is where a file lies and which setting said so.
type bootFile struct {
	key   string
	place string // absolute path, http(s) URL, or a source of Glance
}

// ramdisk picks the two files of the flow under way and checks them without a network.
func (b *Boot) ramdisk(t *driver.Task) (ramdiskFiles, error) {
	prefixes := []string{"deploy_"}
	if t.Node.Plan != nil && t.Node.Plan.Flow == node.FlowRescue {
		prefixes = []string{"rescue_", "deploy_"}
	}
	kernel, err := b.pick(t.Node, prefixes, "kernel", b.Kernel)
	if err != nil {
		return ramdiskFiles{}, err
	}
	ramdisk, err := b.pick(t.Node, prefixes, "ramdisk", b.Ramdisk)
	return ramdiskFiles{kernel, ramdisk}, err
}

func (b *Boot) pick(n *node.Node, prefixes []string, what, service string) (bootFile, error) {
	for _, prefix := range prefixes {
		if s := n.DriverInfo.String(prefix + what); s != "" {
			return b.locate("driver_info/"+prefix+what, s)
		}
	}
	if service != "" {
		return b.locate("the service's default deploy "+what, service)
	}
	return bootFile{}, node.Errorf(node.Invalid, "driver_info/deploy_%s is missing for node %s, and the service has no default: "+
		"set it to an absolute path, or to a file://, http:// or https:// URL.", what, n.UUID)
}

// locate checks that one setting may be read for somebody and, for a file, that it is there. No network is asked.
func (b *Boot) locate(key, s string) (bootFile, error) {
	if b.glances(s) {
		return bootFile{key, s}, nil
	}
	if boot.IsURL(s) {
		if err := b.Gate.CheckURL(s); err != nil {
			return bootFile{}, node.Errorf(node.Invalid, "%s is not a URL that can be fetched: %v.", key, err)
		}
		return bootFile{key, s}, nil
	}
	path := fetch.Path(s)
	if !filepath.IsAbs(path) {
		return bootFile{}, node.Errorf(node.Invalid, "%s is %q; it must be an absolute path, or a file://, http:// or https:// URL.", key, s)
	}
	f, st, err := b.Gate.Open(path)
	if err != nil {
		return bootFile{}, node.Errorf(node.Invalid, "%s (%s) cannot be read: %v.", key, path, err)
	}
	f.Close()
	if st.Size() == 0 {
		return bootFile{}, node.Errorf(node.Invalid, "%s (%s) is empty.", key, path)
	}
	return bootFile{key, path}, nil
}

const urlTimeout = 10 * time.Second

// glances reports whether a file lies in Glance.
func (b *Boot) glances(source string) bool { return b.Images != nil && b.Images.InRegistry(source) }

// inGlance refuses files of Glance that cannot be had. A Glance that cannot be asked now is not the node's fault: whoever boots the
// machine waits for it.
func (b *Boot) inGlance(ctx context.Context, files ramdiskFiles) error {
	ctx, cancel := context.WithTimeout(ctx, urlTimeout)
	defer cancel()
	for _, file := range []bootFile{files.kernel, files.ramdisk} {
		if !b.glances(file.place) {
			continue
		}
		if err := b.Images.CheckFile(ctx, file.place); err != nil && node.KindOf(err) != node.Unavailable {
			return node.Errorf(node.Invalid, "%s cannot be used: %v", file.key, err)
		}
	}
	return nil
}

// settle makes sure that the files can be had, and fetches those of Glance.
func (b *Boot) settle(ctx context.Context, files ramdiskFiles) (ramdiskFiles, error) {
	for _, file := range []*bootFile{&files.kernel, &files.ramdisk} {
		if !b.glances(file.place) {
			continue
		}
		path, err := b.Images.KeepFile(ctx, file.place)
		if node.KindOf(err) == node.Unavailable {
			return files, &driver.FileAway{Err: fmt.Errorf("fetching %s: %w", file.key, err)}
		}
		if err != nil {
			return files, fmt.Errorf("fetching %s: %w", file.key, err)
		}
		file.place = path
	}
	return files, b.reachable(ctx, files)
}

// reachable asks the servers of URLs whether they have the files, so that a wrong URL is the
// deploy's error now and not a machine waiting at its console.
func (b *Boot) reachable(ctx context.Context, files ramdiskFiles) error {
	for _, file := range []bootFile{files.kernel, files.ramdisk} {
		if !boot.IsURL(file.place) {
			continue
		}
		if err := b.ask(ctx, file); err != nil {
			return err
		}
	}
	return nil
}

// ask has a deadline of its own, whatever the server does. A URL that is signed for GET is refused to HEAD, so
// that a refusal is asked again for one byte.
func (b *Boot) ask(ctx context.Context, f bootFile) error {
	ctx, cancel := context.WithTimeout(ctx, urlTimeout)
	defer cancel()
	status, code, err := b.statusOf(ctx, http.MethodHead, f.place, nil)
	if err == nil && code >= 400 && code != http.StatusNotFound && code != http.StatusGone {
		status, code, err = b.statusOf(ctx, http.MethodGet, f.place, http.Header{"Range": {"bytes=0-0"}})
	}
	if err != nil {
		return &node.Err{Kind: node.Invalid, Msg: f.key + " cannot be fetched", Cause: err}
	}
	if code >= 400 {
		return node.Errorf(node.Invalid, "%s cannot be fetched: the server of %s answered %s.", f.key, fetch.Redact(f.place), status)
	}
	return nil
}

func (b *Boot) statusOf(ctx context.Context, method, place string, header http.Header) (string, int, error) {
	resp, err := boot.Fetch(ctx, b.Gate, method, place, header)
	if err != nil {
		return "", 0, err
	}
	return resp.Status, resp.StatusCode, resp.Body.Close()
}
