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

// Stop ends all services, those first that others need least, and removes their files unless the test failed.
func (c *Cloud) Stop() {
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
	c.guard.Close()
	if c.t.Failed() {
		c.t.Logf("the services' files are left in %s", c.Dir)
		return
	}
	if err := os.RemoveAll(c.Dir); err != nil {
		c.t.Error(err)
	}
}

// guard kills the process groups that are noted in run/*.pid and removes the interfaces of run/*.wire when this process ends, however
// it ends: a shell waits for the end of a pipe that only this process holds. Neutron's DHCP servers have left their agent's group.
func guard(t testing.TB, run string) io.Closer {
	const script = `cat >/dev/null; sleep 20; exec 2>/dev/null; cd "$0" || exit
for f in *.pid; do kill -9 "-$(cat "$f")"; done
for d in ../data/neutron/dhcp/*/; do kill -9 "$(cat "$d/pid")" && ip netns del "qdhcp-$(basename "$d")"; done
for f in *.wire; do ip link del "$(basename "$f" .wire)"; done`
	cmd := exec.Command("sh", "-c", script, run)
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
