package steps

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
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

// injection is one file to write or to delete.
type injection struct {
	path      string // cleaned, absolute
	partition int    // 0: the one that has the path's first folder
	content   string // base64, or a URL with fields of the node
	deleted   bool

	mode, dirMode *uint32
	owner, group  int // -1: as it is
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

// readInjections checks the files of the property and of the step; the error names all that is wrong.
func readInjections(property, argument any) ([]injection, error) {
	var files []injection
	var wrong []error
	for _, from := range []struct {
		name string
		list any
	}{{"the node's property inject_files", property}, {"the argument files", argument}} {
		list, ok := from.list.([]any)
		if !ok && from.list != nil {
			return nil, fmt.Errorf("%s must be a list of objects", from.name)
		}
		for i, v := range list {
			f, err := readInjection(v)
			if err != nil {
				wrong = append(wrong, fmt.Errorf("file %d of %s: %w", i+1, from.name, err))
			}
			files = append(files, f)
		}
	}
	return files, errors.Join(wrong...)
}

func readInjection(v any) (injection, error) {
	f := injection{owner: -1, group: -1}
	fields, ok := v.(map[string]any)
	if !ok {
		return f, errors.New("it must be an object")
	}
	known := []string{"path", "partition", "content", "deleted", "mode", "dirmode", "owner", "group"}
	for key := range fields {
		if !slices.Contains(known, key) {
			return f, fmt.Errorf("the field %q is unknown; allowed are %s", key, strings.Join(known, ", "))
		}
	}
	name, _ := fields["path"].(string)
	content, isText := fields["content"].(string)
	deleted, isFlag := fields["deleted"].(bool)
	f.path, f.content, f.deleted = path.Clean(name), content, deleted
	var err error
	if f.partition, err = partitionNumber(fields["partition"]); err != nil {
		return f, err
	}
	switch {
	case !strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0):
		return f, errors.New("path must be the absolute path of a file")
	case strings.HasSuffix(name, "/") || f.path == "/":
		return f, fmt.Errorf("path %s is a folder, not a file", name)
	case path.Dir(f.path) == "/" && f.partition == 0:
		return f, fmt.Errorf("path %s is in the root folder, which every file system has: say which partition", name)
	case fields["content"] != nil && !isText, fields["deleted"] != nil && !isFlag:
		return f, errors.New("content must be a text and deleted true or false")
	case deleted == isText:
		return f, errors.New("either content or deleted true must be there")
	}
	for key, bits := range map[string]**uint32{"mode": &f.mode, "dirmode": &f.dirMode} {
		n, given, err := wholeNumber(fields, key, 0, 0o7777)
		if err != nil {
			return f, fmt.Errorf("%w; it is a number as chmod(2) takes it: 420 is rw-r--r--", err)
		}
		if given {
			value := uint32(n)
			*bits = &value
		}
	}
	for key, id := range map[string]*int{"owner": &f.owner, "group": &f.group} {
		n, given, err := wholeNumber(fields, key, -1, math.MaxUint32-1)
		if err != nil {
			return f, err
		}
		if given {
			*id = int(n)
		}
	}
	if !deleted && !strings.Contains(content, "://") {
		if _, err := base64.StdEncoding.DecodeString(content); err != nil {
			return f, errors.New("content must be base64, or a URL")
		}
	}
	return f, nil
}

// partitionNumber reads the partition field. Names of devices may be another disk's after the next boot, so the
// root disk's own numbers are all that is taken.
func partitionNumber(v any) (int, error) {
	switch p := v.(type) {
	case nil:
		return 0, nil
	case float64:
		if p >= 1 && p <= 128 && p == math.Trunc(p) {
			return int(p), nil
		}
	case string:
		if n, err := strconv.Atoi(p); err == nil && n >= 1 && n <= 128 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("partition is %v; the number of a partition of the root disk is allowed, from 1", v)
}

func wholeNumber(fields map[string]any, key string, least, most float64) (n int64, given bool, err error) {
	v, there := fields[key]
	if !there || v == nil {
		return 0, false, nil
	}
	f, ok := v.(float64)
	if !ok || f != math.Trunc(f) || f < least || f > most {
		return 0, false, fmt.Errorf("%s must be a whole number from %.0f to %.0f", key, least, most)
	}
	return int64(f), true, nil
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

// fillIn puts what the node says into a URL, in the form that deploy templates have from Ironic:
// {node[uuid]}, {ports[0][address]}; {{ and }} stand for single braces.
func fillIn(text string, about map[string]any) (string, error) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case (c == '{' || c == '}') && i+1 < len(text) && text[i+1] == c:
			out.WriteByte(c)
			i++
		case c == '}':
			return "", errors.New("a } without a { before it; }} stands for one")
		case c == '{':
			field, _, closed := strings.Cut(text[i+1:], "}")
			if !closed {
				return "", errors.New("a { without a } after it; {{ stands for one")
			}
			value, err := lookUp(field, about)
			if err != nil {
				return "", fmt.Errorf("{%s}: %w", field, err)
			}
			out.WriteString(value)
			i += len(field) + 1
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), nil
}

// lookUp follows name[key][key]… to a text, a number or a flag.
func lookUp(field string, about map[string]any) (string, error) {
	name, rest, _ := strings.Cut(field, "[")
	value, ok := about[name]
	if !ok {
		return "", errors.New("only node[…] and ports[…] are known")
	}
	for rest != "" {
		key, after, closed := strings.Cut(rest, "]")
		if !closed || after != "" && after[0] != '[' {
			return "", errors.New("it must look like node[key][key]")
		}
		rest = strings.TrimPrefix(after, "[")
		switch v := value.(type) {
		case map[string]any:
			value, ok = v[key]
		case []any:
			n, err := strconv.Atoi(key)
			if ok = err == nil && n >= 0 && n < len(v); ok {
				value = v[n]
			}
		default:
			ok = false
		}
		if !ok {
			return "", fmt.Errorf("there is no %q", key)
		}
	}
	switch v := value.(type) {
	case string:
		return v, nil
	case bool, float64, json.Number:
		return fmt.Sprint(v), nil
	}
	return "", errors.New("it is no text or number")
}
