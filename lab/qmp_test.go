package lab

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeMonitor answers commands as QEMU does: answers maps a line received to lines to send.
func fakeMonitor(conn net.Conn, answers map[string]string, heard chan<- string) {
	fmt.Fprintln(conn, `{"QMP": {"version": {}, "capabilities": []}}`)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		heard <- lines.Text()
		for command, answer := range answers {
			if strings.Contains(lines.Text(), command) {
				fmt.Fprintln(conn, answer)
			}
		}
	}
}

func TestQMP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		heard := make(chan string, 10)
		go fakeMonitor(theirs, map[string]string{
			"qmp_capabilities": `{"return": {}}`,
			"system_reset":     `{"event": "RESET", "data": {"guest": false}}` + "\n" + `{"return": {}}`,
			"qom-set":          `{"error": {"class": "GenericError", "desc": "The bootindex 1 has already been used"}}`,
		}, heard)
		events := make(chan string, 10)
		q, err := newQMP(t.Context(), ours, func(name string) { events <- name })
		if err != nil {
			t.Fatal(err)
		}
		if err := q.run(t.Context(), "system_reset", nil); err != nil {
			t.Fatal(err)
		}
		if got := <-events; got != "RESET" {
			t.Errorf("the event is %q", got)
		}
		err = q.run(t.Context(), "qom-set", map[string]any{"path": "/machine/peripheral/nic0", "value": 1})
		if want := "QEMU refuses to qom-set: The bootindex 1 has already been used"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		start := time.Now()
		err = q.run(t.Context(), "stop", nil) // never answered
		if want := "asking QEMU to stop: context deadline exceeded"; err == nil || err.Error() != want || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %v, want %s after 10s", err, time.Since(start), want)
		}
		if err := q.run(t.Context(), "system_reset", nil); err != nil {
			t.Errorf("after a command that was given up: %v", err)
		}
		theirs.Close()
		synctest.Wait()
		err = q.run(t.Context(), "cont", nil)
		if err == nil {
			t.Error("a command to a QEMU that has gone went well")
		}
		q.close()
		close(heard)
		var all []string
		for line := range heard {
			all = append(all, line)
		}
		want := []string{
			`{"execute":"qmp_capabilities"}`,
			`{"execute":"system_reset"}`,
			`{"arguments":{"path":"/machine/peripheral/nic0","value":1},"execute":"qom-set"}`,
			`{"execute":"stop"}`,
			`{"execute":"system_reset"}`,
		}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("what QEMU was asked (-want +got):\n%s", diff)
		}
	})
}

func TestConsoles(t *testing.T) {
	var cs consoles
	a, b := cs.open(), cs.open()
	if n, err := a.Write([]byte("to a machine that is off")); n != 24 || err != nil {
		t.Errorf("typing to a machine that is off: %d, %v", n, err)
	}
	ours, machine := net.Pipe()
	ended := make(chan struct{})
	go func() {
		cs.carry(ours)
		close(ended)
	}()
	fmt.Fprint(machine, "SeaBIOS")
	for _, c := range []*console{a, b} {
		got := make([]byte, 3)
		if n, err := c.Read(got); n != 3 || err != nil || string(got) != "Sea" {
			t.Errorf("read %q, %v", got[:n], err)
		}
		rest := make([]byte, 100)
		if n, err := c.Read(rest); err != nil || string(rest[:n]) != "BIOS" {
			t.Errorf("then read %q, %v", rest[:n], err)
		}
	}
	typed := make(chan string)
	go func() {
		buf := make([]byte, 10)
		n, _ := machine.Read(buf)
		typed <- string(buf[:n])
	}()
	if _, err := b.Write([]byte("root\n")); err != nil {
		t.Fatal(err)
	}
	if got := <-typed; got != "root\n" {
		t.Errorf("the machine heard %q", got)
	}
	done := make(chan error)
	go func() {
		_, err := a.Read(make([]byte, 1))
		done <- err
	}()
	a.Close()
	a.Close() // twice is harmless
	if err := <-done; err == nil || err.Error() != "EOF" {
		t.Errorf("closing ends a read with %v, want EOF", err)
	}
	// A reader that does not read must not stop the machine.
	for range 1000 {
		fmt.Fprint(machine, "x")
	}
	machine.Close()
	<-ended
}
