package write

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/billet-metal/billet/configdrive"
	"github.com/billet-metal/billet/disk"
)

// configDriveName is the partition's name and the file system's label, by which cloud-init finds it.
const configDriveName = configdrive.Label

const (
	mebibyte      = 1 << 20
	mbrMaxSectors = math.MaxUint32
)

// fetchConfigDrive returns the config drive's image, made for a disk with sectors of the given size.
// text is base64 of a gzipped image, or the URL of such a text. Its content is secret and appears in
// no error.
func (w *Writer) fetchConfigDrive(ctx context.Context, text string, sector int64) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	if strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://") {
		var err error
		if text, err = w.fetchText(ctx, text); err != nil {
			return nil, err
		}
	}
	drive, err := configdrive.Decode(text)
	if err != nil {
		return nil, err
	}
	return configdrive.Fit(drive, sector)
}

// isoBlock is the size of ISO 9660's blocks; the volume descriptor is in the 16th (ECMA-119, 8.1).
const isoBlock = 2048

func (w *Writer) fetchText(ctx context.Context, from string) (string, error) {
	var last error
	for attempt := range maxAttempts {
		if err := pause(ctx, attempt); err != nil {
			return "", errors.Join(err, last)
		}
		text, err := w.fetchTextOnce(ctx, from)
		if err == nil {
			return text, nil
		}
		if last = fmt.Errorf("fetching the config drive: %w", err); isFinal(err) {
			break
		}
	}
	return "", last
}

func (w *Writer) fetchTextOnce(ctx context.Context, from string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return "", fmt.Errorf("its URL %s is wrong", shown(from))
	}
	resp, err := w.Client.Do(req)
	if where := (*url.Error)(nil); errors.As(err, &where) {
		return "", fmt.Errorf("%s: %w", shown(from), where.Err)
	}
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", &statusError{url: shown(from), code: resp.StatusCode}
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 2*configdrive.MaxSize))
	return string(text), err
}

// addConfigDrive makes a partition for the config drive at the disk's end, so that cloud-init can
// still grow the root partition in front of it, writes the drive and reads it back. A partition of
// that name that is there already and large enough is used.
func addConfigDrive(d disk.Disk, drive []byte) error {
	where, err := placeConfigDrive(d, int64(len(drive)))
	if err != nil {
		return fmt.Errorf("adding the config drive: %w", err)
	}
	if err := d.Zero(where.offset, where.length); err != nil {
		return fmt.Errorf("adding the config drive: %w", err)
	}
	if _, err := d.WriteAt(drive, where.offset); err != nil {
		return fmt.Errorf("adding the config drive: %w", err)
	}
	return compare(d, where.offset, drive)
}

// compare reads back what was written, a piece at a time: the machine may have little memory.
func compare(d disk.Disk, off int64, want []byte) error {
	back := make([]byte, min(len(want), mebibyte))
	for len(want) > 0 {
		n := min(len(want), len(back))
		if _, err := d.ReadAt(back[:n], off); err != nil {
			return fmt.Errorf("reading the config drive back: %w", err)
		}
		if !bytes.Equal(back[:n], want[:n]) {
			return fmt.Errorf("the config drive reads back differently near byte %d of the disk: the disk is failing", off)
		}
		want, off = want[n:], off+int64(n)
	}
	return nil
}

func placeConfigDrive(d disk.Disk, size int64) (span, error) {
	t, err := disk.ReadTable(d)
	switch {
	case err != nil:
		return span{}, err
	case t.GPT != nil:
		return placeInGPT(d, t.GPT, size)
	case t.MBR == nil:
		return span{}, errors.New("the image has no partition table, so there is no place for a config drive: use an image with a " +
			"GPT or MBR partition table, or no config drive")
	}
	return placeInMBR(d, t.MBR, size)
}

// reuse decides about a partition of the image that may hold an earlier config drive, as images made
// of deployed machines do: it is used again where it is large enough; else what it holds is made
// unfindable, since a system must not take somebody else's name and keys from it.
func reuse(d disk.Disk, room span, size int64, named bool) (bool, error) {
	earlier, err := holdsDrive(d, room)
	switch {
	case err != nil:
		return false, err
	case (named || earlier) && room.length >= size:
		return true, nil
	case earlier:
		return false, d.Zero(room.offset, min(room.length, disk.SignatureSize))
	}
	return false, nil
}

// holdsDrive looks for a file system labelled config-2: ISO 9660 (ECMA-119, 8.4.7) or FAT (its
// label at byte 43 or, in FAT32, 71).
func holdsDrive(d disk.Disk, room span) (bool, error) {
	head := make([]byte, 17*isoBlock)
	if room.offset < 0 || room.length < int64(len(head)) || room.offset+room.length > d.Size() {
		return false, nil
	}
	if _, err := d.ReadAt(head, room.offset); err != nil {
		return false, fmt.Errorf("looking for an earlier config drive: %w", err)
	}
	iso := string(head[16*isoBlock+1:][:5]) == "CD001" && labelled(head[16*isoBlock+40:][:32])
	fat := head[510] == 0x55 && head[511] == 0xaa && (labelled(head[43:54]) || labelled(head[71:82]))
	return iso || fat, nil
}

func labelled(raw []byte) bool {
	return strings.EqualFold(strings.TrimRight(string(raw), " "), configDriveName)
}

func placeInGPT(d disk.Disk, t *disk.GPT, size int64) (span, error) {
	first, last := t.Usable()
	end := int64(0) // first sector after the last partition
	for _, e := range t.Entries() {
		end = max(end, e.Last+1)
		room := span{e.First * t.Sector, (e.Last - e.First + 1) * t.Sector}
		if use, err := reuse(d, room, size, e.Name == configDriveName); use || err != nil {
			return room, err
		}
	}
	where, err := placeAtEnd(max(end, first)*t.Sector, (last+1)*t.Sector, size)
	if err != nil {
		return span{}, err
	}
	_, err = t.Add(disk.GPTEntry{
		Type: disk.LinuxDataType, ID: disk.NewGUID(), Name: configDriveName,
		First: where.offset / t.Sector, Last: (where.offset+where.length)/t.Sector - 1,
	})
	if err != nil {
		return span{}, err
	}
	return where, t.Write(d)
}

func placeInMBR(d disk.Disk, m *disk.MBR, size int64) (span, error) {
	sector, free, end := d.SectorSize(), -1, int64(1)
	for i := range 4 {
		e := m.Entry(i)
		if e.Kind == 0 && e.Sectors == 0 && free < 0 {
			free = i
		}
		end = max(end, e.First+e.Sectors)
		room := span{e.First * sector, e.Sectors * sector}
		if e.First == 0 { // unused, or all of a hybrid DVD image, which is no config drive
			continue
		}
		if use, err := reuse(d, room, size, false); use || err != nil {
			return room, err
		}
	}
	if free < 0 {
		return span{}, errors.New("all four primary partitions of the image's MBR partition table are taken: use an image with a GPT")
	}
	limit := min(d.Size(), mbrMaxSectors*sector)
	where, err := placeAtEnd(end*sector, limit, size)
	if err != nil {
		return span{}, err
	}
	m.Set(free, disk.MBREntry{Kind: disk.MBRLinux, First: where.offset / sector, Sectors: where.length / sector})
	return where, m.Write(d)
}

// placeAtEnd finds whole MiB for size bytes, as late as possible between start and end.
func placeAtEnd(start, end, size int64) (span, error) {
	length := (size + mebibyte - 1) / mebibyte * mebibyte
	offset := (end - length) / mebibyte * mebibyte
	if offset < start {
		return span{}, fmt.Errorf("%s are needed after the last partition, but only %s are free", disk.HumanSize(length),
			disk.HumanSize(max(end-start, 0)))
	}
	return span{offset, length}, nil
}
