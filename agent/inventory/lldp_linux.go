package inventory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// lldpGroups are where LLDP frames are sent: nearest bridge, nearest non-TPMR bridge, nearest
// customer bridge, IEEE 802.1AB-2016 table 7-1. A card lets them through only when asked.
var lldpGroups = [][6]byte{{0x01, 0x80, 0xc2, 0, 0, 0x0e}, {0x01, 0x80, 0xc2, 0, 0, 0x03}, {0x01, 0x80, 0xc2, 0, 0, 0x00}}

// LLDP listens on the named interfaces until each has heard its neighbour or the time is over; the
// result has only those that heard one. Switches speak every 30 s by default. Errors of single
// interfaces come along with what the others heard.
func LLDP(ctx context.Context, names []string, within time.Duration) (map[string][]TLV, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	type heard struct {
		name string
		tlvs []TLV
		err  error
	}
	results := make(chan heard, len(names))
	for _, name := range names {
		go func() {
			tlvs, err := listenLLDP(ctx, name)
			results <- heard{name, tlvs, err}
		}()
	}
	out := map[string][]TLV{}
	var errs []error
	for range names {
		r := <-results
		if r.err != nil {
			errs = append(errs, fmt.Errorf("listening for LLDP on %s: %w", r.name, r.err))
		} else if len(r.tlvs) > 0 {
			out[r.name] = r.tlvs
		}
	}
	return out, errors.Join(errs...)
}

// listenLLDP returns the first LLDP frame's fields; none when ctx ends first.
func listenLLDP(ctx context.Context, name string) ([]TLV, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	proto := uint16(etherLLDP>>8 | etherLLDP&0xff<<8) // in network order
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: iface.Index}); err != nil {
		return nil, err
	}
	for _, group := range lldpGroups {
		req := unix.PacketMreq{Ifindex: int32(iface.Index), Type: unix.PACKET_MR_MULTICAST, Alen: 6}
		copy(req.Address[:], group[:])
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &req); err != nil {
			return nil, err
		}
	}
	frame := make([]byte, 9216)
	for ctx.Err() == nil {
		n, err := readFrame(fd, frame)
		if err != nil {
			return nil, err
		}
		if tlvs := parseLLDP(frame[:n]); len(tlvs) > 0 {
			return tlvs, nil
		}
	}
	return nil, nil
}

// readFrame waits a fifth of a second at most, so that its caller can look at the time; 0: nothing.
// A frame this machine sent itself is nothing.
func readFrame(fd int, into []byte) (int, error) {
	ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 200)
	if errors.Is(err, unix.EINTR) || err == nil && ready == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, from, err := unix.Recvfrom(fd, into, unix.MSG_DONTWAIT)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING {
		return 0, nil
	}
	return n, err
}
