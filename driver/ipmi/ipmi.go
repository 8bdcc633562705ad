// Package ipmi owns power and boot device control over IPMI 2.0 (RMCP+): the implementations that
// the API calls "ipmitool", although no such program runs. It refuses IPMI 1.5, cipher suites other
// than 3 and 17 (the rest are broken or send the password's hash to anybody who asks), bridging
// and sensors.
//
// It has a small client of its own. github.com/bougou/go-ipmi v0.9.1 was read for the job and is
// unfit for a service: it repeats a request under the same session sequence number, which a BMC
// that follows the specification drops (6.12.13); in the log-in it takes the first datagram that
// comes for the answer; a short or badly padded packet from the network makes its decryption
// index out of range; a log-in that fails after its socket opened leaks it; and a keep-alive
// goroutine outlives the call that started it.
//
// "Spec" in comments is the IPMI v2.0 specification, document revision 1.1.
package ipmi

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/billet-metal/billet/driver/quirk"
)

// Options are how patient the driver is. The zero value has the defaults.
type Options struct {
	Retry            time.Duration // a request is repeated this often; 0: 1 s
	CommandTimeout   time.Duration // a request without an answer is given up; 0: 10 s
	OperationTimeout time.Duration // log-in and commands of one call together; 0: 30 s
	PowerWait        time.Duration // until the machine must be on or off; 0: 60 s
	SoftWait         time.Duration // the same when its operating system does the switching; 0: 5 min
	PollEvery        time.Duration // first pause between looks, growing to ten times that; 0: 500 ms
	SerialLost       time.Duration // a BMC that is silent for this long while its serial line is heard is given up; 0: 48 s
	Quirks           quirk.Table   // what is known of BMCs; nil: this driver's own table
}

func (o Options) withDefaults() Options {
	o.Retry = cmp.Or(o.Retry, time.Second)
	o.CommandTimeout = cmp.Or(o.CommandTimeout, 10*time.Second)
	o.OperationTimeout = cmp.Or(o.OperationTimeout, 30*time.Second)
	o.PowerWait = cmp.Or(o.PowerWait, time.Minute)
	o.SoftWait = cmp.Or(o.SoftWait, 5*time.Minute)
	o.PollEvery = cmp.Or(o.PollEvery, 500*time.Millisecond)
	o.SerialLost = cmp.Or(o.SerialLost, 48*time.Second)
	if o.Quirks == nil {
		o.Quirks = quirks
	}
	return o
}

// New returns the two implementations. They share a queue: whatever asks, a BMC sees one session
// of this process at a time, and one more while its serial line is heard.
func New(o Options) (*Power, *Management) {
	b := &bmcs{options: o.withDefaults(), slots: map[string]*slot{}}
	return &Power{bmcs: b}, &Management{bmcs: b}
}

// bmcs is every BMC this process has talked to.
type bmcs struct {
	options Options
	mu      sync.Mutex
	slots   map[string]*slot // by host:port; never removed: a few dozen bytes for each BMC
}

// slot is one BMC's place in the queue. Whoever is in busy may use the rest.
type slot struct {
	busy  chan struct{} // capacity 1
	suite int           // the cipher suite that worked last; 0: not known

	identity *quirk.Identity // who the BMC says it is; nil: not asked yet
	doubted  [32]byte        // digest of the log-in that was tried again with another cipher suite

	listener *listener // hears the serial line, or did; nil: nobody ever
}

// listener is a session that hears a serial line.
type listener struct {
	stop  func()          // has it end
	ended <-chan struct{} // closed when its session is closed
}

func (b *bmcs) slot(address string) *slot {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.slots[address] == nil {
		b.slots[address] = &slot{busy: make(chan struct{}, 1)}
	}
	return b.slots[address]
}

// do runs f in a session of its own, when the BMC's queue is free, and closes the session
// whatever happens.
func (b *bmcs) do(ctx context.Context, c config, f func(*session) error) error {
	return b.queued(ctx, c, func() error {
		s := newSession(c, b.options, b.slot(c.address))
		defer func() { s.close(ctx) }()
		err := s.login(ctx)
		if ReasonOf(err) == Busy && s.slot.makeRoom(ctx) {
			err = s.reopen(ctx)
		}
		if err != nil {
			return err
		}
		s.identify(ctx)
		return f(s)
	})
}

// queued runs f when the BMC's queue is free.
func (b *bmcs) queued(ctx context.Context, c config, f func() error) error {
	slot := b.slot(c.address)
	select {
	case slot.busy <- struct{}{}:
		defer func() { <-slot.busy }()
	case <-ctx.Done():
		return c.fail(Busy, ctx.Err(), "another operation of this service on it has not ended in time")
	}
	return f()
}

// makeRoom ends the session that hears the serial line, if there is one: operations come first.
func (s *slot) makeRoom(ctx context.Context) bool {
	if s.listener == nil {
		return false
	}
	select {
	case <-s.listener.ended:
		return false
	default:
	}
	s.listener.stop()
	select {
	case <-s.listener.ended:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
