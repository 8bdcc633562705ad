package disk

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// AlignedBuffer is memory outside Go's heap, aligned to a page as direct I/O needs it.
func AlignedBuffer(size int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("taking %d bytes of memory: %w", size, err)
	}
	return b, nil
}

// FreeBuffer gives back what AlignedBuffer took.
func FreeBuffer(b []byte) {
	if b != nil {
		_ = unix.Munmap(b) // it fails for memory that is not ours only
	}
}

// IsAligned reports whether memory begins at a multiple of a.
func IsAligned(p []byte, a int64) bool {
	return int64(uintptr(unsafe.Pointer(unsafe.SliceData(p))))%a == 0
}
