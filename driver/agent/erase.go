package agent

import (
	"encoding/json"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// Erase is how agents are to erase disks. It goes to them in driver_internal_info, by Ironic's names.
type Erase struct {
	ATA, NVMe       bool // the disks' own commands may be used
	Overwrite       bool // a disk whose own command failed is overwritten instead of failing
	SkipReadOnly    bool // a read-only disk is left alone instead of failing the step
	AtOnce          int  // disks erased side by side
	RandomPasses    int  // of overwriting, before the zeros
	NoZerosAfterAll bool // no pass of zeros after them
}

const wipeKey = wire.WipeShared

// tell writes the settings where the agent reads them.
func (e *Erase) tell(n *node.Node) {
	info := n.DriverInternalInfo.Clone()
	for key, value := range map[string]any{
		wire.EraseATA:           e.ATA,
		wire.EraseNVMe:          e.NVMe,
		wire.EraseOverwrites:    e.Overwrite,
		wire.EraseOverwritesATA: e.Overwrite, // the name that older agents read
		wire.EraseSkips:         e.SkipReadOnly,
		wire.ErasePasses:        e.RandomPasses,
		wire.EraseZeros:         !e.NoZerosAfterAll,
		wire.EraseAtOnce:        e.AtOnce,
	} {
		info[key] = value
	}
	delete(info, wipeKey)
	if wipe, ok := driver.Boolean(n.DriverInfo[wipeKey]); ok && wipe { // where Ironic's agent reads it
		info[wipeKey] = true
	}
	n.DriverInternalInfo = info
}

// ErasedDisks is the key in driver_internal_info of what was erased how: an object with an entry for the last
// run of each erase step: {"flow", "at" (RFC 3339), "disks": a list of wire.ErasedDisk}.
const ErasedDisks = "erased_disks"

// What is kept of an agent's report: it is a stranger's.
const (
	mostErased  = 256 // disks
	longestText = 500 // bytes
)

// erasureOf is what a command's result says of erased disks; zero when it says nothing.
func erasureOf(c *wire.CommandResult) wire.Erasure {
	for _, r := range results(c) {
		var e wire.Erasure
		if json.Unmarshal(r, &e) == nil && len(e.Disks) > 0 {
			return e
		}
	}
	return wire.Erasure{}
}

// recordErasure keeps what the step under way did to each disk, whether it ended well or not.
func recordErasure(t *driver.Task, disks []wire.ErasedDisk) {
	if len(disks) == 0 {
		return
	}
	list := []any{}
	for _, d := range disks[:min(len(disks), mostErased)] {
		for _, text := range []*string{&d.Name, &d.Serial, &d.WWN, &d.Model, &d.Method, &d.Verified, &d.Skipped, &d.Error} {
			*text = short(*text)
		}
		for i := range d.NotBy {
			d.NotBy[i] = short(d.NotBy[i])
		}
		d.NotBy = d.NotBy[:min(len(d.NotBy), 10)]
		list = append(list, d)
	}
	old, _ := t.Node.DriverInternalInfo[ErasedDisks].(map[string]any)
	all := node.Document(old).Clone()
	all[t.Step().Step] = map[string]any{"flow": string(t.Node.Plan.Flow), "at": node.Now().UTC().Format(time.RFC3339), "disks": list}
	info := t.Node.DriverInternalInfo.Clone()
	info[ErasedDisks] = map[string]any(all)
	t.Node.DriverInternalInfo = info
}

func short(text string) string {
	text = redact(text)
	return text[:min(len(text), longestText)]
}

// argsInfo reads what an agent says of a step's arguments: {"name": {"description", "required"}}.
func argsInfo(info map[string]any) map[string]node.Argument {
	if info == nil {
		return nil
	}
	args := map[string]node.Argument{}
	for name, about := range info {
		a, _ := about.(map[string]any)
		required, _ := a["required"].(bool)
		help, _ := a["description"].(string)
		args[name] = node.Argument{Required: required, Help: short(help)}
	}
	return args
}
