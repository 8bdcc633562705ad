package agent

import (
	"strconv"
	"strings"
	"time"

	"github.com/billet-metal/billet/driver"
)

// ramdiskBoot is how far the boot of the flow's ramdisk is.
type ramdiskBoot struct {
	Since     time.Time `json:"since,omitzero"`      // since when it boots; zero when it must be booted
	FastTrack bool      `json:"fast_track,omitzero"` // the ramdisk of an earlier flow is used on
	Forgotten string    `json:"forgotten,omitempty"` // step for whose boot the earlier agent was forgotten
	SeenOff   time.Time `json:"seen_off,omitzero"`   // when the machine, which is to boot, was first seen off
}

// agentCommand is what the agent was told to do.
type agentCommand struct {
	ID       string `json:"id,omitempty"`      // the command the step waits for
	Done     string `json:"done,omitempty"`    // the last command that an earlier step saw to its end
	Restarts int    `json:"restarts,omitzero"` // how often the step under way was started again
}

// agentSilence is what was seen of an agent that did not answer.
type agentSilence struct {
	LookedUp time.Time `json:"looked_up,omitzero"` // a lookup without a token, after which the agent still answered: it asks as it works
	Absent   time.Time `json:"absent,omitzero"`    // since when nobody listens at its address
	Polls    int       `json:"polls,omitzero"`     // and in how many polls
}

// reboots are the boots within a step, and those by the agent itself. Steps are named by stepName.
type reboots struct {
	Step      string `json:"step,omitempty"`      // whose reboot is under way
	Lost      string `json:"lost,omitempty"`      // whose machine is started again after it was lost
	Recovered string `json:"recovered,omitempty"` // whose machine was started again
	Times     int    `json:"times,omitzero"`      // and how often
	ByAgent   string `json:"by_agent,omitempty"`  // for which the agent was told to reboot its machine
}

// kexecStart is how far kexec_instance is.
type kexecStart struct {
	Stage kexecStage `json:"stage,omitempty"`
	At    time.Time  `json:"at,omitzero"`   // when the agent was told to jump
	Told  bool       `json:"told,omitzero"` // it said yes
}

// The notes of a flow. Old names what versions before typed notes wrote.
var (
	bootNote = driver.Note[ramdiskBoot]{Key: "deploy.boot", Old: map[string]func(*ramdiskBoot, string){
		"deploy.booted":    func(b *ramdiskBoot, text string) { driver.OldTime(&b.Since, text) },
		"deploy.fast":      func(b *ramdiskBoot, _ string) { b.FastTrack = true },
		"deploy.forgotten": func(b *ramdiskBoot, text string) { b.Forgotten = text },
		"deploy.off":       func(b *ramdiskBoot, text string) { driver.OldTime(&b.SeenOff, text) },
	}}
	commandNote = driver.Note[agentCommand]{Key: "deploy.command", Old: map[string]func(*agentCommand, string){
		"deploy.command":  func(c *agentCommand, text string) { c.ID = text },
		"deploy.done":     func(c *agentCommand, text string) { c.Done = text },
		"deploy.restarts": func(c *agentCommand, text string) { c.Restarts, _ = strconv.Atoi(text) },
	}}
	silenceNote = driver.Note[agentSilence]{Key: "deploy.silence", Old: map[string]func(*agentSilence, string){
		"deploy.looked_up": func(s *agentSilence, text string) { driver.OldTime(&s.LookedUp, text) },
		"deploy.absent": func(s *agentSilence, text string) {
			since, polls, _ := strings.Cut(text, " ")
			driver.OldTime(&s.Absent, since)
			s.Polls, _ = strconv.Atoi(polls)
		},
	}}
	rebootNote = driver.Note[reboots]{Key: "deploy.reboots", Old: map[string]func(*reboots, string){
		"deploy.reboot":  func(r *reboots, text string) { r.Step = text },
		"deploy.revival": func(r *reboots, text string) { r.Lost = text },
		"deploy.revived": func(r *reboots, text string) {
			step, times, _ := strings.Cut(text, " ")
			r.Recovered = step
			r.Times, _ = strconv.Atoi(times)
		},
		"deploy.left": func(r *reboots, text string) { r.ByAgent = text },
	}}
	kexecNote = driver.Note[kexecStart]{Key: "deploy.kexec", Old: map[string]func(*kexecStart, string){
		"deploy.kexec":      func(k *kexecStart, text string) { k.Stage = kexecStage(text) },
		"deploy.kexec_at":   func(k *kexecStart, text string) { driver.OldTime(&k.At, text) },
		"deploy.kexec_told": func(k *kexecStart, _ string) { k.Told = true },
	}}
	// versionNote is hardware_manager_version, which the agent wants back.
	versionNote = driver.Note[map[string]string]{Key: "deploy.version"}
	// finalizeNote is when the agent of a rescue was first asked to let people in.
	finalizeNote = driver.Note[time.Time]{Key: "rescue.finalizing", Old: map[string]func(*time.Time, string){
		"rescue.finalizing": driver.OldTime,
	}}
)
