package inventory

import "encoding/binary"

// memoryDevices adds up the sizes of all memory modules in MiB: structures of type 17, SMBIOS
// Reference Specification 3.6, section 7.18. A damaged table counts as far as it can be read.
func memoryDevices(table []byte) int64 {
	const memoryDevice, endOfTable = 17, 127
	var total int64
	for len(table) >= 4 {
		kind, length := table[0], int(table[1])
		if length < 4 || length > len(table) || kind == endOfTable {
			break
		}
		if kind == memoryDevice {
			total += moduleSize(table[:length])
		}
		table = skipStrings(table[length:])
	}
	return total
}

// moduleSize is one module's size in MiB; 0 for an empty or unknown slot.
func moduleSize(s []byte) int64 {
	if len(s) < 0x0e {
		return 0
	}
	size := binary.LittleEndian.Uint16(s[0x0c:])
	switch {
	case size == 0, size == 0xffff:
		return 0
	case size == 0x7fff && len(s) >= 0x20: // too large for the field: the extended size says
		return int64(binary.LittleEndian.Uint32(s[0x1c:]) & 0x7fffffff)
	case size&0x8000 != 0: // in KiB
		return int64(size&0x7fff) >> 10
	default:
		return int64(size)
	}
}

// skipStrings passes the strings after a structure: they end with two zero bytes.
func skipStrings(b []byte) []byte {
	for i := 0; i+1 < len(b); i++ {
		if b[i] == 0 && b[i+1] == 0 {
			return b[i+2:]
		}
	}
	return nil
}
