package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
)

const glanceID = "3b8d3f2c-0000-4000-8000-000000000001"

var (
	errGlance   = node.Errorf(node.Unavailable, "Glance was asked for image %s: it can not be reached", glanceID)
	errFetching = &image.Fetching{Done: 5, Total: 1000}
)

// glance is a Glance whose answers a test sets: the errors of each question, one after another, the last one stays.
type glance struct {
	*fakeSources
	doc                      image.Described
	describe, begin, resolve []error
	described                int
}

func next(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	if len(*errs) > 1 {
		*errs = (*errs)[1:]
	}
	return err
}

func (g *glance) Describe(_ context.Context, ref image.Ref) (*image.Described, error) {
	g.described++
	if err := next(&g.describe); err != nil {
		return nil, err
	}
	d := g.doc
	d.Source = ref.Source
	return &d, nil
}

func (g *glance) Begin(ctx context.Context, ref image.Ref) (image.Resolved, error) {
	if err := next(&g.begin); err != nil {
		return image.Resolved{}, err
	}
	return g.fakeSources.Resolve(ctx, ref)
}

func (g *glance) Resolve(ctx context.Context, ref image.Ref) (image.Resolved, error) {
	if err := next(&g.resolve); err != nil {
		return image.Resolved{}, err
	}
	return g.fakeSources.Resolve(ctx, ref)
}

func glanceWorld(t *testing.T) (*world, *glance) {
	w := newWorld(t)
	g := &glance{fakeSources: &fakeSources{}, doc: image.Described{ID: glanceID, Status: "active", Size: 1000}}
	w.direct.Sources = g
	w.stored.InstanceInfo = node.Document{"image_source": glanceID}
	w.plan(node.FlowDeploy, w.direct.Steps())
	return w, g
}

// A deploy waits for a Glance that is away, for its first bytes and for the rest, and goes on when they are there; while nothing is
// known of the image the machine is left alone.
func TestDeployWaitsForGlance(t *testing.T) {
	w, g := glanceWorld(t)
	g.describe = []error{errGlance, errGlance, nil}
	g.begin = []error{errFetching, errGlance, errFetching, nil}
	g.resolve = []error{errFetching, errGlance, nil}
	var waits []string
	r := &runner{world: w, dies: func(call string) bool {
		if p := w.stored.Plan; p.Awaits == node.Image {
			if strings.HasPrefix(call, "deploy ") && len(w.log) > 0 && g.begin[0] != nil {
				t.Errorf("the machine was touched before its image was found: %v", w.log)
			}
			waits = append(waits, call)
		}
		return false
	}}
	if err := r.carry(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theDeploy, w.log); diff != "" {
		t.Errorf("what happened to the machine (-want +got):\n%s", diff)
	}
	if !slices.Contains(waits, "deploy poll") || !slices.Contains(waits, "write_image poll") {
		t.Errorf("waited in %v", waits)
	}
	if g.described != 3 {
		t.Errorf("Glance was asked %d times: what it said holds for the deploy", g.described)
	}
}

// What makes no sense to wait for ends the deploy at once, before the machine is touched.
func TestDeployRefusesAtOnce(t *testing.T) {
	for name, prepare := range map[string]func(w *world, g *glance) (says string){
		"deactivated": func(_ *world, g *glance) string {
			g.describe = []error{errors.New("image X of Glance: it was deactivated")}
			return "it was deactivated"
		},
		"unsafe": func(_ *world, g *glance) string {
			g.begin = []error{&image.Refusal{Reason: "a backing file"}}
			return "a backing file"
		},
		"min_disk": func(w *world, g *glance) string {
			g.doc.MinDisk, w.stored.Properties = 40, node.Document{"local_gb": "20"}
			return "its image needs a disk of 40 GiB (min_disk), and the node's has 20"
		},
		"img_type": func(_ *world, g *glance) string {
			g.doc.Kind = "half-disk"
			return `img_type of its image is "half-disk"`
		},
		"firmware": func(_ *world, g *glance) string {
			g.doc.Capabilities = map[string]string{"boot_mode": "openfirmware"}
			return `the capability boot_mode is "openfirmware"`
		},
		"partition without a size": func(_ *world, g *glance) string {
			g.doc.Kernel = "glance://" + glanceID
			return "needs instance_info/root_gb"
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, g := glanceWorld(t)
			says := prepare(w, g)
			err := (&runner{world: w}).carry()
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v", err)
			}
			if len(w.log) > 0 {
				t.Errorf("the machine was touched: %v", w.log)
			}
			w, g = glanceWorld(t)
			says = prepare(w, g)
			w.stored.State = node.Available
			if name == "unsafe" {
				return // needs bytes
			}
			if err := w.direct.Validate(t.Context(), w.task()); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("validate: %v", err)
			}
		})
	}
}

// An image that turns out wrong while the machine boots ends the deploy then.
func TestDeployFailsWhileItBoots(t *testing.T) {
	w, g := glanceWorld(t)
	g.resolved = image.Resolved{HashAlgo: "sha512", HashValue: "b"} // its first bytes are here
	g.begin = []error{nil, errFetching, errGlance, errors.New("its sha512 is a, but Glance says b")}
	r := &runner{world: w, dies: func(string) bool { w.row = node.Agent{}; w.power = node.PowerOff; return false }} // it never calls
	w.direct.Poll = time.Hour
	if err := r.carry(); err == nil || !strings.Contains(err.Error(), "but Glance says b") {
		t.Errorf("got %v", err)
	}
}

// Glance is waited for as long as the step may take, and then its own reason ends the deploy.
func TestGlanceIsWaitedForWithAnEnd(t *testing.T) {
	w, g := glanceWorld(t)
	g.describe = []error{errGlance}
	w.direct.BootTimeout = time.Millisecond
	r := &runner{world: w, dies: func(string) bool { time.Sleep(time.Millisecond); return false }}
	err := r.carry()
	if err == nil || !strings.Contains(err.Error(), "it was waited for") || node.KindOf(err) != node.Unavailable ||
		!strings.Contains(err.Error(), "it can not be reached") {
		t.Errorf("got %v", err)
	}
	w.stored.State = node.Available
	if err := w.direct.Validate(t.Context(), w.task()); err != nil {
		t.Errorf("a Glance that is away is not the node's fault: %v", err)
	}
}

// A kernel in Glance is waited for, too; a management controller that cannot be reached is not.
func TestWaitsForTheRamdisksFiles(t *testing.T) {
	for name, steps := range map[string]func(w *world) ([]driver.Step, node.Flow){
		"deploy": func(w *world) ([]driver.Step, node.Flow) { return w.direct.Steps(), node.FlowDeploy },
		"clean":  func(w *world) ([]driver.Step, node.Flow) { return w.direct.Steps(), node.FlowClean },
		"rescue": func(w *world) ([]driver.Step, node.Flow) { return (&Rescue{}).Steps(), node.FlowRescue },
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := glanceWorld(t)
			w.stored.InstanceInfo[driver.HashedRescuePassword] = "$6$a$b"
			list, flow := steps(w)
			first := func(err error) string {
				w.plan(flow, list)
				w.log, w.power, w.row = nil, node.PowerOff, node.Agent{}
				w.fails["PrepareRamdisk"] = err
				tries := 0
				r := &runner{world: w, steps: list, dies: func(string) bool {
					if tries++; tries == 3 {
						w.fails["PrepareRamdisk"] = nil
					}
					return false
				}}
				for range 6 {
					step := w.stored.Plan.Current()
					if w.stored.Plan.Index > 0 || step == nil {
						break
					}
					if step.StartedAt.IsZero() {
						step.StartedAt = node.Now()
					}
					if err := r.once(step); err != nil {
						return err.Error()
					}
				}
				return strings.Join(w.log, ", ")
			}
			got := first(&driver.FileAway{Err: errGlance})
			if n := strings.Count(got, "PrepareRamdisk"); n < 3 || strings.Count(got, "power on") != 1 {
				t.Errorf("got %s", got)
			}
			if got := first(errGlance); !strings.Contains(got, "it can not be reached") {
				t.Errorf("an error of another service: %s", got)
			}
		})
	}
}
