package disk

import (
	"fmt"

	"github.com/billet-metal/billet/wire"
)

// Skipped says which disks the node's property skip_block_devices protects: a list of objects such
// as root device hints, and a disk that matches all of any one of them is never written or erased.
// The result's keys are disk names. What cannot be read is an error: a wish to be left alone that is
// not understood must stop everything, not be ignored.
func Skipped(disks []wire.Disk, property any) (map[string]bool, error) {
	if property == nil {
		return nil, nil
	}
	list, ok := property.([]any)
	if !ok {
		return nil, fmt.Errorf("skip_block_devices is a %T; a list of objects such as {\"serial\": \"…\"} is allowed", property)
	}
	skipped := map[string]bool{}
	for i, item := range list {
		raw, ok := item.(map[string]any)
		if !ok || len(raw) == 0 {
			return nil, fmt.Errorf("skip_block_devices: entry %d is %v; an object such as {\"serial\": \"…\"} is allowed", i+1, item)
		}
		hints, err := parseHints(raw)
		if err != nil {
			return nil, fmt.Errorf("skip_block_devices: entry %d: %w", i+1, err)
		}
		for _, d := range disks {
			if mismatch(d, hints) == "" {
				skipped[d.Name] = true
				skipped[d.PathOf] = true
			}
		}
	}
	for _, d := range disks { // a disk is protected on all its paths
		if d.PathOf != "" && skipped[d.PathOf] {
			skipped[d.Name] = true
		}
	}
	delete(skipped, "")
	return skipped, nil
}
