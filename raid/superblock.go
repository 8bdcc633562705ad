package raid

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
)

// Superblock is what a member says of its array. The format is that of the kernel's
// include/uapi/linux/raid/md_p.h: "mdp_superblock_1", and the old one of version 0.90 as far as
// knowing it when it is seen.
type Superblock struct {
	UUID    string // "b111e700:00000000:…" as mdadm writes it
	Name    string // "host:name", or without the host
	Level   int    // 0, 1, …
	Members int
	Minor   int // 0 at the end, 1 at the beginning, 2 after 4 KiB; -1: version 0.90
}

const (
	magic     = 0xa92b4efc
	headBytes = 256
)

// ErrNone says that there is no superblock.
var ErrNone = errors.New("there is no RAID superblock")

// ReadSuperblock looks for a superblock in a partition or disk of that many bytes, in all places
// where md keeps one.
func ReadSuperblock(r io.ReaderAt, size int64) (Superblock, error) {
	sectors := size / 512
	for _, p := range []struct {
		minor int
		at    int64
	}{{0, (sectors - 16) &^ 7 * 512}, {1, 0}, {2, 4096}} {
		s, err := version1(r, size, p.at, p.minor)
		if !errors.Is(err, ErrNone) {
			return s, err
		}
	}
	old := (sectors&^127 - 128) * 512 // the last 64 KiB that begin at a multiple of 64 KiB
	head, err := readHead(r, size, old)
	if err == nil && binary.LittleEndian.Uint32(head) == magic && binary.LittleEndian.Uint32(head[4:]) == 0 {
		return Superblock{Minor: -1, UUID: "0.90"}, nil
	}
	if err == nil {
		err = ErrNone
	}
	return Superblock{}, err
}

func readHead(r io.ReaderAt, size, at int64) ([]byte, error) {
	head := make([]byte, headBytes)
	if at < 0 || at+headBytes > size {
		return nil, ErrNone
	}
	if _, err := r.ReadAt(head, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return head, nil
}

func version1(r io.ReaderAt, size, at int64, minor int) (Superblock, error) {
	b, err := readHead(r, size, at)
	if err != nil {
		return Superblock{}, err
	}
	u32 := binary.LittleEndian.Uint32
	// super_offset says where the superblock believes to be: a copy elsewhere is no superblock.
	if u32(b) != magic || u32(b[4:]) != 1 || binary.LittleEndian.Uint64(b[144:]) != uint64(at/512) {
		return Superblock{}, ErrNone
	}
	name, _, _ := bytes.Cut(b[32:64], []byte{0})
	return Superblock{UUID: uuidText(b[16:32]), Name: string(name), Level: int(int32(u32(b[72:]))), Members: int(int32(u32(b[92:]))),
		Minor: minor}, nil
}

// uuidText writes a UUID as mdadm does: four groups of eight digits.
func uuidText(b []byte) string {
	h := hex.EncodeToString(b)
	return h[:8] + ":" + h[8:16] + ":" + h[16:24] + ":" + h[24:]
}

func isUUID(s string) bool {
	plain := strings.ReplaceAll(s, ":", "")
	raw, err := hex.DecodeString(plain)
	return err == nil && len(raw) == 16 && strings.Count(s, ":") == 3
}
