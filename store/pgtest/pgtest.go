// Package pgtest owns a PostgreSQL server for tests, started from the distribution's package.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL server for tests, made by hand from the distribution's package. It
// trusts everybody who reaches its socket, and does not survive a power cut: durability on
// PostgreSQL is PostgreSQL's.
type Server struct {
	Dir  string // its socket, and its data in Dir/data
	cmd  *exec.Cmd
	done chan error
	log  bytes.Buffer
	dbs  int
}

// Start makes a cluster and starts it. The error says what to install when there is no
// PostgreSQL. The caller calls Stop.
func Start() (_ *Server, err error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return nil, errors.New("PostgreSQL is not installed: run apt-get install postgresql")
	}
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "billet-postgres-")
	if err != nil {
		return nil, err
	}
	pg := &Server{Dir: dir, done: make(chan error, 1)}
	defer func() {
		if err != nil {
			_ = pg.Stop()
		}
	}()
	who, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	// The locale sorts as people do, not by bytes: lists must not depend on it.
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, &syscall.SysProcAttr{Credential: who}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	pg.cmd = exec.Command(filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-k", dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200")
	pg.cmd.Dir, pg.cmd.Stdout, pg.cmd.Stderr = dir, &pg.log, &pg.log
	pg.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGINT}
	started := make(chan error)
	go func() { // ended by Stop, which waits for done
		runtime.LockOSThread() // Pdeathsig is the death of this thread
		err := pg.cmd.Start()
		started <- err
		if err == nil {
			pg.done <- pg.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		pg.cmd = nil
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return pg, pg.waitReady()
}

// unprivileged gives dir to the user postgres when this is root, whom postgres refuses to serve.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("run apt-get install postgresql: %w", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, uid, gid)
}

func (pg *Server) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		err := pg.Exec(ctx, "postgres", "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case exit := <-pg.done:
			pg.done <- exit
			return fmt.Errorf("postgres ended: %w\n%s", exit, pg.log.String())
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop ends the server and removes its data.
func (pg *Server) Stop() error {
	var err error
	if pg.cmd != nil {
		err = pg.cmd.Process.Signal(syscall.SIGINT) // fast shutdown
		select {
		case <-pg.done:
		case <-time.After(20 * time.Second):
			err = errors.Join(err, pg.cmd.Process.Kill(), errors.New("postgres did not stop within 20 s"))
			<-pg.done
		}
	}
	return errors.Join(err, os.RemoveAll(pg.Dir))
}

// Exec runs one statement in a database.
func (pg *Server) Exec(ctx context.Context, database, statement string) error {
	conn, err := pgx.Connect(ctx, pg.url(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// Database makes an empty database and returns its URL.
func (pg *Server) Database(t testing.TB) string {
	t.Helper()
	pg.dbs++
	name := fmt.Sprintf("billet%d", pg.dbs)
	if err := pg.Exec(t.Context(), "postgres", "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return pg.url(name)
}

func (pg *Server) url(database string) string {
	return "postgres://postgres@/" + database + "?host=" + pg.Dir
}
