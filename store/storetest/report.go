package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
)

func testAgent(t *testing.T, s Store) {
	add(t, s, 1, nil)
	same(t, "before", agentOf(t, s, 1), node.Agent{})
	want := node.Agent{URL: "https://10.0.0.9:9999", Version: "11.0", VerifyCA: "-----BEGIN CERTIFICATE-----", LastHeartbeat: at(1)}
	reserve(t, s, 1) // heartbeats do not care
	refused(t, s.SaveAgent(t.Context(), uid(1), want), node.Invalid, notTheAgent)
	giveToken(t, s, 1, "token")
	want.Token, want.TokenGiven = "token", true
	ok(t, s.SaveAgent(t.Context(), uid(1), want))
	same(t, "saved", agentOf(t, s, 1), want)
	want.URL, want.LastHeartbeat = "https://10.0.0.10:9999", at(2)
	ok(t, s.SaveAgent(t.Context(), uid(1), want))
	same(t, "saved again", agentOf(t, s, 1), want)
	ok(t, s.ForgetAgent(t.Context(), uid(1)))
	same(t, "forgotten", agentOf(t, s, 1), node.Agent{})

	// The forgotten agent's last words come too late, also when the next one has the token.
	refused(t, s.SaveAgent(t.Context(), uid(1), want), node.Invalid, notTheAgent)
	same(t, "still forgotten", agentOf(t, s, 1), node.Agent{})
	giveToken(t, s, 1, "the next one's")
	next := node.Agent{URL: want.URL, VerifyCA: "another certificate", LastHeartbeat: at(3), Token: "the next one's", TokenGiven: true}
	ok(t, s.SaveAgent(t.Context(), uid(1), next))
	refused(t, s.SaveAgent(t.Context(), uid(1), want), node.Invalid, notTheAgent)
	same(t, "the next one", agentOf(t, s, 1), next)
}

var notTheAgent = "The agent of node " + uid(1) + " is not the one that has its token any more: it must look the node up anew."

func giveToken(t *testing.T, s Store, i int, token string) {
	t.Helper()
	if given, err := s.GiveAgentToken(t.Context(), uid(i), token, node.Caller{}); !given || err != nil {
		t.Fatalf("giving the token: %v, %v", given, err)
	}
}

func testAgentToken(t *testing.T, s Store) {
	add(t, s, 1, nil)
	give := func(token string, want bool) {
		t.Helper()
		if got, err := s.GiveAgentToken(t.Context(), uid(1), token, node.Caller{}); got != want || err != nil {
			t.Errorf("give %s: %t, %v; want %t", token, got, err, want)
		}
	}
	give("first", true)
	give("second", false)
	ok(t, s.SaveAgent(t.Context(), uid(1), node.Agent{URL: "u", Token: "third"}))
	same(t, "agent", agentOf(t, s, 1), node.Agent{URL: "u", Token: "first", TokenGiven: true})
	ok(t, s.ForgetAgent(t.Context(), uid(1)))
	give("fourth", true)
	same(t, "agent", agentOf(t, s, 1), node.Agent{Token: "fourth", TokenGiven: true})
}

// agentOf is a node's agent but for when the token was given, which is checked here.
func agentOf(t *testing.T, s Store, i int) node.Agent {
	t.Helper()
	a := load(t, s, i).Agent
	if age := node.Now().Sub(a.TokenGivenAt); a.TokenGiven != !a.TokenGivenAt.IsZero() || a.TokenGiven && (age < 0 || age > time.Minute) {
		t.Errorf("the token was given: %t, at %s", a.TokenGiven, a.TokenGivenAt)
	}
	a.TokenGivenAt = time.Time{}
	return a
}

// The first lookup without the token is kept until the agent calls or is forgotten.
func testRefusedAgent(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	refuse := func(i int, second int, want bool) {
		t.Helper()
		if first, err := s.RefuseAgent(t.Context(), uid(i), at(second)); first != want || err != nil {
			t.Errorf("refused at %d: %t, %v", second, first, err)
		}
	}
	is := func(want time.Time) {
		t.Helper()
		if got := load(t, s, 1).Agent.RefusedAt; !got.Equal(want) {
			t.Errorf("refused at %s, want %s", got, want)
		}
	}
	refuse(1, 1, false) // no token was given
	for range 2 {
		if given, err := s.GiveAgentToken(t.Context(), uid(1), "token", node.Caller{}); !given || err != nil {
			t.Fatal(given, err)
		}
		is(time.Time{})
		refuse(1, 3, true)
		refuse(1, 4, false)
		refuse(2, 4, false)
		refuse(9, 4, false) // there is no such node
		is(at(3))
		ok(t, s.SaveAgent(t.Context(), uid(1), node.Agent{URL: "u", LastHeartbeat: at(5)}))
		is(time.Time{})
		refuse(1, 6, true)
		is(at(6))
		ok(t, s.ForgetAgent(t.Context(), uid(1)))
		is(time.Time{})
	}
}

func testHistory(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	want := node.HistoryEvent{
		UUID: uid(10), NodeUUID: uid(1), Conductor: "here", EventType: "deploying", Severity: "ERROR",
		Event: "no disk matches the hint", User: "alice", CreatedAt: at(5),
	}
	ok(t, s.AddHistory(t.Context(), want))
	ok(t, s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(1), Event: "second", CreatedAt: at(1)}))
	ok(t, s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(2), Event: "another node's"}))
	got, err := s.HistoryEvent(t.Context(), uid(1), uid(10))
	ok(t, err)
	want.ID = got.ID
	same(t, "event", got, want)
	_, err = s.HistoryEvent(t.Context(), uid(2), uid(10))
	refused(t, err, node.NotFound, "Node history event "+uid(10)+" could not be found.")
	_, err = s.HistoryEvent(t.Context(), uid(9), uid(10))
	refused(t, err, node.NotFound, "Node "+uid(9)+" could not be found.")

	for _, tt := range []struct {
		p    node.Page
		want string
	}{
		{node.Page{}, "[no disk matches the hint second]"},
		{node.Page{SortDesc: true}, "[second no disk matches the hint]"},
		{node.Page{SortKey: "created_at"}, "[second no disk matches the hint]"},
		{node.Page{SortKey: "user"}, "[second no disk matches the hint]"},
		{node.Page{Limit: 1}, "[no disk matches the hint]"},
		{node.Page{Marker: uid(10)}, "[second]"},
	} {
		events, err := s.History(t.Context(), uid(1), tt.p)
		ok(t, err)
		var texts []string
		for _, e := range events {
			texts = append(texts, e.Event)
			if e.UUID == "" || e.CreatedAt.IsZero() || e.NodeUUID != uid(1) {
				t.Errorf("not filled: %+v", e)
			}
		}
		same(t, fmt.Sprintf("%+v", tt.p), fmt.Sprint(texts), tt.want)
	}
}

func testHistoryTrim(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	ok(t, s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(2), Event: "kept"}))
	for i := range 305 {
		ok(t, s.AddHistory(t.Context(), node.HistoryEvent{NodeUUID: uid(1), Event: fmt.Sprint(i)}))
	}
	events, err := s.History(t.Context(), uid(1), node.Page{})
	ok(t, err)
	if len(events) != 300 || events[0].Event != "5" || events[299].Event != "304" {
		t.Errorf("%d events kept, the first %+v", len(events), events[0])
	}
	if other, err := s.History(t.Context(), uid(2), node.Page{}); err != nil || len(other) != 1 {
		t.Errorf("another node's history: %v, %v", other, err)
	}
}

func testInventory(t *testing.T, s Store) {
	add(t, s, 1, nil)
	_, err := s.Inventory(t.Context(), uid(1))
	refused(t, err, node.NotFound, "Inventory of node "+uid(1)+" could not be found: it has not been inspected.")
	for _, want := range []node.Inventory{
		{Inventory: node.Document{"cpu": map[string]any{"count": 4.0}}, PluginData: node.Document{"root_disk": "vda"}},
		{Inventory: node.Document{"cpu": nil}},
	} {
		ok(t, s.SaveInventory(t.Context(), uid(1), want))
		got, err := s.Inventory(t.Context(), uid(1))
		ok(t, err)
		same(t, "inventory", got, want)
	}
}

func testProgress(t *testing.T, s Store) {
	add(t, s, 1, nil)
	if p, err := s.Progress(t.Context(), uid(1)); p != nil || err != nil {
		t.Errorf("before: %+v, %v", p, err)
	}
	for i := range int64(2) {
		want := node.Progress{NodeUUID: uid(1), Flow: node.FlowDeploy, Step: "write_image", Detail: "vda", Done: 5 << (30 * i), Total: 9 << 40,
			At: at(int(i))}
		if i == 0 { // the next has none
			want.Disks = []node.DiskProgress{{Name: "/dev/sda", Serial: `"ö"`, What: "overwriting", Done: 1 << 53, Total: 1<<62 + 1},
				{Name: "/dev/sdb"}}
		}
		ok(t, s.SaveProgress(t.Context(), want))
		got, err := s.Progress(t.Context(), uid(1))
		ok(t, err)
		same(t, "progress", got, &want)
	}
	ok(t, s.ClearProgress(t.Context(), uid(1)))
	if p, err := s.Progress(t.Context(), uid(1)); p != nil || err != nil {
		t.Errorf("cleared: %+v, %v", p, err)
	}
}

func testLines(t *testing.T, s Store) {
	add(t, s, 1, nil)
	add(t, s, 2, nil)
	of := func(i int, source node.LineSource, want node.MachineLines) {
		t.Helper()
		got, err := s.Lines(t.Context(), uid(i), source)
		ok(t, err)
		want.NodeUUID, want.Source = uid(i), source
		same(t, "lines", got, want)
	}
	of(1, node.SerialLine, node.MachineLines{})
	of(9, node.SerialLine, node.MachineLines{}) // nobody's
	serial := node.MachineLines{NodeUUID: uid(1), Source: node.SerialLine,
		Lines: []node.Line{{At: at(1), Text: "iPXE 1.21"}, {At: at(2), Text: `"quoted" ö`}}, UpdatedAt: at(3)}
	agent := node.MachineLines{NodeUUID: uid(1), Source: node.AgentLog, Lines: []node.Line{{At: at(2), Text: "billet-agent starts"}},
		UpdatedAt: at(3)}
	ok(t, s.SaveLines(t.Context(), serial))
	agent.NodeUUID = strings.ToUpper(agent.NodeUUID)
	ok(t, s.SaveLines(t.Context(), agent))
	of(1, node.SerialLine, serial)
	of(1, node.AgentLog, agent)
	of(2, node.SerialLine, node.MachineLines{})
	serial.Lines, serial.Note = nil, "its console is in use by somebody else" // replaced, not added to
	ok(t, s.SaveLines(t.Context(), serial))
	of(1, node.SerialLine, serial)
	ok(t, s.ClearLines(t.Context(), uid(1)))
	ok(t, s.ClearLines(t.Context(), uid(1)))
	of(1, node.SerialLine, node.MachineLines{})
	of(1, node.AgentLog, node.MachineLines{})
	refused(t, s.SaveLines(t.Context(), node.MachineLines{NodeUUID: uid(9), Source: node.AgentLog, UpdatedAt: at(1)}), node.NotFound,
		"Node "+uid(9)+" could not be found.")

	ok(t, s.SaveLines(t.Context(), serial))
	n := reserve(t, s, 1)
	ok(t, s.DeleteNode(t.Context(), n)) // takes them along
	of(1, node.SerialLine, node.MachineLines{})
}

func testFailure(t *testing.T, s Store) {
	add(t, s, 1, nil)
	if e, err := s.Failure(t.Context(), uid(1)); e != nil || err != nil {
		t.Errorf("before: %+v, %v", e, err)
	}
	for i := range 2 {
		want := node.Evidence{
			NodeUUID: uid(1), Flow: node.FlowDeploy, Sentence: fmt.Sprint("the kernel panicked ", i), StartedAt: at(1), FailedAt: at(9 + i),
			Step:   "deploy.deploy",
			Awaits: node.FirstCall, WaitingFor: "the agent's first heartbeat", WaitingSince: at(2), Deadline: at(60),
			Steps:  []node.StepTime{{Interface: node.Deploy, Step: "deploy", StartedAt: at(1)}},
			Phases: []node.Phase{{Name: "dhcp", First: at(3), Last: at(4), Times: 2, What: "DISCOVER"}},
			BootEvents: []node.BootEvent{{MAC: mac(1), Service: "dhcp", Kind: node.DHCPOffered,
				Who: node.AskedFirmware, What: "DISCOVER", At: at(3)}},
			Serial:   node.MachineLines{Lines: []node.Line{{At: at(5), Text: "Kernel panic"}}, UpdatedAt: at(5)},
			AgentURL: "https://10.0.0.9:9999", AgentCalled: at(4), Files: []string{"/var/lib/billet/deploy-logs/x"},
		}
		ok(t, s.SaveFailure(t.Context(), want))
		got, err := s.Failure(t.Context(), strings.ToUpper(uid(1)))
		ok(t, err)
		same(t, "failure", got, &want)
	}
	refused(t, s.SaveFailure(t.Context(), node.Evidence{NodeUUID: uid(9)}), node.NotFound, "Node "+uid(9)+" could not be found.")
}

func testWakeups(t *testing.T, s Store) {
	one := s.Wakeups(t.Context())
	two := s.Wakeups(t.Context())
	ok(t, s.Wake(t.Context(), uid(1)))
	for _, c := range []<-chan string{one, two} {
		select {
		case got := <-c:
			same(t, "woken", got, uid(1))
		case <-time.After(10 * time.Second):
			t.Fatal("no wake-up within 10 s")
		}
	}
	for range 200 { // nobody reads: Wake must not wait for them
		ok(t, s.Wake(t.Context(), uid(2)))
	}
}
