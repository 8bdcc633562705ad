package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/billet-metal/billet/agent"
	"github.com/billet-metal/billet/wire"
)

const (
	nodeUUID = "11111111-2222-4333-8444-555555555555"
	token    = "tok-0123456789abcdefghijklmnopqrstuvwxyz-ABCD"
)

// service is as much of the Bare Metal API as an agent needs. It gives the token once.
type service struct {
	*httptest.Server
	mu         sync.Mutex
	lookups    int
	away       int // this many calls are answered with 503
	heartbeats chan wire.Heartbeat
}

func newService(t *testing.T) *service {
	s := &service{heartbeats: make(chan wire.Heartbeat, 100)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.away > 0 {
			s.away--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		switch r.URL.Path {
		case "/":
			fmt.Fprint(w, `{"default_version": {"id": "v1", "version": "1.95", "min_version": "1.1"}}`)
		case "/v1/lookup":
			s.lookups++
			given := token
			if s.lookups > 1 {
				given = "******"
			}
			fmt.Fprintf(w, `{"node": {"uuid": %q, "properties": {}, "instance_info": {}, "driver_internal_info": {}}, "config": `+
				`{"heartbeat_timeout": 300, "agent_token": %q, "agent_token_required": true}}`, nodeUUID, given)
		case "/v1/heartbeat/" + nodeUUID:
			var h wire.Heartbeat
			if err := json.NewDecoder(r.Body).Decode(&h); err != nil {
				t.Error(err)
			}
			s.heartbeats <- h
			w.WriteHeader(http.StatusAccepted)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// running is an agent that is another process.
type running struct {
	*service
	t    *testing.T
	end  func() // SIGTERM, and wait
	beat wire.Heartbeat
	http *http.Client
	log  func() string
}

// startProcess runs the agent until its first heartbeat.
func startProcess(t *testing.T, s *service, state string, more ...string) *running {
	t.Helper()
	args := append([]string{"ipa-api-url=" + s.URL, "billet-root=" + t.TempDir(), "billet-state-dir=" + state, "ipa-disk-wait-delay=0",
		"ipa-listen-host=127.0.0.1", "ipa-listen-port=0",
		"ipa-node-uuid=" + nodeUUID, "ipa-lookup-interval=1"}, more...)
	cmd, _ := agentProcess(t, args...)
	log := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Stderr = f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &running{service: s, t: t, log: func() string { text, _ := os.ReadFile(log); return string(text) }}
	r.end = sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the agent ended with %v: %s", err, r.log())
			}
		case <-time.After(30 * time.Second):
			cmd.Process.Kill()
			t.Error("the agent does not end")
		}
	})
	t.Cleanup(r.end) // if the test did not come to it
	select {
	case r.beat = <-s.heartbeats:
	case <-time.After(60 * time.Second):
		t.Fatalf("no heartbeat: %s", r.log())
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(r.beat.AgentVerifyCA))
	r.http = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return r
}

// command gives the agent a command and returns its outcome.
func (r *running) command(name string) wire.CommandResult {
	r.t.Helper()
	body := bytes.NewReader([]byte(`{"name": "` + name + `", "params": {}}`))
	resp, err := r.http.Post(r.beat.CallbackURL+"/v1/commands/?wait=true&agent_token="+token, "application/json", body)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	var out wire.CommandResult
	if err := json.Unmarshal(text, &out); err != nil {
		r.t.Fatalf("%s: %s: %v", name, text, err)
	}
	return out
}

// TestWholeConversation: the program as it is built looks itself up, over a service that is away
// for a moment, and can then be reached; on a machine that is not its own it carries out what harms
// nothing and only says what it would do to the machine's power.
func TestWholeConversation(t *testing.T) {
	s := newService(t)
	s.away = 2
	r := startProcess(t, s, t.TempDir())
	defer r.end()
	if r.beat.AgentToken != token || r.beat.AgentVersion != agent.Version || !strings.HasPrefix(r.beat.CallbackURL, "https://127.0.0.1:") {
		t.Errorf("the heartbeat is %+v", r.beat)
	}
	if got := r.command("standby.sync"); got.Status != wire.Succeeded {
		t.Errorf("sync: %+v", got)
	}
	for name, would := range map[string]string{"standby.power_off": "would power off", "standby.run_image": "would reboot"} {
		if got := r.command(name); got.Status != wire.Succeeded {
			t.Errorf("%s: %+v", name, got)
		}
		for end := time.Now().Add(10 * time.Second); !strings.Contains(r.log(), would); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: the log does not say %q: %s", name, would, r.log())
			}
		}
	}
	for _, name := range []string{"standby.load_instance_kernel", "standby.kexec"} {
		if got := r.command(name); got.Status != wire.Failed || got.Error == nil ||
			!strings.Contains(got.Error.Error(), "only in the ramdisk it can start another kernel") {
			t.Errorf("%s: %+v %v", name, got, got.Error)
		}
	}
	if strings.Contains(r.log(), token) {
		t.Error("the token is in the log")
	}
	resp, err := r.http.Get(r.beat.CallbackURL + "/v1/commands/?agent_token=wrong")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("another token is answered with %s", resp.Status)
	}
}

// TestAgentStartedAgain: the service gives the token once; an agent that was started again has it
// from before, and the certificate that the service trusts too.
func TestAgentStartedAgain(t *testing.T) {
	s := newService(t)
	state := t.TempDir()
	first := startProcess(t, s, state)
	first.end()
	second := startProcess(t, s, state)
	defer second.end()
	if second.beat.AgentToken != token || second.beat.AgentVerifyCA != first.beat.AgentVerifyCA {
		t.Errorf("the second heartbeat has the token %q and another certificate: %v", second.beat.AgentToken,
			second.beat.AgentVerifyCA != first.beat.AgentVerifyCA)
	}
	if got := second.command("standby.sync"); got.Status != wire.Succeeded {
		t.Errorf("sync: %+v", got)
	}
	err := filepath.Walk(state, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s, which may hold a secret, is %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestEndWhileLookingUp: a signal ends the agent at once, whatever it waits for.
func TestEndWhileLookingUp(t *testing.T) {
	asked := make(chan struct{}, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done() // never answers
	}))
	defer s.Close()
	cmd, out := agentProcess(t, "ipa-api-url="+s.URL, "billet-root="+t.TempDir(), "billet-state-dir="+t.TempDir(), "ipa-disk-wait-delay=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(30 * time.Second):
		t.Error("nobody is asked")
	}
	began := time.Now()
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("it ended after %s with %v: %s", time.Since(began), err, out)
	}
}

// TestParameters: what stands on the kernel's command line is checked before anything is done, and
// the error names it.
func TestParameters(t *testing.T) {
	for args, want := range map[string]string{
		"ipa-api-url=ftp://192.0.2.1":                                           "is not a URL that starts with http:// or https://",
		"ipa-api-url=http://192.0.2.1 ipa-listen-port=99999x":                   "ipa-listen-port",
		"ipa-api-url=http://192.0.2.1 ipa-lookup-timeout=soon":                  "ipa-lookup-timeout",
		"ipa-api-url=http://192.0.2.1 ipa-ironic-api-version=latest":            "ipa-ironic-api-version",
		"ipa-api-url=http://192.0.2.1,nonsense":                                 `"nonsense" in a kernel parameter`,
		"ipa-api-url=http://192.0.2.1 ipa-inspection-callback-url=192.0.2.1/v1": "ipa",
	} {
		cmd, out := agentProcess(t, strings.Fields(args)...)
		timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		err := cmd.Run()
		timer.Stop()
		if cmd.ProcessState.ExitCode() != 1 || !strings.HasPrefix(out.String(), "billet-agent: ") || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: %v, %q", args, err, out)
		}
		if want != "ipa" && !strings.Contains(out.String(), want) {
			t.Errorf("%s: %q does not name %q", args, out, want)
		}
	}
}

// The environment of process 1's child: enough to run the ramdisk's programs, and the mark by which
// it knows that the machine is its own.
func TestChildEnvironment(t *testing.T) {
	env := childEnvironment()
	for _, want := range []string{childMark, "PATH=/bin", "HOME=/"} {
		if !slices.Contains(env, want) {
			t.Errorf("%v has no %s", env, want)
		}
	}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	if emulated := bytes.Contains(cpu, []byte("QEMU TCG")); emulated != slices.Contains(env, "GODEBUG=cpu.avx2=off") {
		t.Errorf("an emulated processor: %v, %v", emulated, env)
	}
}

// What is worth a person's time is always in the log; the rest when it is asked for.
func TestLogLevels(t *testing.T) {
	for verbose, want := range map[bool]string{false: "warn info", true: "warn info debug"} {
		var b strings.Builder
		log := newLog(&b, verbose)
		log.Log(context.Background(), slog.LevelWarn, "warn")
		log.Info("info")
		log.Debug("debug")
		var got []string
		for line := range strings.Lines(b.String()) {
			_, msg, _ := strings.Cut(strings.TrimSpace(line), "msg=")
			got = append(got, msg)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("verbose %v: %v", verbose, got)
		}
	}
}
