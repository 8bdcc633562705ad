// Package benchmark measures a machine's processors, memory and disks, in a bounded time and without writing
// to any disk. Its figures compare machines of one kind: one that is slower than its sisters has a fault.
package benchmark

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Record is one figure: class, device, name and value, as Ironic's tools have them.
type Record [4]any

// Times that measurements take.
const (
	cpuTime    = 2 * time.Second
	memoryTime = time.Second      // for each size of block
	diskTime   = 2 * time.Second  // for each disk and kind of access, unless there are many
	allDisks   = 20 * time.Second // at most, for all disks one by one
)

// CPU counts how often a fixed piece of integer work is done in a second, on all logical processors at once.
func CPU(ctx context.Context, logical int) []Record { return cpu(ctx, logical, cpuTime) }

func cpu(ctx context.Context, logical int, d time.Duration) []Record {
	rates := together(logical, func(int) float64 {
		x, loops := uint64(88172645463325252), 0
		return rate(ctx, d, func() int {
			for range 10_000 {
				x ^= x << 13
				x ^= x >> 7
				x ^= x << 17
			}
			if loops++; x == 0 { // never: the work must not be optimised away
				loops++
			}
			return 1
		})
	})
	return perProcessor(rates, "loops_per_sec", 1)
}

// blockSizes are what memory is copied in: within the processor's caches, and beyond them.
var blockSizes = []struct {
	name  string
	bytes int
}{{"4K", 4 << 10}, {"1M", 1 << 20}, {"16M", 16 << 20}}

// Memory measures copying in MiB a second, on one logical processor and on all at once.
func Memory(ctx context.Context, logical int) []Record { return memory(ctx, logical, memoryTime/2) }

func memory(ctx context.Context, logical int, d time.Duration) []Record {
	var out []Record
	for _, size := range blockSizes {
		copies := func(int) float64 {
			from, to := make([]byte, size.bytes), make([]byte, size.bytes)
			return rate(ctx, d, func() int { return copy(to, from) })
		}
		alone := together(1, copies)
		out = append(out, Record{"cpu", "logical_0", "bandwidth_" + size.name, int64(alone[0]) >> 20})
		all := perProcessor(together(logical, copies), "threaded_bandwidth_"+size.name, 1<<20)
		out = append(out, all[len(all)-1])
	}
	return out
}

// perProcessor are the figures of each processor and their sum, divided by unit.
func perProcessor(rates []float64, name string, unit int64) []Record {
	var out []Record
	sum := 0.0
	for i, r := range rates {
		sum += r
		out = append(out, Record{"cpu", fmt.Sprintf("logical_%d", i), name, int64(r) / unit})
	}
	return append(out, Record{"cpu", "logical", name, int64(sum) / unit})
}

// together runs f n times at once, with the numbers from 0.
func together(n int, f func(i int) float64) []float64 {
	results := make([]float64, max(n, 1))
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() { results[i] = f(i) })
	}
	all.Wait()
	return results
}

// rate is how much f does in a second, when it is called for d.
func rate(ctx context.Context, d time.Duration, f func() int) float64 {
	began, done := time.Now(), 0.0
	for time.Since(began) < d && ctx.Err() == nil {
		done += float64(f())
	}
	return done / max(time.Since(began).Seconds(), 1e-9)
}

// Disk is a disk to read from.
type Disk struct {
	Path string // /dev/sda
	Size int64  // bytes
}

// Disks measures reading: one mebibyte after the other, and 4 KiB at random places; each disk alone, and
// all at once when there are several. A disk that cannot be read is an error beside the others' figures.
func Disks(ctx context.Context, disks []Disk) ([]Record, error) {
	each := diskTime
	if n := time.Duration(len(disks)); n > 0 {
		each = min(diskTime, allDisks/(4*n))
	}
	return measure(ctx, disks, each)
}

func measure(ctx context.Context, disks []Disk, each time.Duration) ([]Record, error) {
	var out []Record
	var failed []error
	var readable []Disk
	for _, d := range disks {
		records, err := reads(ctx, d, "standalone", each)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		readable, out = append(readable, d), append(out, records...)
	}
	if len(readable) < 2 {
		return out, errors.Join(failed...)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	results := make([][]Record, len(readable))
	for i, d := range readable {
		all.Go(func() {
			records, err := reads(ctx, d, "simultaneous", each)
			mu.Lock()
			defer mu.Unlock()
			if results[i] = records; err != nil {
				failed = append(failed, err)
			}
		})
	}
	all.Wait()
	for _, records := range results {
		out = append(out, records...)
	}
	return out, errors.Join(failed...)
}

const alignment = 4096 // of buffers and places: the largest sector there is

// reads measures one disk. manner is part of the figures' names.
func reads(ctx context.Context, d Disk, manner string, each time.Duration) ([]Record, error) {
	f, err := os.OpenFile(d.Path, os.O_RDONLY|unix.O_DIRECT, 0) // not from memory
	if err != nil {
		return nil, fmt.Errorf("measuring a disk: %w", err)
	}
	defer f.Close()
	name := filepath.Base(d.Path)
	var out []Record
	for _, kind := range []struct {
		name  string
		block int64
		next  func(last, blocks int64) int64
	}{
		{"read_1M", 1 << 20, func(last, blocks int64) int64 { return (last + 1) % blocks }},
		{"randread_4k", 4 << 10, func(_, blocks int64) int64 { return rand.Int64N(blocks) }},
	} {
		blocks := d.Size / kind.block
		if blocks == 0 {
			continue
		}
		buffer, at := aligned(int(kind.block)), int64(-1)
		var broken error
		perSecond := rate(ctx, each, func() int {
			if broken != nil {
				time.Sleep(time.Millisecond)
				return 0
			}
			at = kind.next(at, blocks)
			if _, err := f.ReadAt(buffer, at*kind.block); err != nil {
				broken = err
				return 0
			}
			return 1
		})
		if broken != nil {
			return nil, fmt.Errorf("measuring a disk: %w", broken)
		}
		out = append(out,
			Record{"disk", name, manner + "_" + kind.name + "_KBps", int64(perSecond * float64(kind.block) / 1024)},
			Record{"disk", name, manner + "_" + kind.name + "_IOps", int64(perSecond)})
	}
	return out, nil
}

// aligned makes a buffer that direct reads take.
func aligned(size int) []byte {
	b := make([]byte, size+alignment)
	skip := int(alignment - uintptr(unsafe.Pointer(unsafe.SliceData(b)))%alignment)
	return b[skip : skip+size : skip+size]
}
