// billet-agent is the agent of the deploy ramdisk. As process 1 it is the ramdisk's init. Anywhere
// else it is an ordinary process that takes kernel parameters as arguments:
//
//	billet-agent ipa-api-url=http://127.0.0.1:6385 billet-root=DIR
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/billet-metal/billet/agent"
	"github.com/billet-metal/billet/agent/pid1"
	"github.com/billet-metal/billet/agent/rescue"
	"github.com/billet-metal/billet/iscsi"
)

// childMark tells the child of process 1 from an ordinary process.
const childMark = "BILLET_AGENT_IN_RAMDISK=1"

// memoryLimit is where Go starts to collect garbage in earnest: machines may have 256 MB, half of
// which is the kernel and the ramdisk. A layout of many extents may still go over it.
const memoryLimit = 96 << 20

func main() {
	if os.Getpid() == 1 {
		pid1.Supervise([]string{"/init"}, childEnvironment)
	}
	debug.SetMemoryLimit(memoryLimit)
	debug.SetGCPercent(50)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if os.Getenv("BILLET_AGENT_IN_RAMDISK") == "1" {
		err = inRamdisk(ctx)
	} else {
		err = asProcess(ctx)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "billet-agent:", err)
		os.Exit(1)
	}
}

// childEnvironment is asked for once /proc is there.
func childEnvironment() []string {
	env := []string{childMark, "PATH=/bin", "HOME=/"}
	if cpu, err := os.ReadFile("/proc/cpuinfo"); err == nil && bytes.Contains(cpu, []byte("QEMU TCG")) {
		// QEMU's emulation has AVX2 but does it one lane at a time: checksums take twice to four
		// times as long with it as without.
		env = append(env, "GODEBUG=cpu.avx2=off")
	}
	return env
}

// asProcess runs the agent on a machine it does not own.
func asProcess(ctx context.Context) error {
	params := agent.ParseCommandLine(strings.Join(os.Args[1:], " "))
	cfg, err := agent.NewConfig(params)
	if err != nil {
		return err
	}
	logs := &agent.LogBuffer{}
	log := newLog(io.MultiWriter(os.Stderr, logs), cfg.Debug)
	a := &agent.Agent{Config: cfg, Machine: guest{log}, Log: log, Logs: logs}
	return a.Run(ctx)
}

// guest is somebody else's machine: its power and clock are left alone.
type guest struct{ log *slog.Logger }

var errGuest = errors.New("this agent is not the machine's init")

func (g guest) Reboot() error              { g.log.Info("would reboot"); return nil }
func (g guest) PowerOff() error            { g.log.Info("would power off"); return nil }
func (g guest) SetClock(time.Time) error   { return errGuest }
func (g guest) KernelLog() ([]byte, error) { return nil, errGuest }

// ramdisk is this machine, which is all ours.
type ramdisk struct{ pid1.Power }

func (ramdisk) SetClock(t time.Time) error { return pid1.SetClock(t) }
func (ramdisk) KernelLog() ([]byte, error) { return pid1.KernelLog() }

// Rescue implements agent.Rescuer.
func (m ramdisk) Rescue(ctx context.Context, hash string, ready func()) error {
	err := rescue.Prepare("/", func() error {
		return exec.CommandContext(ctx, "/bin/busybox", "--install", "-s", "/bin").Run()
	})
	if err != nil {
		return err
	}
	active, err := os.ReadFile("/sys/class/tty/console/active")
	if err != nil {
		m.Log.Warn("no login on the console", "error", err)
	}
	r := rescue.Rescue{Hash: hash, Consoles: rescue.Consoles(string(active)), Ready: ready, Log: m.Log}
	return r.Run(ctx)
}

// inRamdisk brings the machine up and runs the agent without end: a machine whose agent gave up can
// only be power-cycled, one whose agent tries again may still be reached.
func inRamdisk(ctx context.Context) error {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return fmt.Errorf("reading the kernel's command line: %w", err)
	}
	cfg, err := agent.NewConfig(agent.ParseCommandLine(string(line)))
	if err != nil {
		return err
	}
	logs := &agent.LogBuffer{}
	log := newLog(io.MultiWriter(os.Stdout, logs), cfg.Debug)
	log.Info("billet-agent starts", "version", agent.Version, "boot_mac", cfg.BootMAC)
	modules := pid1.Modules{Dir: "/modules", Sys: "/sys", Load: pid1.LoadModule, Log: log}
	if err := modules.LoadAll(); err != nil {
		log.Error("kernel modules", "error", err)
	}
	if cfg.ISCSI != nil { // no device asks for a target's modules, and their files go next
		if err := os.MkdirAll("/etc/target", 0o755); err != nil { // where they look for their state
			return err
		}
		modules.LoadNamed("target_core_iblock", "iscsi_target_mod")
	}
	// File systems are loaded when an image's boot loader is installed, RAID when the node has arrays.
	if err := modules.Discard("ext4", "xfs", "btrfs", "raid0", "raid1"); err != nil {
		log.Warn("memory is wasted", "error", err)
	}
	if err := pid1.MountEFIVariables(); err != nil {
		log.Warn("boot entries cannot be made", "error", err)
	}
	network := &pid1.Network{BootMAC: cfg.BootMAC, ResolvConf: "/etc/resolv.conf", Log: log}
	lease, err := network.Up(ctx)
	if err != nil {
		return err
	}
	kept := make(chan struct{})
	go func() { defer close(kept); network.Keep(ctx, lease) }()
	a := &agent.Agent{Config: cfg, Machine: ramdisk{pid1.Power{Log: log}}, Log: log, Logs: logs}
	a.LoadModule = func(name string) { modules.LoadNamed(name) }
	a.Export = func(e iscsi.Export) (func(context.Context) error, error) { return e.Stop, e.Start() }
	err = runForEver(ctx, a)
	<-kept
	return err
}

func runForEver(ctx context.Context, a *agent.Agent) error {
	const pause = 30 * time.Second
	log := a.Log
	for {
		err := a.Run(ctx)
		if ctx.Err() != nil {
			return err
		}
		log.Error("the agent cannot go on; it tries again", "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		a.Log = log
	}
}

func newLog(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
