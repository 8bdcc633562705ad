package classic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/billet-metal/billet/boot/tftp/packet"
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
	t := &tftpTransfer{conn: conn, peer: to, last: packet.NewRequest(name)}
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
		_ = t.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
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
func (t *tftpTransfer) take(datagram []byte) (done bool, err error) {
	p, ok := packet.Parse(datagram)
	switch {
	case ok && p.Op == packet.OpError:
		return false, fmt.Errorf("the server says: %.100q (code %d)", p.Text, p.Number)
	case ok && p.Op == packet.OpData:
		t.last = packet.NewAck(p.Number)
		if p.Number == t.block+1 {
			t.block = p.Number
			t.text.Write(p.Data)
		}
		if t.text.Len() > maxTFTP {
			return false, fmt.Errorf("the file is larger than %d bytes", maxTFTP)
		}
		if last := p.Number == t.block && len(p.Data) < 512; last {
			_, err := t.conn.WriteToUDP(t.last, t.peer)
			return true, err
		}
		return false, nil
	}
	return false, fmt.Errorf("a packet that is neither data nor an error: %.8q", datagram)
}
