package steps

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/agent/inroot"
	"github.com/billet-metal/billet/agent/mount"
	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/fetch"
)

// injectTime bounds the download of one file's content.
const injectTime = 10 * time.Minute

// injectDir is where the partition that gets a file is mounted.
const injectDir = "/mnt/inject"

var injectArgs = map[string]any{
	"files": map[string]any{"required": false,
		"description": "Files to write into the image that was written: a list of objects with path, partition, content (base64 or " +
			"a URL) or deleted, mode, dirmode, owner and group. " +
			"Those of the node's property inject_files come first."},
	"verify_ca": map[string]any{"required": false, "description": "Whether certificates of https URLs are verified; true when not given."},
}

// Injector carries out inject_files.
type Injector struct {
	*Host
	Images     *http.Client        // reads files that are behind URLs
	Unverified func() *http.Client // the same, without verifying certificates
}

// Steps is inject_files, with the priority that the machine's kernel parameters give it.
func (i *Injector) Steps(priority int) []Step {
	return []Step{{Name: "inject_files", Priority: map[Kind]int{Deploy: priority, Service: 0}, Args: injectArgs, Run: i.injectFiles}}
}

// injectFiles puts files into the file systems of the root disk. All are checked before the first is written.
func (i *Injector) injectFiles(ctx context.Context, c Call) (any, error) {
	verify := true
	var given any
	if err := errors.Join(c.Args.Decode("files", &given), c.Args.Decode("verify_ca", &verify)); err != nil {
		return nil, err
	}
	files, err := readInjections(c.Node.Properties["inject_files"], given)
	if err != nil {
		return nil, &Fault{http.StatusBadRequest, "inject_files: " + err.Error()}
	}
	if len(files) == 0 {
		return "no files to inject", nil
	}
	about := map[string]any{}
	for _, key := range []string{"node", "ports"} {
		var v any
		if err := c.Params.Decode(key, &v); err != nil {
			return nil, err
		}
		about[key] = v
	}
	in := injector{Host: i.Host, client: i.Images, about: about}
	if !verify {
		in.client = i.Unverified()
	}
	var said []string
	for _, f := range files {
		text, err := in.inject(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("inject_files: %s: %w", f.path, err)
		}
		i.Log.Info("file injected", "file", f.path, "what", text)
		said = append(said, text)
	}
	return strings.Join(said, "; "), nil
}

// injector writes files into partitions, one after the other.
type injector struct {
	*Host
	client *http.Client
	about  map[string]any // the node and its ports, for URLs
}

// inject finds the partition, mounts it, and does what is asked. Nothing stays mounted.
func (i injector) inject(ctx context.Context, f injection) (text string, err error) {
	volumes, _, err := i.instanceVolumes(ctx, "")
	if err != nil {
		return "", err
	}
	v, err := i.choose(ctx, volumes, f)
	if err != nil {
		return "", err
	}
	undo, err := mount.Volume(ctx, i.LoadModule, v, injectDir, mount.Write)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, undo()) }()
	what, err := i.act(ctx, injectDir, f)
	return fmt.Sprintf("%s %s on partition %d (%s)", f.path, what, v.Number, v.Type), err
}

// choose returns the partition of the number asked for, else the first one that has the path's first folder.
func (i injector) choose(ctx context.Context, volumes []disk.Volume, f injection) (disk.Volume, error) {
	var looked []string
	folder, _, _ := strings.Cut(f.path[1:], "/")
	for _, v := range volumes {
		if f.partition != 0 && v.Number != f.partition {
			continue
		}
		if f.partition != 0 {
			return v, nil
		}
		looked = append(looked, fmt.Sprintf("%d (%s)", v.Number, v.Type))
		undo, err := mount.Volume(ctx, i.LoadModule, v, injectDir, mount.Read)
		if err != nil {
			i.Log.Warn("a file system is not looked at", "partition", v.Node, "fs", v.Type, "error", err)
			continue
		}
		info, err := inroot.Stat(injectDir, folder)
		if err := undo(); err != nil {
			return v, err
		}
		if err == nil && info.IsDir() {
			return v, nil
		}
	}
	if f.partition != 0 {
		return disk.Volume{}, fmt.Errorf("the root disk has no partition %d with a file system that can be written", f.partition)
	}
	return disk.Volume{}, fmt.Errorf("no partition of the root disk has a folder /%s; looked at: %s", folder, strings.Join(looked, ", "))
}

// act writes or deletes one file below dir, which is the root of a file system; links never lead out of it.
func (i injector) act(ctx context.Context, dir string, f injection) (what string, err error) {
	if f.deleted {
		if err := inroot.Remove(dir, f.path); errors.Is(err, fs.ErrNotExist) {
			return "was not there", nil
		} else if err != nil {
			return "", err
		}
		return "deleted", nil
	}
	content, err := i.open(ctx, f.content)
	if err != nil {
		return "", err
	}
	defer content.Close()
	if err := makeParents(dir, path.Dir(f.path), f.dirMode); err != nil {
		return "", err
	}
	out, err := inroot.Open(dir, f.path, unix.O_WRONLY|unix.O_CREAT|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if info, err := out.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(err, errors.New("it is there already and no regular file"))
	}
	if err := out.Truncate(0); err != nil {
		return "", err
	}
	n, err := io.Copy(out, content)
	if err != nil {
		return "", fmt.Errorf("writing the content: %w", err)
	}
	// The owner first: changing it takes the set-user-ID bits away.
	if f.owner >= 0 || f.group >= 0 {
		if err := out.Chown(f.owner, f.group); err != nil {
			return "", err
		}
	}
	if f.mode != nil {
		if err := unix.Fchmod(int(out.Fd()), *f.mode); err != nil {
			return "", fmt.Errorf("setting its mode: %w", err)
		}
	}
	return fmt.Sprintf("written, %d bytes,", n), out.Sync()
}

// makeParents makes the folders that are missing. Only the last one has the mode asked for.
func makeParents(dir, folder string, mode *uint32) error {
	made := ""
	for _, name := range strings.Split(folder, "/") {
		if name == "" {
			continue
		}
		made += "/" + name
		if _, err := inroot.Stat(dir, made); err == nil {
			continue // a file in the way is found when the file is opened
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		perm := uint32(0o755)
		if mode != nil && made == folder {
			perm = *mode
		}
		if err := inroot.Mkdir(dir, made, perm); err != nil {
			return err
		}
	}
	return nil
}

// open gives the content, from wherever it comes.
func (i injector) open(ctx context.Context, content string) (io.ReadCloser, error) {
	if !strings.Contains(content, "://") {
		return io.NopCloser(base64.NewDecoder(base64.StdEncoding, strings.NewReader(content))), nil
	}
	address, err := fillIn(content, i.about)
	if err != nil {
		return nil, fmt.Errorf("content: %w", err)
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("content: only http:// and https:// URLs can be read")
	}
	ctx, cancel := context.WithTimeout(ctx, injectTime)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("content from %s: the URL cannot be asked for", u.Host)
	}
	resp, err := i.client.Do(req)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("content from %s: %w", u.Host, fetch.Scrub(err)) // the URL may carry a password
	}
	body := &closer{resp.Body, cancel}
	if resp.StatusCode != http.StatusOK {
		body.Close()
		return nil, fmt.Errorf("content from %s: the server answered %s", u.Host, resp.Status)
	}
	return body, nil
}

// closer ends a download's deadline with it.
type closer struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *closer) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}
