package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// FollowOptions say how to watch a serial line.
type FollowOptions struct {
	Until  string        // ends when this text has appeared; "": follows until the context ends
	Within time.Duration // with Until: the longest wait; 0 is 10 minutes
	From   From
	Typed  io.Reader // sent to the machine as it comes; nil: nothing
}

// From says where in the log to begin.
type From int

// Where to begin.
const (
	FromStart From = iota // everything the machine ever said
	FromNow               // only what it says from now on
)

// Follow copies a machine's serial log to w as it grows. It ends without an error when Until has
// appeared, or, without Until, when ctx ends.
func (l *Lab) Follow(ctx context.Context, name string, w io.Writer, o FollowOptions) error {
	m, err := l.load(name)
	if err != nil {
		return err
	}
	if o.Typed != nil {
		c, err := l.Console(ctx, name)
		if err != nil {
			return err
		}
		// The reader of a terminal cannot be interrupted: it ends with the process.
		go func() { _, _ = io.Copy(c, o.Typed) }()
		defer c.Close()
	}
	if o.Until != "" {
		if o.Within == 0 {
			o.Within = 10 * time.Minute
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Within)
		defer cancel()
	}
	f := follower{path: m.Serial, w: w, until: []byte(o.Until)}
	defer f.close()
	if o.From == FromNow {
		if info, err := os.Stat(m.Serial); err == nil {
			f.offset = info.Size()
		}
	}
	for {
		done, err := f.step()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			if o.Until != "" {
				return fmt.Errorf("%q did not appear on the serial line of %s: %w; it ended with: %s", o.Until, name, ctx.Err(), tail(m.Serial))
			}
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// follower reads a growing file.
type follower struct {
	path   string
	file   *os.File
	offset int64
	w      io.Writer
	until  []byte
	seen   []byte // the end of what was read, for text that comes in two pieces
}

// step copies what is new and reports whether the text looked for is in it.
func (f *follower) step() (done bool, err error) {
	if f.file == nil {
		f.file, err = os.Open(f.path)
		if errors.Is(err, os.ErrNotExist) {
			return false, nil // never switched on yet
		}
		if err != nil {
			return false, fmt.Errorf("reading the serial log: %w", err)
		}
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := f.file.ReadAt(buf, f.offset)
		f.offset += int64(n)
		if _, err := f.w.Write(buf[:n]); err != nil {
			return false, err
		}
		if len(f.until) > 0 {
			f.seen = append(f.seen, buf[:n]...)
			if bytes.Contains(f.seen, f.until) {
				return true, nil
			}
			f.seen = bytes.Clone(f.seen[max(0, len(f.seen)-len(f.until)):])
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("reading the serial log: %w", err)
		}
	}
}

func (f *follower) close() {
	if f.file != nil {
		f.file.Close()
	}
}
