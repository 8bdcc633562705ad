package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/billet-metal/billet/agent/classic"
	"github.com/billet-metal/billet/boot/tftp/packet"
	"github.com/billet-metal/billet/disk/efi"
	"github.com/billet-metal/billet/iscsi"
)

func TestISCSIMode(t *testing.T) {
	c, err := NewConfig(ParseCommandLine("quiet ironic_api_url=http://192.0.2.1:6385 iscsi_target_iqn=iqn.x deployment_id=1 " +
		"deployment_key=2 boot_server=192.0.2.1 root_device=serial=a boot_option=local boot_mode=UEFI boot_method=vmedia"))
	want := &classic.Params{IQN: "iqn.x", DeploymentID: "1", Key: "2", BootServer: "192.0.2.1", RootDevice: "serial=a", BootOption: "local",
		BootMode: "uefi", Media: true}
	if err != nil || !reflect.DeepEqual(c.ISCSI, want) || !reflect.DeepEqual(c.APIURLs, []string{"http://192.0.2.1:6385"}) {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := NewConfig(ParseCommandLine("ipa-api-url=http://192.0.2.1:6385")); err != nil || c.ISCSI != nil {
		t.Errorf("%+v, %v", c.ISCSI, err)
	}
}

// tokenServer serves one small file by TFTP.
func tokenServer(t *testing.T, name, token string) string {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		buf := make([]byte, 600)
		for {
			n, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			if r, err := packet.ParseRequest(buf[:n]); err != nil || r.File != name {
				l.WriteTo(packet.NewError(packet.CodeNotFound, "no such file"), from)
				continue
			}
			data := make([]byte, 4, 4+len(token))
			packet.PutDataHeader(data, 1)
			l.WriteTo(append(data, token...), from)
		}
	})
	return l.LocalAddr().String()
}

// exporting is an agent in iSCSI mode with a service and a TFTP server around it.
type exporting struct {
	*Agent
	did    chan string
	mu     sync.Mutex
	bodies []string
	refuse []int // statuses of the first calls
}

func newExporting(t *testing.T, root string) *exporting {
	e := &exporting{did: make(chan string, 10)}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.bodies = append(e.bodies, fmt.Sprintf("%s %s %s", r.URL.Path, r.Header.Get("X-Auth-Token"), body))
		status := 202
		if len(e.refuse) > 0 {
			status, e.refuse = e.refuse[0], e.refuse[1:]
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(api.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	e.Agent = &Agent{
		Config: Config{
			APIURLs: []string{api.URL}, ListenHost: "127.0.0.1", Root: machineRoot(t), URLAllowed: loopback, LookupTimeout: time.Minute,
			LookupInterval: time.Millisecond, DonePort: port,
			ISCSI: &classic.Params{IQN: "iqn.x:y", DeploymentID: testNode, Key: "the-key",
				BootServer: tokenServer(t, "token-"+testNode, "the-token"),
				RootDevice: root},
		},
		Machine: fakeMachine{did: e.did}, Log: slog.New(slog.DiscardHandler),
		Export: func(x iscsi.Export) (func(context.Context) error, error) {
			if want := (&iscsi.CHAP{User: "conductor-" + testNode, Secret: "the-key", MutualUser: "ramdisk-" + testNode,
				MutualSecret: "the-token"}); !reflect.DeepEqual(x.CHAP, want) {
				t.Errorf("the target asks for %+v", x.CHAP)
			}
			e.did <- "export " + x.IQN + " " + x.Device[strings.LastIndex(x.Device, "/dev/"):]
			return func(context.Context) error { e.did <- "stop"; return nil }, nil
		},
	}
	return e
}

// run runs the agent until it ends or the test does.
func (e *exporting) run(t *testing.T) chan error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() { defer close(done); ended <- e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return ended
}

func (e *exporting) wantDid(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := receive(t, e.did); got != w {
			t.Fatalf("did %q, want %q", got, w)
		}
	}
}

// The disk is exported, the service told (again, when it is busy), "done" awaited, and the machine
// rebooted after the target has stopped; nothing else means done.
func TestExportsTheDisk(t *testing.T) {
	e := newExporting(t, "serial=disk-2")
	e.refuse = []int{409, 503}
	ended := e.run(t)
	e.wantDid(t, "export iqn.x:y /dev/vdb")
	e.say(t, "", "don", "done\n")
	e.wantDid(t, "stop", "reboot")
	if err := receive(t, ended); err != nil {
		t.Error(err)
	}
	want := "/v1/nodes/" + testNode + `/vendor_passthru/pass_deploy_info the-token {"address":"127.0.0.1","auth_method":"CHAP",` +
		`"boot_mode":"bios","error":"","iqn":"iqn.x:y","key":"the-key"}`
	if !reflect.DeepEqual(e.bodies, []string{want, want, want}) {
		t.Errorf("the service heard %q", e.bodies)
	}
}

// say connects to the agent's port once for each text.
func (e *exporting) say(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		var c net.Conn
		for {
			var err error
			if c, err = net.Dial("tcp", "127.0.0.1:"+e.Config.DonePort); err == nil {
				break
			}
			if errors.Is(t.Context().Err(), context.Canceled) {
				t.Fatal(err)
			}
		}
		io.WriteString(c, text)
		c.Close()
	}
}

// A UEFI machine gets a boot entry for the disk that was written, once the target has let go of it.
// One whose disk has no loader, whose firmware takes no entry, or that is a BIOS machine, reboots too.
func TestExportedDiskIsEnteredInFirmware(t *testing.T) {
	const loader = `\EFI\debian\grubx64.efi`
	for _, tt := range []struct {
		name   string
		uefi   bool
		loader bool
		stale  bool // entries of an earlier deployment are there
		vars   []string
		logs   string
	}{
		{"UEFI", true, true, false, []string{"Boot0000", "BootOrder"}, "boot entry Boot0000 starts "},
		{"UEFI, deployed before", true, true, true, []string{"Boot0000", "BootOrder"}, "boot entry Boot0000 starts "},
		{"no loader", true, false, false, nil, "no EFI system partition"},
		{"BIOS", false, true, false, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newExporting(t, "serial=disk-2")
			var logs LogBuffer
			e.Log = slog.New(slog.NewTextHandler(&logs, nil))
			vars := filepath.Join(e.Config.Root, "sys/firmware/efi/efivars")
			if tt.uefi {
				if err := os.MkdirAll(vars, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			rounds := 1
			if tt.stale {
				rounds = 2
			}
			for range rounds {
				ended := e.run(t)
				e.wantDid(t, "export iqn.x:y /dev/vdb")
				if tt.loader { // now the service writes
					diskWithLoader(t, filepath.Join(e.Config.Root, "dev/vdb"))
				}
				e.say(t, "done")
				e.wantDid(t, "stop", "reboot")
				if err := receive(t, ended); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			files, _ := os.ReadDir(vars)
			for _, f := range files {
				name, _, _ := strings.Cut(f.Name(), "-")
				got = append(got, name)
			}
			if !slices.Equal(got, tt.vars) {
				t.Errorf("the firmware has %q, want %q", got, tt.vars)
			}
			if said := string(logs.Bytes()); !strings.Contains(said, tt.logs) || tt.logs == "" && strings.Contains(said, "boot entry") {
				t.Errorf("it says %s", said)
			}
			if len(tt.vars) == 0 {
				return
			}
			raw, err := os.ReadFile(filepath.Join(vars, "Boot0000-8be4df61-93ca-11d2-aa0d-00e098032b8c"))
			if err != nil {
				t.Fatal(err)
			}
			o, err := efi.Decode(raw[4:])
			if err != nil || o.Path != loader || o.Partition.Number != 3 || o.Partition.Start != 4096 {
				t.Errorf("the entry is %+v, %v", o, err)
			}
		})
	}
}

// A machine without a fitting disk says so, and stays on to be looked at.
func TestTellsWhyNothingIsExported(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(e *exporting)
		says   string
	}{
		{"no disk", func(e *exporting) { e.Config.ISCSI.RootDevice = "serial=disk-9" }, "disk-9"},
		{"no name", func(e *exporting) { e.Config.ISCSI.IQN = "" }, "iscsi_target_iqn is empty"},
		{"no modules", func(e *exporting) {
			e.Export = func(iscsi.Export) (func(context.Context) error, error) { return nil, errors.New("no such device") }
		}, "no such device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newExporting(t, "serial=disk-1")
			tt.change(e)
			ended := e.run(t)
			deadline := time.Now().Add(20 * time.Second)
			for {
				e.mu.Lock()
				heard := strings.Join(e.bodies, "\n")
				e.mu.Unlock()
				if strings.Contains(heard, tt.says) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the service heard %q", heard)
				}
				time.Sleep(5 * time.Millisecond)
			}
			select {
			case err := <-ended:
				t.Errorf("it ended with %v", err)
			default:
			}
		})
	}
}

func TestRefusedCallEnds(t *testing.T) {
	e := newExporting(t, "serial=disk-1")
	e.refuse = []int{403}
	err := receive(t, e.run(t))
	if err == nil || !strings.Contains(err.Error(), "answered 403") || strings.Contains(err.Error(), "the-key") {
		t.Errorf("got %v", err)
	}
}
