package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

// imageNote is what Glance said of the image when the deploy began: the rest of the deploy goes by it, whatever becomes of
// the image or of Glance meanwhile.
var imageNote = Note[image.Described]{Key: "deploy.image"}

// hereNote says that all of the image is here, or is where its machine reads it itself.
var hereNote = Note[bool]{Key: "deploy.image_here"}

// awayNote is since when something of Glance is waited for, in the step of that name.
var awayNote = Note[away]{Key: "deploy.image_away"}

type away struct {
	Step  string    `json:"step"`
	What  string    `json:"what"`
	Since time.Time `json:"since"`
	Said  bool      `json:"said,omitzero"` // people were told why
}

// knownOf is what Glance said of the image that the node still asks for; nil when it was not asked.
func knownOf(n *node.Node) *image.Described {
	d, ok := imageNote.Of(n.Plan)
	if !ok || d.Source != n.InstanceInfo.String("image_source") {
		return nil
	}
	return &d
}

// Glance finds the images of a cloud; image.Store does.
type Glance interface {
	// Describe says what Glance knows of an image; nil for one that is not Glance's.
	Describe(ctx context.Context, ref image.Ref) (*image.Described, error)
	// Begin finds an image, and sets one of Glance out for this machine.
	Begin(ctx context.Context, ref image.Ref) (image.Resolved, error)
	// InRegistry reports whether a source is Glance's; KeepFile waits until such a one's file is here, and says where.
	InRegistry(source string) bool
	KeepFile(ctx context.Context, source string) (path string, err error)
}

// FindImage looks for the node's image before anything is done to its machine, and has one of Glance fetched while the machine
// boots. One that is missing, unsafe or too large fails here in seconds. While Glance is away the step waits, for most at most.
func FindImage(ctx context.Context, t *Task, images Glance, most time.Duration) (Result, error) {
	return UntilThere(t, findImage(ctx, t, images), most)
}

func findImage(ctx context.Context, t *Task, images Glance) error {
	if knownOf(t.Node) == nil {
		d, err := images.Describe(ctx, InstanceOf(t.Node).Image)
		if err != nil {
			return err
		}
		if d != nil {
			imageNote.Set(t, *d)
		}
	}
	asked := InstanceOf(t.Node)
	if err := asked.CheckDescribed(); err != nil {
		return err
	}
	r, err := images.Begin(ctx, asked.Image)
	if err != nil {
		return err
	}
	hereNote.Set(t, r.Path != "" || r.URL != "")
	if err := asked.CheckFits(r); err != nil || !asked.Netboot {
		return err
	}
	for _, key := range []string{"kernel", "ramdisk"} {
		if source := asked.file(key); images.InRegistry(source) {
			if _, err := images.KeepFile(ctx, source); err != nil {
				return err
			}
		}
	}
	return nil
}

// FileAway is the error of a kernel or ramdisk that Glance can not give now, and may give later: see UntilFile.
type FileAway struct{ Err error }

func (f *FileAway) Error() string { return f.Err.Error() }
func (f *FileAway) Unwrap() error { return f.Err }

// UntilFile is UntilThere for a step that boots its machine, of whose errors only a FileAway is worth a wait.
func UntilFile(t *Task, err error, most time.Duration) (Result, error) {
	if _, away := errors.AsType[*FileAway](err); !away && err != nil {
		return Done(), err
	}
	return untilThere(t, "file", err, most)
}

// How often a step that waits for Glance looks again.
const (
	fetchingPoll = 2 * time.Second
	awayPoll     = 10 * time.Second
)

// UntilThere makes a wait of the error of an image that is not there yet: its bytes are on their way, or Glance is away, which it
// may be for most at most. Every other error is the step's.
func UntilThere(t *Task, err error, most time.Duration) (Result, error) {
	return untilThere(t, "image", err, most)
}

func untilThere(t *Task, what string, err error, most time.Duration) (Result, error) {
	fetching, arrives := errors.AsType[*image.Fetching](err)
	lost := !arrives && err != nil && node.KindOf(err) == node.Unavailable && !errors.Is(err, node.ErrStoreAway)
	if !arrives && !lost {
		if err == nil && awayNote.Get(t).What == what {
			awayNote.Clear(t)
		}
		return Done(), err
	}
	step := t.Step()
	if step == nil {
		return Done(), err
	}
	since, now := awayNote.Get(t), node.Now()
	first := since.Step != step.Step || since.What != what
	if first {
		since = away{Step: step.Step, What: what, Since: now}
		awayNote.Set(t, since)
	}
	if waited := now.Sub(since.Since); waited >= most {
		return Done(), fmt.Errorf("it was waited for %s: %w", waited.Round(time.Second), err)
	}
	wait := Result{WaitFor: node.Await{For: node.Image, Text: "the image from Glance"}, PollEvery: fetchingPoll}
	if first {
		wait.Within = most + time.Minute // the step itself ends the wait, with its reason
	}
	if lost {
		wait.PollEvery, wait.WaitFor.Text = awayPoll, "Glance, which can not be used now"
		if !since.Said {
			since.Said = true
			awayNote.Set(t, since)
			wait.Says = fmt.Sprintf("It waits %s at most for Glance to be back: %v", most, err)
		}
		return wait, nil
	}
	if t.Progress != nil {
		t.Progress(node.Progress{Step: step.Step, Detail: "fetching the image from Glance", Done: fetching.Done, Total: fetching.Total})
	}
	return wait, nil
}

// AwaitsImage reports whether the step under way waits for its image.
func AwaitsImage(t *Task) bool {
	step := t.Step()
	return step != nil && awayNote.Get(t).Step == step.Step
}

// CheckDescribed refuses what Glance says of an image that the node can not have: it repeats those checks of the node's fields that
// depend on the image, and compares its min_disk.
func (i Instance) CheckDescribed() error {
	if i.described == nil {
		return nil
	}
	if kind := i.described.Kind; kind != "" && kind != WholeDiskType && kind != PartitionType {
		return CannotDeploy(i.node, "the property img_type of its image is %q; %q and %q are allowed", kind, WholeDiskType, PartitionType)
	}
	for _, check := range []func() error{i.CheckCapabilities, i.CheckPartitions, i.checkMinDisk} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkMinDisk compares the least disk that an image asks for with the node's.
func (i Instance) checkMinDisk() error {
	least := i.described.MinDisk
	if has, ok := wholeNumber(i.node.Properties["local_gb"]); ok && has > 0 && int64(has) < least {
		return CannotDeploy(i.node, "its image needs a disk of %d GiB (min_disk), and the node's has %d (properties/local_gb)", least, has)
	}
	if i.IsPartition && i.badPartitions == nil && int64(i.Partitions.RootGB) < least {
		return CannotDeploy(i.node, "its image needs a disk of %d GiB (min_disk), and instance_info/root_gb is %d", least, i.Partitions.RootGB)
	}
	return nil
}

// ImageFailed says, while the machine boots, why the image that Glance is asked for meanwhile will not come.
func ImageFailed(ctx context.Context, t *Task, images Glance) error {
	if knownOf(t.Node) == nil || hereNote.Get(t) {
		return nil
	}
	r, err := images.Begin(ctx, InstanceOf(t.Node).Image)
	if _, arrives := errors.AsType[*image.Fetching](err); arrives || node.KindOf(err) == node.Unavailable {
		return nil // the step that needs it waits for it
	}
	hereNote.Set(t, err == nil && (r.Path != "" || r.URL != ""))
	return err
}

// Resolver is image.Store's Resolve.
type Resolver interface {
	Resolve(ctx context.Context, ref image.Ref) (image.Resolved, error)
}

// ImageThere waits until all of an image of Glance is here, for most at most. Others are where they are.
func ImageThere(ctx context.Context, t *Task, images Resolver, most time.Duration) (Result, error) {
	if knownOf(t.Node) == nil {
		return Done(), nil
	}
	_, err := images.Resolve(ctx, InstanceOf(t.Node).Image)
	return UntilThere(t, err, most)
}
