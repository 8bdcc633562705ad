package storetest

import (
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

func testTimeMark(t *testing.T, s Store) {
	m, err := s.TimeMark(t.Context())
	if ok(t, err); m != (node.TimeMark{}) {
		t.Errorf("%+v before there is one", m)
	}
	for _, want := range []node.TimeMark{
		{Boot: "a", Uptime: 90 * time.Second, At: node.Now(), Ahead: -time.Hour},
		{Boot: "b", Uptime: time.Hour, At: node.Now().Add(time.Minute)},
	} {
		ok(t, s.SaveTimeMark(t.Context(), want))
		m, err := s.TimeMark(t.Context())
		if ok(t, err); !m.At.Equal(want.At) || m.Boot != want.Boot || m.Uptime != want.Uptime || m.Ahead != want.Ahead {
			t.Errorf("%+v, want %+v", m, want)
		}
	}
}

// Stored moments move together, but not while a plan holds some of them.
func testMoveTime(t *testing.T, s Store) {
	const day = 24 * time.Hour
	n := &node.Node{UUID: uid(1), Driver: "fake", State: node.Available}
	ok(t, s.CreateNode(t.Context(), n))
	until := node.Now().Add(time.Hour)
	ok(t, s.PutRecord(t.Context(),
		boot.Record{NodeUUID: uid(1), Secret: "0123456789abcdef0123456789abcdef", Until: until, CreatedAt: node.Now()}))
	given := node.Now()
	_, err := s.GiveAgentToken(t.Context(), uid(1), "token", node.Caller{})
	ok(t, err)
	ok(t, s.SaveAgent(t.Context(), uid(1), node.Agent{URL: "https://a", LastHeartbeat: until}))
	_, is, err := s.LendAddress(t.Context(), testRange(), mac(1), ip4(22), time.Hour)
	if ok(t, err); !is {
		t.Error("no address was lent")
	}
	lent, err := s.AddressLeases(t.Context())
	ok(t, err)
	ok(t, s.AnswersDHCP(t.Context(), ip4(1)))
	move := func(d time.Duration, want bool) {
		t.Helper()
		moved, err := s.MoveTime(t.Context(), d)
		if ok(t, err); moved != want {
			t.Errorf("moved %v, want %v", moved, want)
		}
	}
	move(day, true)
	r, err := s.RecordOf(t.Context(), uid(1))
	ok(t, err)
	got, err := s.Node(t.Context(), uid(1))
	ok(t, err)
	if r == nil || !r.Until.Equal(until.Add(day)) || !got.Agent.LastHeartbeat.Equal(until.Add(day)) ||
		got.Agent.TokenGivenAt.Before(given.Add(day)) {
		t.Errorf("record %+v, agent %+v", r, got.Agent)
	}
	if now, err := s.AddressLeases(t.Context()); err != nil || len(now) != 1 || !now[0].Until.Equal(lent[0].Until.Add(day)) {
		t.Errorf("lent were %+v, and are %+v, %v", lent, now, err)
	}
	move(-2*day, true)
	if is, err := s.IsOurs(t.Context(), ip4(1)); err != nil || is {
		t.Errorf("a server that answered DHCP a day ago is ours: %v, %v", is, err)
	}
	move(2*day, true)
	held, err := s.Reserve(t.Context(), uid(1), "here", time.Minute)
	ok(t, err)
	held.State, held.Plan = node.DeployWait, &node.Plan{Flow: node.FlowDeploy, Deadline: until}
	ok(t, s.Release(t.Context(), held))
	move(day, false)
	if r, err := s.RecordOf(t.Context(), uid(1)); err != nil || !r.Until.Equal(until.Add(day)) {
		t.Errorf("record %+v, %v", r, err)
	}
}

func testSharedTime(t *testing.T, s Store) {
	now, shared, err := s.SharedTime(t.Context())
	ok(t, err)
	if off := time.Until(now); shared && off.Abs() > time.Minute || !shared && !now.IsZero() {
		t.Errorf("the database is %s ahead, shared %v", off, shared)
	}
}
