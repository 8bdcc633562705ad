package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// maxTFTP bounds the small files that are read by TFTP.
const maxTFTP = 64 << 10

// fetchTFTP reads one small file from a TFTP server (RFC 1350, no options). Port 69 unless the
// server's name has one.
func fetchTFTP(ctx context.Context, server, name string) (string, error) {
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(server, "69")
	}
	to, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		return "", fmt.Errorf("finding the TFTP server %s: %w", server, err)
	}
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		return "", fmt.Errorf("opening a port for TFTP: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	t := &tftpTransfer{conn: conn, peer: to, last: []byte("\x00\x01" + name + "\x00octet\x00")}
	return t.run(name)
}

// tftpTransfer is one read. The first answer comes from a port of its own, which is the peer then.
type tftpTransfer struct {
	conn  *net.UDPConn
	peer  *net.UDPAddr
	last  []byte // sent again when nothing comes
	block uint16
	text  strings.Builder
}

func (t *tftpTransfer) run(name string) (string, error) {
	buf := make([]byte, 1024)
	for tries := 0; tries < 5; tries++ {
		if _, err := t.conn.WriteToUDP(t.last, t.peer); err != nil {
			return "", fmt.Errorf("asking by TFTP for %s: %w", name, err)
		}
		t.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, from, err := t.conn.ReadFromUDP(buf)
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("hearing by TFTP of %s: %w", name, err)
		}
		if t.block == 0 && from.IP.Equal(t.peer.IP) {
			t.peer = from
		}
		if from.Port != t.peer.Port || !from.IP.Equal(t.peer.IP) {
			continue
		}
		done, err := t.take(buf[:n])
		if err != nil {
			return "", fmt.Errorf("fetching %s by TFTP: %w", name, err)
		}
		if done {
			return t.text.String(), nil
		}
		tries = -1
	}
	return "", fmt.Errorf("fetching %s by TFTP: %s does not answer", name, t.peer)
}

// take reads one packet of the server: data, or an error.
func (t *tftpTransfer) take(p []byte) (done bool, err error) {
	if len(p) < 4 {
		return false, errors.New("a packet of less than four bytes")
	}
	switch number := binary.BigEndian.Uint16(p[2:]); binary.BigEndian.Uint16(p) {
	case 5:
		return false, fmt.Errorf("the server says: %.100q (code %d)", strings.TrimRight(string(p[4:]), "\x00"), number)
	case 3:
		t.last = []byte{0, 4, p[2], p[3]}
		if number == t.block+1 {
			t.block = number
			t.text.Write(p[4:])
		}
		if t.text.Len() > maxTFTP {
			return false, fmt.Errorf("the file is larger than %d bytes", maxTFTP)
		}
		if last := number == t.block && len(p) < 516; last {
			_, err := t.conn.WriteToUDP(t.last, t.peer)
			return true, err
		}
		return false, nil
	}
	return false, fmt.Errorf("a packet of kind %d", binary.BigEndian.Uint16(p))
}
