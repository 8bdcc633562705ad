package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/node"
)

func record(i int) boot.Record {
	return boot.Record{
		NodeUUID: uid(i), Loader: boot.IPXE, Kernel: "/srv/vmlinuz", Ramdisk: "http://ramdisks/initramfs", CommandLine: "console=ttyS0 quiet",
		Image: "/srv/image.qcow2", Secret: fmt.Sprintf("%032x", i), Until: node.Now().Add(time.Hour), CreatedAt: at(i),
	}
}

func testBootRecords(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	addPort(t, s, 1, node.Port{NodeUUID: uid(1), PXEEnabled: true})
	addPort(t, s, 2, node.Port{NodeUUID: uid(1), PXEEnabled: true})
	addPort(t, s, 3, node.Port{NodeUUID: uid(2), PXEEnabled: true})
	addPort(t, s, 4, node.Port{NodeUUID: uid(1)}) // not for booting
	machine := func(mac string, want boot.Machine) {
		t.Helper()
		got, err := s.Machine(t.Context(), mac)
		ok(t, err)
		same(t, mac, got, want)
	}
	bySecret := func(secret string, want *boot.Record) {
		t.Helper()
		got, err := s.RecordBySecret(t.Context(), secret)
		ok(t, err)
		same(t, "by secret", got, want)
	}
	machine(mac(9), boot.Machine{})
	machine(mac(1), boot.Machine{NodeUUID: uid(1)})
	bySecret("", nil)

	one, two := record(1), record(2)
	ok(t, s.PutRecord(t.Context(), one))
	ok(t, s.PutRecord(t.Context(), two))
	machine(mac(1), boot.Machine{NodeUUID: uid(1), Record: &one})
	machine(strings.ToUpper(mac(2)), boot.Machine{NodeUUID: uid(1), Record: &one})
	machine(mac(4), boot.Machine{NodeUUID: uid(1)})
	bySecret(one.Secret, &one)
	places, err := s.Places(t.Context())
	ok(t, err)
	slices.Sort(places)
	want := append(one.Places(), two.Places()...)
	slices.Sort(want)
	same(t, "places", places, want)

	of := func(i int, want *boot.Record) {
		t.Helper()
		got, err := s.RecordOf(t.Context(), uid(i))
		ok(t, err)
		same(t, "record of", got, want)
	}
	of(1, &one)
	of(9, nil)

	old := one.Secret
	one.Loader, one.Kernel, one.Secret = boot.PXE, "/srv/other", strings.Repeat("ab", 16)
	ok(t, s.PutRecord(t.Context(), one))
	machine(mac(1), boot.Machine{NodeUUID: uid(1), Record: &one})
	bySecret(old, nil)
	bySecret(one.Secret, &one)

	one.Until = node.Now().Add(-time.Microsecond) // an ended record is none
	ok(t, s.PutRecord(t.Context(), one))
	machine(mac(1), boot.Machine{NodeUUID: uid(1)})
	bySecret(one.Secret, nil)
	of(1, nil)
	places, err = s.Places(t.Context())
	ok(t, err)
	slices.Sort(places)
	want = two.Places()
	slices.Sort(want)
	same(t, "places", places, want)

	machine(mac(3), boot.Machine{NodeUUID: uid(2), Record: &two})
	ok(t, s.DropRecord(t.Context(), uid(2)))
	ok(t, s.DropRecord(t.Context(), uid(2)))
	machine(mac(3), boot.Machine{NodeUUID: uid(2)})

	missing := record(9)
	refused(t, s.PutRecord(t.Context(), missing), node.NotFound, "Node "+uid(9)+" could not be found.")
}

func testBootEvents(t *testing.T, s Store) {
	start := node.Now().Add(-time.Hour)
	minute := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
	events := []node.BootEvent{
		{MAC: mac(1), Service: "dhcp", Kind: node.DHCPOffered, Who: node.AskedFirmware, What: "DISCOVER", At: minute(1)},
		{MAC: mac(2), Service: "dhcp", What: "REQUEST", At: minute(2)},
		{MAC: mac(3), Service: "tftp", What: "another machine's", At: minute(2)},
		{MAC: "", Service: "http", What: "nobody's", At: minute(2)},
		{MAC: mac(1), Service: "tftp", What: "snponly.efi", At: minute(3)},
		{MAC: mac(1), Service: "http", Kind: node.FileSent, File: node.KernelFile, What: "kernel", At: minute(3)},
	}
	for i, e := range events {
		if i == 0 {
			e.MAC = strings.ToUpper(e.MAC)
		}
		s.Saw(e)
	}
	ask := func(macs []string, since time.Time, want ...node.BootEvent) {
		t.Helper()
		got, err := s.BootEvents(t.Context(), macs, since)
		ok(t, err)
		same(t, "events", got, want)
	}
	both := []string{mac(1), strings.ToUpper(mac(2))}
	ask(both, time.Time{}, events[0], events[1], events[4], events[5])
	ask(both, minute(2), events[1], events[4], events[5])
	ask([]string{mac(9)}, time.Time{})
	ask(nil, time.Time{})

	add(t, s, 1, nil)
	addPort(t, s, 2, node.Port{NodeUUID: uid(1)})
	strangers, err := s.Strangers(t.Context())
	ok(t, err)
	same(t, "strangers", strangers, []node.BootEvent{events[5], events[3], events[2]})

	before := node.Now()
	s.Saw(node.BootEvent{MAC: mac(4), What: strings.Repeat("x", 5000)})
	got, err := s.BootEvents(t.Context(), []string{mac(4)}, before)
	ok(t, err)
	if len(got) != 1 || len(got[0].What) != 1000 {
		t.Errorf("an event without a time, and too long: %d found", len(got))
	}
	for i := range 600 {
		s.Saw(node.BootEvent{MAC: mac(5), What: fmt.Sprint(i), At: minute(10)})
	}
	got, err = s.BootEvents(t.Context(), []string{mac(5)}, time.Time{})
	ok(t, err)
	if len(got) != 500 || got[0].What != "100" || got[499].What != "599" {
		t.Errorf("%d events, from %s to %s; want the newest 500, oldest first", len(got), got[0].What, got[len(got)-1].What)
	}
}

// count of events of a MAC that are kept, by asking in slices of time.
func kept(t *testing.T, s Store, mac string, since time.Time) int {
	t.Helper()
	got, err := s.BootEvents(t.Context(), []string{mac}, since)
	ok(t, err)
	return len(got)
}

func testBootEventsTrim(t *testing.T, s Store) {
	old := node.Now().Add(-8 * 24 * time.Hour)
	s.Saw(node.BootEvent{MAC: mac(1), What: "eight days ago", At: old})
	s.Saw(node.BootEvent{MAC: mac(2), What: "now"})
	if n := kept(t, s, mac(1), time.Time{}); n != 0 {
		t.Errorf("an event older than a week is kept")
	}
	first := node.Now().Add(-time.Hour)
	for i := range 1100 { // of one machine, the newest 1,000
		s.Saw(node.BootEvent{MAC: mac(3), What: fmt.Sprint(i), At: first.Add(time.Duration(i) * time.Second)})
		if i%100 == 0 {
			kept(t, s, mac(3), time.Time{}) // flushes
		}
	}
	if n := kept(t, s, mac(3), time.Time{}); n != 500 {
		t.Errorf("%d events, want the 500 that are answered", n)
	}
	if n := kept(t, s, mac(2), time.Time{}); n != 1 {
		t.Errorf("a noisy machine pushed out the event of a quiet one: %d are left", n)
	}
}

// Far more events than the database takes at once: Saw returns and the newest survive.
func testSawNeverBlocks(t *testing.T, s Store) {
	start := time.Now()
	for i := range 100_000 {
		s.Saw(node.BootEvent{MAC: mac(1), What: fmt.Sprint(i)})
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("100,000 calls took %s", took)
	}
	got, err := s.BootEvents(t.Context(), []string{mac(1)}, time.Time{})
	ok(t, err)
	if len(got) != 500 || got[499].What != "99999" {
		t.Errorf("%d events, the last %+v", len(got), got[len(got)-1])
	}
}
