package ipmi

import (
	"context"
	"errors"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/billet-metal/billet/lab/bmc"
	"github.com/billet-metal/billet/node"
)

// said returns err's text with the address and the times taken out.
func said(err error, info node.Document) string {
	if err == nil {
		return ""
	}
	s := strings.ReplaceAll(err.Error(), net.JoinHostPort(info.String("ipmi_address"), info.String("ipmi_port")), "ADDR")
	return regexp.MustCompile(`\b[0-9.]+m?s\b`).ReplaceAllString(s, "N s")
}

const tooHigh = `BMC ADDR: user "admin" may not have privilege level ADMINISTRATOR; set driver_info/ipmi_priv_level to what the BMC grants`

func TestEachFailureHasItsOwnWords(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server *bmc.Server
		faults bmc.Faults
		key    string
		value  any
		reason Reason
		kind   node.Kind
		want   string
	}{
		{"wrong password", nil, bmc.Faults{}, "ipmi_password", "other", BadLogin, node.Invalid,
			`BMC ADDR: log-in as "admin" was refused: the password is wrong; check driver_info/ipmi_username and ipmi_password`},
		{"wrong user", nil, bmc.Faults{}, "ipmi_username", "nobody", BadLogin, node.Invalid,
			`BMC ADDR: log-in as "nobody" was refused: there is no such user; check driver_info/ipmi_username and ipmi_password`},
		{"wrong BMC key", &bmc.Server{KG: []byte("0123456789")}, bmc.Faults{}, "", nil, BadLogin, node.Invalid,
			`BMC ADDR: log-in as "admin" was refused: the password is right but the BMC key is not; check driver_info/ipmi_hex_kg_key`},
		{"dead", nil, bmc.Faults{Dead: true}, "", nil, Unreachable, node.Unavailable,
			`BMC ADDR: no answer within N s; check driver_info/ipmi_address and ipmi_port, that IPMI over LAN is enabled, and the network to it`},
		{"nothing listens", nil, bmc.Faults{}, "ipmi_port", "1", Unreachable, node.Unavailable,
			`BMC ADDR: nothing listens there, says its host; check driver_info/ipmi_address and ipmi_port, and that IPMI over LAN is enabled`},
		{"garbage", nil, bmc.Faults{Garbage: true}, "", nil, Slow, node.Unavailable,
			`BMC ADDR: too slow: it answers, but did not tell its capabilities within N s`},
		{"suite 17 asked, 3 there", &bmc.Server{CipherSuites: []int{3}}, bmc.Faults{}, "ipmi_cipher_suite", "17", BadCipher, node.Invalid,
			`BMC ADDR: does not accept cipher suite 17; set driver_info/ipmi_cipher_suite to one that it has: 3 or 17`},
		{"no suite", &bmc.Server{CipherSuites: []int{}}, bmc.Faults{}, "", nil, BadCipher, node.Invalid,
			`BMC ADDR: does not accept cipher suite 3; set driver_info/ipmi_cipher_suite to one that it has: 3 or 17`},
		{"an operator only", &bmc.Server{Privilege: bmc.Operator}, bmc.Faults{}, "", nil, NoPrivilege, node.Invalid, tooHigh},
		{"as callback", nil, bmc.Faults{}, "ipmi_priv_level", "CALLBACK", NoPrivilege, node.Invalid,
			`BMC ADDR: user "admin" may not tell its power state at privilege level CALLBACK; set driver_info/ipmi_priv_level or raise the ` +
				`user's limit on the BMC`},
		{"no room", nil, bmc.Faults{NoSlots: true}, "", nil, Busy, node.Unavailable,
			`BMC ADDR: has no room for another session; close other sessions or wait a minute`},
		{"busy", nil, bmc.Faults{BusyCommands: 1000}, "", nil, Busy, node.Unavailable,
			`BMC ADDR: busy: it did not tell its power state when asked 5 times: completion code 0xc0, node busy`},
		{"broken", nil, bmc.Faults{BrokenPower: true}, "", nil, Refused, node.Unavailable,
			`BMC ADDR: refused to tell its power state: completion code 0xff, unspecified error`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := tt.server
			if server == nil {
				server = &bmc.Server{}
			}
			info := start(t, server)
			server.SetFaults(tt.faults)
			if tt.key != "" {
				info = with(info, tt.key, tt.value)
			}
			power, _ := New(quick)
			begin := time.Now()
			_, err := power.PowerState(t.Context(), task(info))
			if took := time.Since(begin); took > quick.OperationTimeout+2*time.Second {
				t.Errorf("it took %s", took)
			}
			if got := said(err, info); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if ReasonOf(err) != tt.reason || node.KindOf(err) != tt.kind {
				t.Errorf("reason %q, kind %v; want %q, %v", ReasonOf(err), node.KindOf(err), tt.reason, tt.kind)
			}
			if strings.Contains(err.Error(), password) {
				t.Error("the error shows the password")
			}
			if st := server.Stats(); st.Sessions != 0 && tt.server == nil {
				t.Errorf("%d sessions left open", st.Sessions)
			}
		})
	}
}

func TestWhatSilenceMeans(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	refused := &net.OpError{Op: "read", Net: "udp", Err: os.NewSyscallError("recvfrom", syscall.ECONNREFUSED)}
	noRoute := &net.OpError{Op: "write", Net: "udp", Err: os.NewSyscallError("write", syscall.EHOSTUNREACH)}
	for _, tt := range []struct {
		ctx     context.Context
		heard   bool
		network error
		reason  Reason
		want    string
	}{
		{t.Context(), false, nil, Unreachable, "BMC b:623: no answer within 1.2s; check driver_info/ipmi_address and ipmi_port, that IPMI " +
			"over LAN is enabled, and the network to it"},
		{t.Context(), false, refused, Unreachable, "BMC b:623: nothing listens there, says its host; check driver_info/ipmi_address and " +
			"ipmi_port, and that IPMI over LAN is enabled"},
		{t.Context(), false, noRoute, Unreachable, "BMC b:623: cannot reach it: write: no route to host; check driver_info/ipmi_address and " +
			"the network to it"},
		{t.Context(), true, noRoute, Slow, "BMC b:623: too slow: it answers, but did not sing within 1.2s"},
		{canceled, true, nil, Slow, "BMC b:623: gave up waiting for it to sing: context canceled"},
	} {
		s := &session{config: config{address: "b:623"}, heard: tt.heard, network: tt.network}
		err := s.silence(tt.ctx, "sing", 1234*time.Millisecond)
		if err.Error() != tt.want || ReasonOf(err) != tt.reason {
			t.Errorf("got  %s (%s)\nwant %s", err, ReasonOf(err), tt.want)
		}
	}
}

// Which of the answers is the one too many depends on the machine the test runs on.
func TestASlowBMC(t *testing.T) {
	t.Parallel()
	server := &bmc.Server{}
	info := start(t, server)
	server.SetFaults(bmc.Faults{Delay: 900 * time.Millisecond})
	o := quick
	o.CommandTimeout, o.OperationTimeout = 5*time.Second, 2*time.Second
	power, _ := New(o)
	_, err := power.PowerState(t.Context(), task(info))
	if got, want := said(err, info), "BMC ADDR: too slow: it answers, but did not "; ReasonOf(err) != Slow || !strings.HasPrefix(got, want) {
		t.Errorf("got %s (%s), want %s…", got, ReasonOf(err), want)
	}
}

func TestABadNetworkIsSurvived(t *testing.T) {
	patient := quick
	patient.Retry, patient.CommandTimeout, patient.OperationTimeout = 30*time.Millisecond, 3*time.Second, 20*time.Second
	for name, faults := range map[string]bmc.Faults{
		"30 % lost":                         {DropPercent: 30},
		"every second packet lost":          {DropEvery: 2},
		"30 % lost, sequence numbers count": {DropPercent: 30, StrictSequence: true},
		"answers later than repetitions":    {Delay: 100 * time.Millisecond},
		"a little busy":                     {BusyCommands: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &machine{}
			server := &bmc.Server{Machine: m}
			info := start(t, server)
			server.SetFaults(faults)
			power, management := New(patient)
			task := task(info)
			if err := management.SetBootDevice(t.Context(), task, node.BootDevice{Device: "pxe"}); err != nil {
				t.Fatal(err)
			}
			for _, target := range []node.PowerState{node.PowerOn, node.Rebooting, node.PowerOff} {
				if err := power.SetPowerState(t.Context(), task, target); err != nil {
					t.Fatalf("%s: %v", target, err)
				}
			}
			if want := []bmc.Action{bmc.On, bmc.Off, bmc.On, bmc.Off}; !slices.Equal(m.did(), want) {
				t.Errorf("the machine did %v, want %v", m.did(), want)
			}
		})
	}
}

func TestABMCThatLies(t *testing.T) {
	for _, tt := range []struct {
		target node.PowerState
		on     bool
		want   string
	}{
		{node.PowerOn, false, `BMC ADDR: accepted "power on", but N s later the machine is still not in that state`},
		{node.PowerOff, true, `BMC ADDR: accepted "power off", but N s later the machine is still not in that state`},
		{node.Rebooting, true, `BMC ADDR: accepted "power off", but N s later the machine is still not in that state`},
		{node.SoftPowerOff, true, `BMC ADDR: accepted a soft power off, but the machine is still on after N s; its operating system may ` +
			`ignore the request`},
		{node.SoftRebooting, true, `BMC ADDR: accepted a soft power off, but the machine is still on after N s; its operating system may ` +
			`ignore the request`},
	} {
		t.Run(string(tt.target), func(t *testing.T) {
			t.Parallel()
			server := &bmc.Server{Machine: &machine{on: tt.on}}
			info := start(t, server)
			server.SetFaults(bmc.Faults{LiesAboutPower: true})
			o := quick
			o.PowerWait, o.SoftWait = time.Second, time.Second
			power, _ := New(o)
			err := power.SetPowerState(t.Context(), task(info), tt.target)
			if got := said(err, info); got != tt.want || ReasonOf(err) != NotDone {
				t.Errorf("got  %s (%s)\nwant %s", got, ReasonOf(err), tt.want)
			}
			if st := server.Stats(); st.Sessions != 0 {
				t.Errorf("%d sessions left open", st.Sessions)
			}
		})
	}
}

func TestACallThatIsCancelledEndsAndLeavesNoSession(t *testing.T) {
	server := &bmc.Server{Machine: &machine{}}
	info := start(t, server)
	server.SetFaults(bmc.Faults{LiesAboutPower: true})
	power, _ := New(Options{Retry: 100 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := power.SetPowerState(ctx, task(info), node.PowerOn)
	if took := time.Since(begin); took > 3*time.Second || ReasonOf(err) != NotDone {
		t.Errorf("%v after %s", err, took)
	}
	if st := server.Stats(); st.Sessions != 0 {
		t.Errorf("%d sessions left open", st.Sessions)
	}
	canceled, cancelNow := context.WithCancel(t.Context())
	cancelNow()
	if _, err := power.PowerState(canceled, task(info)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before it began: %v", err)
	}
}

func TestABMCSeesOneSessionAtATime(t *testing.T) {
	server := &bmc.Server{}
	info := start(t, server)
	power, management := New(quick)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			if _, err := power.PowerState(t.Context(), task(info)); err != nil {
				t.Error(err)
			}
		})
		work.Go(func() {
			if _, err := management.BootDevice(t.Context(), task(info)); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if st := server.Stats(); st.MaxSessions != 1 || st.Opened != 16 || st.Sessions != 0 {
		t.Errorf("%+v, want 16 sessions, one at a time, none left", st)
	}
}

func TestWaitingForTheQueueIsBounded(t *testing.T) {
	server := &bmc.Server{}
	info := start(t, server)
	power, _ := New(quick)
	c, _ := parse(info)
	power.bmcs.slot(c.address).busy <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := power.PowerState(ctx, task(info))
	want := "BMC ADDR: another operation of this service on it has not ended in time: context deadline exceeded"
	if got := said(err, info); got != want || ReasonOf(err) != Busy {
		t.Errorf("got %s (%s), want %s", got, ReasonOf(err), want)
	}
}

// Some BMCs forget their sessions when the power changes.
func TestASessionThatBreaksWhileTheMachineSwitches(t *testing.T) {
	m := &machine{}
	server := &bmc.Server{Machine: m, SessionTimeout: time.Nanosecond} // ends at each tick of a second
	info := start(t, server)
	o := quick
	o.PowerWait, o.PollEvery, o.CommandTimeout = 20*time.Second, 1200*time.Millisecond, 300*time.Millisecond
	power, _ := New(o)
	if err := power.SetPowerState(t.Context(), task(info), node.PowerOn); err != nil {
		t.Fatal(err)
	}
	if st := server.Stats(); st.Opened < 2 || !m.PoweredOn() {
		t.Errorf("%+v, want a second session", st)
	}
}

func TestCipherSuites(t *testing.T) {
	for _, tt := range []struct {
		name   string
		offers []int
		asked  any
		worked int
	}{
		{"the best of both", nil, nil, 17},
		{"17 alone", []int{17}, nil, 17},
		{"3 alone", []int{3}, nil, 3},
		{"3 asked for", nil, 3, 3},
		{"17 asked for", nil, "17", 17},
	} {
		server := &bmc.Server{CipherSuites: tt.offers}
		info := start(t, server)
		if tt.asked != nil {
			info = with(info, "ipmi_cipher_suite", tt.asked)
		}
		power, _ := New(quick)
		if _, err := power.PowerState(t.Context(), task(info)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		c, _ := parse(info)
		if got := power.bmcs.slot(c.address).suite; got != tt.worked {
			t.Errorf("%s: suite %d, want %d", tt.name, got, tt.worked)
		}
		packets := server.Stats().Packets
		if _, err := power.PowerState(t.Context(), task(info)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if again := server.Stats().Packets - packets; again != 6 {
			t.Errorf("%s: %d packets for the second read, want 6: the suite is known", tt.name, again)
		}
	}
}

// A BMC whose firmware was changed does not keep the suite that worked before.
func TestAKnownSuiteThatWentAway(t *testing.T) {
	server := &bmc.Server{CipherSuites: []int{3}}
	info := start(t, server)
	power, _ := New(quick)
	c, _ := parse(info)
	power.bmcs.slot(c.address).suite = 17
	if _, err := power.PowerState(t.Context(), task(info)); err != nil {
		t.Error(err)
	}
}

func TestTwoKeyLogin(t *testing.T) {
	server := &bmc.Server{KG: []byte("0123456789abcdefghij")}
	info := with(start(t, server), "ipmi_hex_kg_key", "303132333435363738396162636465666768696a")
	power, _ := New(quick)
	if _, err := power.PowerState(t.Context(), task(info)); err != nil {
		t.Error(err)
	}
}
