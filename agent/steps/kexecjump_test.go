package steps

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/agent/bootmenu"
)

// jumper is a machine that notes, in order, what was done to it.
type jumper struct {
	*kexecer
	did chan string
	err error
}

func (j jumper) Kexec() error {
	j.did <- "kexec"
	return j.err
}

// jump is a Kexec on the machine; left tells whether heartbeats have ended.
func (j jumper) jump(log io.Writer) (k *Kexec, left *bool) {
	left = new(bool)
	return &Kexec{
		Host: &Host{Log: slog.New(slog.NewTextHandler(log, nil))}, Machine: j, Leave: func() { *left = true },
		Reboot: func() error { j.did <- "reboot"; return nil },
	}, left
}

func newJumper(err error) jumper {
	return jumper{kexecer: &kexecer{}, did: make(chan string, 4), err: err}
}

func (j jumper) next(t *testing.T) string {
	t.Helper()
	select {
	case what := <-j.did:
		return what
	case <-time.After(10 * time.Second):
		t.Fatal("nothing happens to the machine")
		return ""
	}
}

// The answer comes before the jump, heartbeats have ended by then, and a kernel that does not start
// means an ordinary reboot.
func TestJump(t *testing.T) {
	machine := newJumper(errors.New("out of pages"))
	var log bytes.Buffer
	k, left := machine.jump(&log)
	flushed := 0
	said, err := k.jump(func() { flushed++ }, time.Minute)
	if err != nil || said != "starting the instance's kernel" || flushed != 1 {
		t.Errorf("%v, %v, flushed %d times", said, err, flushed)
	}
	select {
	case what := <-machine.did:
		t.Errorf("%s before the answer could be sent", what)
	default:
	}
	if !*left {
		t.Error("heartbeats go on: the service would believe that the ramdisk lives")
	}
	if first, second := machine.next(t), machine.next(t); first != "kexec" || second != "reboot" {
		t.Errorf("it did %s, then %s", first, second)
	}
	if !strings.Contains(log.String(), "out of pages") {
		t.Errorf("why it did not start is not in the log: %s", &log)
	}
}

// A service that waited too long has begun to reboot the machine: the agent stays where it is, and
// says why, and lives on.
func TestJumpTooLate(t *testing.T) {
	machine := newJumper(nil)
	k, left := machine.jump(io.Discard)
	_, err := k.jump(func() { time.Sleep(20 * time.Millisecond) }, 10*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "flushing the disks took ") ||
		!strings.Contains(err.Error(), "it is too late to start the instance's kernel") {
		t.Errorf("error %v", err)
	}
	if *left {
		t.Error("heartbeats have ended, though the agent stays")
	}
	select {
	case what := <-machine.did:
		t.Errorf("%s, though it was too late", what)
	case <-time.After(jumpDelay + 200*time.Millisecond):
	}
	if jumpWithin >= 30*time.Second {
		t.Error("the service has given up by then")
	}
}

// Loading needs memory for more than one copy; where there is none, the reason says how much.
func TestFits(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mb int64) bootmenu.File {
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(at, mb<<20); err != nil {
			t.Fatal(err)
		}
		return bootmenu.File{Volume: bootmenu.Volume{Number: 1, Dir: dir}, Path: "/" + name}
	}
	kernel, ten, five := file("kernel", 10), file("ten", 10), file("five", 5)
	none := bootmenu.File{Volume: kernel.Volume, Path: "/none"}
	tests := []struct {
		name    string
		meminfo string
		initrds []bootmenu.File
		want    string
	}{
		{"just enough for a kernel", "MemTotal: 99999 kB\nMemAvailable:   20480 kB\n", nil, ""},
		{"not enough for a kernel", "MemTotal: 99999 kB\nMemAvailable:   20479 kB\n", nil, "takes 20 MB of memory, and 19 MB are free"},
		{"one ramdisk is read twice", "MemAvailable: 40960 kB\n", []bootmenu.File{ten}, ""},
		{"several are put together first", "MemAvailable: 66559 kB\n", []bootmenu.File{ten, five}, "takes 65 MB of memory, and 64 MB are free"},
		{"several that fit", "MemAvailable: 66560 kB\n", []bootmenu.File{ten, five}, ""},
		{"a kernel that does not say is asked", "MemTotal: 1 kB\n", []bootmenu.File{ten, five}, ""},
		{"a file that is gone", "MemAvailable: 66560 kB\n", []bootmenu.File{none}, "looking at what the boot loader would start: open /none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "proc"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, "proc/meminfo"), []byte(tt.meminfo), 0o644); err != nil {
				t.Fatal(err)
			}
			k := &Kexec{Host: &Host{Root: root}}
			err := k.fits(bootmenu.Entry{Kernel: kernel, Initrds: tt.initrds})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if err := (&Kexec{Host: &Host{Root: t.TempDir()}}).fits(bootmenu.Entry{Kernel: kernel}); err != nil {
		t.Errorf("a machine without /proc/meminfo: %v", err)
	}
	if free := availableMemory("/proc/meminfo"); free <= 0 {
		t.Errorf("this machine has %d bytes", free)
	}
}
