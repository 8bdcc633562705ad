// Package storetest owns the conformance suite of the store: what a database must do for Billet,
// asked in the same words of SQLite, of PostgreSQL and of the twin that has no database.
package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/billet-metal/billet/node"
)

// Open opens an empty store of host name "here" and closes it at the end of the test.
type Open func(t *testing.T) Store

// Run runs the whole suite, each test on an empty store of its own.
func Run(t *testing.T, open Open) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, s Store)
	}{
		{"node", testNode},
		{"node duplicates", testNodeDuplicates},
		{"node refusals", testNodeRefusals},
		{"numbers", testNumbers},
		{"hostile texts", testHostileTexts},
		{"node by MACs", testNodeByMACs},
		{"delete node", testDeleteNode},
		{"power", testPower},
		{"reserve", testReserve},
		{"reserve race", testReserveRace},
		{"fencing", testFencing},
		{"renew", testRenew},
		{"drop leases", testDropLeases},
		{"time mark", testTimeMark},
		{"move time", testMoveTime},
		{"shared time", testSharedTime},
		{"save leaves the rest alone", testSaveLeavesTheRest},
		{"config drive", testConfigDrive},
		{"work", testWork},
		{"work order", testWorkOrder},
		{"node filters", testNodeFilters},
		{"shards", testShards},
		{"node paging", testNodePaging},
		{"node sort keys", testNodeSortKeys},
		{"interface sort keys", testInterfaceSortKeys},
		{"hot list", testHotList},
		{"bad pages", testBadPages},
		{"agent", testAgent},
		{"agent token", testAgentToken},
		{"refused agent", testRefusedAgent},
		{"damage", testDamage},
		{"damaged record", testDamagedRecord},
		{"port", testPort},
		{"enrol node", testEnrolNode},
		{"port refusals", testPortRefusals},
		{"port filters", testPortFilters},
		{"port paging", testPortPaging},
		{"portgroup", testPortgroup},
		{"portgroup refusals", testPortgroupRefusals},
		{"portgroup lists", testPortgroupLists},
		{"bonds are known", testBonds},
		{"volume connector", testVolumeConnector},
		{"volume target", testVolumeTarget},
		{"volume refusals", testVolumeRefusals},
		{"volume lists", testVolumeLists},
		{"chassis", testChassis},
		{"allocation", testAllocation},
		{"allocation refusals", testAllocationRefusals},
		{"allocation lists", testAllocationLists},
		{"deploy template", testDeployTemplate},
		{"deploy template refusals", testDeployTemplateRefusals},
		{"deploy template lists", testDeployTemplateLists},
		{"inspection rule", testInspectionRule},
		{"inspection rule refusals", testInspectionRuleRefusals},
		{"inspection rule lists", testInspectionRuleLists},
		{"history", testHistory},
		{"history is kept short", testHistoryTrim},
		{"inventory", testInventory},
		{"progress", testProgress},
		{"lines of a machine", testLines},
		{"last failure", testFailure},
		{"boot records", testBootRecords},
		{"boot keys", testBootKeys},
		{"boot event proofs", testBootEventProofs},
		{"boot events", testBootEvents},
		{"boot events are kept short", testBootEventsTrim},
		{"saw never blocks", testSawNeverBlocks},
		{"addresses", testAddresses},
		{"addresses of nodes", testAddressesOfNodes},
		{"addresses end", testAddressesEnd},
		{"one address from all", testOneAddressFromAll},
		{"wake-ups", testWakeups},
		{"counting together", testCountingTogether},
		{"readers see whole saves", testReadersSeeWholeSaves},
		{"taking an ended lease", testTakingAnEndedLease},
		{"only one of each", testOnlyOneOfEach},
		{"token race", testTokenRace},
		{"writes beside the lease", testWritesBesideTheLease},
		{"delete while others write", testDeleteWhileOthersWrite},
		{"address race", testAddressRace},
		{"history race", testHistoryRace},
		{"work is done once", testWorkIsDoneOnce},
		{"callers that left", testCallersThatLeft},
		{"lists against a model", testListsAgainstAModel},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

const holder = "here"

// uid is the i-th of the suite's UUIDs.
func uid(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

func mac(i int) string { return fmt.Sprintf("52:54:00:00:%02x:%02x", i>>8&0xff, i&0xff) }

// add creates a node: enrolled, named by its UUID only, then changed by edit.
func add(t *testing.T, s Store, i int, edit func(n *node.Node)) *node.Node {
	t.Helper()
	n := &node.Node{UUID: uid(i), Driver: "ipmi", State: node.Enroll}
	if edit != nil {
		edit(n)
	}
	if err := s.CreateNode(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return n
}

func addPort(t *testing.T, s Store, i int, p node.Port) node.Port {
	t.Helper()
	p.UUID = uid(100_000 + i)
	if p.Address == "" {
		p.Address = mac(i)
	}
	if err := s.Ports.Create(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func reserve(t *testing.T, s Store, i int) *node.Node {
	t.Helper()
	n, err := s.Reserve(t.Context(), uid(i), holder, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func load(t *testing.T, s Store, i int) *node.Node {
	t.Helper()
	n, err := s.Node(t.Context(), uid(i))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// same compares values as the API would show them: a nil and an empty document are one.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s: (-want +got)\n%s", what, d)
	}
}

// refused checks an error that people read: its kind and whole text.
func refused(t *testing.T, err error, kind node.Kind, text string) {
	t.Helper()
	if err == nil || node.KindOf(err) != kind || err.Error() != text {
		t.Errorf("got %v (kind %d), want %s (kind %d)", err, node.KindOf(err), text, kind)
	}
}

func leaseLost(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, node.ErrLeaseLost) {
		t.Errorf("%s: got %v, want %v", what, err, node.ErrLeaseLost)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
