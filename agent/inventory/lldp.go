package inventory

import (
	"encoding/binary"
	"encoding/hex"
)

// TLV is one field of an LLDP frame as the inventory carries it: its type, and its value in hex.
type TLV [2]any

// etherLLDP is the EtherType of LLDP, IEEE 802.1AB-2016 7.4.
const etherLLDP = 0x88cc

// maxTLVs bounds what one frame may bring; the largest frame could hold more of them empty.
const maxTLVs = 128

// parseLLDP takes an Ethernet frame apart; nil when it is no LLDP or its fields do not add up. A
// field is 7 bits of type, 9 of length, then its value: IEEE 802.1AB-2016 8.4. Each of the VLAN tags
// a switch may have left in front is passed over.
func parseLLDP(frame []byte) []TLV {
	const addresses = 12
	if len(frame) < addresses+2 {
		return nil
	}
	b := frame[addresses:]
	for len(b) >= 6 && binary.BigEndian.Uint16(b) == 0x8100 {
		b = b[4:]
	}
	if len(b) < 2 || binary.BigEndian.Uint16(b) != etherLLDP {
		return nil
	}
	var out []TLV
	for b = b[2:]; len(b) >= 2 && len(out) < maxTLVs; {
		head := binary.BigEndian.Uint16(b)
		kind, length := int(head>>9), int(head&0x1ff)
		if len(b) < 2+length {
			return nil
		}
		if kind == 0 { // the end; what follows is Ethernet's padding
			break
		}
		out = append(out, TLV{kind, hex.EncodeToString(b[2:][:length])})
		b = b[2+length:]
	}
	return out
}
