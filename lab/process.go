package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running process that cannot be mistaken for a later one with the same number.
type process struct {
	pid   int
	start string // clock ticks since boot (proc(5), stat field 22)
	args  []string
}

// findProcess looks one up; zombies do not count.
func findProcess(pid int) (process, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return process{}, false
	}
	state, start, ok := parseStat(stat)
	if !ok || state == "Z" || state == "X" {
		return process{}, false
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return process{}, false
	}
	args := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	return process{pid: pid, start: start, args: args}, true
}

// parseStat takes the state and the start time out of /proc/PID/stat. The name in brackets may
// hold spaces and brackets of its own, so fields are counted from the last bracket.
func parseStat(stat []byte) (state, start string, ok bool) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return "", "", false
	}
	fields := strings.Fields(string(stat[end+1:]))
	const startTime = 22 - 3 // the field after the name is number 3
	if len(fields) <= startTime {
		return "", "", false
	}
	return fields[0], fields[startTime], true
}

func (p process) alive() bool {
	now, ok := findProcess(p.pid)
	return ok && now.start == p.start
}

// signal sends through a pidfd: between the check and the signal the number cannot change hands.
func (p process) signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signalling process %d: %w", p.pid, err)
	}
	defer unix.Close(fd)
	if !p.alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signalling process %d: %w", p.pid, err)
	}
	return nil
}

// allProcesses lists what runs now and matches.
func allProcesses(match func(args []string) bool) ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, ok := findProcess(pid); ok && match(p.args) {
			found = append(found, p)
		}
	}
	return found, nil
}

// killProcesses asks, waits 5 s, kills, and waits until all are gone.
func killProcesses(ctx context.Context, ps []process) error {
	var errs []error
	for _, step := range []struct {
		sig    unix.Signal
		within time.Duration
	}{{unix.SIGTERM, 5 * time.Second}, {unix.SIGKILL, 10 * time.Second}} {
		for _, p := range ps {
			errs = append(errs, p.signal(step.sig))
		}
		if waitGone(ctx, ps, step.within) {
			return errors.Join(errs...)
		}
	}
	return errors.Join(append(errs, fmt.Errorf("some of the processes %v do not end", pids(ps)))...)
}

func waitGone(ctx context.Context, ps []process, within time.Duration) bool {
	deadline := time.Now().Add(within)
	for {
		gone := true
		for _, p := range ps {
			gone = gone && !p.alive()
		}
		if gone {
			return true
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func pids(ps []process) []int {
	var list []int
	for _, p := range ps {
		list = append(list, p.pid)
	}
	return list
}
