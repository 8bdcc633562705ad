package pxe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/drivertest"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/node"
)

const uuid = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"

// world is what a boot interface acts on: the records, and a machine's boot device. did is the
// order of what happened.
type world struct {
	records map[string]boot.Record
	device  node.BootDevice
	did     []string
	fails   map[string]error
}

func (w *world) do(what string) error {
	w.did = append(w.did, what)
	return w.fails[what]
}

func (w *world) PutRecord(_ context.Context, r boot.Record) error {
	if err := w.do("put"); err != nil {
		return err
	}
	w.records[r.NodeUUID] = r
	return nil
}

func (w *world) DropRecord(_ context.Context, uuid string) error {
	if err := w.do("drop"); err != nil {
		return err
	}
	delete(w.records, uuid)
	return nil
}

func (w *world) RecordOf(_ context.Context, uuid string) (*boot.Record, error) {
	r, ok := w.records[uuid]
	if !ok || w.fails["read"] != nil {
		return nil, w.fails["read"]
	}
	return &r, nil
}

func (w *world) Name() string                                 { return "test" }
func (w *world) Properties() map[string]string                { return nil }
func (w *world) Validate(context.Context, *driver.Task) error { return nil }
func (w *world) BootDevices() []string                        { return []string{"pxe", "disk"} }
func (w *world) BootDevice(context.Context, *driver.Task) (node.BootDevice, error) {
	return w.device, nil
}

func (w *world) SetBootDevice(_ context.Context, _ *driver.Task, d node.BootDevice) error {
	if err := w.do(fmt.Sprintf("boot %s, stays %v", d.Device, d.Persistent)); err != nil {
		return err
	}
	w.device = d
	return nil
}

// machine boots the ramdisk when its device says so and the record does.
func (w *world) machine(*testing.T) string {
	if r, ok := w.records[uuid]; ok && w.device.Device == "pxe" && (boot.Machine{NodeUUID: uuid, Record: &r}).Boots() != nil {
		return "ramdisk"
	}
	return "instance"
}

// setUp makes a boot interface, its world, and a task whose files exist.
func setUp(t *testing.T, kind boot.Loader) (*Boot, *world, *driver.Task) {
	t.Helper()
	w := &world{records: map[string]boot.Record{}, fails: map[string]error{}}
	dir := t.TempDir()
	for _, name := range []string{"kernel", "ramdisk", "rescue"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := &Boot{Loader: kind, Records: w, APIURL: "http://10.99.0.1:6385", Loaders: boot.Loaders{Dirs: []string{dir}},
		Gate: fetch.Loopback(os.TempDir())}
	task := drivertest.NewTask("ipmi", node.Document{
		"deploy_kernel": filepath.Join(dir, "kernel"), "deploy_ramdisk": "file://" + filepath.Join(dir, "ramdisk"),
		"rescue_ramdisk": filepath.Join(dir, "rescue"),
	})
	task.Node.Plan.StartedAt = node.Now()
	task.Ports = []node.Port{{Address: "52:54:00:00:00:01", PXEEnabled: true}}
	task.Hardware.Management, task.Hardware.Boot = w, b
	return b, w, task
}

func TestConformance(t *testing.T) {
	for _, kind := range []boot.Loader{boot.IPXE, boot.PXE} {
		t.Run(string(kind), func(t *testing.T) {
			drivertest.Boot(t, func(t *testing.T) drivertest.BootHarness {
				b, w, task := setUp(t, kind)
				invalid := map[string]*driver.Task{}
				for what, change := range map[string]func(*driver.Task){
					"no port":   func(t *driver.Task) { t.Ports = nil },
					"no kernel": func(t *driver.Task) { delete(t.Node.DriverInfo, "deploy_kernel") },
				} {
					_, _, bad := setUp(t, kind)
					change(bad)
					invalid[what] = bad
				}
				return drivertest.BootHarness{
					Harness: drivertest.Harness{Task: task, Invalid: invalid}, Boot: b, Management: w, Boots: w.machine,
				}
			})
		})
	}
}

func TestPrepareRamdisk(t *testing.T) {
	b, w, task := setUp(t, boot.IPXE)
	b.RecordLife = time.Hour
	if err := b.PrepareRamdisk(t.Context(), task,
		map[string]string{"ipa-inspection-callback-url": "http://10.99.0.1:6385/v1/continue_inspection"}); err != nil {
		t.Fatal(err)
	}
	r := w.records[uuid]
	if !boot.IsSecret(r.Secret) || r.CreatedAt.Before(task.Node.Plan.StartedAt) {
		t.Errorf("secret %q, made at %s", r.Secret, r.CreatedAt)
	}
	if left := time.Until(r.Until); left < 59*time.Minute || left > time.Hour {
		t.Errorf("the record ends in %s, want an hour", left)
	}
	want := boot.Record{
		NodeUUID: uuid, Loader: boot.IPXE, Kernel: task.Node.DriverInfo.String("deploy_kernel"),
		Ramdisk: strings.TrimPrefix(task.Node.DriverInfo.String("deploy_ramdisk"), "file://"),
		CommandLine: "nofb vga=normal ipa-api-url=http://10.99.0.1:6385/b/" + r.Key +
			" ipa-inspection-callback-url=http://10.99.0.1:6385/b/" + r.Key + "/v1/continue_inspection",
		Secret: r.Secret, Key: r.Key, Hidden: r.Hidden, Until: r.Until, CreatedAt: r.CreatedAt,
	}
	if d := cmp.Diff(want, r); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"put", "boot pxe, stays false"}, w.did); d != "" {
		t.Errorf("what happened (-want +got):\n%s", d)
	}
}

// A step that is run again after a crash must not change the URLs of a machine that is half-way
// through its boot, nor forget the image that is being written.
func TestPrepareRamdiskAgain(t *testing.T) {
	b, w, task := setUp(t, boot.IPXE)
	prepare := func() boot.Record {
		t.Helper()
		if err := b.PrepareRamdisk(t.Context(), task, nil); err != nil {
			t.Fatal(err)
		}
		return w.records[uuid]
	}
	first := prepare()
	path, err := boot.ImageShelf{Records: w}.ServeImage(t.Context(), uuid, "/images/a.qcow2")
	if err != nil || path != boot.ImagePath(first.Secret) {
		t.Fatalf("ServeImage: %q, %v", path, err)
	}
	if again := prepare(); again.Secret != first.Secret || again.Image != "/images/a.qcow2" || !again.CreatedAt.Equal(first.CreatedAt) {
		t.Errorf("the same flow again: %+v, want what %+v had, and the image", again, first)
	}
	task.Node.Plan.StartedAt = node.Now().Add(time.Hour) // the next flow, by another server's fast clock
	next := prepare()
	if next.Secret == first.Secret || next.Image != "" {
		t.Errorf("the next flow goes on with the secret or the image of the one before: %+v", next)
	}
	if again := prepare(); again.Secret != next.Secret {
		t.Errorf("the next flow again: secret %q, want %q", again.Secret, next.Secret)
	}
}

func TestCommandLine(t *testing.T) {
	api := "ipa-api-url=http://10.99.0.1:6385"
	tests := []struct {
		name                      string
		service, driverInfo, inst string
		params                    map[string]string
		loader                    boot.Loader // "": PXE
		want, err                 string
	}{
		{name: "plain", want: "nofb vga=normal " + api},
		{name: "service", service: "console=ttyS0", want: "console=ttyS0 " + api},
		{name: "node", driverInfo: "console=ttyS1 %default%", want: "console=ttyS1 nofb vga=normal " + api},
		{name: "node over service", service: "quiet", driverInfo: "%default%  a=1", want: "quiet a=1 " + api},
		{name: "instance over node", driverInfo: "a=1", inst: "b=2 %default% %default%", want: "b=2 nofb vga=normal nofb vga=normal " + api},
		{name: "params in order", params: map[string]string{"z": "1", "ipa-debug": "1"}, want: "nofb vga=normal " + api + " ipa-debug=1 z=1"},
		{name: "another API", params: map[string]string{"ipa-api-url": "http://b", "a": "1"}, want: "nofb vga=normal ipa-api-url=http://b a=1"},
		{name: "loaders' words are text", inst: `; || && #a $b 'c`, loader: boot.IPXE, want: "; || && #a $b 'c " + api},
		{name: "loaders' words are text for GRUB too", inst: "; || && #a ${b} `c`", want: "; || && #a ${b} `c` " + api},
		{name: "new line", driverInfo: "a\nkernel b",
			err: `driver_info/kernel_append_params: the kernel parameters must be one line of printable ASCII characters; character 2 is '\n'.`},
		{name: "not ASCII", inst: "a=\u00e9",
			err: `instance_info/kernel_append_params: the kernel parameters must be one line of printable ASCII characters; character 3 is 'é'.`},
		{name: "a setting of iPXE", inst: "a=${net0/mac}", loader: boot.IPXE,
			err: `instance_info/kernel_append_params: the kernel parameters cannot have "${": iPXE puts the value of a setting there.`},
		{name: "quotes in GRUB", inst: `a="b c"`, err: `instance_info/kernel_append_params: the kernel parameters cannot have a="b c" ` +
			`for GRUB, which puts double quotes around a word with blanks: write "name=value", with the quotes around the whole.`},
		{name: "quotes around a word", inst: `"a=b c" d`, want: `"a=b c" d ` + api},
		{name: "a backslash in GRUB", inst: `a=\b`, err: `instance_info/kernel_append_params: ` +
			`the kernel parameters cannot have quotes or a backslash in a=\b: GRUB puts a backslash before each.`},
		{name: "an open quote", service: `a="b`, err: `The service's kernel_append_params: ` +
			`the kernel parameters have a double quote without its second one: "a=\"b ` + api + `/b/******".`},
		{name: "another ramdisk", inst: `initrd=http://c/`, err: `instance_info/kernel_append_params: ` +
			`the kernel parameters cannot have "initrd=http://c/": boot loaders read it as the name of a file to load, which Billet sets.`},
		{name: "two words of one parameter", params: map[string]string{"boot_mode": "uefi init=/bin/sh"}, err: `The kernel parameter ` +
			`boot_mode cannot be "uefi init=/bin/sh": blanks, double quotes and what is not printable ASCII would begin another one.`},
		{name: "long", driverInfo: strings.Repeat("x", 1900),
			err: "driver_info/kernel_append_params: the kernel parameters make a command line of 1969 characters; at most 1856 are allowed."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.loader == "" {
				tt.loader = boot.PXE
			}
			b, w, task := setUp(t, tt.loader)
			b.AppendParams = tt.service
			task.Node.DriverInfo["kernel_append_params"] = tt.driverInfo
			task.Node.InstanceInfo["kernel_append_params"] = tt.inst
			err := b.PrepareRamdisk(t.Context(), task, tt.params)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err || node.KindOf(err) != node.Invalid || len(w.did) > 0 {
					t.Errorf("error %v after %v, want %q and nothing done", err, w.did, tt.err)
				}
				if err := b.Validate(t.Context(), task); tt.params == nil && (err == nil || err.Error() != tt.err) {
					t.Errorf("validate: %v, want %q", err, tt.err)
				}
				return
			}
			if got := keyless(w.records[uuid]); err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestBootDevices(t *testing.T) {
	for _, tt := range []struct {
		force             any
		ramdisk, instance string
		err               string
	}{
		{nil, "boot pxe, stays false", "boot disk, stays true", ""},
		{"", "boot pxe, stays false", "boot disk, stays true", ""},
		{"Default", "boot pxe, stays false", "boot disk, stays true", ""},
		{"always", "boot pxe, stays true", "boot disk, stays true", ""},
		{true, "boot pxe, stays true", "boot disk, stays true", ""},
		{"False", "boot pxe, stays false", "boot disk, stays true", ""},
		{"Never", "boot pxe, stays false", "boot disk, stays false", ""},
		{"often", "", "", `driver_info/force_persistent_boot_device is "often"; it must be Default, Always or Never.`},
		{7.5, "", "", `driver_info/force_persistent_boot_device is "7.5"; it must be Default, Always or Never.`},
	} {
		t.Run(fmt.Sprintf("%T-%v", tt.force, tt.force), func(t *testing.T) {
			b, w, task := setUp(t, boot.IPXE)
			if tt.force != nil {
				task.Node.DriverInfo["force_persistent_boot_device"] = tt.force
			}
			if tt.err != "" {
				for name, err := range map[string]error{
					"validate": b.Validate(t.Context(), task), "instance": b.PrepareInstance(t.Context(), task),
				} {
					if err == nil || err.Error() != tt.err || node.KindOf(err) != node.Invalid {
						t.Errorf("%s: %v, want %q", name, err, tt.err)
					}
				}
				return
			}
			if err := errors.Join(b.Validate(t.Context(), task), b.PrepareRamdisk(t.Context(), task, nil), b.PrepareInstance(t.Context(),
				task)); err != nil {
				t.Fatal(err)
			}
			// The record goes before the device is set: a machine that comes too early finds its disk.
			if d := cmp.Diff([]string{"put", tt.ramdisk, "drop", tt.instance}, w.did); d != "" {
				t.Errorf("what happened (-want +got):\n%s", d)
			}
		})
	}
}

// redfishLike is a management interface that tells HTTP boot from PXE.
type redfishLike struct{ *world }

func (redfishLike) BootDevices() []string { return []string{"disk", "pxe", "uefihttp"} }

// The firmware's HTTP client is asked for by name where the BMC has one; elsewhere by its one word for
// network boot. The record is iPXE's either way.
func TestHTTPBoot(t *testing.T) {
	for _, tt := range []struct {
		management func(*world) driver.Management
		ramdisk    string
	}{
		{func(w *world) driver.Management { return redfishLike{w} }, "boot uefihttp, stays false"},
		{func(w *world) driver.Management { return w }, "boot pxe, stays false"},
	} {
		b, w, task := setUp(t, boot.IPXE)
		b.Firmware = UEFIHTTP
		task.Hardware.Management = tt.management(w)
		if b.Name() != "http-ipxe" {
			t.Errorf("name %q", b.Name())
		}
		if err := errors.Join(b.Validate(t.Context(), task), b.PrepareRamdisk(t.Context(), task, nil)); err != nil {
			t.Fatal(err)
		}
		if got := w.records[uuid].Loader; got != boot.IPXE {
			t.Errorf("the record's loader is %q", got)
		}
		if err := b.PrepareInstance(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{"put", tt.ramdisk, "drop", "boot disk, stays true"}, w.did); d != "" {
			t.Errorf("what happened (-want +got):\n%s", d)
		}
	}
}

func TestHTTPBootNeedsUEFI(t *testing.T) {
	want := "The boot interface http-ipxe needs UEFI, but the capability boot_mode of node " + uuid +
		" is bios: set boot_interface to ipxe or pxe."
	for mode, refused := range map[string]bool{"bios": true, "BIOS": true, "uefi": false, "": false} {
		b, _, task := setUp(t, boot.IPXE)
		b.Firmware = UEFIHTTP
		task.Node.Properties = node.Document{"capabilities": "boot_mode:" + mode}
		err := b.Validate(t.Context(), task)
		if refused && (err == nil || err.Error() != want || node.KindOf(err) != node.Invalid) || !refused && err != nil {
			t.Errorf("boot_mode %q: %v", mode, err)
		}
		b.Firmware = ""
		if err := b.Validate(t.Context(), task); err != nil {
			t.Errorf("boot_mode %q over PXE: %v", mode, err)
		}
	}
}

func TestFiles(t *testing.T) {
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/picky": // signed for GET
			if r.Method != http.MethodGet || r.Header.Get("Range") != "bytes=0-0" {
				http.Error(w, "only GET", http.StatusForbidden)
			}
		case r.Method != http.MethodHead:
			http.Error(w, "only HEAD", http.StatusMethodNotAllowed)
		case r.URL.Path != "/kernel":
			http.NotFound(w, r)
		}
	}))
	defer far.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const form = "it must be an absolute path, or a file://, http:// or https:// URL."
	tests := []struct {
		kernel   string
		validate string // "" is good
		prepare  string // when Validate is good
	}{
		{far.URL + "/kernel", "", ""},
		{far.URL + "/picky", "", ""},
		{far.URL + "/missing", "", "driver_info/deploy_kernel cannot be fetched: the server of " + far.URL + "/missing answered 404 Not Found."},
		{"http://127.0.0.1:1/k", "", `driver_info/deploy_kernel cannot be fetched: asking for http://127.0.0.1:1/k: dial tcp 127.0.0.1:1: ` +
			`connect: connection refused`},
		{"", "driver_info/deploy_kernel is missing for node " + uuid +
			", and the service has no default: set it to an absolute path, or to a file://, http:// or https:// URL.", ""},
		{"kernel", `driver_info/deploy_kernel is "kernel"; ` + form, ""},
		{"glance://a5a65f00-0000-0000-0000-000000000000", `driver_info/deploy_kernel is "glance://a5a65f00-0000-0000-0000-000000000000"; ` + form,
			""},
		{"file://elsewhere/kernel", `driver_info/deploy_kernel is "file://elsewhere/kernel"; ` + form, ""},
		{"http://", `driver_info/deploy_kernel is not a URL that can be fetched: the URL http:// is not of the form http(s)://host/path.`, ""},
		{dir + "/missing", "driver_info/deploy_kernel (" + dir + "/missing) cannot be read: there is no such file.", ""},
		{"file://" + dir + "/empty", "driver_info/deploy_kernel (" + dir + "/empty) is empty.", ""},
		{dir, "driver_info/deploy_kernel (" + dir + ") cannot be read: " + dir + " is not a regular file.", ""},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint("kernel ", i), func(t *testing.T) {
			b, w, task := setUp(t, boot.IPXE)
			task.Node.DriverInfo["deploy_kernel"] = tt.kernel
			check := func(name string, err error, want string) {
				t.Helper()
				switch {
				case want == "" && err != nil:
					t.Errorf("%s: %v", name, err)
				case want != "" && (err == nil || err.Error() != want || node.KindOf(err) != node.Invalid):
					t.Errorf("%s:\n%v\nwant\n%s", name, err, want)
				}
			}
			check("validate", b.Validate(t.Context(), task), tt.validate)
			check("prepare", b.PrepareRamdisk(t.Context(), task, nil), tt.validate+tt.prepare)
			if tt.validate+tt.prepare != "" && len(w.did) > 0 {
				t.Errorf("refused, and yet did %v", w.did)
			}
		})
	}
}

func TestDefaultsAndRescue(t *testing.T) {
	b, w, task := setUp(t, boot.PXE)
	kernel, rescue := task.Node.DriverInfo.String("deploy_kernel"), task.Node.DriverInfo.String("rescue_ramdisk")
	b.Kernel, b.Ramdisk = kernel, kernel+"-missing"
	delete(task.Node.DriverInfo, "deploy_kernel")
	task.Node.Plan.Flow = node.FlowRescue
	if err := b.PrepareRamdisk(t.Context(), task, nil); err != nil {
		t.Fatal(err)
	}
	if r := w.records[uuid]; r.Kernel != kernel || r.Ramdisk != rescue || r.Loader != boot.PXE {
		t.Errorf("rescue boots %+v", r)
	}
	delete(task.Node.DriverInfo, "deploy_ramdisk")
	task.Node.Plan = nil // as in Validate from the API
	want := "the service's default deploy ramdisk (" + kernel + "-missing) cannot be read: there is no such file."
	if err := b.Validate(t.Context(), task); err == nil || err.Error() != want {
		t.Errorf("validate: %v, want %q", err, want)
	}
	task.Ports[0].PXEEnabled = false
	want = "Node " + uuid + " has no port that may boot over the network: add a port with its MAC address and pxe_enabled true."
	if err := b.Validate(t.Context(), task); err == nil || err.Error() != want {
		t.Errorf("validate: %v, want %q", err, want)
	}
}

// What fails says what it was doing, and nothing is done after it.
func TestFailures(t *testing.T) {
	bmc := node.Errorf(node.Unavailable, "the BMC does not answer")
	for _, tt := range []struct {
		fails   string
		prepare string
		did     string
		after   string // of PrepareInstance
		kind    node.Kind
	}{
		{"read", "reading the boot record: the BMC does not answer", "[]", "", node.Unavailable},
		{"put", "writing the boot record: the BMC does not answer", "[put]", "", node.Unavailable},
		{"boot pxe, stays false", "setting the boot device to pxe: the BMC does not answer", "[put boot pxe, stays false]", "", node.Unavailable},
		{"drop", "", "[put boot pxe, stays false]", "dropping the boot record: the BMC does not answer", node.Unavailable},
		{"boot disk, stays true", "", "[put boot pxe, stays false]", "setting the boot device to disk: the BMC does not answer",
			node.Unavailable},
	} {
		t.Run(tt.fails, func(t *testing.T) {
			b, w, task := setUp(t, boot.IPXE)
			w.fails[tt.fails] = bmc
			err := b.PrepareRamdisk(t.Context(), task, nil)
			if fmt.Sprint(err) != orNil(tt.prepare) || fmt.Sprint(w.did) != tt.did {
				t.Errorf("prepare: %v after %v, want %q after %s", err, w.did, tt.prepare, tt.did)
			}
			if tt.prepare == "" {
				err = b.PrepareInstance(t.Context(), task)
				if fmt.Sprint(err) != tt.after {
					t.Errorf("instance: %v, want %q", err, tt.after)
				}
			}
			if node.KindOf(err) != tt.kind {
				t.Errorf("kind %v, want %v", node.KindOf(err), tt.kind)
			}
		})
	}
}

func orNil(s string) string {
	if s == "" {
		return "<nil>"
	}
	return s
}

// An instance that is booted over the network keeps a record of its own: another secret than the
// deploy ramdisk's, no image, no end while it lives; tearing it down drops the record.
func TestNetbootInstance(t *testing.T) {
	b, w, task := setUp(t, boot.IPXE)
	dir := t.TempDir()
	kernel, initrd := filepath.Join(dir, "k"), filepath.Join(dir, "i")
	for _, name := range []string{kernel, initrd} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.PrepareRamdisk(t.Context(), task, nil); err != nil {
		t.Fatal(err)
	}
	before := w.records[uuid]
	driver.Root{UUID: "6f0c", Kernel: kernel, Ramdisk: initrd}.Leave(task.Node)
	task.Node.InstanceInfo = node.Document{"kernel_append_params": "console=ttyS0 %default%"}
	for range 2 { // it may be done again after a crash
		if err := b.PrepareInstance(t.Context(), task); err != nil {
			t.Fatal(err)
		}
	}
	r := w.records[uuid]
	if r.Secret == before.Secret || len(r.Secret) != 32 || time.Until(r.Until) < 50*365*24*time.Hour {
		t.Errorf("secret %q (was %q) until %s", r.Secret, before.Secret, r.Until)
	}
	r.Secret, r.Key, r.Hidden, r.Until, r.CreatedAt = "", "", "", time.Time{}, time.Time{}
	want := boot.Record{NodeUUID: uuid, Loader: boot.IPXE, Kernel: kernel, Ramdisk: initrd,
		CommandLine: "root=UUID=6f0c ro console=ttyS0 nofb vga=normal"}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	if w.device != (node.BootDevice{Device: "pxe", Persistent: true}) {
		t.Errorf("boot device %+v", w.device)
	}
	if err := b.CleanUpInstance(t.Context(), task); err != nil || len(w.records) != 0 {
		t.Errorf("%v, %d records left", err, len(w.records))
	}
	driver.Root{UUID: "6f0c", Kernel: kernel, Ramdisk: filepath.Join(dir, "gone")}.Leave(task.Node)
	if err := b.PrepareInstance(t.Context(), task); err == nil || !strings.Contains(err.Error(), "the image's ramdisk (") {
		t.Errorf("got %v", err)
	}
}
