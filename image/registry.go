package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/billet-metal/billet/fetch"
)

// Described is an image as a registry, such as Glance, describes it.
type Described struct {
	Source string `json:"source"` // how it was asked for
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Status string `json:"status"` // "active" is the only one whose bytes are given out

	Size      int64  `json:"size"`
	HashAlgo  string `json:"hash_algo"` // one of Algorithms: the strongest that the registry has; "" when it has none
	HashValue string `json:"hash_value"`

	DiskFormat      string `json:"disk_format,omitempty"`
	ContainerFormat string `json:"container_format,omitempty"`
	MinDisk         int64  `json:"min_disk,omitempty"` // GiB

	// What a partition image, or one that boots over the network, has besides.
	Kind         string            `json:"kind,omitempty"`   // "partition" or "whole-disk", where it says so
	Kernel       string            `json:"kernel,omitempty"` // sources of the image's own
	Ramdisk      string            `json:"ramdisk,omitempty"`
	Capabilities map[string]string `json:"capabilities,omitempty"` // such as boot_mode
}

// Registry knows images by their ID.
type Registry interface {
	// Describe says what is known of an image, whatever its status.
	Describe(ctx context.Context, id string) (*Described, error)
}

// Cache keeps the bytes of a registry's images on this machine, for whoever asks.
type Cache interface {
	// File returns where an image's bytes lie: all of them, with the checksum that the registry says. As long as they are not
	// here the error is a *Fetching, and they arrive by themselves: ask again.
	File(d *Described) (path string, err error)
	// Head returns the first bytes of an image that is being fetched, soon; nil when another process fetches it.
	Head(ctx context.Context, d *Described) ([]byte, error)
	// Kept returns where the bytes of an image lie that was fetched before, whatever the registry says of it now; "" for none.
	Kept(id string) (path string)
}

// URLs are where machines read the bytes of a registry's images, without a login.
type URLs interface {
	// URL is a secret; "" when there is none for this image.
	URL(ctx context.Context, d *Described) (string, error)
}

// Fetching says that an image's bytes are on their way to this machine.
type Fetching struct{ Done, Total int64 }

func (f *Fetching) Error() string {
	return fmt.Sprintf("it is being fetched from Glance (%d of %d bytes are here)", f.Done, f.Total)
}

var uuidShape = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

const registryScheme = "glance://"

// registryID is the ID of an image that a source names in the registry. A bare UUID is the registry's as soon as there is one: a
// file of the store with such a name can still be had as file://.
func (s *Store) registryID(source string) (id string, ok bool) {
	if len(source) > len(registryScheme) && strings.EqualFold(source[:len(registryScheme)], registryScheme) {
		return strings.ToLower(source[len(registryScheme):]), true
	}
	if s.Registry != nil && uuidShape.MatchString(source) {
		return strings.ToLower(source), true
	}
	return "", false
}

// InRegistry reports whether a source names an image of the registry.
func (s *Store) InRegistry(source string) bool {
	_, ok := s.registryID(source)
	return ok
}

func (s *Store) checkRegistryID(id string) error {
	if s.Registry == nil {
		return errors.New("it is an image of Glance, and this service knows no cloud: set openstack_auth_url and the login")
	}
	if !uuidShape.MatchString(id) {
		return fmt.Errorf("%q is not the ID of an image: glance:// and a UUID is allowed", id)
	}
	return nil
}

// Describe asks the registry about an image, and refuses one that can not be deployed as it is; nil for an image that comes from
// elsewhere.
func (s *Store) Describe(ctx context.Context, ref Ref) (*Described, error) {
	id, ok := s.registryID(ref.Source)
	if !ok {
		return nil, nil
	}
	if err := s.checkRegistryID(id); err != nil {
		return nil, err
	}
	d, err := s.Registry.Describe(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w%s", ref.Source, err, s.sameName(id))
	}
	d.Source = ref.Source
	if err := d.deployable(); err != nil {
		return nil, fmt.Errorf("image %s of Glance: %w", d, err)
	}
	return d, nil
}

// sameName says that the store has a file whose name is the ID of an image that the registry does not give.
func (s *Store) sameName(id string) string {
	if s.Dir == "" {
		return ""
	}
	if _, err := os.Stat(s.Dir + "/" + id); err != nil {
		return ""
	}
	return ". image_dir has a file of this name, which is named by its path: file://" + s.Dir + "/" + id
}

// String is the image's ID with its name, for people.
func (d *Described) String() string {
	if d.Name == "" {
		return d.ID
	}
	return fmt.Sprintf("%s (%.100q)", d.ID, d.Name)
}

func (d *Described) deployable() error {
	if err := d.readable(); err != nil {
		return err
	}
	switch {
	case slices.Contains([]string{"aki", "ari"}, d.DiskFormat):
		return fmt.Errorf("its disk_format is %s: it is a kernel or a ramdisk and no disk", d.DiskFormat)
	case d.DiskFormat != "" && d.DiskFormat != "ami" && !slices.Contains(DiskFormats, d.DiskFormat):
		return fmt.Errorf("its disk_format is %s, which is not written to disks, only %s: convert it (qemu-img convert -O qcow2) and "+
			"upload it anew", d.DiskFormat, strings.Join(DiskFormats, ", "))
	case !slices.Contains([]string{"", "bare", "ami"}, d.ContainerFormat):
		return fmt.Errorf("its container_format is %s; only bare is written to disks: upload it without a container", d.ContainerFormat)
	}
	return nil
}

// readable refuses an image whose bytes are not given out, or can not be checked. An administrator could read a deactivated one's.
func (d *Described) readable() error {
	switch d.Status {
	case "active":
	case "queued":
		return errors.New("nothing was uploaded to it yet (its status is queued): upload it, then deploy again")
	case "saving", "uploading", "importing":
		return fmt.Errorf("its upload has not ended (its status is %s): deploy again when it is active", d.Status)
	case "deactivated":
		return errors.New("it was deactivated, so that its bytes are given to nobody: an administrator can reactivate it")
	case "deleted", "pending_delete":
		return errors.New("it was deleted: name another image")
	case "killed":
		return errors.New("its upload failed (its status is killed): upload it again")
	default:
		return fmt.Errorf("its status is %q, and only active ones are deployed", d.Status)
	}
	switch {
	case d.Size <= 0:
		return errors.New("it is empty")
	case d.HashValue == "":
		return errors.New("it has no checksum that is known here, so that a damaged copy could not be told from a whole one: upload it anew")
	}
	return nil
}

// known is what is known of ref's image already, or Describe.
func (s *Store) known(ctx context.Context, ref Ref) (*Described, error) {
	if ref.Known != nil && ref.Known.Source == ref.Source {
		return ref.Known, ref.Known.deployable()
	}
	return s.Describe(ctx, ref)
}

// Begin is Resolve for an image that is not needed yet. One of the registry sets out for this machine, and is judged by its
// first bytes; what is known by the whole file only is left to Resolve. Its Path may be empty.
func (s *Store) Begin(ctx context.Context, ref Ref) (Resolved, error) {
	if !s.InRegistry(ref.Source) {
		return s.Resolve(ctx, ref)
	}
	d, err := s.known(ctx, ref)
	if err != nil {
		return Resolved{}, err
	}
	r, err := s.resolveKept(ctx, d, ref)
	if _, fetching := errors.AsType[*Fetching](err); fetching {
		r, err = s.foresee(ctx, d, ref)
	}
	if err != nil {
		return Resolved{}, fmt.Errorf("image %s of Glance: %w", d, err)
	}
	return r, nil
}

// foresee judges an image by its first bytes.
func (s *Store) foresee(ctx context.Context, d *Described, ref Ref) (Resolved, error) {
	r := Resolved{Size: d.Size, HashAlgo: d.HashAlgo, HashValue: d.HashValue}
	head, err := s.Cache.Head(ctx, d)
	if err != nil || head == nil {
		return r, err
	}
	e := ends{head: head, size: d.Size}
	if e.inner, err = inside(packingOf(head), bytes.NewReader(head), d.Size <= int64(len(head))); err != nil {
		return r, err
	}
	if r.Info, _, err = inspect(e); err != nil {
		return r, err
	}
	return r, checkFormat(d.format(ref), r.Info)
}

// format is the declared format: what somebody says on the node, else what the registry says.
func (d *Described) format(ref Ref) string {
	switch {
	case ref.DiskFormat != "":
		return ref.DiskFormat
	case d.DiskFormat == "ami":
		return string(Raw)
	}
	return d.DiskFormat
}

// resolveRegistry is Resolve for an image of the registry.
func (s *Store) resolveRegistry(ctx context.Context, ref Ref) (Resolved, error) {
	d, err := s.known(ctx, ref)
	if err != nil {
		return Resolved{}, err
	}
	r, err := s.resolveKept(ctx, d, ref)
	if err != nil {
		return Resolved{}, fmt.Errorf("image %s of Glance: %w", d, err)
	}
	return r, nil
}

// resolveKept inspects an image that is here. Its checksum was compared while it arrived; one that is asked for on the node
// besides is compared, too, and one that can be forged is replaced.
func (s *Store) resolveKept(ctx context.Context, d *Described, ref Ref) (Resolved, error) {
	if s.URLs != nil && !Weak(d.HashAlgo) {
		if r, err := s.resolveURL(ctx, d, ref); err != nil || r.URL != "" {
			return r, err
		}
	}
	path, err := s.Cache.File(d)
	if err != nil {
		return Resolved{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return Resolved{}, notThere(err)
	}
	defer f.Close()
	info, err := inspectFile(f, d.Size)
	if err != nil {
		return Resolved{}, err
	}
	if err := checkFormat(d.format(ref), info); err != nil {
		return Resolved{}, err
	}
	r := Resolved{Path: path, Size: d.Size, Info: info, HashAlgo: d.HashAlgo, HashValue: d.HashValue}
	algo, value, err := s.settleSum(ctx, ref, ref.Source)
	switch {
	case err != nil:
		return Resolved{}, err
	case algo == "" && Weak(d.HashAlgo):
		algo = "sha256"
	case algo == "", algo == d.HashAlgo && value == d.HashValue:
		return r, nil
	}
	got, err := s.sum(ctx, f, path, algo)
	if err != nil {
		return Resolved{}, err
	}
	if value != "" && value != got {
		return Resolved{}, fmt.Errorf("its %s is %s, but instance_info asks for %s", algo, got, value)
	}
	r.HashAlgo, r.HashValue = algo, got
	return r, nil
}

// resolveURL looks at an image where machines read it. URL is empty when they do not. Whoever writes the image compares its
// checksum, and inspects all of it.
func (s *Store) resolveURL(ctx context.Context, d *Described, ref Ref) (Resolved, error) {
	url, err := s.URLs.URL(ctx, d)
	if err != nil || url == "" {
		return Resolved{}, err
	}
	algo, value, err := s.settleSum(ctx, ref, ref.Source)
	if err != nil {
		return Resolved{}, err
	}
	if algo == "" {
		algo, value = d.HashAlgo, d.HashValue
	}
	r, err := s.resolveHTTP(ctx, url, Ref{HashAlgo: algo, HashValue: value})
	switch {
	case err != nil:
		return Resolved{}, err
	case r.Size != d.Size:
		return Resolved{}, fmt.Errorf("it was changed under way: Glance says that it has %d bytes, and Swift has %d", d.Size, r.Size)
	case algo == d.HashAlgo && value != d.HashValue:
		return Resolved{}, fmt.Errorf("its %s is %s, but instance_info asks for %s", algo, d.HashValue, value)
	}
	return r, checkFormat(d.format(ref), r.Info)
}

// KeepFile has a file of the registry that is no disk image, such as a kernel, fetched to this machine, and returns where it lies.
// It waits until ctx ends. While the registry is away an earlier copy serves.
func (s *Store) KeepFile(ctx context.Context, source string) (path string, err error) {
	for {
		path, err = s.keepFile(ctx, source)
		if _, fetching := errors.AsType[*Fetching](err); !fetching {
			return path, err
		}
		select {
		case <-time.After(filePoll):
		case <-ctx.Done():
			return "", err
		}
	}
}

// filePoll is how often a file that is on its way is looked for.
const filePoll = 100 * time.Millisecond

func (s *Store) keepFile(ctx context.Context, source string) (path string, err error) {
	id, ok := s.registryID(source)
	if !ok {
		return "", fmt.Errorf("%s is no image of Glance", fetch.Redact(source))
	}
	if err := s.checkRegistryID(id); err != nil {
		return "", err
	}
	d, err := s.Registry.Describe(ctx, id)
	if err != nil {
		if kept := s.Cache.Kept(id); kept != "" && s.Away != nil && s.Away(err) {
			return kept, nil
		}
		return "", fmt.Errorf("image %s: %w", source, err)
	}
	if err = d.readable(); err == nil {
		path, err = s.Cache.File(d)
	}
	if err != nil {
		return "", fmt.Errorf("image %s of Glance: %w", d, err)
	}
	return path, nil
}

// CheckFile refuses a file of the registry that KeepFile would refuse, without fetching it.
func (s *Store) CheckFile(ctx context.Context, source string) error {
	id, _ := s.registryID(source)
	if err := s.checkRegistryID(id); err != nil {
		return err
	}
	d, err := s.Registry.Describe(ctx, id)
	if err != nil {
		return fmt.Errorf("image %s: %w", source, err)
	}
	if err := d.readable(); err != nil {
		return fmt.Errorf("image %s of Glance: %w", d, err)
	}
	return nil
}
