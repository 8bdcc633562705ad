package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/door"
)

// from dials from a loopback address of its own.
func from(t *testing.T, source, address string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 20 * time.Second}
	conn, err := d.Dial("tcp", address)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func freeUDPPort(t *testing.T) string {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// The real service with few file descriptors: whoever takes all connections of the provisioning network, from many
// addresses, does not take the API's, nor all descriptors.
func TestMachinesDoNotTakeTheFilesOfTheAPI(t *testing.T) {
	dir, err := exec.LookPath("billet")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	const limit = 192
	script := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec %s \"$@\"\n", limit, dir)
	if err := os.WriteFile(filepath.Join(bin, "billet"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("PATH")
	t.Setenv("PATH", bin+":"+path)
	provision := freeAddress(t)
	_, port, err := net.SplitHostPort(provision)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, t.TempDir(), "--roles", "api,conductor,boot", "--provision-interface", "lo", "--provision-port", port,
		"--tftp-port", freeUDPPort(t), "--dhcp-mode", "off")
	t.Setenv("PATH", path)
	_, most := door.Shares(limit)
	var held sync.WaitGroup
	for i := range 2 * limit {
		held.Go(func() { // those that are not accepted stay with the kernel
			if conn, err := from(t, fmt.Sprintf("127.0.%d.%d", 1+i/200, 1+i%200), provision); err == nil {
				fmt.Fprint(conn, "GET /boot/x HTTP/1.1\r\n") // and never goes on
			}
		})
	}
	held.Wait()
	files := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	for deadline := time.Now().Add(20 * time.Second); files() < most && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	for try := range 20 {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 25 * time.Second}).Get(s.url + "/v1/nodes")
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("try %d: %v %v", try, resp, err)
		}
		resp.Body.Close()
	}
	if n := files(); n > most+limit/3 {
		t.Errorf("%d files are open of %d; the machines may have %d", n, limit, most)
	}
	if strings.Contains(s.log.String(), "too many open files") {
		t.Errorf("the log says:\n%s", s.log)
	}
}
