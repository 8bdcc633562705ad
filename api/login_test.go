package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func newLoginAPI(t *testing.T, costs map[string]int) *API {
	t.Helper()
	var lines strings.Builder
	for name, cost := range costs {
		fmt.Fprintf(&lines, "%s:%s\n", name, hashOf(t, "right of "+name, cost))
	}
	w := newWorld()
	a, err := New(Config{Conductor: w, Reader: w, Templates: w, Auth: "http_basic", HTPasswdFile: writeHTPasswd(t, lines.String())})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func statusOfLogin(err error) int {
	var e *authError
	if errors.As(err, &e) {
		return e.status
	}
	return 200
}

// A wrong login takes the same work for every name, known or not, whatever the costs in the file: counted in rounds of
// bcrypt, not in time.
func TestAWrongLoginTakesTheSameWorkForEveryName(t *testing.T) {
	a := newLoginAPI(t, map[string]int{"cheap": 4, "middle": 6, "dear": 9})
	var rounds int
	a.users.compare = func(hash, password []byte) error {
		cost, err := bcrypt.Cost(hash)
		if err != nil {
			t.Fatal(err)
		}
		rounds += 1 << cost
		return bcrypt.CompareHashAndPassword(hash, password)
	}
	for _, name := range []string{"cheap", "middle", "dear", "nobody", "", "Cheap"} {
		rounds = 0
		if status := statusOfLogin(a.login(t.Context(), "192.0.2.1", name, "wrong")); status != 401 || rounds != 1<<9 {
			t.Errorf("%q: %d after %d rounds, want %d", name, status, rounds, 1<<9)
		}
		rounds = 0
		if status := statusOfLogin(a.login(t.Context(), "192.0.2.1", name, "wrong")); status != 401 || rounds != 0 {
			t.Errorf("%q with the same password again: %d after %d rounds", name, status, rounds)
		}
	}
	for c, decoy := range a.users.decoys {
		if err := bcrypt.CompareHashAndPassword(decoy, []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			t.Errorf("the decoy of cost %d: %v", c, err)
		}
	}
}

// While 150 wrong logins of one address are on their way, whoever was in before gets in without waiting for any, few of
// them are hashed at once, few wait, and a new right login of another address waits only for those.
func TestWrongLoginsHoldUpNobodyElse(t *testing.T) {
	a := newLoginAPI(t, map[string]int{"ada": 4, "bob": 4})
	if err := a.login(t.Context(), "192.0.2.1", "ada", "right of ada"); err != nil {
		t.Fatal(err)
	}
	var now, most, hashings atomic.Int64
	hold := make(chan struct{})
	a.users.compare = func(hash, password []byte) error {
		hashings.Add(1)
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-hold
		return bcrypt.CompareHashAndPassword(hash, password)
	}
	answers := make(chan int, 150)
	var tries sync.WaitGroup
	for i := range 150 {
		tries.Go(func() {
			answers <- statusOfLogin(a.login(context.Background(), "192.0.2.66", "ada", fmt.Sprint("wrong ", i)))
		})
	}
	for range 150 - a.logins.perSource { // all that do not fit are refused while the others wait
		if status := <-answers; status != http.StatusTooManyRequests {
			t.Errorf("a wrong login got %d", status)
		}
	}
	if err := a.login(t.Context(), "192.0.2.66", "ada", "right of ada"); err != nil { // even from the same address
		t.Errorf("who was in before: %v", err)
	}
	bob := make(chan error, 1)
	go func() { bob <- a.login(context.Background(), "192.0.2.7", "bob", "right of bob") }()
	close(hold)
	if err := <-bob; err != nil {
		t.Errorf("a right login of another address: %v", err)
	}
	tries.Wait()
	if slots := int64(cap(a.logins.slots)); most.Load() > slots || hashings.Load() > int64(a.logins.perSource)+1 {
		t.Errorf("%d passwords were hashed, %d at once; %d may be", hashings.Load(), most.Load(), slots)
	}
	if a.logins.all != 0 || len(a.logins.sources) != 0 || len(a.logins.slots) != 0 {
		t.Errorf("the gate is left with %d, %v", a.logins.all, a.logins.sources)
	}
}
