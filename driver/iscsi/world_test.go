package iscsi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

const testUUID = "7b9f3c64-8f2a-4a53-9f52-0d2a5a7c9e11"

// world is a node in the middle of a deploy, with everything around it that the interface touches.
type world struct {
	*Deploy
	task   *driver.Task
	record *boot.Record
	did    []string // what the machine was told, in order
	params map[string]string

	partitions *wire.PartitionImage       // what is written in place of the node's own, whose sizes are GiB
	fails      map[string]error           // by what is asked of the base, the boot interface or the store
	saved      *node.Node                 // as it was saved last
	admin      func(args ...string) error // of the exported disk's tgtd
}

// base has the steps that a test gives it.
type base struct {
	fake.Deploy
	direct []driver.Step
}

func (b base) Steps() []driver.Step { return b.direct }
func (base) RunStep(context.Context, *driver.Task) (driver.Result, error) {
	return driver.Done(), nil
}
func (base) RunsAgent(f node.Flow) bool { return f != node.FlowInspect }
func (base) BootAgain(context.Context, *driver.Task) (driver.Result, error) {
	return driver.Done(), nil
}
func (base) PollStep(context.Context, *driver.Task) (driver.Result, error) {
	return driver.Done(), nil
}

type power struct {
	fake.Power
	w *world
}

func (p power) SetPowerState(_ context.Context, _ *driver.Task, target node.PowerState) error {
	p.w.did = append(p.w.did, string(target))
	return nil
}

type pxe struct {
	fake.Boot
	w *world
}

func (p pxe) PrepareRamdisk(_ context.Context, _ *driver.Task, params map[string]string) error {
	p.w.did, p.w.params = append(p.w.did, "prepare ramdisk"), maps.Clone(params)
	return nil
}
func (p pxe) PrepareInstance(context.Context, *driver.Task) error {
	p.w.did = append(p.w.did, "prepare instance")
	return p.w.fails["prepare instance"]
}

func (w *world) PutRecord(_ context.Context, r boot.Record) error { w.record = &r; return nil }
func (w *world) DropRecord(context.Context, string) error         { w.record = nil; return nil }
func (w *world) RecordOf(context.Context, string) (*boot.Record, error) {
	return w.record, nil
}

func newWorld(t *testing.T, step string) *world {
	t.Helper()
	w := &world{fails: map[string]error{}}
	flow := func(p int) map[node.Flow]int { return map[node.Flow]int{node.FlowDeploy: p} }
	w.Deploy = &Deploy{
		Base: base{direct: []driver.Step{
			{Name: "deploy", Priority: flow(100)}, {Name: "write_image", Priority: flow(80)}, {Name: "boot_instance", Priority: flow(20)},
			{Name: "tear_down", Priority: map[node.Flow]int{node.FlowDelete: 100}},
		}},
		Sources: &image.Store{Gate: fetch.Loopback(os.TempDir())}, Gate: fetch.Loopback(os.TempDir()),
		Records: w, APIURL: "http://192.0.2.1:6386/",
		Patience: 2 * time.Second,
	}
	w.task = &driver.Task{
		Node: &node.Node{
			UUID: testUUID, State: node.DeployWait, InstanceInfo: node.Document{},
			Plan: &node.Plan{Flow: node.FlowDeploy, StartedAt: node.Now(), Steps: []node.PlannedStep{{Interface: node.Deploy, Step: step}}},
		},
		Hardware: &driver.Hardware{Power: power{fake.NewPower(), w}, Boot: pxe{fake.NewBoot(), w}, Network: fake.NewNetwork()},
		Save: func(context.Context) error {
			w.saved = w.task.Node.Clone()
			return w.fails["save"]
		},
	}
	return w
}

// ofPartition makes the node's image one of a partition of 1 GiB, with capabilities.
func (w *world) ofPartition(capabilities map[string]any) {
	maps.Copy(w.task.Node.InstanceInfo, node.Document{"image_type": "partition", "root_gb": 1, "capabilities": capabilities})
}

// writes is the step write_image.
func (w *world) writes(ctx context.Context) error {
	if w.partitions == nil {
		_, err := w.writeImage(ctx, w.task)
		return err
	}
	r, err := w.Sources.Resolve(ctx, driver.InstanceOf(w.task.Node).Image)
	if err != nil {
		return err
	}
	info, err := w.imageInfo(w.task, r)
	if err != nil {
		return err
	}
	info.PartitionImage = w.partitions
	return w.write(ctx, w.task, r, info)
}

// withImage gives the node an image file of the test.
func (w *world) withImage(t *testing.T, data []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.raw")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	w.task.Node.InstanceInfo = node.Document{"image_source": "file://" + path, "image_os_hash_algo": "sha256",
		"image_os_hash_value": hex.EncodeToString(sum[:])}
}

var controls atomic.Int32

// exported is a disk file behind Debian's tgtd, under the name the driver expects of a ramdisk.
func (w *world) exported(t *testing.T, size int64) (file string, stop func()) {
	t.Helper()
	if _, err := exec.LookPath("tgtd"); err != nil {
		t.Fatal("tgtd is missing: install Debian's package tgt (scripts/deps test)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	_, w.TargetPort, _ = net.SplitHostPort(address)
	ramdiskNote.Edit(w.task, func(r *ramdisk) { r.Host = "127.0.0.1" })
	file = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	control := strconv.Itoa(22000 + os.Getpid()%10000 + int(controls.Add(1)))
	cmd := exec.Command("tgtd", "-f", "-C", control, "--iscsi", "portal="+address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() { cmd.Process.Kill(); cmd.Wait() }
	t.Cleanup(stop)
	admin := func(args ...string) error {
		return exec.Command("tgtadm", append([]string{"-C", control, "--lld", "iscsi"}, args...)...).Run()
	}
	w.admin = admin
	deadline := time.Now().Add(20 * time.Second)
	for admin("--mode", "target", "--op", "new", "--tid", "1", "-T", targetName(testUUID)) != nil {
		if time.Now().After(deadline) {
			t.Fatal("tgtd does not start: it needs root")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := admin("--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "-b", file); err != nil {
		t.Fatal(err)
	}
	if err := admin("--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL"); err != nil {
		t.Fatal(err)
	}
	return file, stop
}
