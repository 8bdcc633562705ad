package disk

import "fmt"

// Occupied says what a disk holds that somebody may still want: a partition table or a file system.
// "" means nothing that is known.
func Occupied(d Disk) (string, error) {
	if parts := Partitions(d); len(parts) > 0 {
		return fmt.Sprintf("a partition table with %d partitions", len(parts)), nil
	}
	if _, err := ReadGPT(d, d.Size(), d.SectorSize()); err == nil {
		return "an empty partition table", nil
	}
	m, err := ReadMBR(d)
	if err != nil {
		return "", err
	}
	if m != nil {
		return "a boot sector with partitions", nil
	}
	if kind, err := Shared(d); kind != "" || err != nil {
		return kind, err
	}
	fs, err := ProbeFS(d)
	if err != nil || fs.Type == "" {
		return "", err
	}
	return "a file system or volume (" + fs.Type + ")", nil
}
