// Package raid owns software RAID as the Bare Metal API asks for it: what a RAID configuration may
// say, how member disks are divided, what the superblocks of Linux's md driver (version 1) tell, and
// how mdadm is called. It refuses to choose disks and to write to them: that is the caller's, who
// knows which disk is which.
package raid

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Software is the one controller there is: Linux's md driver.
const Software = "software"

// Max is the size_gb of a logical disk that takes what the others leave.
const Max = "MAX"

// levels that the agent builds, and those that Ironic knows besides.
var (
	levels = []string{"0", "1"}
	known  = []string{"JBOD", "2", "5", "6", "1+0", "5+0", "6+0"}
)

// LogicalDisk is one array.
type LogicalDisk struct {
	SizeGB  int    // usable size in GiB; 0: MAX
	Level   string // "0" or "1"
	Root    bool   // the instance goes here
	Volume  string // volume_name; "" when none was given
	Members []map[string]any
	UUID    string // of an array that is there, as md writes it; "" before it is made
}

// Config is a RAID configuration: a target_raid_config that was checked, or a raid_config.
type Config struct{ LogicalDisks []LogicalDisk }

// Properties describes the keys of a logical disk, for people.
func Properties() map[string]string {
	return map[string]string{
		"raid_level":     "RAID level: \"0\" or \"1\". Required.",
		"size_gb":        "Usable size in GiB, a whole number of at least 1, or \"MAX\" for what the other logical disks leave. Required.",
		"controller":     "\"software\": arrays of Linux's md driver, made by the agent. Required.",
		"is_root_volume": "Whether the instance goes to this logical disk; at most one may be it. Default: the first.",
		"volume_name":    "Name of the array: up to 24 letters, digits, \"-\", \"_\" and \".\", unique. Default: its number. Optional.",
		"physical_disks": "One object of root device hints for each member disk, at least two, such as " +
			"[{\"size\": \">= 100\"}, {\"size\": \">= 100\"}]; the same for all logical disks, which share their disks. " +
			"Default: every disk of at least 4 GiB inside the machine. Optional.",
	}
}

// Parse reads a target_raid_config and checks everything that can be known without the machine.
// Errors name the logical disk, counted from 0, and what is allowed.
func Parse(doc map[string]any) (Config, error) {
	for key := range doc {
		if key != "logical_disks" {
			return Config{}, fmt.Errorf("the key %q is unknown; a RAID configuration has the one key logical_disks", key)
		}
	}
	list, ok := doc["logical_disks"].([]any)
	if !ok || len(list) == 0 {
		return Config{}, fmt.Errorf("logical_disks must be a list of at least one logical disk")
	}
	var c Config
	for i, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return Config{},
				fmt.Errorf("logical_disks[%d] must be an object, such as {\"size_gb\": 100, \"raid_level\": \"1\", \"controller\": \"software\"}", i)
		}
		d, err := parseDisk(m)
		if err != nil {
			return Config{}, fmt.Errorf("logical_disks[%d]: %w", i, err)
		}
		c.LogicalDisks = append(c.LogicalDisks, d)
	}
	return c, c.check()
}

func parseDisk(m map[string]any) (LogicalDisk, error) {
	allowed := Properties()
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if allowed[key] == "" && key != "share_physical_disks" { // they always are shared
			return LogicalDisk{}, fmt.Errorf("%s is not supported for software RAID; allowed are %s", key,
				strings.Join(slices.Sorted(maps.Keys(allowed)), ", "))
		}
	}
	var d LogicalDisk
	for _, read := range []func(map[string]any) error{d.readController, d.readLevel, d.readSize, d.readFlags, d.readMembers} {
		if err := read(m); err != nil {
			return d, err
		}
	}
	return d, nil
}

func (d *LogicalDisk) readController(m map[string]any) error {
	if c, ok := m["controller"].(string); !ok || c != Software {
		return fmt.Errorf("controller is %s; only %q is supported: the agent builds arrays of Linux's md driver", shown(m, "controller"),
			Software)
	}
	return nil
}

func (d *LogicalDisk) readLevel(m map[string]any) error {
	level, ok := m["raid_level"].(string)
	switch {
	case ok && slices.Contains(levels, level):
		d.Level = level
		return nil
	case ok && slices.Contains(known, level):
		return fmt.Errorf("raid_level %q is not supported for software RAID; \"0\" and \"1\" are", level)
	}
	return fmt.Errorf("raid_level is %s; \"0\" and \"1\" are supported, as strings", shown(m, "raid_level"))
}

// maxGB bounds sizes so that no sum of them overflows.
const maxGB = 1 << 30

func (d *LogicalDisk) readSize(m map[string]any) error {
	if s, ok := m["size_gb"].(string); ok && s == Max {
		return nil
	}
	n, ok := whole(m["size_gb"])
	if !ok || n < 1 || n > maxGB {
		return fmt.Errorf("size_gb is %s; a whole number of GiB of at least 1, or \"MAX\", is allowed", shown(m, "size_gb"))
	}
	d.SizeGB = n
	return nil
}

func whole(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case float64:
		return int(v), v == math.Trunc(v) && math.Abs(v) <= maxGB
	case json.Number:
		n, err := v.Int64()
		return int(n), err == nil && n <= maxGB
	}
	return 0, false
}

// volumeName leaves room for what a later host puts in front ("host:name" has 32 bytes in a
// superblock), and is safe as a file name: udev makes /dev/md/NAME of it.
var volumeName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,23}$`)

func (d *LogicalDisk) readFlags(m map[string]any) error {
	for key, out := range map[string]*bool{"is_root_volume": &d.Root, "share_physical_disks": new(bool)} {
		if v, given := m[key]; given {
			b, ok := v.(bool)
			if !ok {
				return fmt.Errorf("%s is %s; true and false are allowed", key, shown(m, key))
			}
			*out = b
		}
	}
	v, given := m["volume_name"]
	if !given {
		return nil
	}
	name, ok := v.(string)
	if !ok || !volumeName.MatchString(name) || name == ESPName {
		return fmt.Errorf("volume_name is %s; up to 24 letters, digits, \"-\", \"_\" and \".\" are allowed, not beginning with \"-\" or \".\", "+
			"and not %q", shown(m, "volume_name"), ESPName)
	}
	d.Volume = name
	return nil
}

func (d *LogicalDisk) readMembers(m map[string]any) error {
	v, given := m["physical_disks"]
	if !given {
		return nil
	}
	list, ok := v.([]any)
	if !ok || len(list) < 2 {
		return fmt.Errorf("physical_disks must be a list of at least two objects of root device hints, one for each member disk")
	}
	for i, v := range list {
		hints, ok := v.(map[string]any)
		if !ok || len(hints) == 0 {
			return fmt.Errorf("physical_disks[%d] must be an object of root device hints, such as {\"serial\": \"…\"}", i)
		}
		d.Members = append(d.Members, hints)
	}
	return nil
}

func shown(m map[string]any, key string) string {
	v, given := m[key]
	if !given {
		return "missing"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("a %T", v)
	}
	return string(text)
}

// check looks at the logical disks together.
func (c Config) check() error {
	roots, open := 0, 0
	names := map[string]int{}
	for i, d := range c.LogicalDisks {
		if d.Root {
			roots++
		}
		if d.SizeGB == 0 {
			open++
		}
		name := c.Name(i)
		if j, taken := names[name]; taken {
			return fmt.Errorf("logical_disks[%d] and [%d] both have the name %q: give each a volume_name of its own", j, i, name)
		}
		names[name] = i
		if !sameHints(d.Members, c.LogicalDisks[0].Members) {
			return fmt.Errorf("logical_disks[%d]: its physical_disks are not those of logical_disks[0]; software RAID shares its disks: name the "+
				"same in all, or none", i)
		}
	}
	switch {
	case roots > 1:
		return fmt.Errorf("%d logical disks have is_root_volume; one may", roots)
	case open > 1:
		return fmt.Errorf("%d logical disks have the size_gb \"MAX\"; one may, as it takes all that the others leave", open)
	case len(c.LogicalDisks) > maxArrays:
		return fmt.Errorf("there are %d logical disks; %d may be", len(c.LogicalDisks), maxArrays)
	}
	return nil
}

// maxArrays keeps member disks within what every tool understands.
const maxArrays = 16

func sameHints(a, b []map[string]any) bool {
	one, _ := json.Marshal(a) // both come from JSON
	two, _ := json.Marshal(b)
	return string(one) == string(two)
}

// Name is what the i-th array is called: its volume_name, else its number.
func (c Config) Name(i int) string {
	if v := c.LogicalDisks[i].Volume; v != "" {
		return v
	}
	return fmt.Sprint(i)
}

// Root is the array the instance goes to: the root volume, else the first.
func (c Config) Root() int {
	return max(0, slices.IndexFunc(c.LogicalDisks, func(d LogicalDisk) bool { return d.Root }))
}

// IsSoftware reports whether a raid_config has arrays of the md driver.
func IsSoftware(doc map[string]any) bool {
	list, _ := doc["logical_disks"].([]any)
	return slices.ContainsFunc(list, func(v any) bool {
		m, _ := v.(map[string]any)
		return m["controller"] == Software
	})
}

// Built reads the arrays of a raid_config, which Describe has written; those of other controllers
// are left out. What was never software RAID is the empty Config.
func Built(doc map[string]any) (Config, error) {
	var c Config
	list, _ := doc["logical_disks"].([]any)
	for i, v := range list {
		m, _ := v.(map[string]any)
		if m["controller"] != Software {
			continue
		}
		m = maps.Clone(m)
		uuid, ok := m["uuid"].(string)
		if !ok || !isUUID(uuid) {
			return Config{}, fmt.Errorf("raid_config's logical_disks[%d] has the uuid %s; the UUID of an array is wanted: run "+
				"raid.delete_configuration and raid.create_configuration again", i, shown(m, "uuid"))
		}
		delete(m, "uuid")
		delete(m, "members")
		d, err := parseDisk(m)
		if err != nil {
			return Config{}, fmt.Errorf("raid_config's logical_disks[%d]: %w", i, err)
		}
		d.UUID = uuid
		c.LogicalDisks = append(c.LogicalDisks, d)
	}
	return c, nil
}

// Describe is the raid_config of arrays that are there: the target's keys, with sizes settled and the
// arrays' UUIDs and member disks added.
func (c Config) Describe(members []string) map[string]any {
	var list []any
	for i, d := range c.LogicalDisks {
		m := map[string]any{
			"controller": Software, "raid_level": d.Level, "size_gb": d.SizeGB, "uuid": d.UUID,
			"is_root_volume": i == c.Root(), "volume_name": c.Name(i), "members": members,
		}
		if d.Members != nil {
			var hints []any // as JSON has it, for Built
			for _, h := range d.Members {
				hints = append(hints, h)
			}
			m["physical_disks"] = hints
		}
		list = append(list, m)
	}
	return map[string]any{"logical_disks": list}
}

// Volumes keeps the root volume, the others, or both. The root volume is marked as such, so that it
// stays the root volume when it is alone.
func Volumes(doc map[string]any, root, others bool) (map[string]any, error) {
	c, err := Parse(doc)
	if err != nil {
		return nil, err
	}
	var kept []any
	for i, v := range doc["logical_disks"].([]any) {
		isRoot := i == c.Root()
		if isRoot && root || !isRoot && others {
			kept = append(kept, v)
		}
	}
	if kept == nil {
		return nil, fmt.Errorf("create_root_volume and create_nonroot_volumes leave no logical disk to create")
	}
	return map[string]any{"logical_disks": kept}, nil
}
