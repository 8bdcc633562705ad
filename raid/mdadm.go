package raid

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Program is where the ramdisk has mdadm.
const Program = "/sbin/mdadm"

// timeout bounds one call of mdadm: it starts what the kernel then does in the background.
const timeout = 2 * time.Minute

// Tool calls mdadm. The zero value calls the ramdisk's.
type Tool struct {
	// Run runs mdadm and returns what it said; nil runs Program.
	Run func(ctx context.Context, args ...string) (said string, err error)
}

// Made is an array to be made.
type Made struct {
	Node    string // "/dev/md0"
	Name    string
	UUID    string
	Level   string
	Members []string // device nodes of partitions
}

// NewUUID is a random UUID as md writes it.
func NewUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return uuidText(b[:])
}

// Create makes and starts an array. The superblock goes to the members' ends (version 1.0): what is on
// a mirror begins where its member begins, so firmware that knows nothing of md can read the mirror of
// the EFI system partitions. A mirror copies itself in the background; it can be used at once.
func (t Tool) Create(ctx context.Context, a Made) error {
	args := []string{"--create", a.Node, "--run", "--metadata=1.0", "--level=" + a.Level, fmt.Sprintf("--raid-devices=%d", len(a.Members)),
		"--name=" + a.Name, "--homehost=any", "--uuid=" + a.UUID}
	if a.Level == "1" {
		args = append(args, "--bitmap=internal") // a crash costs seconds of copying, not hours
	}
	return t.call(ctx, fmt.Sprintf("making the array %s (RAID %s) of %s", a.Name, a.Level, strings.Join(a.Members, " and ")),
		append(args, a.Members...))
}

// Assemble starts an array that is there, also when members are missing, as long as they are not too
// many.
func (t Tool) Assemble(ctx context.Context, node, uuid string, members []string) error {
	args := append([]string{"--assemble", node, "--run", "--config=none", "--homehost=any", "--uuid=" + uuid}, members...)
	return t.call(ctx, fmt.Sprintf("starting the array %s of %s", uuid, strings.Join(members, " and ")), args)
}

// Stop stops an array; nothing of it is lost.
func (t Tool) Stop(ctx context.Context, node string) error {
	return t.call(ctx, "stopping the array "+node, []string{"--stop", node})
}

func (t Tool) call(ctx context.Context, what string, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	run := t.Run
	if run == nil {
		run = runProgram
	}
	said, err := run(ctx, args...)
	if err != nil {
		return fmt.Errorf("%s: mdadm: %w: %s", what, err, strings.Join(strings.Fields(said), " "))
	}
	return nil
}

func runProgram(ctx context.Context, args ...string) (string, error) {
	if _, err := os.Stat(Program); err != nil {
		return "", fmt.Errorf("%w: build the ramdisk anew with this version of billet", err)
	}
	cmd := exec.CommandContext(ctx, Program, args...)
	cmd.Env = []string{"PATH=/sbin:/bin", "LC_ALL=C", "MDADM_NO_UDEV=1"} // the ramdisk has no udev that would make device nodes
	cmd.WaitDelay = time.Second
	said, err := cmd.CombinedOutput()
	return string(said), err
}
