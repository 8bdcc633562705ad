package pxe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

const glanceID = "3b8d3f2c-0000-4000-8000-000000000001"

// glance has every file whose source begins with glance://, or is glanceID.
type glance struct{ check, keep error }

func (g *glance) InRegistry(source string) bool {
	return strings.HasPrefix(source, "glance://") || source == glanceID
}

func (g *glance) CheckFile(context.Context, string) error { return g.check }

func (g *glance) KeepFile(_ context.Context, source string) (string, error) {
	return "/cache/" + strings.TrimPrefix(source, "glance://"), g.keep
}

// Kernel and ramdisk may lie in Glance; machines read them from this service, for deploys, of the service's default, and of instances
// that live in memory or boot over the network.
func TestFilesOfGlance(t *testing.T) {
	b, w, task := setUp(t, boot.IPXE)
	g := &glance{}
	b.Images = g
	task.Node.DriverInfo["deploy_kernel"] = glanceID
	delete(task.Node.DriverInfo, "deploy_ramdisk")
	b.Ramdisk = "glance://ramdisk"
	if err := b.Validate(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	if err := b.PrepareRamdisk(t.Context(), task, nil); err != nil {
		t.Fatal(err)
	}
	if r := w.records[uuid]; r.Kernel != "/cache/"+glanceID || r.Ramdisk != "/cache/ramdisk" {
		t.Errorf("%+v", r)
	}
	driver.Root{UUID: "a", Kernel: "glance://own-kernel", Ramdisk: "glance://own-ramdisk"}.Leave(task.Node)
	if err := b.PrepareInstance(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	if r := w.records[uuid]; r.Kernel != "/cache/own-kernel" || r.Ramdisk != "/cache/own-ramdisk" {
		t.Errorf("%+v", r)
	}
}

func TestFilesThatGlanceDoesNotGive(t *testing.T) {
	b, w, task := setUp(t, boot.IPXE)
	g := &glance{check: errors.New("image X of Glance: it was deactivated"), keep: node.Errorf(node.NotFound, "Glance has no image X")}
	b.Images = g
	task.Node.DriverInfo["deploy_kernel"] = glanceID
	err := b.Validate(t.Context(), task)
	says := "driver_info/deploy_kernel cannot be used: image X of Glance: it was deactivated"
	if node.KindOf(err) != node.Invalid || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("got %v", err)
	}
	err = b.PrepareRamdisk(t.Context(), task, nil)
	says = "fetching driver_info/deploy_kernel: Glance has no"
	if _, away := errors.AsType[*driver.FileAway](err); away || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("got %v", err)
	}
	g.check = node.Errorf(node.Unavailable, "Glance can not be reached")
	g.keep = g.check
	if err := b.Validate(t.Context(), task); err != nil {
		t.Errorf("a Glance that is away is not the node's fault: %v", err)
	}
	err = b.PrepareRamdisk(t.Context(), task, nil)
	if _, away := errors.AsType[*driver.FileAway](err); !away {
		t.Errorf("got %v", err)
	}
	if len(w.records) > 0 || w.device.Device != "" {
		t.Errorf("something was prepared: %+v %+v", w.records, w.device)
	}
	b.Images = nil
	if err := b.Validate(t.Context(), task); err == nil || !strings.Contains(err.Error(), "it must be an absolute path") {
		t.Errorf("without a cloud: %v", err)
	}
}
