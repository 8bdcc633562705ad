package configdrive

import "errors"

// Read returns the files of a drive's image, ISO 9660 or FAT.
func Read(drive []byte) ([]File, error) {
	switch {
	case isISO(drive):
		return readISO(drive)
	case fatSector(drive) != 0:
		return readFAT(drive)
	}
	return nil, errors.New("the config drive is neither ISO 9660 nor FAT")
}
