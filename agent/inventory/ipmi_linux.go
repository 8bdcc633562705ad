package inventory

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's interface to the BMC, linux/ipmi.h, on 64-bit machines.
type (
	ipmiMessage struct {
		netFn, cmd byte
		length     uint16
		data       *byte
	}
	ipmiAddress struct { // ipmi_system_interface_addr
		kind    int32
		channel int16
		lun     byte
	}
	ipmiRequest struct {
		address *ipmiAddress
		size    uint32
		id      int64
		message ipmiMessage
	}
	ipmiReceived struct {
		kind    int32
		address *ipmiAddress
		size    uint32
		id      int64
		message ipmiMessage
	}
)

const (
	systemInterface = 0x0c // IPMI_SYSTEM_INTERFACE_ADDR_TYPE
	bmcChannel      = 0x0f // IPMI_BMC_CHANNEL

	// _IOR('i', 13, struct ipmi_req) and _IOWR('i', 11, struct ipmi_recv)
	ioctlSend    = 2<<30 | unsafe.Sizeof(ipmiRequest{})<<16 | 'i'<<8 | 13
	ioctlReceive = 3<<30 | unsafe.Sizeof(ipmiReceived{})<<16 | 'i'<<8 | 11
)

// ipmiPatience is how long the BMC may take for one answer. The kernel itself gives up after some
// 5 s and answers with completion code C3h.
const ipmiPatience = 6 * time.Second

// IPMIDevice is the kernel's way to the BMC, such as /dev/ipmi0. One goroutine at a time.
type IPMIDevice struct {
	file *os.File
	next int64
}

// OpenIPMI opens the device.
func OpenIPMI(path string) (*IPMIDevice, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return &IPMIDevice{file: os.NewFile(uintptr(fd), path)}, nil
}

// Close closes the device.
func (d *IPMIDevice) Close() error { return d.file.Close() }

// Command implements Commander.
func (d *IPMIDevice) Command(netFn, cmd byte, data ...byte) ([]byte, error) {
	d.next++
	address := ipmiAddress{kind: systemInterface, channel: bmcChannel}
	req := ipmiRequest{
		address: &address, size: uint32(unsafe.Sizeof(address)), id: d.next,
		message: ipmiMessage{netFn: netFn, cmd: cmd, length: uint16(len(data)), data: unsafe.SliceData(data)},
	}
	var pins runtime.Pinner
	defer pins.Unpin()
	pins.Pin(&address)
	if len(data) > 0 {
		pins.Pin(&data[0])
	}
	if err := d.ioctl(ioctlSend, unsafe.Pointer(&req)); err != nil {
		return nil, fmt.Errorf("sending command %02xh to the BMC: %w", cmd, err)
	}
	deadline := time.Now().Add(ipmiPatience)
	for {
		id, answer, err := d.receive(deadline)
		if err != nil {
			return nil, fmt.Errorf("waiting for the BMC's answer to command %02xh: %w", cmd, err)
		}
		if id == d.next { // else it is a late answer to an earlier one
			return answer, nil
		}
	}
}

func (d *IPMIDevice) receive(deadline time.Time) (id int64, answer []byte, err error) {
	fds := []unix.PollFd{{Fd: int32(d.file.Fd()), Events: unix.POLLIN}}
	for {
		left := time.Until(deadline).Milliseconds()
		if left <= 0 {
			return 0, nil, errors.New("the BMC does not answer")
		}
		ready, err := unix.Poll(fds, int(left))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, nil, err
		}
		if ready > 0 {
			break
		}
	}
	var address [64]byte // the kernel writes the largest kind of address it has
	buffer := make([]byte, 272)
	got := ipmiReceived{
		address: (*ipmiAddress)(unsafe.Pointer(&address)), size: uint32(len(address)),
		message: ipmiMessage{length: uint16(len(buffer)), data: &buffer[0]},
	}
	var pins runtime.Pinner
	defer pins.Unpin()
	pins.Pin(&address)
	pins.Pin(&buffer[0])
	if err := d.ioctl(ioctlReceive, unsafe.Pointer(&got)); err != nil {
		return 0, nil, err
	}
	return got.id, buffer[:min(int(got.message.length), len(buffer))], nil
}

func (d *IPMIDevice) ioctl(request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.file.Fd(), request, uintptr(arg))
	if errno != 0 {
		return errno
	}
	return nil
}
