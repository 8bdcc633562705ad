package bmc

import (
	"encoding/binary"
	"time"
)

func selTime(*loop, *call) (byte, []byte) {
	return codeOK, binary.LittleEndian.AppendUint32(nil, uint32(time.Now().Unix()))
}

// fru is a product area and nothing else (IPMI Platform Management FRU Information Storage
// Definition v1.0, sections 8 and 12).
var fru = func() []byte {
	area := []byte{1, 0, 0}
	for _, field := range []string{"Billet", "virtual machine", "", "", "", "", ""} {
		area = append(area, 0xC0|byte(len(field)))
		area = append(area, field...)
	}
	area = append(area, 0xC1)
	for len(area)%8 != 7 {
		area = append(area, 0)
	}
	area[1] = byte(len(area)+1) / 8
	area = append(area, -checksum(area))
	header := []byte{1, 0, 0, 0, 1, 0, 0}
	return append(append(header, -checksum(header)), area...)
}()

func fruInfo(_ *loop, c *call) (byte, []byte) {
	if c.data[0] != 0 {
		return codeNotPresent, nil
	}
	return codeOK, []byte{byte(len(fru)), 0, 0}
}

func readFRU(_ *loop, c *call) (byte, []byte) {
	from := min(int(binary.LittleEndian.Uint16(c.data[1:])), len(fru))
	if c.data[0] != 0 {
		return codeNotPresent, nil
	}
	part := fru[from:min(from+int(c.data[3]), len(fru))]
	return codeOK, append([]byte{byte(len(part))}, part...)
}

// sdr is the one sensor data record: a management controller locator (spec table 43-9), because
// ipmitool tries to erase a repository that has none.
var sdr = func() []byte {
	const name = "Billet BMC"
	body := []byte{0x20, 0, 0, 0x8E, 0, 0, 0, 0x2E, 1, 0, 0xC0 | byte(len(name))}
	body = append(body, name...)
	return append([]byte{1, 0, 0x51, 0x12, byte(len(body))}, body...)
}()

// readSDR is spec table 33-12; record 0 is the first, and FFFFh follows the last.
func readSDR(_ *loop, c *call) (byte, []byte) {
	if binary.LittleEndian.Uint16(c.data[2:]) > 1 {
		return codeNotPresent, nil
	}
	from := min(int(c.data[4]), len(sdr))
	return codeOK, append([]byte{0xFF, 0xFF}, sdr[from:min(from+int(c.data[5]), len(sdr))]...)
}
