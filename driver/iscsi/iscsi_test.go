package iscsi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

// In a deploy the ramdisk exports its disk and takes no commands; in all else the base decides.
func TestRunsAgent(t *testing.T) {
	d := newWorld(t, "deploy")
	for flow, want := range map[node.Flow]bool{node.FlowDeploy: false, node.FlowClean: true, node.FlowService: true, node.FlowInspect: false} {
		if got := d.RunsAgent(flow); got != want {
			t.Errorf("%s: %v, want %v", flow, got, want)
		}
	}
}

func TestSteps(t *testing.T) {
	var got []string
	for _, s := range newWorld(t, "deploy").Steps() {
		got = append(got, fmt.Sprintf("%s %v", s.Name, s.Priority))
	}
	want := []string{
		"deploy map[deploy:100]", "write_image map[deploy:80]", "prepare_instance_boot map[deploy:60]", "tear_down_agent map[deploy:40]",
		"boot_instance map[deploy:20]", "tear_down map[delete:100]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestBootsTheRamdisk(t *testing.T) {
	w := newWorld(t, "deploy")
	w.withImage(t, partitioned(1<<20))
	w.task.Node.InstanceInfo["root_device"] = map[string]any{"model": "A B,C", "size": 5}
	w.task.Node.BootMode = "bios"
	for range 2 { // the second run is after a crash: it boots nothing again
		r, err := w.deploy(context.Background(), w.task)
		if err != nil || r.WaitFor != firstCall || r.Within != 30*time.Minute {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if want := []string{"power off", "prepare ramdisk", "power on"}; !slices.Equal(w.did, want) {
		t.Errorf("the machine was told %q, want %q", w.did, want)
	}
	want := map[string]string{
		"ironic_api_url": "http://192.0.2.1:6386", "iscsi_target_iqn": "iqn.2008-10.org.openstack:" + testUUID, "deployment_id": testUUID,
		"deployment_key": w.record.DeployKey(), "disk": diskNames, "boot_option": "netboot", "boot_server": "192.0.2.1", "boot_mode": "bios",
		"root_device": "model=A%20B%2CC,size=5",
	}
	if fmt.Sprint(w.params) != fmt.Sprint(want) {
		t.Errorf("kernel parameters %v\nwant %v", w.params, want)
	}
}

func TestTakeCall(t *testing.T) {
	iqn := "iqn.2008-10.org.openstack:" + testUUID
	for _, tt := range []struct {
		name   string
		change func(w *world, c *node.MachineCall)
		kind   node.Kind
		says   string
		host   string
	}{
		{name: "right", host: "192.0.2.50"},
		{name: "IPv6", change: func(w *world, c *node.MachineCall) { c.Body["address"] = "2001:db8::5" }, host: "2001:db8::5"},
		{name: "wrong token", change: func(w *world, c *node.MachineCall) { c.Token = "x" }, kind: node.Forbidden, says: "X-Auth-Token"},
		{name: "no token", change: func(w *world, c *node.MachineCall) { c.Token = "" }, kind: node.Forbidden, says: "X-Auth-Token"},
		{name: "wrong key", change: func(w *world, c *node.MachineCall) { c.Body["key"] = "x" }, kind: node.Invalid, says: "key is not that"},
		{name: "wrong name", change: func(w *world, c *node.MachineCall) { c.Body["iqn"] = "iqn.x" }, kind: node.Invalid,
			says: "iscsi_target_iqn said " + iqn},
		{name: "no address", change: func(w *world, c *node.MachineCall) { delete(c.Body, "address") }, kind: node.Invalid, says: "IP address"},
		{name: "our own address", change: func(w *world, c *node.MachineCall) { c.Body["address"] = "127.0.0.1" }, kind: node.Invalid,
			says: "127.0.0.1"},
		{name: "no boot", change: func(w *world, c *node.MachineCall) { w.record = nil }, kind: node.Conflict, says: "boots no deploy ramdisk"},
		{name: "too late", change: func(w *world, c *node.MachineCall) { w.task.Node.Plan.Steps[0].Step = "write_image" }, kind: node.Conflict,
			says: "does not wait"},
		{name: "boot loader", change: func(w *world, c *node.MachineCall) { c.Method = "pass_bootloader_install_info" }, kind: node.Invalid,
			says: "was not asked"},
		{name: "another method", change: func(w *world, c *node.MachineCall) { c.Method = "x" }, kind: node.Invalid,
			says: "pass_deploy_info and"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "deploy")
			r, err := w.Deploy.record(context.Background(), w.task)
			if err != nil {
				t.Fatal(err)
			}
			call := node.MachineCall{Method: "pass_deploy_info", Token: r.DeployToken(),
				Body: node.Document{"address": "192.0.2.50", "key": r.DeployKey(), "iqn": iqn, "error": ""}}
			if tt.change != nil {
				tt.change(w, &call)
			}
			err = w.TakeCall(context.Background(), w.task, call)
			if got := ramdiskNote.Get(w.task).Host; got != tt.host {
				t.Errorf("remembers %q, want %q", got, tt.host)
			}
			if tt.host != "" && err != nil || tt.host == "" && (node.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("got %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), r.DeployKey()) || strings.Contains(err.Error(), r.DeployToken())) {
				t.Errorf("a secret is in the error: %v", err)
			}
			res, err := w.called(context.Background(), w.task)
			if err != nil || res.Waiting() != (tt.host == "") {
				t.Errorf("the wait: %+v, %v", res, err)
			}
		})
	}
}

func TestRamdiskSaysWhyNot(t *testing.T) {
	w := newWorld(t, "deploy")
	r, _ := w.Deploy.record(context.Background(), w.task)
	err := w.TakeCall(context.Background(), w.task, node.MachineCall{Method: "pass_deploy_info", Token: r.DeployToken(),
		Body: node.Document{"key": r.DeployKey(), "error": "no disk matches serial X"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.called(context.Background(), w.task); err == nil || err.Error() != "the deploy ramdisk says: no disk matches serial X" {
		t.Errorf("got %v", err)
	}
}

// partitioned is a disk image with an MBR partition table and data without zeros in front.
func partitioned(size int) []byte {
	data := make([]byte, size)
	for i := range size / 2 {
		data[i] = byte(i%251 + 1)
	}
	copy(data[446:], []byte{0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0})
	clear(data[462:510])
	data[510], data[511] = 0x55, 0xaa
	return data
}

// The image ends up in the exported disk as it is, and what was there before does not shine through.
func TestWritesOverISCSI(t *testing.T) {
	w := newWorld(t, "write_image")
	img := partitioned(3 << 20)
	w.withImage(t, img)
	file, _ := w.exported(t, 16<<20)
	if err := os.WriteFile(file, bytes.Repeat([]byte{0xee}, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var said []string
	w.task.Progress = func(p node.Progress) {
		if len(said) == 0 || said[len(said)-1] != p.Detail {
			said = append(said, p.Detail)
		}
	}
	for range 2 { // twice, as after a crash
		if r, err := w.writeImage(context.Background(), w.task); err != nil || r.Waiting() {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got[:len(img)], img) {
		t.Errorf("the disk does not hold the image (%v)", err)
	}
	if !slices.Contains(said, "writing") || said[len(said)-1] != "reading back" {
		t.Errorf("people were told %q", said)
	}
}

func TestWrongChecksumLeavesNothingBootable(t *testing.T) {
	w := newWorld(t, "write_image")
	w.withImage(t, partitioned(2<<20))
	file, _ := w.exported(t, 16<<20)
	w.task.Node.InstanceInfo["image_os_hash_value"] = strings.Repeat("ab", 32)
	_, err := w.writeImage(context.Background(), w.task)
	if err == nil || !strings.Contains(err.Error(), "abababab") {
		t.Errorf("got %v", err)
	}
	got, _ := os.ReadFile(file)
	if !bytes.Equal(got[:512], make([]byte, 512)) {
		t.Error("the disk is bootable")
	}
}

// withESP is a whole-disk image with a GPT and an EFI system partition, made by sgdisk.
func withESP(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "esp")
	if err := os.WriteFile(path, partitioned(8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sgdisk", "--zap-all", "--clear", "--new=1:2048:4095", "--typecode=1:ef00",
		path).CombinedOutput(); err != nil {
		t.Fatalf("sgdisk (Debian's package gdisk, scripts/deps test): %v: %s", err, out)
	}
	esp := path + "@@1M"
	for _, argv := range [][]string{
		{"mformat", "-i", esp, "-T", "2048", "::"}, {"mmd", "-i", esp, "::/EFI", "::/EFI/BOOT"},
		{"mcopy", "-i", esp, path + ".efi", "::/EFI/BOOT/BOOTX64.EFI"},
	} {
		if err := os.WriteFile(path+".efi", []byte("MZ"), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v (Debian's package mtools, scripts/deps test): %v: %s", argv, err, out)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(data[:440]) // no boot code for a BIOS
	return data
}

// A machine is not sent into a disk that it cannot start from, and the disk keeps what it held. Where nobody
// named the mode, not even the ramdisk, any disk will do.
func TestOnlyWhatStartsIsWritten(t *testing.T) {
	const code = "writing the image over iSCSI: image image.raw would not start in BIOS mode: " +
		"its boot sector holds no boot code; it may be made for UEFI only: use an image with a boot loader for BIOS, or UEFI boot mode"
	const no = "writing the image over iSCSI: image image.raw would not start in UEFI mode: " +
		"the image has no EFI system partition, so it cannot boot in UEFI mode: use another image, or BIOS boot mode"
	with, without := withESP(t), partitioned(2<<20)
	for _, tt := range []struct {
		name       string
		img        []byte
		mode       string // the node's own
		capability any    // of the instance
		says       string
	}{
		{"UEFI with", with, "uefi", nil, ""},
		{"UEFI without", without, "uefi", nil, no},
		{"instance asks for UEFI", without, "bios", map[string]any{"boot_mode": "UEFI"}, no},
		{"instance asks for BIOS", without, "uefi", map[string]any{"boot_mode": "bios"}, ""},
		{"BIOS", without, "bios", nil, ""},
		{"made for UEFI alone", with, "bios", nil, code},
		{"nobody says", without, "", nil, ""},
		{"the ramdisk says", with, "ramdisk", nil, code},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "write_image")
			w.withImage(t, tt.img)
			file, _ := w.exported(t, 16<<20)
			if w.task.Node.BootMode = tt.mode; tt.mode == "ramdisk" {
				w.task.Node.BootMode = "uefi" // before
				ramdiskNote.Edit(w.task, func(r *ramdisk) { r.Mode = "bios" })
				if r, err := w.called(t.Context(), w.task); err != nil || r.Waiting() {
					t.Fatalf("%+v, %v", r, err)
				}
			}
			before := read(t, file)
			if tt.capability != nil {
				w.task.Node.InstanceInfo["capabilities"] = tt.capability
			}
			got := ""
			if _, err := w.writeImage(context.Background(), w.task); err != nil {
				got = err.Error()
			}
			if got != tt.says {
				t.Errorf("got %q\nwant %q", got, tt.says)
			}
			disk, err := os.ReadFile(file)
			if tt.says != "" {
				if !bytes.Equal(disk, before) {
					t.Error("the disk was changed")
				}
				return
			}
			from, to := 1<<20, len(tt.img)-64<<10 // without the tables at both ends
			if err != nil || !bytes.Equal(disk[from:to], tt.img[from:to]) {
				t.Errorf("the disk does not hold the image (%v)", err)
			}
		})
	}
}

// What the exported disk holds of other machines is not written over, unless the node's key says so.
func TestASharedFileSystemIsNotOverwritten(t *testing.T) {
	w := newWorld(t, "write_image")
	w.withImage(t, partitioned(2<<20))
	file, _ := w.exported(t, 16<<20)
	held := read(t, file)
	copy(held[64<<10:], "\x01\x16\x19\x70")
	if err := os.WriteFile(file, held, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := w.writeImage(context.Background(), w.task)
	if err == nil || !strings.Contains(err.Error(), "holds GFS2 or GFS (Red Hat), which other machines may be using") {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(read(t, file), held) {
		t.Error("the disk was changed")
	}
	w.task.Node.DriverInfo = node.Document{"wipe_special_filesystems": "True"}
	if _, err := w.writeImage(context.Background(), w.task); err != nil {
		t.Error(err)
	}
}

func TestNoTarget(t *testing.T) {
	w := newWorld(t, "write_image")
	w.withImage(t, partitioned(2<<20))
	_, stop := w.exported(t, 16<<20)
	stop()
	began := time.Now()
	_, err := w.writeImage(context.Background(), w.task)
	if err == nil || !strings.Contains(err.Error(), "opening the disk the deploy ramdisk exports") || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
}

// The ramdisk is told; one that is gone is rebooted by its BMC.
func TestRelease(t *testing.T) {
	w := newWorld(t, "tear_down_agent")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, w.DonePort, _ = net.SplitHostPort(l.Addr().String())
	ramdiskNote.Edit(w.task, func(r *ramdisk) { r.Host = "127.0.0.1" })
	heard := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			heard <- err.Error()
			return
		}
		text, _ := io.ReadAll(c)
		c.Close()
		heard <- string(text)
	}()
	if _, err := w.release(context.Background(), w.task); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "done" || len(w.did) > 0 {
		t.Errorf("heard %q; the machine was told %q", got, w.did)
	}
	l.Close()
	if _, err := w.release(context.Background(), w.task); err != nil || !slices.Equal(w.did, []string{"rebooting"}) {
		t.Errorf("%v; the machine was told %q", err, w.did)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
