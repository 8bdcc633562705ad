package scsi

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sgHeader is struct sg_io_hdr of scsi/sg.h on 64-bit machines.
type sgHeader struct {
	interfaceID    int32
	direction      int32
	cmdLen         uint8
	maxSense       uint8
	_              uint16 // iovec_count
	dataLen        uint32
	data, cmd, sns unsafe.Pointer
	timeoutMS      uint32
	flags          uint32
	packID         int32
	usr            unsafe.Pointer
	status         uint8
	masked, msg    uint8
	senseWritten   uint8
	hostStatus     uint16
	driverStatus   uint16
	resid          int32
	duration, info uint32
}

const sgIO = 0x2285 // SG_IO

// File is a disk behind an open block device such as /dev/sda.
type File struct{ F *os.File }

// Do implements Transport.
func (f File) Do(c Command) error {
	sense := make([]byte, 64)
	h := &sgHeader{
		interfaceID: 'S', direction: int32(c.Direction), timeoutMS: uint32(c.Timeout / time.Millisecond),
		cmdLen: uint8(len(c.CDB)), cmd: unsafe.Pointer(unsafe.SliceData(c.CDB)),
		maxSense: uint8(len(sense)), sns: unsafe.Pointer(unsafe.SliceData(sense)),
	}
	if len(c.Data) > 0 {
		h.data, h.dataLen = unsafe.Pointer(unsafe.SliceData(c.Data)), uint32(len(c.Data))
	}
	conn, err := f.F.SyscallConn()
	if err != nil {
		return fmt.Errorf("SCSI command %#02x: %w", c.CDB[0], err)
	}
	var errno syscall.Errno
	// Control holds the file: a command that goes on after its disk was closed cannot meet another disk's number.
	err = conn.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, sgIO, uintptr(unsafe.Pointer(h)))
	})
	if err != nil {
		return fmt.Errorf("SCSI command %#02x to %s: %w", c.CDB[0], f.F.Name(), err)
	}
	runtime.KeepAlive(h)
	switch {
	case errno != 0:
		return fmt.Errorf("SCSI command %#02x to %s: %w", c.CDB[0], f.F.Name(), errno)
	case h.hostStatus != 0:
		return fmt.Errorf("SCSI command %#02x to %s: the host adapter gave it up (status %#x)", c.CDB[0], f.F.Name(), h.hostStatus)
	case h.status == checkCondition:
		if s := ParseSense(sense[:h.senseWritten]); s != nil {
			return s
		}
		return &Sense{Status: h.status, Progress: -1}
	case h.status != 0:
		return &Sense{Status: h.status, Progress: -1}
	}
	return nil
}
