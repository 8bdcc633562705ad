package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the tests run this very program: with the mark set, the test binary is the agent.
func TestMain(m *testing.M) {
	if os.Getenv("BE_THE_AGENT") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

func agentProcess(t *testing.T, args ...string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "BE_THE_AGENT=1")
	var out strings.Builder
	cmd.Stderr = &out
	return cmd, &out
}

func TestParametersAreChecked(t *testing.T) {
	for args, want := range map[string]string{
		"": "billet-agent: kernel parameter ipa-api-url is missing: it must say where the Bare Metal API is, such as " +
			"ipa-api-url=http://192.0.2.1:6385\n",
		"ipa-api-url=example.org": `billet-agent: "example.org" in a kernel parameter is not a URL that starts with http:// or https://` + "\n",
	} {
		cmd, out := agentProcess(t, strings.Fields(args)...)
		err := cmd.Run()
		if cmd.ProcessState.ExitCode() != 1 || out.String() != want {
			t.Errorf("%s: %v, %q", args, err, out)
		}
	}
}

// As an ordinary process the agent inspects a recorded machine, and ends when it is told to.
func TestOrdinaryProcess(t *testing.T) {
	got := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Method + " " + r.URL.Path
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{}`)
	}))
	defer s.Close()
	cmd, out := agentProcess(t, "ipa-inspection-callback-url="+s.URL+"/v1/continue_inspection", "billet-root="+t.TempDir(),
		"ipa-disk-wait-delay=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case call := <-got:
		if call != "POST /v1/continue_inspection" {
			t.Error(call)
		}
	case <-time.After(30 * time.Second):
		t.Error("no inspection in 30 s")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestGuestIsLeftAlone(t *testing.T) {
	if (guest{}).SetClock(time.Now()) == nil {
		t.Error("the clock of a machine that is not ours was set")
	}
	if _, err := (guest{}).KernelLog(); err == nil {
		t.Error("the kernel's log of a machine that is not ours was read")
	}
}
