package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/wire"
)

// slowImage serves an image and stops in its middle until it is let go on.
type slowImage struct {
	*httptest.Server
	content []byte
	reached chan struct{} // closed once half of it was sent
	goOn    chan struct{}
	once    sync.Once
}

func newSlowImage(t *testing.T, content []byte) *slowImage {
	t.Helper()
	s := &slowImage{content: content, reached: make(chan struct{}), goOn: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *slowImage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Range") != "" { // tables and ends are read at once
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.content))
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(s.content)))
	half := len(s.content) / 2
	if _, err := w.Write(s.content[:half]); err != nil {
		return
	}
	w.(http.Flusher).Flush()
	s.once.Do(func() { close(s.reached) })
	select {
	case <-s.goOn:
	case <-r.Context().Done():
		return
	}
	_, _ = w.Write(s.content[half:]) // the agent says what it missed
}

func (s *slowImage) step() map[string]any {
	sum := sha256.Sum256(s.content)
	return map[string]any{
		"step": map[string]any{"interface": "deploy", "step": "write_image", "args": map[string]any{"image_info": wire.ImageInfo{
			ID: "slow", URLs: []string{s.URL}, DiskFormat: "raw", HashAlgo: "sha256", HashValue: hex.EncodeToString(sum[:])}}},
		"node": map[string]any{"uuid": testNode, "properties": map[string]any{"root_device": map[string]any{"serial": "disk-2"}}},
	}
}

// begin has the agent start writing and returns when half of the image was sent.
func (s *slowImage) begin(t *testing.T, c *conductor) {
	t.Helper()
	go func() { // its answer comes at the step's end, or never
		defer func() { _ = recover() }()
		quiet := *c
		quiet.t = discard{t}
		quiet.do("deploy.execute_deploy_step", s.step())
	}()
	receive(t, s.reached)
}

// discard drops what a call that is cut off would report.
type discard struct{ testing.TB }

func (discard) Helper()      {}
func (discard) Fatal(...any) { panic("the call was cut off") }

// waitForText returns when the file holds the text.
func waitForText(t *testing.T, file, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(text)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never held %q", file, text)
		}
	}
}

// An agent that dies in the middle of a write leaves a disk that cannot boot; the one started after
// it in the same boot has the same token, knows of no command, and writes the image whole.
func TestAgentDiesWhileWriting(t *testing.T) {
	s := newService(t)
	image := newSlowImage(t, startable("deadly. ", 12<<20))
	cfg := Config{
		APIURLs: []string{s.URL}, ListenHost: "127.0.0.1", Root: machineRoot(t), StateDir: filepath.Join(t.TempDir(), "state"),
		URLAllowed: loopback, LookupTimeout: time.Minute, LookupInterval: time.Millisecond, BootMAC: "52:54:00:00:00:01",
	}
	stop := runAgent(t, cfg, fakeMachine{did: make(chan string, 10)})
	first := receive(t, s.heartbeats)
	image.begin(t, conductorFor(t, first))
	waitForText(t, filepath.Join(cfg.Root, "dev/vdb"), "deadly. ") // what was sent has begun to reach the disk
	stop()
	half, err := os.ReadFile(filepath.Join(cfg.Root, "dev/vdb"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(half[:1<<20], make([]byte, 1<<20)) || !bytes.Equal(half[15<<20:], make([]byte, 1<<20)) {
		t.Error("the disk of a dead agent has something a firmware could boot")
	}
	if bytes.Count(half[1<<20:15<<20], []byte("deadly. ")) == 0 {
		t.Error("nothing was written yet: the test tests nothing")
	}
	close(image.goOn)
	runAgent(t, cfg, fakeMachine{did: make(chan string, 10)})
	second := receive(t, s.heartbeats)
	if second.AgentToken != first.AgentToken || second.AgentVerifyCA != first.AgentVerifyCA {
		t.Error("the service would refuse the second agent's heartbeats")
	}
	c := conductorFor(t, second)
	result := c.succeed("deploy.execute_deploy_step", image.step())
	if !strings.Contains(result, "image (slow) written to device /dev/vdb: 12582912 bytes of raw") {
		t.Error(result)
	}
	whole, err := os.ReadFile(filepath.Join(cfg.Root, "dev/vdb"))
	if err != nil || !bytes.Equal(whole[:len(image.content)], image.content) {
		t.Errorf("the second agent did not write the image whole (%v)", err)
	}
}

// While an image is written the agent is busy: a second write, an erase or a reboot is refused, and
// what runs goes on undisturbed.
func TestNothingRunsBesideAWrite(t *testing.T) {
	s := newService(t)
	image := newSlowImage(t, startable("careful ", 4<<20))
	cfg, m := startAgent(t, s, nil)
	c := conductorFor(t, receive(t, s.heartbeats))
	image.begin(t, c)
	for name, params := range map[string]any{
		"deploy.execute_deploy_step": image.step(),
		"clean.execute_clean_step":   map[string]any{"step": map[string]any{"step": "erase_devices", "interface": "deploy"}},
		"standby.run_image":          map[string]any{},
		"standby.power_off":          map[string]any{},
		"image.install_bootloader":   map[string]any{},
	} {
		if r := c.do(name, params); r.ID != "" {
			t.Errorf("%s was started: %+v", name, r)
		}
	}
	close(image.goOn)
	receive(t, s.heartbeats) // forced by the end of the command
	want := append(bytes.Clone(image.content), bytes.Repeat([]byte{0xa5}, 11<<20)...)
	if got, err := os.ReadFile(filepath.Join(cfg.Root, "dev/vdb")); err != nil || !bytes.Equal(got[:15<<20], want) {
		t.Errorf("the image was not written (%v)", err)
	}
	if len(m.did) > 0 {
		t.Errorf("the machine was told to %s", <-m.did)
	}
}
