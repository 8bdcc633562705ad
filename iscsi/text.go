package iscsi

import (
	"fmt"
	"strconv"
	"strings"
)

// pair is one "key=value" of a negotiation; their order is kept.
type pair struct{ key, value string }

// maxText bounds what a target may say in one step of a log-in.
const maxText = 64 << 10

// parseText reads a text segment: pairs that each end with a zero byte (RFC 7143 section 6.1).
func parseText(data []byte) (map[string]string, error) {
	if len(data) > maxText {
		return nil, fmt.Errorf("a negotiation text of %d bytes is longer than the %d taken", len(data), maxText)
	}
	keys := map[string]string{}
	for item := range strings.SplitSeq(string(data), "\x00") {
		if item == "" {
			continue
		}
		key, value, ok := strings.Cut(item, "=")
		if !ok || key == "" || len(key) > 63 {
			return nil, fmt.Errorf("a negotiation text holds %.80q, which is no key=value", item)
		}
		if _, twice := keys[key]; twice {
			return nil, fmt.Errorf("a negotiation text gives %s twice", key)
		}
		keys[key] = value
	}
	return keys, nil
}

func formatText(pairs []pair) []byte {
	var b []byte
	for _, p := range pairs {
		b = append(append(append(b, p.key...), '='), p.value...)
		b = append(b, 0)
	}
	return b
}

// params are the outcome of the operational negotiation that this initiator acts on.
type params struct {
	targetSegment int // MaxRecvDataSegmentLength of the target
	maxBurst      int
	firstBurst    int
	immediateData bool
	digests       digests
}

// defaultParams are what holds when nothing is said (RFC 7143 section 13).
func defaultParams() params {
	return params{targetSegment: 8192, maxBurst: 262144, firstBurst: 65536, immediateData: true}
}

// offer is what this initiator proposes; take holds the target's answers against it.
func offer(withDigests bool) []pair {
	sums := "None"
	if withDigests {
		sums = "CRC32C,None"
	}
	return []pair{
		{"HeaderDigest", sums}, {"DataDigest", sums},
		{"InitialR2T", "Yes"}, {"ImmediateData", "Yes"},
		{"MaxBurstLength", "1048576"}, {"FirstBurstLength", "262144"},
		{"MaxRecvDataSegmentLength", strconv.Itoa(maxSegment)},
		{"MaxOutstandingR2T", "1"}, {"MaxConnections", "1"},
		{"DataPDUInOrder", "Yes"}, {"DataSequenceInOrder", "Yes"},
		{"DefaultTime2Wait", "0"}, {"DefaultTime2Retain", "0"}, {"ErrorRecoveryLevel", "0"},
	}
}

// take keeps one answer. Numbers outside what the RFC allows end the log-in: they would become
// endless loops or huge segments later.
func (p *params) take(key, value string) error {
	number := func(into *int, limit int) error {
		n, err := strconv.ParseUint(value, 0, 32)
		if err != nil || n < 512 || n > 1<<24-1 {
			return fmt.Errorf("the target answers %s=%.40q; 512 to 16777215 is allowed", key, value)
		}
		*into = min(int(n), limit)
		return nil
	}
	switch key {
	case "MaxRecvDataSegmentLength":
		return number(&p.targetSegment, 1<<20)
	case "MaxBurstLength":
		return number(&p.maxBurst, 1<<20)
	case "FirstBurstLength":
		return number(&p.firstBurst, 256<<10)
	case "ImmediateData":
		p.immediateData = value == "Yes"
	case "HeaderDigest":
		p.digests.header = value == "CRC32C"
	case "DataDigest":
		p.digests.data = value == "CRC32C"
	}
	return nil
}
