// Package mount mounts the file systems of an image's partitions. What is in them is a stranger's: nothing of
// it runs, no device node in it counts, and who only looks leaves the journal as it is.
package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/disk"
)

// Access is what somebody wants of a file system.
type Access uintptr

// The kinds of access.
const (
	Read  Access = unix.MS_RDONLY
	Write Access = 0
)

// untouched are the options by which a file system that was not left in order is read as it lies there.
var untouched = map[string]string{"ext4": "noload", "xfs": "norecovery"}

// Volume mounts a partition on a folder, which it makes. load loads a kernel module; nil: there is none to load.
func Volume(ctx context.Context, load func(name string), v disk.Volume, dir string, access Access) (undo func() error, err error) {
	if load != nil {
		load(v.Type)
	}
	if err := WaitForNodes(ctx, v.Node); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making a mount point: %w", err)
	}
	options := ""
	if access == Read {
		options = untouched[v.Type]
	}
	if err := unix.Mount(v.Node, dir, v.Type, uintptr(access)|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		return nil, &Refused{fmt.Errorf("mounting partition %d (%s): %w", v.Number, v.Type, err)}
	}
	return func() error {
		if err := unix.Unmount(dir, 0); err != nil {
			return errors.Join(fmt.Errorf("unmounting partition %d: %w", v.Number, err), unix.Unmount(dir, unix.MNT_DETACH))
		}
		return nil
	}, nil
}

// Refused is the error of a file system that the kernel does not mount.
type Refused struct{ error }

// Unwrap is the kernel's error.
func (r *Refused) Unwrap() error { return r.error }

// WaitForNodes gives the kernel a moment to make the device nodes of new partitions.
func WaitForNodes(ctx context.Context, nodes ...string) error {
	deadline := time.Now().Add(10 * time.Second)
	for _, name := range nodes {
		for name != "" {
			if _, err := os.Stat(name); err == nil {
				break
			} else if time.Now().After(deadline) {
				return fmt.Errorf("the kernel shows no partition %s: %w", name, err)
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}
