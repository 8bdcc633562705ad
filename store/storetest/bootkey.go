package storetest

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

func testBootKeys(t *testing.T, s Store) {
	for i := 1; i <= 3; i++ {
		add(t, s, i, nil)
	}
	key := func(i int, want string, boots bool) {
		t.Helper()
		got, has, err := s.BootKey(t.Context(), strings.ToUpper(uid(i)))
		ok(t, err)
		same(t, "key", []any{got, has}, []any{want, boots})
	}
	nodeOf := func(key string, want int) {
		t.Helper()
		n, err := s.NodeByBootKey(t.Context(), key)
		if want == 0 {
			refused(t, err, node.NotFound, "No node boots with this key.")
			return
		}
		ok(t, err)
		same(t, "node", n.UUID, uid(want))
	}
	one := boot.NewRecord(uid(1))
	one.Until, one.Image = node.Now().Add(time.Hour), "/image"
	key(1, "", false)
	nodeOf("", 0)
	ok(t, s.PutRecord(t.Context(), one)) // an image alone boots nothing
	key(1, "", false)
	nodeOf(one.Key, 0)
	one.Kernel, one.AskedBy = "/k", "x=y"
	ok(t, s.PutRecord(t.Context(), one))
	got, err := s.RecordOf(t.Context(), uid(1))
	ok(t, err)
	same(t, "record", *got, one)
	key(1, one.Key, true)
	key(2, "", false)
	nodeOf(one.Key, 1)
	keyless := boot.NewRecord(uid(2))
	keyless.Kernel, keyless.Key, keyless.Until = "/k", "", node.Now().Add(time.Hour)
	ok(t, s.PutRecord(t.Context(), keyless))
	key(2, "", true)

	given, err := s.GiveAgentToken(t.Context(), uid(1), "token", node.Caller{BootKey: one.Key, Address: netip.MustParseAddr("10.0.0.5")})
	if err != nil || !given {
		t.Fatal(given, err)
	}
	one.Until = node.Now().Add(-time.Microsecond)
	ok(t, s.PutRecord(t.Context(), one))
	key(1, "", false)
	nodeOf(one.Key, 1) // its agent runs on
	n := load(t, s, 1)
	same(t, "agent", []string{n.Agent.BootKey, n.Agent.CalledFrom}, []string{one.Key, "10.0.0.5"})
	ok(t, s.SaveAgent(t.Context(), uid(1), node.Agent{URL: "https://10.0.0.5:9999", LastHeartbeat: node.Now()}))
	same(t, "agent that called", load(t, s, 1).Agent.BootKey, one.Key)
	ok(t, s.KeepBootKey(t.Context(), uid(1), "another")) // one with a token keeps what it showed
	same(t, "agent with a token", load(t, s, 1).Agent.BootKey, one.Key)
	ok(t, s.ForgetAgent(t.Context(), uid(1)))
	nodeOf(one.Key, 0)
	ok(t, s.KeepBootKey(t.Context(), uid(1), one.Key)) // one that reported, and has no token yet
	nodeOf(one.Key, 1)
	same(t, "agent that reported", load(t, s, 1).Agent, node.Agent{BootKey: one.Key})
	ok(t, s.ForgetAgent(t.Context(), uid(1)))
	nodeOf(one.Key, 0)

	three := boot.NewRecord(uid(3))
	three.Kernel, three.Until = "/k", node.Now().Add(time.Hour)
	ok(t, s.PutRecord(t.Context(), three))
	first := func(mac, address, want string) {
		t.Helper()
		got, err := s.AskedFirst(t.Context(), three.Secret, mac, address)
		ok(t, err)
		same(t, "first", got, want)
	}
	first(mac(1), "10.0.0.5", "10.0.0.5")
	first(mac(1), "10.0.0.66", "10.0.0.5")
	first(mac(2), "10.0.0.66", "10.0.0.66")
	ok(t, s.PutRecord(t.Context(), three)) // prepared anew
	first(mac(1), "10.0.0.66", "10.0.0.66")
	got1, err := s.AskedFirst(t.Context(), strings.Repeat("0", 32), mac(1), "10.0.0.7")
	ok(t, err)
	same(t, "of an ended boot", got1, "10.0.0.7")

	offered(t, s, mac(1), ip4(25), time.Minute)
	if _, mine, err := s.LendAddress(t.Context(), testRange(), mac(1), ip4(25), time.Hour); err != nil || !mine {
		t.Fatal(mine, err)
	}
	offered(t, s, mac(2), ip4(26), time.Minute) // and not taken
	lent, err := s.LentAddresses(t.Context(), []string{strings.ToUpper(mac(1)), mac(2), mac(3)})
	ok(t, err)
	same(t, "lent", lent, []string{ip4(25).String()})
	lent, err = s.LentAddresses(t.Context(), nil)
	ok(t, err)
	same(t, "lent to nobody", len(lent), 0)
}

// What anybody could have caused pushes out nothing that is the machine's own.
func testBootEventProofs(t *testing.T, s Store) {
	start := node.Now().Add(-time.Hour)
	own := node.BootEvent{MAC: mac(1), Service: "http", Kind: node.FileSent, File: node.ScriptFile,
		Proof: node.ProofLease, What: "script", At: start}
	s.Saw(own)
	for i := range 1500 {
		s.Saw(node.BootEvent{MAC: mac(1), Service: "http", Kind: node.NotItsOwn, File: node.ScriptFile, What: "a stranger",
			At: start.Add(time.Duration(i+1) * time.Second)})
	}
	got, err := s.BootEvents(t.Context(), []string{mac(1)}, start)
	ok(t, err)
	if len(got) == 0 || len(got) != 501 {
		t.Fatalf("%d events are kept", len(got))
	}
	same(t, "the machine's own", got[0], own)
}
