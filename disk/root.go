package disk

import (
	"errors"
	"fmt"
	"slices"
)

// RootTypes are the file systems that can be found by their UUID and mounted to install GRUB.
var RootTypes = []string{"ext4", "xfs", "btrfs"}

// RootFS finds the partition of a disk whose file system has the given UUID.
func RootFS(d Disk, uuid string) (Partition, FS, error) {
	for _, p := range Partitions(d) {
		if p.Length < SignatureSize {
			continue
		}
		fs, err := ProbeFS(Within(d, p.Offset, p.Length))
		if err != nil {
			return Partition{}, FS{}, err
		}
		if fs.UUID == uuid {
			p.Role = Root
			return p, fs, nil
		}
	}
	return Partition{}, FS{}, fmt.Errorf("no partition of the disk holds the root file system %s", uuid)
}

// RootPartition finds the root partition of a disk that a partition image was written to from afar: the
// one whose name in the GPT is "root", or the active one of an MBR, as Writer makes them.
func RootPartition(d Disk) (Partition, FS, error) {
	numbers, err := rootNumbers(d)
	if err != nil {
		return Partition{}, FS{}, err
	}
	if len(numbers) != 1 {
		return Partition{}, FS{}, fmt.Errorf("the disk has %d root partitions: partitions named %q in its GPT, or active ones of "+
			"its MBR; one is wanted", len(numbers), Root)
	}
	for _, p := range Partitions(d) {
		if p.Number != numbers[0] {
			continue
		}
		p.Role = Root
		fs, err := ProbeFS(Within(d, p.Offset, p.Length))
		if err == nil && !slices.Contains(RootTypes, fs.Type) {
			err = fmt.Errorf("the root partition %d holds %q; one of %v is wanted", p.Number, fs.Type, RootTypes)
		}
		return p, fs, err
	}
	return Partition{}, FS{}, fmt.Errorf("the root partition %d reaches past the disk's end", numbers[0])
}

func rootNumbers(d Disk) ([]int, error) {
	var numbers []int
	t, err := ReadGPT(d, d.Size(), d.SectorSize())
	if err == nil {
		for n, e := range t.Entries() {
			if e.Name == string(Root) {
				numbers = append(numbers, n)
			}
		}
		return numbers, nil
	}
	if !errors.Is(err, ErrNoGPT) {
		return nil, err
	}
	m, err := ReadMBR(d)
	if err != nil || m == nil {
		return nil, err
	}
	for i := range 4 {
		if m.Raw[446+16*i] == 0x80 && m.Entry(i).Kind != 0 {
			numbers = append(numbers, i+1)
		}
	}
	return numbers, nil
}
