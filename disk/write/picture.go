package write

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"github.com/billet-metal/billet/image"
)

// errUnseen says that a place of the image cannot be looked at before the image is written.
var errUnseen = errors.New("this part of the image is not known before it is written")

// maxAhead is how far into a file is looked that can only be read from its start.
const maxAhead = 64 << 20

// guest reads what an image file will put on a disk. One goroutine owns it.
type guest struct {
	file    io.ReaderAt
	limit   int64 // bytes of the file that can be looked at
	size    int64
	extents []image.Extent
	order   []int32 // of the extents by their place on the disk
	cluster []byte  // the last one that was decompressed
	of      image.Extent
}

func newGuest(b *blocks, l *image.Layout) *guest {
	g := &guest{file: b, limit: b.src.size, size: l.VirtualSize, extents: l.Extents, order: make([]int32, len(l.Extents))}
	if !b.src.ranges {
		g.limit = min(g.limit, maxAhead)
	}
	for i := range g.order {
		g.order[i] = int32(i)
	}
	slices.SortFunc(g.order, func(a, b int32) int { return cmp.Compare(l.Extents[a].GuestOffset, l.Extents[b].GuestOffset) })
	return g
}

// ReadAt reads from the disk that the image describes; past its end there are zeros.
func (g *guest) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	end := off + int64(len(p))
	first := func(n int32, at int64) int {
		return cmp.Compare(g.extents[n].GuestOffset+g.extents[n].GuestLength, at+1)
	}
	i, _ := slices.BinarySearchFunc(g.order, off, first)
	for ; i < len(g.order) && g.extents[g.order[i]].GuestOffset < end; i++ {
		e := g.extents[g.order[i]]
		from, to := max(off, e.GuestOffset), min(end, e.GuestOffset+e.GuestLength)
		if err := g.read(p[from-off:to-off], e, from-e.GuestOffset); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// read reads a part of an extent.
func (g *guest) read(p []byte, e image.Extent, at int64) error {
	if e.Compression == image.None {
		return g.readFile(p, e.FileOffset+at)
	}
	if g.cluster == nil || g.of != e {
		src := make([]byte, e.FileLength)
		if err := g.readFile(src, e.FileOffset); err != nil {
			return err
		}
		g.of, g.cluster = e, make([]byte, e.GuestLength)
		if err := e.Decode(g.cluster, src); err != nil {
			g.cluster = nil
			return err
		}
	}
	copy(p, g.cluster[at:])
	return nil
}

func (g *guest) readFile(p []byte, off int64) error {
	if off+int64(len(p)) > g.limit {
		return errUnseen
	}
	_, err := g.file.ReadAt(p, off)
	if errors.Is(err, errScattered) {
		return errUnseen
	}
	return err
}

// picture is a disk as it will be once an image is on it: what the image holds, zeros behind that, and
// what was done to the picture itself. Nothing of it reaches a disk.
type picture struct {
	image        io.ReaderAt
	size, sector int64
	done         []edit
}

// edit is a range that was overwritten, with zeros when data is nil.
type edit struct {
	span
	data []byte
}

// ReadAt sees the image with all that was done to it.
func (c *picture) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > c.size {
		return 0, io.EOF
	}
	if _, err := c.image.ReadAt(p, off); err != nil {
		return 0, err
	}
	for _, e := range c.done {
		from, to := max(off, e.offset), min(off+int64(len(p)), e.offset+e.length)
		switch {
		case from >= to:
		case e.data == nil:
			clear(p[from-off : to-off])
		default:
			copy(p[from-off:to-off], e.data[from-e.offset:])
		}
	}
	return len(p), nil
}

// WriteAt remembers what was written.
func (c *picture) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > c.size {
		return 0, io.ErrShortWrite
	}
	c.done = append(c.done, edit{span{off, int64(len(p))}, slices.Clone(p)})
	return len(p), nil
}

// Zero remembers what was zeroed.
func (c *picture) Zero(off, length int64) error {
	if off < 0 || off+length > c.size {
		return io.ErrShortWrite
	}
	c.done = append(c.done, edit{span{off, length}, nil})
	return nil
}

// Size in bytes.
func (c *picture) Size() int64 { return c.size }

// SectorSize is the disk's.
func (c *picture) SectorSize() int64 { return c.sector }

// Sync has nothing to do.
func (c *picture) Sync() error { return nil }
