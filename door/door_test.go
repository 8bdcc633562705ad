package door

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// exhausted is a child process with no file descriptor left; the test speaks to it over its pipes.
func exhausted() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	d := API(l, slog.New(slog.DiscardHandler))
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })}
	go srv.Serve(d)
	var all []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		all = append(all, f)
	}
	fmt.Println(l.Addr())
	_, _ = os.Stdin.Read(make([]byte, 1))
	for open := 1; open > 0; time.Sleep(time.Millisecond) { // a connection that ends late gives a descriptor back
		d.mu.Lock()
		open = d.open
		d.mu.Unlock()
	}
	d.spares.mu.Lock()
	d.spares.want = 0 // nor is there a spare one from now on
	d.spares.mu.Unlock()
	for err := error(nil); err == nil || d.spares.give(); {
		var f *os.File
		if f, err = os.Open(os.DevNull); err == nil {
			all = append(all, f)
		}
	}
	fmt.Println("none")
	_, _ = os.Stdin.Read(make([]byte, 1))
	for _, f := range all {
		_ = f.Close()
	}
	fmt.Println("free")
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

// A process whose every file descriptor is taken still lets people in at the API, by its reserve; without the reserve too
// it neither ends nor spins, and it answers when there are descriptors again.
func TestTheAPISurvivesWithoutFiles(t *testing.T) {
	if os.Getenv("BILLET_TEST_EXHAUSTED") != "" {
		exhausted()
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "ulimit -n 96; exec \"$0\" -test.run '^TestTheAPISurvivesWithoutFiles$'", self)
	cmd.Env = append(os.Environ(), "BILLET_TEST_EXHAUSTED=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	line := func() string {
		var b [1]byte
		var text []byte
		for {
			if _, err := out.Read(b[:]); err != nil {
				t.Fatalf("the child ended: %v %s", err, &errs)
			}
			if b[0] == '\n' {
				return string(text)
			}
			text = append(text, b[0])
		}
	}
	url := "http://" + line()
	get := func(wait time.Duration) error {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: wait}).Get(url)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	for try := range 10 {
		if err := get(30 * time.Second); err != nil {
			t.Fatalf("with a reserve, try %d: %v", try, err)
		}
	}
	_, _ = in.Write([]byte{1})
	line()
	cpu, began := cpuOf(t, cmd.Process.Pid), time.Now()
	if err := get(2 * time.Second); err == nil {
		t.Error("the child answered without a file descriptor: the test proves nothing")
	}
	if used, wall := cpuOf(t, cmd.Process.Pid)-cpu, time.Since(began); used > wall/2 {
		t.Errorf("%s of processor time in %s: it spins", used, wall)
	}
	_, _ = in.Write([]byte{1})
	line()
	if err := get(30 * time.Second); err != nil {
		t.Errorf("with files again: %v\n%s", err, &errs)
	}
}

// cpuOf is the processor time of a process: fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		t.Fatal(fields)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// One address does not have all places; those it may not have are reset at once, and its places are free when it leaves.
func TestOneAddressHasSoManyPlaces(t *testing.T) {
	d := newListener(loopback(t), 4, 2, nil)
	stop := through(t, d, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	ask := func(source string) (net.Conn, string) {
		conn, err := from(t, source, d.Addr().String())
		if errors.Is(err, syscall.ECONNRESET) { // refused before the dialer had looked
			return nil, err.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		b := make([]byte, 15)
		if _, err := io.ReadFull(conn, b); err != nil {
			return conn, err.Error()
		}
		return conn, string(b)
	}
	const ok = "HTTP/1.1 200 OK"
	a, said := ask("127.0.0.2")
	_, again := ask("127.0.0.2")
	if said != ok || again != ok {
		t.Errorf("the first two: %s, %s", said, again)
	}
	if _, said := ask("127.0.0.2"); said == ok {
		t.Error("a third of one address is answered")
	}
	if _, said := ask("127.0.0.3"); said != ok {
		t.Errorf("another address: %s", said)
	}
	a.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, said := ask("127.0.0.2"); said == ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of one that left is not free")
		}
	}
	stop()
	if d.open != 0 || len(d.sources) != 0 {
		t.Errorf("%d connections are counted at the end, of %v", d.open, d.sources)
	}
}

// Files reach the peer whole through a door, as files, in parts and as streams.
func TestAFileThroughADoor(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 5<<16)
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	d := newListener(loopback(t), 4, 4, nil)
	stop := through(t, d, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_, _ = io.Copy(w, bytes.NewReader(content))
			return
		}
		http.ServeFile(w, r, file)
	}))
	for _, tt := range []struct {
		path, ranges string
		want         []byte
	}{{"/", "", content}, {"/stream", "", content}, {"/", "bytes=100-2000100", content[100:2000101]}} {
		req, err := http.NewRequest("GET", "http://"+d.Addr().String()+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.ranges != "" {
			req.Header.Set("Range", tt.ranges)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || sha256.Sum256(got) != sha256.Sum256(tt.want) {
			t.Errorf("%s %s: %d bytes, %v", tt.path, tt.ranges, len(got), err)
		}
	}
	stop()
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// through serves h through a door until stop, which waits for the connections that are left.
func through(t *testing.T, d *Listener, h http.Handler) (stop func()) {
	t.Helper()
	srv := &http.Server{Handler: h}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(d) }()
	return func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}
}

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
