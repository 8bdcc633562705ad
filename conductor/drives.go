package conductor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/configdrive"
	"github.com/billet-metal/billet/node"
)

// DriveKeep says which config drives lie in Config.Objects instead of the database; without a container none do.
type DriveKeep struct {
	Container string
	Over      int           // bytes of a drive's text that the database still takes
	For       time.Duration // the object deletes itself after it
	Patience  time.Duration // how long a deploy waits for the store; 5 min
}

// sweepTime bounds deleting drives that are no longer needed: no flow waits longer for it.
const sweepTime = 15 * time.Second

// drives are config drives that lie in a store of objects.
type drives struct{ *core }

// takes reports whether a drive belongs into the store, and is not there yet.
func (d drives) takes(n *node.Node) bool {
	text := n.ConfigDrive
	_, kept := configdrive.KeptOf(text, n.UUID)
	return d.cfg.Objects != nil && d.cfg.Drives.Container != "" && len(text) > d.cfg.Drives.Over && !kept && !strings.Contains(text, "://")
}

// keepDrive moves a large config drive into the store at the beginning of a deploy; until it is there, the database has it. It
// returns why the deploy fails, before anything was done to the machine. A crash on the way does the same again: the object has
// the same name then.
func (r *run) keepDrive(ctx context.Context) (failure string, err error) {
	d, n := drives{r.c.core}, r.n
	if !r.flow.drive || r.begun() {
		return "", nil
	}
	if !d.takes(n) {
		if _, err = d.DriveURL(ctx, n); err != nil { // of the instance that is built anew
			return fmt.Sprintf("%s failed: %v", capital(r.flow.noun), err), nil
		}
		return "", nil
	}
	kept := configdrive.Kept{Container: d.cfg.Drives.Container, Object: configdrive.KeptObject(n.UUID) + stamp(n.Plan.StartedAt)}
	if err = d.put(ctx, kept, n); err != nil {
		_ = d.delete(ctx, kept) // nothing may be there at all; else it deletes itself
		return fmt.Sprintf("%s failed: the config drive of %d bytes could not be kept in the object store: %v",
			capital(r.flow.noun), len(n.ConfigDrive), err), nil
	}
	knowDrive(kept, n.ConfigDrive)
	r.note(ctx, infoSeverity, fmt.Sprintf("The config drive of %d bytes is kept in the object store, as %s in %s.",
		len(n.ConfigDrive), kept.Object, kept.Container))
	n.ConfigDrive = kept.String()
	return "", r.c.nodes.Save(ctx, n)
}

// refused ends a run that could not begin.
func (r *run) refused(ctx context.Context, failure string, err error) error {
	switch {
	case leaseLost(ctx) || ctx.Err() != nil:
		return r.stopped(ctx)
	case err != nil:
		return err
	}
	return r.fail(ctx, failure)
}

// begun reports whether any step of the plan has.
func (r *run) begun() bool {
	p := r.n.Plan
	return p.Index > 0 || p.Current() == nil || !p.Current().StartedAt.IsZero()
}

// put stores a drive, and reads its head as the machine will.
func (d drives) put(ctx context.Context, kept configdrive.Kept, n *node.Node) error {
	return patient(ctx, d.patience(), func(ctx context.Context) error {
		err := d.cfg.Objects.Put(ctx, kept.Container, kept.Object, strings.NewReader(n.ConfigDrive), d.cfg.Drives.For)
		if err == nil {
			_, err = d.url(ctx, kept)
		}
		return err
	})
}

func (d drives) patience() time.Duration {
	if d.cfg.Drives.Patience > 0 {
		return d.cfg.Drives.Patience
	}
	return 5 * time.Minute
}

// DriveURL implements driver.Drives.
func (d drives) DriveURL(ctx context.Context, n *node.Node) (url string, err error) {
	kept, ok, err := d.of(n)
	if err != nil || !ok {
		return n.ConfigDrive, err
	}
	err = patient(ctx, d.patience(), func(ctx context.Context) (err error) {
		url, err = d.url(ctx, kept)
		return err
	})
	return url, gone(kept, err)
}

// DriveText implements driver.Drives.
func (d drives) DriveText(ctx context.Context, n *node.Node) (text string, err error) {
	kept, ok, err := d.of(n)
	if err != nil || !ok {
		return n.ConfigDrive, err
	}
	err = patient(ctx, d.patience(), func(ctx context.Context) error {
		b, err := d.cfg.Objects.Get(ctx, kept.Container, kept.Object, 2*configdrive.MaxSize)
		text = string(b)
		return err
	})
	return text, gone(kept, err)
}

// of says where a node's drive is kept; false: nowhere but with the node.
func (d drives) of(n *node.Node) (configdrive.Kept, bool, error) {
	kept, ok := configdrive.KeptOf(n.ConfigDrive, n.UUID)
	if ok && d.cfg.Objects == nil {
		return kept, ok, node.Errorf(node.Invalid, "the config drive is kept in an object store (container %s), and this service knows none: "+
			"give the config drive again, or configure the store", kept.Container)
	}
	return kept, ok, nil
}

// url is good for as long as a machine may take to write its image: some agents read the drive after it.
func (d drives) url(ctx context.Context, kept configdrive.Kept) (string, error) {
	end := node.Now().Add(max(d.cfg.DeployTimeout, d.cfg.StepTimeout))
	url, err := d.cfg.Objects.URL(ctx, kept.Container, kept.Object, end)
	if err != nil {
		return "", err
	}
	return url, d.cfg.Objects.Check(ctx, url)
}

func gone(kept configdrive.Kept, err error) error {
	if err != nil && node.KindOf(err) == node.NotFound {
		return node.Errorf(node.NotFound, "the config drive was kept in the object store (container %s) and is gone, deleted or ended: "+
			"give the config drive again", kept.Container)
	}
	return err
}

func (d drives) delete(ctx context.Context, kept configdrive.Kept) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	return d.cfg.Objects.Delete(ctx, kept.Container, kept.Object)
}

// sweep deletes a node's drives from the store, those that a crash left there too; all but one, which may be "". It is never
// worth a flow's end: what stays deletes itself.
func (d drives) sweep(ctx context.Context, n *node.Node, but string) (err error) {
	if d.cfg.Objects == nil || d.cfg.Drives.Container == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	names, err := d.cfg.Objects.List(ctx, d.cfg.Drives.Container, configdrive.KeptObject(n.UUID))
	if node.KindOf(err) == node.NotFound {
		return nil // there is no container yet
	}
	for _, name := range names {
		if kept := (configdrive.Kept{Container: d.cfg.Drives.Container, Object: name}); kept.String() != but && err == nil {
			err = d.delete(ctx, kept)
		}
	}
	return err
}

// dropDrives deletes what a flow that has succeeded leaves behind: all drives of an instance that is gone, or those before the
// present one's.
func (r *run) dropDrives(ctx context.Context) {
	keep := r.n.ConfigDrive
	switch {
	case r.flow.detach:
		keep = ""
	case !r.flow.drive:
		return
	}
	if err := (drives{r.c.core}).sweep(ctx, r.n, keep); err != nil && ctx.Err() == nil {
		r.note(ctx, errorSeverity, fmt.Sprintf("An earlier config drive stays in the object store until its end: %v", err))
	}
}
