package ipmi

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/drivertest"
	"github.com/billet-metal/billet/lab/bmc"
	"github.com/billet-metal/billet/node"
)

const password = "hunter2-but-longer"

// quick is patience for tests.
var quick = Options{Retry: 100 * time.Millisecond, CommandTimeout: 1500 * time.Millisecond, OperationTimeout: 6 * time.Second,
	PowerWait: 5 * time.Second, SoftWait: 5 * time.Second, PollEvery: 20 * time.Millisecond}

// machine is a fake behind the virtual BMC.
type machine struct {
	mu      sync.Mutex
	on      bool
	ignore  bool // soft requests
	actions []bmc.Action
	boot    bmc.BootDevice
	started []bmc.BootDevice // what it booted from, each time
}

func (m *machine) PoweredOn() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.on
}

func (m *machine) SetPower(_ context.Context, a bmc.Action) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.actions = append(m.actions, a)
	switch a {
	case bmc.Off:
		m.on = false
	case bmc.Soft:
		m.on = m.ignore
	case bmc.NMI:
	default:
		m.on = true
		m.started = append(m.started, m.boot)
		if !m.boot.Persistent {
			m.boot = bmc.BootDevice{}
		}
	}
	return nil
}

func (m *machine) BootDevice() bmc.BootDevice {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boot
}

func (m *machine) SetBootDevice(d bmc.BootDevice) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot = d
	return nil
}

func (m *machine) Console(context.Context) (io.ReadWriteCloser, error) {
	return nil, errors.New("no console")
}

func (m *machine) did() []bmc.Action {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]bmc.Action(nil), m.actions...)
}

func (m *machine) bootedFrom() []bmc.BootDevice {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]bmc.BootDevice(nil), m.started...)
}

// start runs a virtual BMC on a loopback port until the test ends.
func start(t testing.TB, s *bmc.Server) (info node.Document) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Conn, s.User, s.Password, s.GUID = conn, "admin", password, [16]byte{1, 2, 3}
	if s.Machine == nil {
		s.Machine = &machine{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	host, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	return node.Document{"ipmi_address": host, "ipmi_port": port, "ipmi_username": "admin", "ipmi_password": password}
}

func task(info node.Document) *driver.Task { return drivertest.NewTask("ipmi", info) }

func with(info node.Document, key string, value any) node.Document {
	info = info.Clone()
	info[key] = value
	return info
}

// deadAddress is a bound port that nobody reads.
func deadAddress(t *testing.T) (host string, port int) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	a := conn.LocalAddr().(*net.UDPAddr)
	return a.IP.String(), a.Port
}

func harness(t *testing.T) drivertest.Harness {
	info := start(t, &bmc.Server{})
	host, port := deadAddress(t)
	misspelt := with(info, "ipmi_pasword", password)
	delete(misspelt, "ipmi_password")
	dead := with(with(info, "ipmi_address", host), "ipmi_port", port)
	return drivertest.Harness{
		Task: task(info), Dead: task(dead), BMC: net.JoinHostPort(host, strconv.Itoa(port)), Secrets: []string{password},
		Invalid: map[string]*driver.Task{
			"no address":       task(node.Document{}),
			"port 0":           task(with(info, "ipmi_port", 0)),
			"IPMI 1.5":         task(with(info, "ipmi_protocol_version", "1.5")),
			"cipher suite 0":   task(with(info, "ipmi_cipher_suite", 0)),
			"a long password":  task(with(info, "ipmi_password", password+password)),
			"a typing error":   task(misspelt),
			"an unknown level": task(with(info, "ipmi_priv_level", "ROOT")),
		},
	}
}

func TestPowerConformance(t *testing.T) {
	drivertest.Power(t, func(t *testing.T) drivertest.PowerHarness {
		power, _ := New(quick)
		return drivertest.PowerHarness{Harness: harness(t), Power: power, Soft: []node.PowerState{node.SoftPowerOff, node.SoftRebooting}}
	})
}

func TestManagementConformance(t *testing.T) {
	drivertest.Management(t, func(t *testing.T) drivertest.ManagementHarness {
		_, management := New(quick)
		return drivertest.ManagementHarness{Harness: harness(t), Management: management}
	})
}
