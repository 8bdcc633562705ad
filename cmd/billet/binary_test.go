package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// finished is how a run of the binary ended.
type finished struct {
	code           int
	stdout, stderr string
}

// billet runs the real binary to its end, with only these variables besides PATH.
func billet(t *testing.T, dir string, environ []string, args ...string) finished {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a start that was not refused must not hang the test
	defer cancel()
	cmd := exec.CommandContext(ctx, "billet", args...)
	cmd.Dir, cmd.Env = dir, append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, environ...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !asExit(err, &exit) {
		t.Fatal(err)
	}
	return finished{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func asExit(err error, to **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*to = e
	return ok
}

// says checks that a run failed with one line on stderr that matches, and nothing on stdout.
func (f finished) says(t *testing.T, what, pattern string) {
	t.Helper()
	line := strings.TrimSuffix(f.stderr, "\n")
	if f.code != 1 || f.stdout != "" || !regexp.MustCompile(`^billet: (?:`+pattern+`)$`).MatchString(line) {
		t.Errorf("%s: exit %d\nstdout %s\nstderr %s\nwant   billet: %s", what, f.code, f.stdout, f.stderr, pattern)
	}
}

// serving is a service that a test started.
type serving struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	log  *syncBuffer
	done chan struct{}
}

// syncBuffer is written by the service and read by the test.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// freeAddress is a loopback address that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts billet serve on fake hardware and waits until it answers.
func start(t *testing.T, dataDir string, args ...string) *serving {
	t.Helper()
	return startAt(t, freeAddress(t), dataDir, args...)
}

// startAt is start on an address that somebody chose.
func startAt(t *testing.T, address, dataDir string, args ...string) *serving {
	t.Helper()
	all := append([]string{"serve", "--listen", address, "--data-dir", dataDir, "--roles", "api,conductor"}, args...)
	return startCommand(t, address, exec.Command("billet", all...))
}

func startCommand(t *testing.T, address string, cmd *exec.Cmd) *serving {
	t.Helper()
	s := &serving{t: t, cmd: cmd, url: "http://" + address, log: &syncBuffer{}, done: make(chan struct{})}
	s.cmd.Env = append(s.cmd.Env, "PATH="+os.Getenv("PATH"))
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // its state says how it ended
		close(s.done)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.done
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(s.url + "/")
		if err == nil {
			resp.Body.Close()
			return s
		}
		select {
		case <-s.done:
			t.Fatalf("the service ended: %s", s.log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the service does not answer: %v\n%s", err, s.log)
		}
	}
}

// end sends a signal and returns the exit code.
func (s *serving) end(signal os.Signal) int {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		s.t.Fatalf("still there 30 s after %s:\n%s", signal, s.log)
	}
	return s.cmd.ProcessState.ExitCode()
}

// node runs a node command against the service.
func (s *serving) node(args ...string) finished {
	s.t.Helper()
	return billet(s.t, s.t.TempDir(), []string{"BILLET_API=" + s.url}, append([]string{"node"}, args...)...)
}

// must is node for a command that has to succeed; it returns what it printed.
func (s *serving) must(args ...string) string {
	s.t.Helper()
	f := s.node(args...)
	if f.code != 0 || f.stderr != "" {
		s.t.Fatalf("billet node %s: exit %d\n%s%s\n%s", strings.Join(args, " "), f.code, f.stdout, f.stderr, s.log)
	}
	return f.stdout
}

// show returns a node as billet node show prints it.
func (s *serving) show(ident string) map[string]any {
	s.t.Helper()
	var n map[string]any
	if err := json.Unmarshal([]byte(s.must("show", ident)), &n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// What can be wrong with a start: it is said in one line, the exit code is 1, and nothing is left behind or harmed.
func TestStartsThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	running := start(t, filepath.Join(dir, "running"))
	running.must("create", "n1", "--driver", "fake-hardware")
	busy := strings.TrimPrefix(running.url, "http://")
	for name, text := range map[string]string{
		"a-file": "", "typo.yaml": "listne: 127.0.0.1:1\n", "broken.yaml": "roles: [api\n", "list.yaml": "- a\n- b\n",
		"nested.yaml": "api:\n  listen: 127.0.0.1:1\n",
		"number.yaml": "workers: 1.5\n", "null.yaml": "workers:\n", "empty-htpasswd": "# nobody\n", "md5-htpasswd": "ada:$apr1$x$y\n",
		"cut-htpasswd": "# people\nada:$2y$10$abcdefghijklmnopqrstuv\n", "utf16-htpasswd": "\xff\xfea\x00d\x00a\x00", "short.key": "short",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "open.key"), make([]byte, 32), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what    string
		environ []string
		args    []string
		want    string
	}{
		{"a second start on one directory", nil, []string{"--data-dir", "running"},
			`another billet serve \(pid \d+\) already uses the data directory \S+/running; stop it or set another data directory`},
		{"a busy port", nil, []string{"--listen", busy},
			`listen: ` + busy + ` is in use by another program \(is billet serve running already\?\)`},
		{"a data directory that is a file", nil, []string{"--data-dir", "a-file"}, `data_dir: mkdir \S+/a-file: not a directory`},
		{"a data directory below a file", nil, []string{"--data-dir", "a-file/data"}, `data_dir: mkdir \S+/a-file: not a directory`},
		{"a data directory nobody can write", nil, []string{"--data-dir", "/proc/billet"},
			`data_dir: mkdir /proc/billet: no such file or directory`},
		{"a directory nobody can make files in", nil, []string{"--data-dir", "/proc"},
			`data directory /proc is not writable: open /proc/billet.lock: .*`},
		{"an unknown key in the file", nil, []string{"--config", "typo.yaml"},
			`configuration file typo.yaml: unknown key "listne"; the keys are .*, allowed_hosts, auth, .*`},
		{"an unknown variable", []string{"BILLET_LISTNE=x"}, nil, `environment \(BILLET_…\): unknown key "listne"; the keys are .*`},
		{"an unknown flag", nil, []string{"--listne", "x"}, `unknown flag: --listne`},
		{"a flag without its value", nil, []string{"--listen"}, `flag needs an argument: --listen`},
		{"a file that is not YAML", nil, []string{"--config", "broken.yaml"}, `configuration file broken.yaml: yaml: .*`},
		{"a file that is a list", nil, []string{"--config", "list.yaml"}, `configuration file list.yaml: (?s:.*)`},
		{"a file with sections", nil, []string{"--config", "nested.yaml"}, `configuration file nested.yaml: unknown key "api.listen"; .*`},
		{"no such file", nil, []string{"--config", "nothing.yaml"},
			`configuration file nothing.yaml: open nothing.yaml: no such file or directory`},
		{"no such file in the environment", []string{"BILLET_CONFIG=nothing.yaml"}, nil,
			`configuration file nothing.yaml: open nothing.yaml: no such file or directory`},
		{"a directory for a file", nil, []string{"--config", "."}, `configuration file \.: read \.: is a directory`},
		{"a fraction of a worker", nil, []string{"--config", "number.yaml"},
			`configuration file number.yaml: workers: "1.5" is not a number from 1 to 100000`},
		{"a key without a value", nil, []string{"--config", "null.yaml"},
			`configuration file null.yaml: workers: "" is not a number from 1 to 100000`},
		{"an argument", nil, []string{"now"}, `unknown command "now" for "billet serve"; usage: billet serve \[flags\]`},
		{"noauth for all the world", nil, []string{"--listen", "0.0.0.0:0"}, `listen: 0.0.0.0:0 can be reached by others and auth is noauth: ` +
			`use auth http_basic with htpasswd_file, listen on 127.0.0.1, or set noauth_anywhere to true`},
		{"noauth on every IPv6 address", nil, []string{"--listen", "[::]:0"}, `listen: \[::\]:0 can be reached by others and auth is noauth: .*`},
		{"noauth where a name leads", nil, []string{"--listen", "example.com:0"},
			`listen: example.com:0 can be reached by others and auth is noauth: .*`},
		{"noauth without an address", nil, []string{"--listen", ":0"}, `listen: :0 can be reached by others and auth is noauth: .*`},
		{"an address of somebody else", nil, []string{"--listen", "192.0.2.1:0", "--noauth-anywhere", "true"},
			`listen: listen tcp 192.0.2.1:0: bind: cannot assign requested address`},
		{"no password file", nil, []string{"--auth", "http_basic"}, `htpasswd_file: auth http_basic needs it`},
		{"a password file that is not there", nil, []string{"--auth", "http_basic", "--htpasswd-file", "nothing"},
			`opening the htpasswd file: open nothing: no such file or directory`},
		{"a password file without people", nil, []string{"--auth", "http_basic", "--htpasswd-file", "empty-htpasswd"},
			`empty-htpasswd names no user`},
		{"a password file that was cut off", nil, []string{"--auth", "http_basic", "--htpasswd-file", "cut-htpasswd"},
			`cut-htpasswd line 2: the hash of "ada" is not whole: a bcrypt hash has 60 characters, of \. / A-Z a-z 0-9 after the ` +
				`cost, and this one has 29`},
		{"a password file in UTF-16", nil, []string{"--auth", "http_basic", "--htpasswd-file", "utf16-htpasswd"},
			`utf16-htpasswd line 1: the file is UTF-16 or binary; save it as plain UTF-8 text`},
		{"a password file of another kind", nil, []string{"--auth", "http_basic", "--htpasswd-file", "md5-htpasswd"},
			"md5-htpasswd line 1: expected name:hash with a bcrypt hash, as `htpasswd -B` writes it"},
		{"a short key", nil, []string{"--secret-key-file", "short.key"}, `key file short.key has 5 bytes, a sealing key has 32`},
		{"a key others can read", nil, []string{"--secret-key-file", "open.key"},
			`key file open.key can be read by others \(mode 0644\); run chmod 600 on it`},
		{"a database of another kind", nil, []string{"--database", "mysql://root:hunter2@db/x"}, `database URL \(mysql://…\) is not valid: ` +
			`leave it empty for SQLite in the data directory, or use postgres://user:password@host:port/database`},
		{"a PostgreSQL that is not there", nil, []string{"--database", "postgres://billet:hunter2@127.0.0.1:1/billet"},
			`connect to PostgreSQL: (?s:.*)connection refused(?s:.*)`},
		{"a public endpoint that is none", nil, []string{"--public-endpoint", "metal.example"},
			`public_endpoint: "metal.example" is not an http or https URL`},
		{"boot without a network", nil, []string{"--roles", "boot"},
			`roles: boot needs provision_interface, the network interface machines boot from`},
		{"a network that is not there", nil, []string{"--provision-interface", "nothere0"},
			`provision_interface: there is no network interface "nothere0" here.*`},
		{"a role that is none", nil, []string{"--roles", "api,cook"},
			`flag --roles: roles: "cook" is not allowed; use any of api, conductor, boot`},
		{"a hardware type that is none", []string{"BILLET_ENABLED_HARDWARE_TYPES=ilo"}, nil,
			`environment \(BILLET_…\): enabled_hardware_types: "ilo" is not allowed; use any of ipmi, fake-hardware.*`},
	} {
		data := filepath.Join(dir, "fresh")
		args := append([]string{"serve", "--listen", "127.0.0.1:0", "--data-dir", data}, tt.args...)
		f := billet(t, dir, tt.environ, args...)
		f.stderr = afterLog(f.stderr)
		f.says(t, tt.what, tt.want)
		if strings.Contains(f.stderr, "hunter2") {
			t.Errorf("%s: a password is in %s", tt.what, f.stderr)
		}
		left, _ := filepath.Glob(filepath.Join(data, "*"))
		for _, file := range left {
			if base := filepath.Base(file); !strings.HasPrefix(base, "billet.") && base != "secret.key" {
				t.Errorf("%s left %s", tt.what, file)
			}
		}
		// What was refused is no obstacle to the next start.
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(running.must("list"), "n1") {
		t.Error("the service that ran all the while has lost its node")
	}
}

// afterLog is the last line of stderr: the error, after what was logged before it.
func afterLog(stderr string) string {
	i := strings.LastIndex(stderr, "\nbillet: ")
	if i < 0 {
		return stderr
	}
	return stderr[i+1:]
}

// Each signal that asks for it ends the service in order: the exit code is 0, the port and the directory are free at once, and
// nothing of what was said to be done is missing.
func TestOrderlyStops(t *testing.T) {
	dir := t.TempDir()
	for i, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		s := start(t, dir)
		s.must("create", fmt.Sprint("n", i), "--driver", "fake-hardware")
		if code := s.end(signal); code != 0 {
			t.Errorf("%s: exit %d\n%s", signal, code, s.log)
		}
		log := s.log.String()
		for _, want := range []string{`msg="API serves" address=` + strings.TrimPrefix(s.url, "http://") + " auth=noauth", `msg="conductor runs"`,
			"msg=stopped"} {
			if !strings.Contains(log, want) {
				t.Errorf("%s: the log lacks %q:\n%s", signal, want, log)
			}
		}
		if strings.Contains(log, "level=ERROR") || strings.Contains(log, "panic") {
			t.Errorf("%s: an orderly stop logs an error:\n%s", signal, log)
		}
	}
	s := start(t, dir)
	if list := s.must("list"); !strings.Contains(list, "n0 ") || !strings.Contains(list, "n1 ") {
		t.Errorf("left is %s", list)
	}
}

// A request under way when the service is asked to stop is answered; a new one is not taken.
func TestRequestsUnderWayAreAnswered(t *testing.T) {
	s := start(t, t.TempDir())
	read, write := io.Pipe()
	answered := make(chan error, 1)
	go func() {
		req, err := http.NewRequest("POST", s.url+"/v1/nodes", read)
		if err == nil {
			req.Header.Set("X-OpenStack-Ironic-API-Version", "1.115")
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
				if resp.StatusCode != http.StatusCreated {
					err = fmt.Errorf("status %d", resp.StatusCode)
				}
			}
		}
		answered <- err
	}()
	if _, err := io.WriteString(write, `{"driver":`); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the request is in the handler now
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if _, err := net.DialTimeout("tcp", strings.TrimPrefix(s.url, "http://"), time.Second); err == nil {
		t.Error("a new connection was taken after the signal")
	}
	if _, err := io.WriteString(write, `"fake-hardware"}`); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if err := <-answered; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	<-s.done
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit %d\n%s", code, s.log)
	}
}

// A flow that is under way when the service stops, in order or by kill -9, goes on when it starts again, from where it was.
func TestAFlowSurvivesTheServicesEnd(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, os.Kill} {
		dir := t.TempDir()
		s := start(t, dir)
		s.must("create", "n1", "--driver", "fake-hardware", "--driver-info", "fake_write_image_delay=1500ms")
		s.must("manage", "n1", "--wait")
		s.must("provide", "n1", "--wait")
		s.must("deploy", "n1", "--image", "http://images.example/x.raw", "--checksum", strings.Repeat("0", 64))
		until(t, "the deploy waits", func() bool { return s.show("n1")["provision_state"] == "wait call-back" })
		s.end(signal)
		again := start(t, dir)
		if out := again.must("watch", "n1", "--until-stable", "--timeout", "30s"); !strings.Contains(out, "active") {
			t.Errorf("after %s: %s", signal, out)
		}
		n := again.show("n1")
		if n["provision_state"] != "active" || n["target_provision_state"] != nil || n["last_error"] != nil || n["reservation"] != nil {
			t.Errorf("after %s the node is %v, target %v, error %v, held by %v", signal, n["provision_state"], n["target_provision_state"],
				n["last_error"], n["reservation"])
		}
	}
}

// until waits for what the service does in its own time.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// With a password file the commands need a name and a password; both doors say which variables to set.
func TestPasswordsOnTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "htpasswd"), []byte("ada:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, filepath.Join(dir, "data"), "--auth", "http_basic", "--htpasswd-file", filepath.Join(dir, "htpasswd"))
	for _, tt := range []struct {
		user, password string
		want           string // of the refusal
	}{
		{"", "", `Authorization required \(HTTP 401; BILLET_USER and BILLET_PASSWORD name who is asking\)`},
		{"ada", "wrong", `Incorrect username or password \(HTTP 401; BILLET_USER and BILLET_PASSWORD name who is asking\)`},
		{"eve", "open sesame", `Incorrect username or password \(HTTP 401; BILLET_USER and BILLET_PASSWORD name who is asking\)`},
		{"ada", "open sesame", ""},
	} {
		f := billet(t, dir, []string{"BILLET_API=" + s.url, "BILLET_USER=" + tt.user, "BILLET_PASSWORD=" + tt.password}, "node", "list")
		if tt.want != "" {
			f.says(t, tt.user, tt.want)
		} else if f.code != 0 || !strings.HasPrefix(f.stdout, "UUID ") {
			t.Errorf("%s: %+v", tt.user, f)
		}
	}
	if log := s.log.String(); strings.Contains(log, "open sesame") || strings.Contains(log, "wrong") {
		t.Errorf("a password is in the log:\n%s", log)
	}
}

// The log is one JSON object a line when it is asked for, at the level asked for, with the node's UUID, and no secret in it.
func TestTheServicesLog(t *testing.T) {
	s := start(t, t.TempDir(), "--log-format", "json", "--log-level", "debug")
	const secret = "hunter2-and-more"
	uuid := strings.TrimSpace(s.must("create", "n1", "--driver", "fake-hardware", "--driver-info", "ipmi_password="+secret, "--driver-info",
		"fake_write_image_fail=the password is "+secret))
	s.must("manage", "n1", "--wait")
	s.must("provide", "n1", "--wait")
	f := s.node("deploy", "n1", "--image", "http://u:"+secret+"@images.example/x.raw", "--checksum", strings.Repeat("0", 64), "--wait")
	if f.code != 1 || !strings.Contains(f.stderr, `is "deploy failed": `) {
		t.Errorf("%+v", f)
	}
	why := s.must("why", "n1")
	s.end(os.Interrupt)
	named := 0
	for line := range strings.Lines(s.log.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("not JSON: %s", line)
			continue
		}
		if entry["time"] == nil || entry["level"] == nil || entry["msg"] == nil {
			t.Errorf("without time, level or message: %s", line)
		}
		if entry["node"] == uuid {
			named++
		}
	}
	if named == 0 {
		t.Errorf("no line names the node %s:\n%s", uuid, s.log)
	}
	for where, text := range map[string]string{"the log": s.log.String(), "the error": f.stderr, "what was shown": f.stdout,
		"billet node why": why} {
		if strings.Contains(text, secret) {
			t.Errorf("the secret is in %s:\n%s", where, text)
		}
	}
}

// What a process is told not to be, it is not: without the role api nobody answers, without conductor a verb is accepted and waits for a
// process that has it.
func TestRolesAreKeptApart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "--roles", "api")
	s.must("create", "n1", "--driver", "fake-hardware")
	s.must("manage", "n1")
	time.Sleep(500 * time.Millisecond)
	if got := s.show("n1")["provision_state"]; got != "verifying" {
		t.Errorf("without a conductor the node is %v", got)
	}
	if strings.Contains(s.log.String(), "conductor runs") {
		t.Errorf("a conductor runs:\n%s", s.log)
	}
	s.end(os.Interrupt)
	s = start(t, dir)
	s.must("watch", "n1", "--until-stable", "--timeout", "30s")
	if got := s.show("n1")["provision_state"]; got != "manageable" {
		t.Errorf("with a conductor the node is %v", got)
	}
}
