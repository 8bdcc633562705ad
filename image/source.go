package image

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/fetch"
)

// Ref is an image as somebody asks for it.
type Ref struct {
	Source     string // file:///absolute/path, http(s)://…, glance://UUID or a UUID, or the name of an image in the store
	Checksum   string // hex (its algorithm by its length), or the URL of a checksum file; may be empty
	HashAlgo   string // one of Algorithms, together with HashValue; wins over Checksum
	HashValue  string // hex, or the URL of a checksum file
	DiskFormat string // the declared format; "" accepts what the image is
	User       string // for an http(s) server that asks; sent to the source's own host only
	Password   string
	Known      *Described // what the registry was heard to say of it; nil: it is asked
}

// Resolved is an image that has been found, inspected and, when it is on this machine, checked.
type Resolved struct {
	URL       string // where the machine reads it; "" when it is a file of this machine
	Path      string // absolute path on this machine; "" when it is elsewhere
	Size      int64  // bytes of the file
	Info      Info
	HashAlgo  string // one of Algorithms
	HashValue string // lower case hex of the whole file
}

// Store knows where images come from. The zero Store resolves http(s) sources only. It is safe
// for use from many goroutines and processes.
type Store struct {
	Dir     string        // the named images, one file each; "" for none
	Gate    *fetch.Gate   // which files and URLs are read for somebody; nil: no file of this machine, no server near it
	Timeout time.Duration // for everything asked of an HTTP server but an Import's body; 0: 60 s
	MD5     MD5Policy

	Registry Registry         // images by ID; nil: there is none
	Cache    Cache            // needed with a Registry
	URLs     URLs             // where machines read the Registry's images themselves; nil: what the Cache has is served to them
	Away     func(error) bool // tells by an error of the Registry that it can not be asked now, and may be later

	sums     sync.Map      // path → *hashing, so that a hundred deploys hash one file once
	turns    sync.Map      // host → chan struct{}, as many places as look-ups at once
	turnWait time.Duration // 0: turnWait
	cache    sync.Map      // path → cachedSum, when there is no Dir
}

// MD5Policy says whether an MD5 is checksum enough for an image read over HTTP.
type MD5Policy int

// MD5 can be forged, so it is refused unless allowed.
const (
	RefuseMD5 MD5Policy = iota
	AllowMD5
)

// Validate checks what can be known of ref without a network or a disk: the kind of source, and
// that an http(s) source has a checksum of a known kind.
func (s *Store) Validate(ref Ref) error {
	want, err := wantedSum(ref)
	if err != nil {
		return err
	}
	if err := s.checkSumPlace(want.url); err != nil {
		return fmt.Errorf("the checksum file: %w", err)
	}
	if f := strings.ToLower(ref.DiskFormat); f != "" && !slices.Contains(DiskFormats, f) {
		return fmt.Errorf("the disk format %q is not supported; allowed are %s", ref.DiskFormat, strings.Join(DiskFormats, ", "))
	}
	if id, ok := s.registryID(ref.Source); ok {
		return s.checkRegistryID(id)
	}
	switch kind, rest := sourceKind(ref.Source); kind {
	case sourceHTTP:
		if want == (asked{}) {
			return fmt.Errorf("an image read over HTTP needs a checksum: set image_checksum (sha256 or sha512, or the URL of a checksum file), or " +
				"image_os_hash_algo and image_os_hash_value")
		}
		return s.Gate.CheckURL(rest)
	case sourceFile:
		return s.Gate.Check(rest)
	case sourceName:
		return s.checkName(rest)
	default:
		glance := ""
		if s.Registry != nil {
			glance = ", glance://UUID"
		}
		return fmt.Errorf("the image source %q is of no known kind: "+
			"file:///absolute/path, http://, https://%s or the name of an image in the store is allowed", fetch.Redact(ref.Source), glance)
	}
}

// checkSumPlace checks the URL of a checksum file.
func (s *Store) checkSumPlace(place string) error {
	switch {
	case place == "":
		return nil
	case isURL(place):
		return s.Gate.CheckURL(place)
	}
	return s.Gate.Check(fetch.Path(place))
}

// Resolve finds the image, inspects it for safety and settles its checksum. A local file is read
// whole once and its sum kept until the file changes; of a remote one only the head is read, and
// its checksum is left to whoever reads it all. Each refusal says what and why; a *Refusal in the
// chain means that the image itself is bad.
func (s *Store) Resolve(ctx context.Context, ref Ref) (Resolved, error) {
	if err := s.Validate(ref); err != nil {
		return Resolved{}, err
	}
	if s.InRegistry(ref.Source) {
		return s.resolveRegistry(ctx, ref)
	}
	kind, rest := sourceKind(ref.Source)
	var r Resolved
	var err error
	switch kind {
	case sourceHTTP:
		r, err = s.resolveHTTP(ctx, rest, ref)
	case sourceFile:
		r, err = s.resolveFile(ctx, rest, ref)
	default:
		r, err = s.resolveFile(ctx, filepath.Join(s.Dir, rest), ref)
	}
	if err != nil {
		return Resolved{}, fmt.Errorf("image %s: %w", fetch.Redact(ref.Source), err)
	}
	if err := checkFormat(ref.DiskFormat, r.Info); err != nil {
		return Resolved{}, fmt.Errorf("image %s: %w", fetch.Redact(ref.Source), err)
	}
	return r, nil
}

type source int

const (
	sourceUnknown source = iota
	sourceHTTP
	sourceFile
	sourceName
)

// sourceKind tells the kinds of source apart: rest is the URL, the path or the name.
func sourceKind(s string) (kind source, rest string) {
	lower := strings.ToLower(s)
	switch {
	case strings.HasPrefix(lower, "http://"), strings.HasPrefix(lower, "https://"):
		return sourceHTTP, s
	case strings.HasPrefix(lower, "file://"):
		return sourceFile, fetch.Path(s)
	case s != "" && !strings.Contains(s, "://"):
		return sourceName, s
	}
	return sourceUnknown, s
}

// DiskFormats are the declared formats that are allowed.
var DiskFormats = []string{string(Raw), string(GPT), string(ISO), string(QCOW2)}

// checkFormat refuses an image whose format is not the declared one. Raw says "byte for byte", so it
// covers what a partition table or an ISO 9660 file system makes of it.
func checkFormat(declared string, info Info) error {
	d := Format(strings.ToLower(declared))
	if d == "" || d == info.Format || d == Raw && info.ByteForByte() || d == GPT && info.PartitionTable != "" {
		return nil
	}
	return &Refusal{Format: info.Format, Reason: fmt.Sprintf("it is said to be %s; say %s, or nothing", d, info.Format)}
}
