package iscsi

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// donePort is a ramdisk's port 10000.
type donePort struct {
	l  net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	heard []string
}

// listen opens a port for the world's "done"; "" is any free one.
func (w *world) listen(t *testing.T, port string) *donePort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", orElse(port, "0")))
	if err != nil {
		t.Fatal(err)
	}
	_, w.DonePort, _ = net.SplitHostPort(l.Addr().String())
	ramdiskNote.Edit(w.task, func(r *ramdisk) { r.Host = "127.0.0.1" })
	e := &donePort{l: l}
	e.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			text, _ := io.ReadAll(c)
			c.Close()
			e.mu.Lock()
			e.heard = append(e.heard, string(text))
			e.mu.Unlock()
		}
	})
	t.Cleanup(e.close)
	return e
}

// close stops listening, as a ramdisk that installs a boot loader does.
func (e *donePort) close() { e.l.Close(); e.wg.Wait() }

func (e *donePort) said() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}

// local is a world in the middle of the deploy of a partition image that boots from its disk.
func local(t *testing.T) *world {
	w := newWorld(t, "prepare_instance_boot")
	w.ofPartition(map[string]any{"boot_mode": "bios"})
	loaderNote.Edit(w.task, func(l *loader) { l.Root = "the-uuid" })
	if _, err := w.Deploy.record(context.Background(), w.task); err != nil {
		t.Fatal(err)
	}
	return w
}

// answers is the ramdisk's call about its boot loader.
func (w *world) answers(change map[string]any) error {
	r := w.record
	if r == nil {
		r = &boot.Record{}
	}
	body := node.Document{"address": "192.0.2.50", "key": r.DeployKey(), "status": "SUCCEEDED", "error": ""}
	maps.Copy(body, change)
	return w.TakeCall(context.Background(), w.task, node.MachineCall{Method: "pass_bootloader_install_info", Token: r.DeployToken(),
		Body: body})
}

// The order of a local boot: "done", the ramdisk's answer, the instance's boot prepared, "done" again.
// Until the answer nothing of the boot is touched: the record has the token and key of that call.
func TestLocalBoot(t *testing.T) {
	w := local(t)
	first := w.listen(t, "")
	r, err := w.prepareInstanceBoot(t.Context(), w.task)
	if err != nil || r.WaitFor != loaderCall || r.Within.Minutes() != 25 {
		t.Fatalf("%+v, %v", r, err)
	}
	first.close()
	if !slices.Equal(first.said(), []string{"done"}) || len(w.did) > 0 || driver.RootOf(w.task.Node).UUID != "the-uuid" || w.record == nil {
		t.Fatalf("the ramdisk heard %q; done so far: %q", first.said(), w.did)
	}
	if r, err := w.loaderInstalled(t.Context(), w.task); err != nil || r.WaitFor != loaderCall || r.Within != 0 {
		t.Fatalf("before the answer: %+v, %v", r, err)
	}
	if err := w.answers(nil); err != nil {
		t.Fatal(err)
	}
	if got := ramdiskNote.Get(w.task).Host; got != "192.0.2.50" {
		t.Errorf("the address of the second call is not taken: %s", got)
	}
	if r, err := w.loaderInstalled(t.Context(), w.task); err != nil || r.Waiting() || w.did[len(w.did)-1] != "prepare instance" {
		t.Fatalf("%+v, %v; done: %q", r, err, w.did)
	}
	second := w.listen(t, w.DonePort)
	if _, err := w.release(t.Context(), w.task); err != nil {
		t.Fatal(err)
	}
	second.close()
	if !slices.Equal(second.said(), []string{"done"}) || slices.Contains(w.did, "rebooting") {
		t.Errorf("the ramdisk heard %q; done: %q", second.said(), w.did)
	}
}

// A conductor that died after the first "done" begins the step again. A ramdisk that has not heard it hears
// it now, one that installs is waited for, and one that has answered is not told again: it would take the
// word for the second one and reboot too early.
func TestLocalBootAfterCrash(t *testing.T) {
	t.Run("not heard", func(t *testing.T) {
		w := local(t)
		loaderNote.Edit(w.task, func(l *loader) { l.Asked = true })
		e := w.listen(t, "")
		if r, err := w.prepareInstanceBoot(t.Context(), w.task); err != nil || r.WaitFor != loaderCall {
			t.Fatalf("%+v, %v", r, err)
		}
		e.close()
		if !slices.Equal(e.said(), []string{"done"}) {
			t.Errorf("the ramdisk heard %q", e.said())
		}
	})
	t.Run("installing", func(t *testing.T) {
		w := local(t)
		w.listen(t, "").close()
		loaderNote.Edit(w.task, func(l *loader) { l.Asked = true })
		if r, err := w.prepareInstanceBoot(t.Context(), w.task); err != nil || r.WaitFor != loaderCall {
			t.Fatalf("%+v, %v", r, err)
		}
	})
	t.Run("answered", func(t *testing.T) {
		w := local(t)
		e := w.listen(t, "")
		loaderNote.Edit(w.task, func(l *loader) { l.Asked = true })
		loaderNote.Edit(w.task, func(l *loader) { l.Status = installed })
		if r, err := w.prepareInstanceBoot(t.Context(), w.task); err != nil || r.Waiting() {
			t.Fatalf("%+v, %v", r, err)
		}
		e.close()
		if len(e.said()) > 0 || w.did[len(w.did)-1] != "prepare instance" {
			t.Errorf("the ramdisk heard %q; done: %q", e.said(), w.did)
		}
	})
}

// That the ramdisk was asked is saved before it is: else a crash in between would have the next conductor
// fail the deploy of a ramdisk that installs.
func TestAskedIsSavedFirst(t *testing.T) {
	w := local(t)
	e := w.listen(t, "")
	w.fails["save"] = errors.New("the lease was lost")
	if _, err := w.prepareInstanceBoot(t.Context(), w.task); !errors.Is(err, w.fails["save"]) {
		t.Errorf("got %v", err)
	}
	e.close()
	if !loaderNote.Get(&driver.Task{Node: w.saved}).Asked || len(e.said()) > 0 {
		t.Errorf("saved %v, and the ramdisk heard %q", w.saved, e.said())
	}
}

func TestLoaderFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(w *world)
		says   string
	}{
		{"the ramdisk says so", func(w *world) {
			loaderNote.Edit(w.task, func(l *loader) { l.Asked = true })
			if err := w.answers(map[string]any{"status": "FAILED", "error": "the image has no grub-install"}); err != nil {
				panic(err)
			}
		}, "installing the boot loader failed, the deploy ramdisk says: the image has no grub-install"},
		{"without a reason", func(w *world) {
			if err := w.answers(map[string]any{"status": "FAILED"}); err != nil {
				panic(err)
			}
		}, "installing the boot loader failed, the deploy ramdisk says: no reason"},
		{"the ramdisk is gone", func(w *world) {}, "telling the deploy ramdisk to install the boot loader: dial tcp 127.0.0.1:"},
		{"the kernel is gone", func(w *world) { w.ofPartition(map[string]any{"boot_option": "netboot"}) },
			"Node " + testUUID + " cannot be deployed: the capability boot_option is netboot, which needs instance_info/kernel"},
		{"the BMC", func(w *world) {
			loaderNote.Edit(w.task, func(l *loader) { l.Status = installed })
			w.fails["prepare instance"] = errors.New("the BMC does not answer")
		}, "making the machine boot its instance: the BMC does not answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := local(t)
			w.listen(t, "").close()
			tt.change(w)
			r, err := w.prepareInstanceBoot(t.Context(), w.task)
			if err == nil || !strings.HasPrefix(err.Error(), tt.says) || r.Waiting() {
				t.Errorf("got %+v, %v", r, err)
			}
			if slices.Contains(w.did, "prepare instance") && tt.name != "the BMC" {
				t.Error("the machine is made to boot a disk it cannot boot")
			}
		})
	}
}

// Who needs no boot loader is not asked for one.
func TestNoLoaderNeeded(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"whole disk": func(w *world) { w.task.Node.InstanceInfo["image_type"] = "whole-disk" },
		"netboot": func(w *world) {
			w.ofPartition(map[string]any{"boot_option": "netboot"})
			maps.Copy(w.task.Node.InstanceInfo, node.Document{"kernel": "http://192.0.2.1/k", "ramdisk": "http://192.0.2.1/r"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := local(t)
			change(w)
			e := w.listen(t, "")
			if r, err := w.prepareInstanceBoot(t.Context(), w.task); err != nil || r.Waiting() {
				t.Errorf("%+v, %v", r, err)
			}
			e.close()
			if len(e.said()) > 0 || !slices.Equal(w.did, []string{"prepare instance"}) {
				t.Errorf("the ramdisk heard %q; done: %q", e.said(), w.did)
			}
			err := w.answers(nil)
			if node.KindOf(err) != node.Invalid || !strings.Contains(err.Error(), "was not asked to install a boot loader") {
				t.Errorf("a call nobody asked for: %v", err)
			}
		})
	}
}

// Only the machine itself, at the right moment and in the right words, ends the wait.
func TestTakeLoaderCall(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(w *world)
		body   map[string]any
		kind   node.Kind
		says   string
	}{
		{"another key", nil, map[string]any{"key": "guessed"}, node.Invalid, "key is not that"},
		{"another's token", func(w *world) { w.record.Hidden = strings.Repeat("0", 32) }, nil, node.Forbidden, "X-Auth-Token"},
		{"while the image is written", func(w *world) { w.task.Node.Plan.Steps[0].Step = "write_image" }, nil, node.Conflict,
			"does not wait for pass_bootloader_install_info"},
		{"after all", func(w *world) { w.record = nil }, nil, node.Conflict, "boots no deploy ramdisk"},
		{"no status", nil, map[string]any{"status": nil}, node.Invalid, `"status" is ""; SUCCEEDED and FAILED are allowed.`},
		{"another status", nil, map[string]any{"status": "OK"}, node.Invalid, `"status" is "OK"`},
		{"no address", nil, map[string]any{"address": "here"}, node.Invalid, `"address" is "here"`},
		{"our own address", nil, map[string]any{"address": "127.0.0.1"}, node.Invalid, `"address" is "127.0.0.1"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := local(t)
			token, key := w.record.DeployToken(), w.record.DeployKey()
			if tt.change != nil {
				tt.change(w)
			}
			body := node.Document{"address": "192.0.2.50", "key": key, "status": "SUCCEEDED", "error": ""}
			maps.Copy(body, tt.body)
			err := w.TakeCall(t.Context(), w.task, node.MachineCall{Method: "pass_bootloader_install_info", Token: token, Body: body})
			if node.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), token) || strings.Contains(err.Error(), key) {
				t.Errorf("a secret is in the error: %v", err)
			}
			if got := loaderNote.Get(w.task).Status + ramdiskNote.Get(w.task).Host; got != "" {
				t.Errorf("remembers %q", got)
			}
		})
	}
}

// A long reason is cut; it goes to last_error.
func TestLongReason(t *testing.T) {
	w := local(t)
	if err := w.answers(map[string]any{"status": "FAILED", "error": strings.Repeat("x", 5000)}); err != nil {
		t.Fatal(err)
	}
	if got := ramdiskNote.Get(w.task).Error; len(got) != maxReason {
		t.Errorf("%d characters are kept", len(got))
	}
}

// Kernel parameters say whether there is a boot loader to install; what cannot be deployed boots nothing.
func TestBootsForPartitionImages(t *testing.T) {
	for option, want := range map[string]string{"local": "local", "netboot": "netboot"} {
		w := newWorld(t, "deploy")
		w.withImage(t, rootFS(t))
		w.ofPartition(map[string]any{"boot_option": option})
		if _, err := w.deploy(t.Context(), w.task); err != nil || w.params["boot_option"] != want {
			t.Errorf("%s: boot_option is %q, %v", option, w.params["boot_option"], err)
		}
	}
	for says, root := range map[string]any{"set image_type to": 1, "needs instance_info/root_gb": nil} {
		w := newWorld(t, "deploy")
		w.withImage(t, partitioned(1<<20))
		w.ofPartition(nil)
		w.task.Node.InstanceInfo["root_gb"] = root
		if _, err := w.deploy(t.Context(), w.task); err == nil || !strings.Contains(err.Error(), says) || slices.Contains(w.did, "power on") {
			t.Errorf("%s: %v; the machine was told %q", says, err, w.did)
		}
	}
}

var _ Base = base{}
var _ driver.MachineCallee = (*Deploy)(nil)
