package pxe

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
)

// inMemory is a deploy interface by name only.
type inMemory struct{ driver.Deploy }

func (inMemory) Name() string { return driver.RamdiskDeploy }

// An instance that lives in memory has a record without an end of its own, and boots from the
// network for good.
func TestInstanceInMemory(t *testing.T) {
	b, w, task := setUp(t, boot.IPXE)
	dir := filepath.Dir(task.Node.DriverInfo.String("deploy_kernel"))
	b.Gate.Dirs = []string{"/nowhere", dir}
	task.Hardware.Deploy = inMemory{}
	task.Node.InstanceInfo = node.Document{"kernel": "file://" + dir + "/kernel", "ramdisk": "file://" + dir + "/rescue",
		"ramdisk_kernel_arguments": "console=ttyS0  a=b"}
	for range 2 { // repeated after a crash
		if err := b.PrepareInstance(t.Context(), task); err != nil {
			t.Fatal(err)
		}
	}
	r := w.records[uuid]
	if left := time.Until(r.Until); left < 50*365*24*time.Hour {
		t.Errorf("the record ends in %s", left)
	}
	want := boot.Record{NodeUUID: uuid, Loader: boot.IPXE, Kernel: dir + "/kernel", Ramdisk: dir + "/rescue", CommandLine: "console=ttyS0 a=b",
		Secret: r.Secret, Key: r.Key, Hidden: r.Hidden, Until: r.Until, CreatedAt: r.CreatedAt}
	if d := cmp.Diff(want, r); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"put", "boot pxe, stays true", "put", "boot pxe, stays true"}, w.did); d != "" {
		t.Errorf("what happened (-want +got):\n%s", d)
	}
	if err := b.CleanUpInstance(t.Context(), task); err != nil || w.machine(t) != "instance" {
		t.Errorf("after the tear-down: %v, boots %s", err, w.machine(t))
	}
}

// Users name these files: nothing outside the allowed directories may be served to their machine.
func TestInstanceFilesOutside(t *testing.T) {
	b, w, task := setUp(t, boot.IPXE)
	dir := filepath.Dir(task.Node.DriverInfo.String("deploy_kernel"))
	allowed := filepath.Join(dir, "allowed")
	if err := os.Mkdir(allowed, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"/rescue", allowed+"/link"); err != nil {
		t.Fatal(err)
	}
	b.Gate = fetch.Loopback(allowed)
	b.Gate.Files = []string{dir + "/kernel", dir + "/ramdisk"} // the deploy ramdisk's, which is not an instance's
	task.Hardware.Deploy = inMemory{}
	task.Node.State = node.Available
	refused := func(path, why string) string {
		return "instance_info/kernel (" + path + ") cannot be read: " + why + "."
	}
	only := " may not be read: only files under " + allowed + " are allowed"
	for kernel, want := range map[string]string{
		"":                            "instance_info/kernel is missing for node " + uuid + ": set it to a file://, http:// or https:// URL.",
		"file://" + dir + "/rescue":   refused(dir+"/rescue", "file://"+dir+"/rescue"+only),
		"file://" + allowed + "/link": refused(allowed+"/link", "the link leads out of the allowed directories: file://"+dir+"/rescue"+only),
		"file://" + allowed + "/../kernel": refused(allowed+"/../kernel",
			"file://"+allowed+"/../kernel is not an absolute path without . and ..: file:///directory/file is allowed"),
		"file://" + allowed + "x": refused(allowed+"x", "file://"+allowed+"x"+only), // whether it is there is not told
		"/proc/self/environ":      refused("/proc/self/environ", "file:///proc/self/environ"+only),
	} {
		task.Node.InstanceInfo = node.Document{"kernel": kernel, "ramdisk": "http://127.0.0.1:1/r"}
		for name, err := range map[string]error{"validate": b.Validate(t.Context(), task), "prepare": b.PrepareInstance(t.Context(), task)} {
			if fmt.Sprint(err) != want || node.KindOf(err) != node.Invalid {
				t.Errorf("%s of %q:\n%v\nwant\n%s", name, kernel, err, want)
			}
		}
	}
	if len(w.did) > 0 {
		t.Errorf("refused, and yet did %v", w.did)
	}
}

// An instance's medium has a record of its own kind, and only iPXE can boot it.
func TestInstanceMedium(t *testing.T) {
	b, w, task := setUp(t, boot.IPXE)
	dir := filepath.Dir(task.Node.DriverInfo.String("deploy_kernel"))
	b.Gate.Dirs = []string{dir}
	task.Hardware.Deploy = inMemory{}
	task.Node.State = node.Available
	task.Node.InstanceInfo = node.Document{"boot_iso": "file://" + dir + "/kernel", "kernel_append_params": "not=forIt"}
	if err := b.Validate(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	if err := b.PrepareInstance(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	r := w.records[uuid]
	want := boot.Record{NodeUUID: uuid, Loader: boot.IPXE, Kernel: dir + "/kernel", Secret: r.Secret, Key: r.Key,
		Hidden: r.Hidden, Until: r.Until, CreatedAt: r.CreatedAt}
	if d := cmp.Diff(want, r); d != "" || !r.Medium() || time.Until(r.Until) < 50*365*24*time.Hour {
		t.Errorf("until %s, record (-want +got):\n%s", r.Until, d)
	}
	if d := cmp.Diff([]string{"put", "boot pxe, stays true"}, w.did); d != "" {
		t.Errorf("what happened (-want +got):\n%s", d)
	}

	for _, tt := range []struct {
		loader boot.Loader
		iso    any
		want   string
	}{
		{boot.PXE, "file://" + dir + "/kernel", "instance_info/boot_iso needs iPXE, which the boot interface pxe of node " + uuid +
			" does not use: set boot_interface to ipxe or http-ipxe."},
		{boot.IPXE, "file:///etc/passwd", "instance_info/boot_iso (/etc/passwd) cannot be read: file:///etc/passwd may not be read: " +
			"only files under " + dir + " are allowed."},
		{boot.IPXE, "file://" + dir + "/none", "instance_info/boot_iso (" + dir + "/none) cannot be read: there is no such file."},
		{boot.IPXE, 7.0, "instance_info/boot_iso is missing for node " + uuid + ": set it to a file://, http:// or https:// URL."},
	} {
		b.Loader, w.did = tt.loader, nil
		task.Node.InstanceInfo = node.Document{"boot_iso": tt.iso}
		for name, err := range map[string]error{"validate": b.Validate(t.Context(), task), "prepare": b.PrepareInstance(t.Context(), task)} {
			if fmt.Sprint(err) != tt.want || node.KindOf(err) != node.Invalid || len(w.did) > 0 {
				t.Errorf("%s of %v: %v, did %v\nwant %s", name, tt.iso, err, w.did, tt.want)
			}
		}
	}
}
