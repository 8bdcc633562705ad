package nvme

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// passthru is struct nvme_passthru_cmd of linux/nvme_ioctl.h.
type passthru struct {
	opcode, flags      uint8
	_                  uint16
	nsid, cdw2, cdw3   uint32
	metadata           uint64
	data               unsafe.Pointer
	metadataLen        uint32
	dataLen            uint32
	cdw10, cdw11       uint32
	cdw12, cdw13       uint32
	cdw14, cdw15       uint32
	timeoutMS, resultW uint32
}

const (
	ioctlID    = 0x4e40     // NVME_IOCTL_ID: _IO('N', 0x40)
	ioctlAdmin = 0xc0484e41 // NVME_IOCTL_ADMIN_CMD: _IOWR('N', 0x41, struct nvme_passthru_cmd)
)

// File is a controller behind an open namespace device such as /dev/nvme0n1.
type File struct{ F *os.File }

// NSID is the namespace's number.
func (f File) NSID() (uint32, error) {
	id, _, errno := unix.Syscall(unix.SYS_IOCTL, f.F.Fd(), ioctlID, 0)
	if errno != 0 {
		return 0, fmt.Errorf("asking for the namespace of %s: %w", f.F.Name(), errno)
	}
	return uint32(id), nil
}

// Do implements Admin.
func (f File) Do(c Command) error {
	p := &passthru{opcode: c.Opcode, nsid: c.NSID, cdw10: c.CDW10, timeoutMS: uint32(c.Timeout / time.Millisecond)}
	if len(c.Data) > 0 {
		p.data, p.dataLen = unsafe.Pointer(unsafe.SliceData(c.Data)), uint32(len(c.Data))
	}
	conn, err := f.F.SyscallConn()
	if err != nil {
		return fmt.Errorf("admin command %#x: %w", c.Opcode, err)
	}
	var status uintptr
	var errno syscall.Errno
	// Control holds the file: a command that goes on after its disk was closed cannot meet another disk's number.
	err = conn.Control(func(fd uintptr) {
		status, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, ioctlAdmin, uintptr(unsafe.Pointer(p)))
	})
	if err != nil {
		return fmt.Errorf("admin command %#x to %s: %w", c.Opcode, f.F.Name(), err)
	}
	runtime.KeepAlive(p)
	runtime.KeepAlive(c.Data)
	switch {
	case errno != 0:
		return fmt.Errorf("admin command %#x to %s: %w", c.Opcode, f.F.Name(), errno)
	case status != 0:
		return Status(status)
	}
	return nil
}
