package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/store"
)

// childEnv makes this test binary the writer that TestKill kills: "data directory|URL".
const childEnv = "BILLET_STORE_TEST_CHILD"

const crashNode = "11111111-0000-4000-8000-000000000001"

// child saves a node again and again under its lease and says so after each save. It ends when it
// is killed.
func child(where string) error {
	dir, url, _ := strings.Cut(where, "|")
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{URL: url, DataDir: dir, Host: "here"})
	if err != nil {
		return err
	}
	n, err := s.Reserve(ctx, crashNode, "here", time.Hour)
	if err != nil {
		return err
	}
	first, _ := strconv.Atoi(n.Description)
	for i := first + 1; ; i++ {
		n.Description, n.Extra = strconv.Itoa(i), node.Document{"i": float64(i)}
		n.Plan = &node.Plan{Flow: node.FlowDeploy, Index: i, Deadline: node.Now()}
		if err := s.Save(ctx, n); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// Killed with -9 in the middle of writing, again and again: whatever was said to be saved is
// there, whole, and the node is free for the next process of the same host at once.
func TestKill(t *testing.T) {
	for name, url := range map[string]string{"sqlite": "", "postgres": postgres(t).Database(t)} {
		t.Run(name, func(t *testing.T) {
			cfg := store.Config{URL: url, DataDir: t.TempDir(), Host: "here"}
			s := open(t, cfg)
			if err := s.CreateNode(t.Context(), &node.Node{UUID: crashNode, State: node.Deploying}); err != nil {
				t.Fatal(err)
			}
			shut(t, s)
			for round := range 4 {
				said := runAndKill(t, cfg, 30+round*17)
				s := open(t, cfg)
				n, err := s.Reserve(t.Context(), crashNode, "here", time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				got, _ := strconv.Atoi(n.Description)
				if got < said || n.Extra["i"] != float64(got) || n.Plan == nil || n.Plan.Index != got {
					t.Errorf("round %d: %d was saved; found description %s, extra %v, plan %+v", round, said, n.Description, n.Extra, n.Plan)
				}
				if want := int64(2*round + 2); n.Lease.Token != want {
					t.Errorf("round %d: token %d, want %d", round, n.Lease.Token, want)
				}
				if err := s.Release(t.Context(), n); err != nil {
					t.Fatal(err)
				}
				shut(t, s)
			}
		})
	}
}

// runAndKill starts the child, kills it after it said that many numbers, and returns the last.
func runAndKill(t *testing.T, cfg store.Config, lines int) (last int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+cfg.DataDir+"|"+cfg.URL)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer timeout.Stop()
	said := 0
	for sc := bufio.NewScanner(out); sc.Scan(); {
		last, _ = strconv.Atoi(sc.Text())
		if said++; said == lines {
			cmd.Process.Kill() // what is in the pipe is still read: it was said
		}
	}
	if err := cmd.Wait(); said < lines || err == nil {
		t.Fatalf("the child said %d numbers and ended: %v", said, err)
	}
	return last
}

func open(t *testing.T, cfg store.Config) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shut(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// After an orderly end everything is there again, and leases of other hosts still hold.
func TestReopen(t *testing.T) {
	for name, url := range map[string]string{"sqlite": "", "postgres": postgres(t).Database(t)} {
		t.Run(name, func(t *testing.T) {
			cfg := store.Config{URL: url, DataDir: t.TempDir(), Host: "here"}
			s := open(t, cfg)
			for i, host := range []string{"here", "there"} {
				uuid := fmt.Sprintf("11111111-0000-4000-8000-%012d", i)
				n := &node.Node{UUID: uuid, Name: host, DriverInfo: node.Document{"ipmi_password": "x"}, ConfigDrive: "d"}
				if err := s.CreateNode(t.Context(), n); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Reserve(t.Context(), uuid, host, time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			s.Saw(node.BootEvent{MAC: "52:54:00:00:00:01", What: "not written yet"})
			shut(t, s)

			s = open(t, cfg)
			defer shut(t, s)
			for host, want := range map[string]string{"here": "", "there": "there"} {
				n, err := s.Node(t.Context(), host)
				if err != nil {
					t.Fatal(err)
				}
				if n.Lease.Holder != want || n.Lease.Token != 1 || n.DriverInfo["ipmi_password"] != "x" || n.ConfigDrive != "d" {
					t.Errorf("%s: %+v", host, n)
				}
			}
			events, err := s.BootEvents(t.Context(), []string{"52:54:00:00:00:01"}, time.Time{})
			if err != nil || len(events) != 1 {
				t.Errorf("the last boot event was not flushed: %v, %v", events, err)
			}
		})
	}
}
