package benchmark

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

func names(records []Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, strings.Join([]string{r[0].(string), r[1].(string), r[2].(string)}, " "))
	}
	return out
}

// positive checks that every figure is one.
func positive(t *testing.T, records []Record) {
	t.Helper()
	for _, r := range records {
		if v, ok := r[3].(int64); !ok || v <= 0 {
			t.Errorf("%v", r)
		}
	}
}

func TestProcessorsAndMemory(t *testing.T) {
	began := time.Now()
	got := cpu(t.Context(), 2, 20*time.Millisecond)
	if want := []string{"cpu logical_0 loops_per_sec", "cpu logical_1 loops_per_sec", "cpu logical loops_per_sec"}; !slices.Equal(names(got),
		want) {
		t.Errorf("%v", got)
	}
	positive(t, got)
	if sum := got[0][3].(int64) + got[1][3].(int64) - got[2][3].(int64); sum < -2 || sum > 2 {
		t.Errorf("the sum is not that of its parts: %v", got)
	}
	got = memory(t.Context(), 2, 10*time.Millisecond)
	want := []string{"cpu logical_0 bandwidth_4K", "cpu logical threaded_bandwidth_4K", "cpu logical_0 bandwidth_1M",
		"cpu logical threaded_bandwidth_1M", "cpu logical_0 bandwidth_16M", "cpu logical threaded_bandwidth_16M"}
	if !slices.Equal(names(got), want) {
		t.Errorf("%v", got)
	}
	positive(t, got)
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("took %s", d)
	}
}

// file makes a file that stands for a disk; the temporary directory's file system must take direct reads.
func file(t *testing.T, size int) Disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return Disk{path, int64(size)}
}

func TestDisks(t *testing.T) {
	one, small := file(t, 3<<20+512), file(t, 8<<10)
	one.Path, small.Path = rename(t, one.Path, "sda"), rename(t, small.Path, "sdb")
	got, err := measure(t.Context(), []Disk{one, small, {"/nonexistent/sdc", 1 << 30}, file(t, 100)}, 20*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "measuring a disk: open /nonexistent/sdc: no such file or directory") {
		t.Errorf("error %v", err)
	}
	want := []string{
		"disk sda standalone_read_1M_KBps", "disk sda standalone_read_1M_IOps", "disk sda standalone_randread_4k_KBps",
		"disk sda standalone_randread_4k_IOps",
		"disk sdb standalone_randread_4k_KBps", "disk sdb standalone_randread_4k_IOps", // too small for a mebibyte
		"disk sda simultaneous_read_1M_KBps", "disk sda simultaneous_read_1M_IOps", "disk sda simultaneous_randread_4k_KBps",
		"disk sda simultaneous_randread_4k_IOps",
		"disk sdb simultaneous_randread_4k_KBps", "disk sdb simultaneous_randread_4k_IOps",
	}
	if !slices.Equal(names(got), want) {
		t.Errorf("got %q", names(got))
	}
	positive(t, got)
	if got, err := Disks(t.Context(), nil); len(got) > 0 || err != nil {
		t.Errorf("of no disks: %v, %v", got, err)
	}
}

func rename(t *testing.T, path, name string) string {
	t.Helper()
	to := filepath.Join(filepath.Dir(path), name)
	if err := os.Rename(path, to); err != nil {
		t.Fatal(err)
	}
	return to
}

// A disk that ends before it says it does is an error, not a figure; nothing of it is measured again.
func TestADiskThatCannotBeRead(t *testing.T) {
	d := file(t, 1<<20)
	d.Size = 1 << 30
	got, err := measure(t.Context(), []Disk{d}, 20*time.Millisecond)
	if err == nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
	info, statErr := os.Stat(d.Path)
	if statErr != nil || info.Size() != 1<<20 {
		t.Errorf("the disk was changed: %v, %v", info, statErr)
	}
}

func TestMeasuringEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	CPU(ctx, 2)
	Memory(ctx, 2)
	if _, err := Disks(ctx, []Disk{file(t, 1<<20)}); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("took %s", d)
	}
}

func TestAligned(t *testing.T) {
	for _, size := range []int{1, 4096, 1 << 20} {
		if b := aligned(size); len(b) != size || uintptr(unsafe.Pointer(&b[0]))%alignment != 0 {
			t.Errorf("%d bytes at %p", len(b), &b[0])
		}
	}
}
