package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// heard waits until the service has been called so often, and returns the last call.
func (e *exporting) heard(t *testing.T, calls int) string {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		e.mu.Lock()
		bodies := slices.Clone(e.bodies)
		e.mu.Unlock()
		if len(bodies) >= calls {
			return bodies[calls-1]
		}
		if time.Now().After(deadline) {
			t.Fatalf("the service heard %q", bodies)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// listens reports whether the port for "done" is open.
func (e *exporting) listens() bool {
	c, err := net.Dial("tcp", "127.0.0.1:"+e.Config.DonePort)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func (e *exporting) noReboot(t *testing.T, ended chan error) {
	t.Helper()
	select {
	case did := <-e.did:
		t.Errorf("it did %q", did)
	case err := <-ended:
		t.Errorf("it ended with %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

// An image that boots from its disk: the target stops, the boot loader is installed, the service told
// (again, when it is busy), and only then is there somebody to hear the second "done".
func TestInstallsLoader(t *testing.T) {
	e := newExporting(t, "serial=disk-2")
	e.Config.ISCSI.BootOption = "local"
	e.refuse = []int{202, 409, 503}
	var heardWhileInstalling bool
	e.install = func(context.Context) (string, error) {
		heardWhileInstalling = e.listens()
		e.did <- "install"
		return "GRUB", nil
	}
	ended := e.run(t)
	e.wantDid(t, "export iqn.x:y /dev/vdb")
	e.say(t, "done")
	e.wantDid(t, "stop", "install")
	if heardWhileInstalling {
		t.Error("it listens while the boot loader is installed: a repeated \"done\" would be taken for the second")
	}
	want := "/v1/nodes/" + testNode + `/vendor_passthru/pass_bootloader_install_info the-token {"address":"127.0.0.1","error":"",` +
		`"key":"the-key","status":"SUCCEEDED"}`
	for call := 2; call <= 4; call++ {
		if got := e.heard(t, call); got != want {
			t.Errorf("call %d: got  %s\nwant %s", call, got, want)
		}
	}
	e.noReboot(t, ended)
	e.say(t, "", "done\n")
	e.wantDid(t, "reboot")
	if err := receive(t, ended); err != nil {
		t.Error(err)
	}
}

// A boot loader that cannot be installed is told with its reason, and the machine stays as it is.
func TestTellsWhyNoLoader(t *testing.T) {
	// rootDisk has a root partition in an MBR, with an ext4 file system.
	rootDisk := func(t *testing.T, disk string) {
		root := filepath.Join(t.TempDir(), "root")
		program(t, "mke2fs", "-q", "-t", "ext4", root, "4M")
		script := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(script, []byte("label: dos\n2048,8192,83,*\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		program(t, "sh", "-c", "sfdisk -q "+disk+" < "+script)
		program(t, "dd", "if="+root, "of="+disk, "bs=1M", "seek=1", "conv=notrunc", "status=none")
	}
	for _, tt := range []struct {
		name   string
		mode   string // kernel parameter
		write  func(t *testing.T, disk string)
		change func(e *exporting)
		says   string
	}{
		{"no root partition", "", func(*testing.T, string) {}, nil,
			`installing the boot loader on /dev/vdb (serial \"disk-2\"): the disk has 0 root partitions`},
		{"another boot mode", "uefi", rootDisk, nil, "the instance is to boot in UEFI mode, but this machine booted in bios mode"},
		{"the disk is gone", "", func(t *testing.T, disk string) {
			if err := os.RemoveAll(filepath.Join(filepath.Dir(disk), "../sys/block/vdb")); err != nil {
				t.Fatal(err)
			}
		}, nil, "/dev/vdb has gone"},
		{"GRUB says no", "", func(*testing.T, string) {}, func(e *exporting) {
			e.install = func(context.Context) (string, error) { return "", errors.New("the image has no grub-install") }
		}, "the image has no grub-install"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newExporting(t, "serial=disk-2")
			e.Config.ISCSI.BootOption, e.Config.ISCSI.BootMode = "local", tt.mode
			if tt.change != nil {
				tt.change(e)
			}
			ended := e.run(t)
			e.wantDid(t, "export iqn.x:y /dev/vdb")
			tt.write(t, filepath.Join(e.Config.Root, "dev/vdb"))
			e.say(t, "done")
			e.wantDid(t, "stop")
			got := e.heard(t, 2)
			for _, part := range []string{"pass_bootloader_install_info", `"status":"FAILED"`, tt.says} {
				if !strings.Contains(got, part) {
					t.Errorf("the service does not hear %s: %s", part, got)
				}
			}
			if e.listens() {
				t.Error("it listens for a \"done\" that cannot come")
			}
			e.noReboot(t, ended)
		})
	}
}

// A service that refuses the second call for good ends the agent with the reason; nothing reboots.
func TestRefusedLoaderCallEnds(t *testing.T) {
	e := newExporting(t, "serial=disk-2")
	e.Config.ISCSI.BootOption = "local"
	e.install = func(context.Context) (string, error) { return "GRUB", nil }
	e.refuse = []int{202, 400}
	ended := e.run(t)
	e.wantDid(t, "export iqn.x:y /dev/vdb")
	e.say(t, "done")
	e.wantDid(t, "stop")
	err := receive(t, ended)
	if err == nil || !strings.Contains(err.Error(), "pass_bootloader_install_info") || !strings.Contains(err.Error(), "answered 400") ||
		strings.Contains(err.Error(), "the-key") {
		t.Errorf("got %v", err)
	}
	e.noReboot(t, make(chan error))
}
