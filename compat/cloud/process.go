package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// service is a running process with a group of its own.
type service struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
}

// run starts a process; its output is log/NAME.log. An empty environment entry is none.
func (c *Cloud) run(name string, env []string, command string, args ...string) {
	c.t.Helper()
	if s := c.services[name]; s != nil && s.alive() {
		return
	}
	log, err := os.OpenFile(c.path("log", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(c.program(command), args...)
	cmd.Env = append(append(os.Environ(), "PATH="+filepath.Join(c.venv, "bin")+":"+os.Getenv("PATH"), "PYTHONWARNINGS=ignore"), env...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.write(strconv.Itoa(cmd.Process.Pid), "run", name+".pid")
	s := &service{name: name, cmd: cmd, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(s.done) }()
	c.services[name] = s
}

// program prefers the environment's commands.
func (c *Cloud) program(command string) string {
	if own := filepath.Join(c.venv, "bin", command); isFile(own) {
		return own
	}
	return command
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// once runs a preparation to its end.
func (c *Cloud) once(env []string, command string, args ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.program(command), args...)
	cmd.Env = append(append(os.Environ(), "PYTHONWARNINGS=ignore"), env...)
	cmd.Dir = c.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, tail(string(out)))
	}
}

func (s *service) alive() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

func (s *service) signal(sig syscall.Signal) { _ = syscall.Kill(-s.cmd.Process.Pid, sig) }

// Signal sends a signal to a service and its children: STOP makes it hang, KILL takes it away.
func (c *Cloud) Signal(name string, sig syscall.Signal) {
	c.t.Helper()
	s := c.services[name]
	if s == nil {
		c.t.Fatalf("no service %q runs", name)
	}
	s.signal(sig)
}

// Log is the end of a service's log.
func (c *Cloud) Log(name string) string {
	b, _ := os.ReadFile(c.path("log", name+".log"))
	return tail(string(b))
}

func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}

// stop ends all services, those first that others need least, and removes their files. Of a test that failed the files stay, or
// their logs do, in the folder that BILLET_TEST_KEEP names.
func (c *Cloud) stop(failed bool, say func(string, ...any)) {
	c.endDHCP()
	for _, sig := range []syscall.Signal{syscall.SIGCONT, syscall.SIGTERM} {
		for _, s := range c.services {
			s.signal(sig)
		}
	}
	late := time.After(15 * time.Second)
	for _, s := range c.services {
		select {
		case <-s.done:
		case <-late:
			s.signal(syscall.SIGKILL)
			<-s.done
		}
		s.signal(syscall.SIGKILL) // children that outlived it
	}
	c.endWires()
	_ = c.guard.Close()
	_ = c.claim.Close()
	if keep := os.Getenv("BILLET_TEST_KEEP"); failed && keep == "" {
		say("the services' files are left in %s", c.Dir)
		return
	} else if failed {
		to := filepath.Join(keep, filepath.Base(c.Dir))
		say("the services' logs are in %s (%v)", to, os.CopyFS(to, os.DirFS(c.path("log"))))
	}
	if err := os.RemoveAll(c.Dir); err != nil {
		say("the services' files are left: %v", err)
	}
}

// mourn ends what is left of a cloud in the folder $0 whose test was killed: the process groups in run/*.pid, dnsmasq and the
// namespace of each network, wires and taps of the switch, and its files but for the logs somebody wants.
const mourn = `cat >/dev/null; sleep 1; exec 2>/dev/null; cd "$0" || exit
for f in run/*.pid; do kill -9 "-$(cat "$f")"; done
for d in data/neutron/dhcp/*; do kill -9 "$(cat "$d/pid")"; ip netns del "qdhcp-${d##*/}"; done
for f in run/*.wire; do ip link del "$(basename "$f" .wire)"; done
[ ! -e run/vswitchd.pid ] || for l in br-int br-prov ovs-netdev; do ip link del "$l"; done
[ -z "$BILLET_TEST_KEEP" ] || { mkdir -p "$BILLET_TEST_KEEP"; cp -r log "$BILLET_TEST_KEEP/${0##*/}"; }
cd /; rm -rf "$0"`

// guard mourns a cloud when this process ends without having stopped it, however it ends: a shell waits for the end of a pipe
// that only this process holds.
func guard(t testing.TB, dir string) io.Closer {
	cmd := exec.Command("sh", "-c", mourn, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return closer(func() error {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = in.Close()
		_ = cmd.Wait()
		return nil
	})
}

type closer func() error

func (c closer) Close() error { return c() }

func asExit(err error, exit **exec.ExitError) bool { return errors.As(err, exit) }

// database makes databases for a user of theirs.
func (c *Cloud) database(names ...string) {
	c.t.Helper()
	for _, name := range names {
		c.sql(fmt.Sprintf("CREATE DATABASE %s CHARACTER SET utf8mb3; GRANT ALL ON %s.* TO cloud@'127.0.0.1' IDENTIFIED BY 'cloud'", name, name))
	}
}

func (c *Cloud) sql(statement string) {
	c.t.Helper()
	c.once(nil, "mariadb", "--no-defaults", "--socket="+c.path("run", "db.sock"), "-uroot", "-e", statement)
}
