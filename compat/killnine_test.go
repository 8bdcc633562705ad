package compat

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// life is one node on its random walk through the states, under a service that is killed again and again.
type life struct {
	t        *testing.T
	endpoint string
	rnd      *rand.Rand
	name     string
	fails    string // its step that always fails; empty: none
	did      map[string]int
	accepted int  // flows whose start was answered 202
	stuck    bool // and said so
}

// verbsFrom are the verbs tried in a state that a walk can be in, each with where it leads, and where it fails to.
var verbsFrom = map[string][][3]string{
	"enroll": {{"manage", "manageable", "enroll"}},
	"manageable": {{"provide", "available", "clean failed"}, {"inspect", "manageable", "inspect failed"},
		{"clean", "manageable", "clean failed"}},
	"available": {{"active", "active", "deploy failed"}, {"active", "active", "deploy failed"}, {"manage", "manageable", ""}},
	"active": {{"deleted", "available", "error"}, {"rebuild", "active", "deploy failed"}, {"rescue", "rescue", "rescue failed"},
		{"service", "active", "service failed"}},
	"rescue":          {{"unrescue", "active", "unrescue failed"}, {"deleted", "available", "error"}},
	"deploy failed":   {{"rebuild", "active", "deploy failed"}, {"deleted", "available", "error"}},
	"inspect failed":  {{"manage", "manageable", ""}},
	"unrescue failed": {{"deleted", "available", "error"}},
	"service failed":  {{"abort", "active", ""}},
}

// A hundred flows of a dozen nodes, the service killed with -9 at random moments and started again at once. What was
// answered 202 is carried out, to its end or to the failure that its node is made for, with its reason; nothing is left half done, reserved
// or without a reason; what is deleted stays deleted; the database is whole. The seed is fixed, the moments are the machine's.
func TestLivesSurviveKillNine(t *testing.T) {
	t.Parallel()
	dir, address := t.TempDir(), freeAddress(t)
	rnd := rand.New(rand.NewPCG(9, 9))
	b := startBilletAt(t, dir, address)
	failing := []string{"", "write_image", "", "inspect", "", "unrescue", "", "tear_down_service"}
	var lives []*life
	var walking sync.WaitGroup
	enough := make(chan struct{})
	for i := range 12 {
		l := &life{t: t, endpoint: b.endpoint, name: fmt.Sprint("cat-", i), fails: failing[i%len(failing)], did: map[string]int{},
			rnd: rand.New(rand.NewPCG(9, uint64(i)))}
		lives = append(lives, l)
		walking.Go(func() { l.walk(i, enough) })
	}
	kills := 0
	for began := time.Now(); time.Since(began) < 10*time.Second; kills++ {
		time.Sleep(time.Duration(200+rnd.IntN(1500)) * time.Millisecond)
		b.kill(t)
		b = startBilletAt(t, dir, address)
	}
	close(enough)
	walking.Wait()
	did, accepted := map[string]int{}, 0
	for _, l := range lives {
		l.end()
		accepted += l.accepted
		for verb, times := range l.did {
			did[verb] += times
		}
	}
	if kills < 3 || accepted < 30 || len(did) < 6 {
		t.Errorf("only %d kills and %d flows, of %v: nothing was tried", kills, accepted, did)
	}
	t.Logf("%d kills, %d flows: %v", kills, accepted, did)
	b.stop(t)
	b.killed = true // and needs no other stop
	integrity(t, filepath.Join(dir, "billet.db"))
}

func integrity(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var says string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&says); err != nil || says != "ok" {
		t.Errorf("integrity_check: %q %v", says, err)
	}
	var left int
	if err := db.QueryRow("SELECT (SELECT count(*) FROM nodes) + (SELECT count(*) FROM ports) + (SELECT count(*) FROM config_drives) + " +
		"(SELECT count(*) FROM history)").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows are left of deleted nodes (%v)", left, err)
	}
}

// ask sends a request once; status 0: the service was killed before its answer came.
func (l *life) ask(method, path string, body any) (int, map[string]any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, l.endpoint+path, bytes.NewReader(text))
	if err != nil {
		panic(err)
	}
	req.Header.Set("X-OpenStack-Ironic-API-Version", "1.95")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		time.Sleep(50 * time.Millisecond)
		return 0, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	if resp.StatusCode >= 500 {
		l.t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}
	var v map[string]any
	_ = json.Unmarshal(answer, &v) // some answers have no body
	return resp.StatusCode, v
}

// insist asks until there is an answer; what is asked for must bear being asked for twice.
func (l *life) insist(method, path string, body any) (int, map[string]any) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if status, v := l.ask(method, path, body); status != 0 {
			return status, v
		}
	}
	l.t.Errorf("%s %s: no answer for 30 s", method, path)
	return 0, nil
}

// rest waits until nothing moves the node any more; nil when it does not come to rest.
func (l *life) rest() map[string]any {
	moving := []string{"verifying", "inspecting", "inspect wait", "cleaning", "clean wait", "deploying", "wait call-back", "rescuing",
		"rescue wait", "unrescuing", "servicing", "service wait", "deleting"}
	var n map[string]any
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(40 * time.Millisecond) {
		status, answer := l.insist("GET", "/v1/nodes/"+l.name, nil)
		if status != 200 {
			l.t.Errorf("%s: status %d", l.name, status)
			return nil
		}
		n = answer
		state, _ := n["provision_state"].(string)
		if !slices.Contains(moving, state) && n["reservation"] == nil && n["target_power_state"] == nil {
			l.check(n)
			return n
		}
	}
	l.stuck = true
	l.t.Errorf("%s does not come to rest: %v, target %v, reserved by %v, power change to %v", l.name, n["provision_state"],
		n["target_provision_state"], n["reservation"], n["target_power_state"])
	return nil
}

// check looks at what must be true of every node at rest.
func (l *life) check(n map[string]any) {
	state := fmt.Sprint(n["provision_state"])
	failed := strings.HasSuffix(state, "failed") || state == "error"
	if reason, _ := n["last_error"].(string); failed {
		if l.fails == "" || !strings.Contains(reason, "made to fail") || n["target_provision_state"] == nil {
			l.t.Errorf("%s is %s, target %v: %q", l.name, state, n["target_provision_state"], reason)
		}
		if !l.hasError(reason) {
			l.t.Errorf("the history of %s does not tell of %q", l.name, reason)
		}
	} else if n["target_provision_state"] != nil {
		l.t.Errorf("%s is %s on the way to %v", l.name, state, n["target_provision_state"])
	}
	info, _ := n["instance_info"].(map[string]any)
	if info["hashed_rescue_password"] != nil {
		l.t.Errorf("%s is %s and still has a rescue's password in %v", l.name, state, info)
	}
	if n["maintenance"] != false && !failed && n["fault"] != "service failure" { // which an abort leaves for people to take back
		l.t.Errorf("%s is %s in maintenance: %v", l.name, state, n["maintenance_reason"])
	}
}

// history is the node's, by the events' UUIDs. The newest 300 are kept.
func (l *life) history() map[string]map[string]any {
	_, h := l.insist("GET", "/v1/nodes/"+l.name+"/history/detail", nil)
	all, _ := h["history"].([]any)
	events := map[string]map[string]any{}
	for _, e := range all {
		e := e.(map[string]any)
		events[fmt.Sprint(e["uuid"])] = e
	}
	return events
}

// hasError reports whether the history tells of an error in those words.
func (l *life) hasError(text string) bool {
	for _, e := range l.history() {
		if e["severity"] == "ERROR" && e["event"] == text {
			return true
		}
	}
	return false
}

func (l *life) walk(i int, enough chan struct{}) {
	info := map[string]any{}
	for _, step := range []string{"write_image", "boot_instance", "erase_devices_metadata", "inspect", "rescue", "unrescue", "prepare_service",
		"tear_down", "power"} {
		if l.rnd.IntN(2) == 0 {
			info["fake_"+step+"_delay"] = fmt.Sprintf("%dms", l.rnd.IntN(400))
		}
	}
	if l.fails != "" {
		info["fake_"+l.fails+"_fail"] = "made to fail"
	}
	status, _ := l.insist("POST", "/v1/nodes", map[string]any{"name": l.name, "driver": "fake-hardware", "driver_info": info})
	if status != 201 && status != 409 {
		l.t.Errorf("%s: creating it: status %d", l.name, status)
		return
	}
	l.insist("POST", "/v1/ports", map[string]any{"node_uuid": l.uuid(), "address": fmt.Sprintf("52:54:00:00:09:%02x", i)})
	for {
		select {
		case <-enough:
			return
		default:
		}
		n := l.rest()
		if n == nil {
			return
		}
		if n["provision_state"] == "active" && n["maintenance"] == true { // after the abort of a service that had failed
			if status, answer := l.insist("DELETE", "/v1/nodes/"+l.name+"/maintenance", nil); status != 202 {
				l.t.Errorf("%s: ending its maintenance: %d %v", l.name, status, answer)
			}
		}
		if !l.step(fmt.Sprint(n["provision_state"])) {
			return
		}
	}
}

func (l *life) uuid() string {
	_, n := l.insist("GET", "/v1/nodes/"+l.name, nil)
	return fmt.Sprint(n["uuid"])
}

// step asks for one verb and looks where it led to.
func (l *life) step(state string) bool {
	verbs := verbsFrom[state]
	if len(verbs) == 0 {
		l.t.Errorf("%s is in state %q, where no walk leads to", l.name, state)
		return false
	}
	v := verbs[l.rnd.IntN(len(verbs))]
	body := map[string]any{"target": v[0]}
	switch v[0] {
	case "clean":
		body["clean_steps"] = []any{map[string]any{"interface": "deploy", "step": "erase_devices"}}
	case "service":
		body["service_steps"] = []any{map[string]any{"interface": "power", "step": "wait", "args": map[string]any{"seconds": 1}}}
	case "rescue":
		body["rescue_password"] = "nine lives"
	case "active":
		body["configdrive"] = map[string]any{"user_data": strings.Repeat("x", l.rnd.IntN(3000))}
		l.insist("PATCH", "/v1/nodes/"+l.name, []any{map[string]any{"op": "add", "path": "/instance_info",
			"value": map[string]any{"image_source": "http://images/x.raw", "image_checksum": strings.Repeat("0a", 16)}}})
	}
	before := l.ends()
	status, answer := l.ask("PUT", "/v1/nodes/"+l.name+"/states/provision", body)
	if status != 202 {
		if status != 0 && status != 409 {
			l.t.Errorf("%s: %s in state %s: %d %v", l.name, v[0], state, status, answer)
			return false
		}
		return true // nobody knows whether it was asked for, or it was locked: look again
	}
	n := l.rest()
	if n == nil {
		return false
	}
	l.did[v[0]]++
	if flow := v[0] != "abort" && !(v[0] == "manage" && state != "enroll"); flow {
		l.accepted++
		now := l.ends()
		maps.DeleteFunc(now, func(uuid string, _ map[string]any) bool { return before[uuid] != nil })
		if len(now) == 0 {
			l.t.Errorf("%s: %s was accepted, and the history has no end of it", l.name, v[0])
		}
	}
	if got := n["provision_state"]; got != v[1] && !(got == v[2] && l.fails != "") {
		l.t.Errorf("%s: %s was accepted in state %s and led to %v: %v", l.name, v[0], state, got, n["last_error"])
	}
	if info, _ := n["instance_info"].(map[string]any); v[0] == "deleted" && len(info) > 0 {
		l.t.Errorf("%s: the instance is deleted and has left %v", l.name, info)
	}
	return true
}

// ends are the ends of flows that the history tells of.
func (l *life) ends() map[string]map[string]any {
	events := l.history()
	maps.DeleteFunc(events, func(_ string, e map[string]any) bool {
		return e["severity"] != "ERROR" && !strings.Contains(fmt.Sprint(e["event"]), " has ended well after ")
	})
	return events
}

// end deletes the node, however it stands, and its port with it.
func (l *life) end() {
	if l.stuck || l.rest() == nil {
		return
	}
	uuid := l.uuid()
	l.insist("PUT", "/v1/nodes/"+uuid+"/maintenance", map[string]any{"reason": "the end"})
	if status, answer := l.insist("DELETE", "/v1/nodes/"+uuid, nil); status != 204 {
		l.t.Errorf("deleting %s: %d %v", l.name, status, answer)
	}
	if status, _ := l.insist("GET", "/v1/nodes/"+uuid, nil); status != 404 {
		l.t.Errorf("%s was deleted and answers %d", l.name, status)
	}
}
