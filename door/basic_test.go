package door

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func writeHTPasswd(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func newBasic(t *testing.T, costs map[string]int) *Basic {
	t.Helper()
	var lines strings.Builder
	for name, cost := range costs {
		fmt.Fprintf(&lines, "%s:%s\n", name, hashOf(t, "right of "+name, cost))
	}
	u, _, err := ReadBasic(writeHTPasswd(t, lines.String()))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func statusOfLogin(err error) int {
	var e *Refusal
	if errors.As(err, &e) {
		return e.Status
	}
	return 200
}

// A wrong login takes the same work for every name, known or not, whatever the costs in the file: counted in rounds of
// bcrypt, not in time.
func TestAWrongLoginTakesTheSameWorkForEveryName(t *testing.T) {
	u := newBasic(t, map[string]int{"cheap": 4, "middle": 6, "dear": 9})
	var rounds int
	u.compare = func(hash, password []byte) error {
		cost, err := bcrypt.Cost(hash)
		if err != nil {
			t.Fatal(err)
		}
		rounds += 1 << cost
		return bcrypt.CompareHashAndPassword(hash, password)
	}
	for _, name := range []string{"cheap", "middle", "dear", "nobody", "", "Cheap"} {
		rounds = 0
		if status := statusOfLogin(u.login(t.Context(), "192.0.2.1", name, "wrong")); status != 401 || rounds != 1<<9 {
			t.Errorf("%q: %d after %d rounds, want %d", name, status, rounds, 1<<9)
		}
		rounds = 0
		if status := statusOfLogin(u.login(t.Context(), "192.0.2.1", name, "wrong")); status != 401 || rounds != 0 {
			t.Errorf("%q with the same password again: %d after %d rounds", name, status, rounds)
		}
	}
	for c, decoy := range u.decoys {
		if err := bcrypt.CompareHashAndPassword(decoy, []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			t.Errorf("the decoy of cost %d: %v", c, err)
		}
	}
}

// While 150 wrong logins of one address are on their way, whoever was in before gets in without waiting for any, few of
// them are hashed at once, few wait, and a new right login of another address waits only for those.
func TestWrongLoginsHoldUpNobodyElse(t *testing.T) {
	u := newBasic(t, map[string]int{"ada": 4, "bob": 4})
	if err := u.login(t.Context(), "192.0.2.1", "ada", "right of ada"); err != nil {
		t.Fatal(err)
	}
	var now, most, hashings atomic.Int64
	hold := make(chan struct{})
	u.compare = func(hash, password []byte) error {
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
			answers <- statusOfLogin(u.login(context.Background(), "192.0.2.66", "ada", fmt.Sprint("wrong ", i)))
		})
	}
	for range 150 - u.logins.perSource { // all that do not fit are refused while the others wait
		if status := <-answers; status != http.StatusTooManyRequests {
			t.Errorf("a wrong login got %d", status)
		}
	}
	if err := u.login(t.Context(), "192.0.2.66", "ada", "right of ada"); err != nil { // even from the same address
		t.Errorf("who was in before: %v", err)
	}
	bob := make(chan error, 1)
	go func() { bob <- u.login(context.Background(), "192.0.2.7", "bob", "right of bob") }()
	close(hold)
	if err := <-bob; err != nil {
		t.Errorf("a right login of another address: %v", err)
	}
	tries.Wait()
	if slots := int64(cap(u.logins.slots)); most.Load() > slots || hashings.Load() > int64(u.logins.perSource)+1 {
		t.Errorf("%d passwords were hashed, %d at once; %d may be", hashings.Load(), most.Load(), slots)
	}
	if u.logins.all != 0 || len(u.logins.sources) != 0 || len(u.logins.slots) != 0 {
		t.Errorf("the gate is left with %d, %v", u.logins.all, u.logins.sources)
	}
}

// A password that was right is remembered, a wrong one never is, and one person's is not another's.
func TestPasswordsAreRememberedPerPerson(t *testing.T) {
	line := func(name, password string) string {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		return name + ":" + string(hash) + "\n"
	}
	u, _, err := ReadBasic(writeHTPasswd(t, line("ada", "one")+line("eve", "two")))
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		name, password string
		want           bool
	}{
		{"ada", "two", false}, {"ada", "one", true}, {"ada", "one", true}, {"ada", "two", false}, {"eve", "one", false}, {"eve", "two", true},
		{"ada", "", false}, {"", "", false}, {"nobody", "one", false}, {"ADA", "one", false}, {"ada", "one ", false}, {"ada", "one", true},
	} {
		if got := u.known(tt.name, tt.password); got != tt.want {
			t.Errorf("%d: %s with %q: %v", i, tt.name, tt.password, got)
		}
	}
	for name, kept := range u.seen {
		if bytes.Contains(kept, []byte("one")) || bytes.Contains(kept, []byte("two")) {
			t.Errorf("the password of %s is kept as it is", name)
		}
	}
}
