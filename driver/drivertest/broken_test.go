package drivertest_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/drivertest"
	"github.com/billet-metal/billet/node"
)

// mistakeEnv names the mistake of the driver that a child process of these tests runs a suite against.
const mistakeEnv = "BILLET_DRIVERTEST_MISTAKE"

// bmc is a machine behind a driver that does everything right but for one mistake.
type bmc struct {
	mistake string

	mu     sync.Mutex
	power  node.PowerState
	device node.BootDevice
	boots  string
}

const password = "hunter2-secret"

func (b *bmc) is(mistake string) bool { return b.mistake == mistake }

func (b *bmc) Name() string {
	if b.is("has no name") {
		return ""
	}
	return "test"
}

func (b *bmc) Properties() map[string]string {
	if b.is("help is no sentence") {
		return map[string]string{"test_address": "where it is"}
	}
	return map[string]string{"test_address": "Where it is. Required."}
}

func (b *bmc) BMCAddresses(info node.Document) []netip.Addr {
	found := driver.AddressIn(info.String("test_address"))
	if len(found) == 0 && b.is("takes a name for an address") {
		return []netip.Addr{netip.IPv4Unspecified()}
	}
	return found
}

func (b *bmc) SetBMCAddress(info node.Document, bmc netip.Addr) {
	switch {
	case b.is("writes no address"):
	case b.is("writes the address where nobody is told"):
		info["test_address"], info["secret_address"] = bmc.String(), bmc.String()
	default:
		info["test_address"] = bmc.String()
	}
}

func (b *bmc) Validate(ctx context.Context, t *driver.Task) error {
	switch {
	case b.is("validates over the network") && ctx.Err() != nil:
		return &node.Err{Kind: node.Internal, Msg: "BMC 192.0.2.7 does not answer", Cause: ctx.Err()}
	case b.is("accepts a bad node"), t.Node.DriverInfo["test_address"] != "":
		return nil
	case b.is("refuses with a kind of its own"):
		return errors.New("test_address is missing")
	case b.is("quotes the password"):
		return node.Errorf(node.Invalid, "test_address is missing from %v", t.Node.DriverInfo)
	}
	return node.Errorf(node.Invalid, "driver_info/test_address is missing.")
}

// reach is every call to the BMC; a dead one never answers.
func (b *bmc) reach(ctx context.Context, t *driver.Task) error {
	if t.Node.DriverInfo["test_address"] != "dead" {
		return nil
	}
	wait := ctx.Done()
	switch {
	case b.is("hangs past its deadline"):
		late := make(chan struct{})
		time.AfterFunc(6*time.Second, func() { close(late) })
		wait = late
	case b.is("takes silence for success"):
		return nil
	}
	<-wait
	switch {
	case b.is("fails without a kind"):
		return ctx.Err()
	case b.is("does not name the BMC"):
		return node.Errorf(node.Internal, "no answer")
	case b.is("shows the password"):
		return node.Errorf(node.Internal, "dead did not answer admin/%s", password)
	}
	return node.Errorf(node.Internal, "the BMC at dead does not answer")
}

func (b *bmc) PowerState(ctx context.Context, t *driver.Task) (node.PowerState, error) {
	if err := b.reach(ctx, t); err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.is("always says off") {
		return node.PowerOff, nil
	}
	return b.power, nil
}

func (b *bmc) SetPowerState(ctx context.Context, t *driver.Task, target node.PowerState) error {
	if err := b.reach(ctx, t); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch target {
	case node.PowerOn, node.SoftRebooting:
		b.power = node.PowerOn
	case node.Rebooting:
		if b.power != node.PowerOff || !b.is("reboots only what is on") {
			b.power = node.PowerOn
		}
	case node.PowerOff:
		if b.power == node.PowerOff && b.is("toggles") {
			b.power = node.PowerOn
			return nil
		}
		b.power = node.PowerOff
	case node.SoftPowerOff:
		if !b.is("asks softly and does not look") {
			b.power = node.PowerOff
		}
	default:
		if !b.is("takes any target") {
			return node.Errorf(node.Invalid, "the target %q is unknown.", target)
		}
	}
	return nil
}

func (b *bmc) BootDevices() []string {
	switch {
	case b.is("offers no disk"):
		return []string{"pxe"}
	case b.is("offers a device twice"):
		return []string{"pxe", "disk", "pxe"}
	}
	return []string{"pxe", "disk"}
}

func (b *bmc) BootDevice(ctx context.Context, t *driver.Task) (node.BootDevice, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.device
	if b.is("forgets persistence") {
		d.Persistent = false
	}
	return d, nil
}

func (b *bmc) SetBootDevice(ctx context.Context, t *driver.Task, d node.BootDevice) error {
	if !slices.Contains(b.BootDevices(), d.Device) && !b.is("takes any device") {
		return node.Errorf(node.Invalid, "the device %q is not supported.", d.Device)
	}
	if err := b.reach(ctx, t); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.is("refuses what is set already") && b.device == d {
		return node.Errorf(node.Conflict, "it is set already")
	}
	b.device = d
	return nil
}

func (b *bmc) set(boots string, mistake string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.is("prepares only once") && mistake == "prepare" && b.boots == boots {
		return node.Errorf(node.Conflict, "it is prepared already")
	}
	if b.is("cleans up only what is there") && mistake == "clean" && b.boots != "ramdisk" {
		return node.Errorf(node.NotFound, "there is nothing to clean up")
	}
	if b.is("leaves the ramdisk behind") && mistake == "clean" {
		return nil
	}
	b.boots = boots
	return nil
}

func (b *bmc) PrepareRamdisk(context.Context, *driver.Task, map[string]string) error {
	return b.set("ramdisk", "prepare")
}
func (b *bmc) CleanUpRamdisk(context.Context, *driver.Task) error  { return b.set("instance", "clean") }
func (b *bmc) PrepareInstance(context.Context, *driver.Task) error { return b.set("instance", "") }
func (b *bmc) CleanUpInstance(context.Context, *driver.Task) error { return b.set("instance", "clean") }

// harness is a machine that works, one whose BMC is dead, and a node that is not valid.
func harness() drivertest.Harness {
	return drivertest.Harness{
		Task: drivertest.NewTask("test", node.Document{"test_address": "here", "test_password": password}),
		Dead: drivertest.NewTask("test", node.Document{"test_address": "dead", "test_password": password}),
		BMC:  "dead", Secrets: []string{password},
		Invalid: map[string]*driver.Task{"no address": drivertest.NewTask("test", node.Document{"test_password": password, "test_address": ""})},
	}
}

func suites(mistake string) map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"power": func(t *testing.T) {
			drivertest.Power(t, func(*testing.T) drivertest.PowerHarness {
				return drivertest.PowerHarness{Harness: harness(), Power: &bmc{mistake: mistake, power: node.PowerOn},
					Soft: []node.PowerState{node.SoftPowerOff, node.SoftRebooting}}
			})
		},
		"management": func(t *testing.T) {
			drivertest.Management(t, func(*testing.T) drivertest.ManagementHarness {
				return drivertest.ManagementHarness{Harness: harness(), Management: &bmc{mistake: mistake}}
			})
		},
		"boot": func(t *testing.T) {
			drivertest.Boot(t, func(*testing.T) drivertest.BootHarness {
				b := &bmc{mistake: mistake, boots: "instance"}
				return drivertest.BootHarness{Harness: harness(), Boot: b, Boots: func(*testing.T) string { return b.boots }}
			})
		},
	}
}

// A driver without a mistake passes all suites.
func TestADriverThatIsRight(t *testing.T) {
	for name, run := range suites("") {
		t.Run(name, run)
	}
}

// TestMistaken runs one suite against a driver with one mistake, in a child process: it is meant to fail there.
func TestMistaken(t *testing.T) {
	mistake := os.Getenv(mistakeEnv)
	if mistake == "" {
		return // this is the parent; TestEveryMistakeIsFound asks for each
	}
	suite, mistake, _ := strings.Cut(mistake, ": ")
	suites(mistake)[suite](t)
}

// Each mistake that a driver can make is found by its suite, in the test that is about it: the suites can fail.
func TestEveryMistakeIsFound(t *testing.T) {
	for _, tt := range []struct{ suite, mistake, foundBy string }{
		{"power", "has no name", "implementation/says_what_it_is"},
		{"power", "help is no sentence", "implementation/says_what_it_is"},
		{"power", "writes no address", "implementation/knows_its_BMC_by_the_address"},
		{"power", "takes a name for an address", "implementation/knows_its_BMC_by_the_address"},
		{"management", "writes the address where nobody is told", "implementation/knows_its_BMC_by_the_address"},
		{"power", "validates over the network", "implementation/validates_without_a_network"},
		{"power", "accepts a bad node", "implementation/refuses_no_address"},
		{"power", "refuses with a kind of its own", "implementation/refuses_no_address"},
		{"power", "quotes the password", "implementation/refuses_no_address"},
		{"power", "always says off", "each_state_is_reached_and_seen"},
		{"power", "reboots only what is on", "each_state_is_reached_and_seen"},
		{"power", "toggles", "asking_twice_does_nothing_more"},
		{"power", "asks softly and does not look", "soft_targets"},
		{"power", "takes any target", "an_unknown_target_is_refused"},
		{"power", "hangs past its deadline", "a_dead_BMC_fails_reading_by_the_deadline"},
		{"power", "takes silence for success", "a_dead_BMC_fails_switching_by_the_deadline"},
		{"power", "fails without a kind", "a_dead_BMC_fails_reading_by_the_deadline"},
		{"power", "does not name the BMC", "a_dead_BMC_fails_switching_by_the_deadline"},
		{"power", "shows the password", "a_dead_BMC_fails_reading_by_the_deadline"},
		{"management", "accepts a bad node", "implementation/refuses_no_address"},
		{"management", "offers no disk", "offers_what_deploying_needs"},
		{"management", "offers a device twice", "offers_what_deploying_needs"},
		{"management", "forgets persistence", "each_device_is_set,_seen,_and_may_be_set_again"},
		{"management", "refuses what is set already", "each_device_is_set,_seen,_and_may_be_set_again"},
		{"management", "takes any device", "an_unknown_device_is_refused"},
		{"management", "hangs past its deadline", "a_dead_BMC_fails_by_the_deadline"},
		{"management", "shows the password", "a_dead_BMC_fails_by_the_deadline"},
		{"boot", "has no name", "implementation/says_what_it_is"},
		{"boot", "prepares only once", "each_call_may_be_repeated"},
		{"boot", "leaves the ramdisk behind", "each_call_may_be_repeated"},
		{"boot", "cleans up only what is there", "nothing_to_clean_up_is_no_error"},
	} {
		t.Run(tt.suite+" "+tt.mistake, func(t *testing.T) {
			t.Parallel()
			about := strings.Split(regexp.QuoteMeta(tt.foundBy), "/") // the other tests of the suite take their time
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMistaken$/^"+strings.Join(about, "$/^")+"$", "-test.v")
			cmd.Env = append(os.Environ(), mistakeEnv+"="+tt.suite+": "+tt.mistake)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the suite did not notice:\n%s", out)
			}
			var failed []string
			for _, m := range regexp.MustCompile(`--- FAIL: TestMistaken/(\S+)`).FindAllStringSubmatch(string(out), -1) {
				failed = append(failed, m[1])
			}
			if !slices.Contains(failed, tt.foundBy) {
				t.Errorf("found by %v, not by %s:\n%s", failed, tt.foundBy, out)
			}
			if strings.Contains(string(out), "panic:") {
				t.Errorf("the suite panicked:\n%s", out)
			}
		})
	}
}
