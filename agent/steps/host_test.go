package steps

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/billet-metal/billet/agent/inventory"
	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/wire"
)

// put writes a file of a recorded machine.
func put(t testing.TB, root, path, text string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// addDisk adds a disk of some GiB to a recorded machine; its content is a hole.
func addDisk(t testing.TB, root, name, serial string, gib int64) {
	t.Helper()
	put(t, root, "sys/block/"+name+"/serial", serial)
	put(t, root, "sys/block/"+name+"/size", fmt.Sprint(gib<<30/512))
	put(t, root, "dev/"+name, "")
	if err := os.Truncate(filepath.Join(root, "dev", name), gib<<30); err != nil {
		t.Fatal(err)
	}
}

const testUUID = "11111111-2222-4333-8444-555555555555"

// twoDisks is a recorded machine with two disks, which are files.
func twoDisks(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for i, name := range []string{"vda", "vdb"} {
		size := (8 + 8*i) << 20
		put(t, root, "sys/block/"+name+"/size", fmt.Sprint(size/512))
		put(t, root, "sys/block/"+name+"/serial", fmt.Sprintf("disk-%d", i+1))
		put(t, root, "sys/block/"+name+"/queue/logical_block_size", "512")
		put(t, root, "dev/"+name, strings.Repeat("\xa5", size))
	}
	return root
}

// bootsOnBIOS is an image that a BIOS would start: its first sector ends as a boot sector does.
func bootsOnBIOS(text string, size int) []byte {
	b := bytes.Repeat([]byte(text), size/len(text))
	b[510], b[511] = 0x55, 0xaa
	return b
}

// machine has all steps of one machine, as the agent has them.
type machine struct {
	*Host
	*Eraser
	*RAID
	*Writer
	*BootLoader
}

// still are the steps of a recorded machine that no agent runs.
func still(root string, diskWait time.Duration) *machine {
	h := &Host{
		Root: root, DiskWait: diskWait, Log: slog.New(slog.DiscardHandler), KeepRAID: func(map[string]any) {},
		Inventory: inventory.Machine{Root: root},
	}
	arrays := &RAID{h}
	return &machine{h, &Eraser{h, arrays}, arrays, &Writer{h, http.DefaultClient}, &BootLoader{Host: h}}
}

// A controller that scans slowly must not make a data disk the root disk.
func TestTheRootDiskIsChosenWhenTheListHasSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		addDisk(t, root, "sda", "data", 4000)
		a := still(root, 30*time.Second)
		a.Look()
		time.AfterFunc(2*time.Second, func() { addDisk(t, root, "sdb", "system", 100) })
		start := time.Now()
		d, err := a.selectRoot(t.Context(), wire.Node{})
		if err != nil || d.Serial != "system" {
			t.Errorf("chose %s, %v", d.Serial, err)
		}
		if took := time.Since(start).Round(time.Second); took != 5*time.Second {
			t.Errorf("chose after %s; the list was settled for 3 s after 5 s", took)
		}
		start = time.Now()
		if _, err := a.selectRoot(t.Context(), wire.Node{}); err != nil || time.Since(start) > 0 {
			t.Errorf("a settled list was waited for: %s, %v", time.Since(start), err)
		}
	})
}

func TestAListThatNeverSettlesDoesNotStopADeploy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		addDisk(t, root, "sda", "system", 100)
		a := still(root, 10*time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for i := 0; Pause(ctx, time.Second) == nil; i++ {
				put(t, root, "sys/block/sdz/size", fmt.Sprint(20+i))
			}
		}()
		start := time.Now()
		d, err := a.selectRoot(t.Context(), wire.Node{})
		if err != nil || d.Serial != "system" || time.Since(start) > 11*time.Second {
			t.Errorf("chose %q after %s, %v", d.Serial, time.Since(start), err)
		}
		cancel()
		synctest.Wait()
	})
}

func TestTheRootDiskMayAppearLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		addDisk(t, root, "sda", "other", 100)
		a := still(root, time.Minute)
		time.AfterFunc(20*time.Second, func() { addDisk(t, root, "sdb", "wanted", 100) })
		n := wire.Node{Properties: map[string]any{"root_device": map[string]any{"serial": "wanted"}}}
		if d, err := a.selectRoot(t.Context(), n); err != nil || d.Name != "/dev/sdb" {
			t.Errorf("%+v, %v", d, err)
		}
		n.Properties = map[string]any{"root_device": map[string]any{"serial": "never"}}
		start := time.Now()
		_, err := a.selectRoot(t.Context(), n)
		if err == nil || !strings.Contains(err.Error(), "no disk matches the root device hints (serial: never)") ||
			time.Since(start) < rootDiskWait {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := a.selectRoot(ctx, n); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestRootHints(t *testing.T) {
	serial := func(s string) map[string]any { return map[string]any{"root_device": map[string]any{"serial": s}} }
	for _, tt := range []struct {
		name string
		node wire.Node
		want string
	}{
		{"none", wire.Node{}, "map[] <nil>"},
		{"the node's", wire.Node{Properties: serial("a")}, "map[serial:a] <nil>"},
		{"the instance's beat the node's", wire.Node{Properties: serial("a"), InstanceInfo: serial("b")}, "map[serial:b] <nil>"},
		{"empty ones are none", wire.Node{Properties: serial("a"), InstanceInfo: map[string]any{"root_device": map[string]any{}}},
			"map[serial:a] <nil>"},
		{"null is none", wire.Node{Properties: map[string]any{"root_device": nil}}, "map[] <nil>"},
		{"text", wire.Node{Properties: map[string]any{"root_device": "sda"}},
			`map[] root_device is a string; an object such as {"serial": "…"} is allowed`},
		{"a list at the instance", wire.Node{Properties: serial("a"), InstanceInfo: map[string]any{"root_device": []any{}}},
			`map[] root_device is a []interface {}; an object such as {"serial": "…"} is allowed`},
	} {
		hints, err := rootHints(tt.node)
		if got := fmt.Sprint(hints, " ", err); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Names move between the choice and the write: whatever tells the disks apart stops the write.
func TestADiskThatChangedIsNotOpened(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, root string)
		want   string
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"another serial", func(t *testing.T, root string) { put(t, root, "sys/block/sda/serial", "other") }, `but now it is serial "other"`},
		{"another model", func(t *testing.T, root string) { put(t, root, "sys/block/sda/device/model", "other") }, `model "other"`},
		{"another wwn", func(t *testing.T, root string) { put(t, root, "sys/block/sda/wwid", "naa.5000000000000001") },
			`wwn "0x5000000000000001"`},
		{"another device number", func(t *testing.T, root string) { put(t, root, "sys/block/sda/dev", "8:16") },
			"device 8:16: disks have moved, nothing was written"},
		{"another size", func(t *testing.T, root string) { put(t, root, "sys/block/sda/size", "4096") }, "2097152 bytes"},
		{"read-only by now", func(t *testing.T, root string) { put(t, root, "sys/block/sda/ro", "1") }, "disks have moved, nothing was written"},
		{"gone from the list", func(t *testing.T, root string) { os.RemoveAll(filepath.Join(root, "sys/block/sda")) },
			"/dev/sda has gone: nothing was written"},
		{"gone", func(t *testing.T, root string) { os.Remove(filepath.Join(root, "dev/sda")) }, "opening the disk"},
		{"the device has another size", func(t *testing.T, root string) { os.Truncate(filepath.Join(root, "dev/sda"), 1<<20) },
			"was chosen with 1073741824 bytes, but now has 1048576: nothing was written"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			addDisk(t, root, "sda", "one", 1)
			a := still(root, 0)
			chosen := a.Inventory.Disks()[0]
			tt.change(t, root)
			dev, err := a.openDisk(chosen)
			if err == nil {
				dev.Close()
			}
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// The reason of a write that failed says so when its disk is no longer there, or when its name is another's by now.
func TestWhereTheDiskIsAfterAFailure(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, root string)
		want   []string
	}{
		{"there", func(*testing.T, string) {}, nil},
		{"gone", func(t *testing.T, root string) { os.RemoveAll(filepath.Join(root, "sys/block/sda")) },
			[]string{", which has gone from the machine"}},
		{"another under its name", func(t *testing.T, root string) { put(t, root, "sys/block/sda/serial", "other") },
			[]string{`, which has gone from the machine and was serial "one"`, `/dev/sda is now serial "other"`, "nothing was written to that"}},
	} {
		root := t.TempDir()
		addDisk(t, root, "sda", "one", 1)
		addDisk(t, root, "sdb", "two", 1)
		a := still(root, 0)
		chosen := a.Inventory.Disks()[0]
		if chosen.MemberOf = "/dev/md1"; chosen.Serial != "one" { // an array that has been stopped since changes no disk
			t.Fatalf("%s: the first disk is %+v", tt.name, chosen)
		}
		tt.change(t, root)
		got := a.gone(chosen)
		if tt.want == nil && got != "" {
			t.Errorf("%s: %s", tt.name, got)
		}
		for _, words := range tt.want {
			if !strings.Contains(got, words) {
				t.Errorf("%s: %q does not say %q", tt.name, got, words)
			}
		}
	}
}

func skipping(hints ...any) wire.Node {
	return wire.Node{Properties: map[string]any{"skip_block_devices": hints}}
}

func noReport(string, int64, int64) {}

// What an operator protects with skip_block_devices is neither erased nor chosen.
func TestSkippedDisksAreLeftAlone(t *testing.T) {
	root := twoDisks(t)
	a := still(root, 0)
	c := Call{Node: skipping(map[string]any{"serial": "disk-2"}), Report: noReport}
	for name, erase := range map[string]func(context.Context, Call) (any, error){
		"metadata": a.eraseMetadata, "all": a.eraseDevices, "express": a.eraseExpress,
	} {
		got, err := erase(t.Context(), c)
		how := map[string]string{
			"metadata": "metadata overwritten with zeros, read back", "all": "overwritten with zeros, 64 samples read back",
			"express": "metadata overwritten with zeros, read back; not by discard: operation not supported",
		}[name]
		if err != nil || says(got) != `erased: /dev/vda (serial "disk-1", 8388608 bytes: `+how+"); left alone: /dev/vdb (skip_block_devices)" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	kept, err := os.ReadFile(filepath.Join(root, "dev/vdb"))
	if err != nil || !bytes.Equal(kept, bytes.Repeat([]byte{0xa5}, 16<<20)) {
		t.Errorf("the protected disk was changed (%v)", err)
	}
	c.Node.InstanceInfo = map[string]any{"root_device": map[string]any{"size": "< 1"}}
	if d, err := a.selectRoot(t.Context(), c.Node); err != nil || d.Name != "/dev/vda" {
		t.Errorf("chose %s, %v", d.Name, err)
	}
	c.Node.InstanceInfo = map[string]any{"root_device": map[string]any{"serial": "disk-2"}}
	if d, err := a.selectRoot(t.Context(), c.Node); err == nil {
		t.Errorf("chose %s, which is protected", d.Name)
	}
}

// A protection that cannot be understood stops everything.
func TestAnUnreadableProtectionErasesNothing(t *testing.T) {
	root := twoDisks(t)
	a := still(root, 0)
	c := Call{Node: skipping(map[string]any{"volume_name": "data"}), Report: noReport}
	for name, erase := range map[string]func(context.Context, Call) (any, error){
		"metadata": a.eraseMetadata, "all": a.eraseDevices, "express": a.eraseExpress,
	} {
		_, err := erase(t.Context(), c)
		if err == nil || !strings.HasPrefix(err.Error(),
			`nothing was erased: skip_block_devices: entry 1: root device hint "volume_name" is unknown`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.selectRoot(t.Context(), c.Node); err == nil {
		t.Error("a disk was chosen")
	}
	for _, name := range []string{"vda", "vdb"} {
		if kept, err := os.ReadFile(filepath.Join(root, "dev", name)); err != nil || bytes.Contains(kept, []byte{0}) {
			t.Errorf("%s was changed (%v)", name, err)
		}
	}
}

// A cleaning that saw no disk has not cleaned: the machine must not become available.
func TestCleaningWithoutADiskFails(t *testing.T) {
	a := still(t.TempDir(), 0)
	_, err := a.eraseMetadata(t.Context(), Call{Report: noReport})
	want := "no disk was found in this machine, so nothing was erased: is the storage driver in the ramdisk? A machine without " +
		"disks must not run this step"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// One disk that fails is no reason to keep the others' data, nor to call the machine clean.
func TestErasingGoesOnAfterAFailure(t *testing.T) {
	root := twoDisks(t)
	a := still(root, 0)
	if err := os.Truncate(filepath.Join(root, "dev/vda"), 1<<20); err != nil {
		t.Fatal(err)
	}
	_, err := a.eraseDevices(t.Context(), Call{Report: noReport})
	if err == nil || !strings.HasPrefix(err.Error(), "erasing: /dev/vda: /dev/vda was chosen with 8388608 bytes, but now has 1048576") {
		t.Error(err)
	}
	if rest, err := os.ReadFile(filepath.Join(root, "dev/vdb")); err != nil || !bytes.Equal(rest, make([]byte, 16<<20)) {
		t.Errorf("the other disk was not erased (%v)", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.eraseDevices(ctx, Call{Report: noReport}); !errors.Is(err, context.Canceled) {
		t.Errorf("an aborted erase ended with %v", err)
	}
}

// The boot loader is looked for on the disk that was written, not on what would be chosen now.
func TestTheDiskWrittenIsTheOneBooted(t *testing.T) {
	root := t.TempDir()
	addDisk(t, root, "sda", "written", 8)
	a := still(root, 0)
	written := a.Inventory.Disks()[0]
	a.Written = &written
	addDisk(t, root, "sdb", "smaller", 4)
	dev, _, err := a.RootDisk(t.Context())
	if err != nil || dev.Path() != filepath.Join(root, "dev/sda") {
		t.Fatalf("%v", err)
	}
	dev.Close()
	put(t, root, "sys/block/sda/serial", "swapped")
	if dev, _, err := a.RootDisk(t.Context()); err == nil {
		t.Errorf("opened %s though the disk was swapped", dev.Path())
	}
	a.Written = nil
	if dev, _, err = a.RootDisk(t.Context()); err != nil || dev.Path() != filepath.Join(root, "dev/sdb") {
		t.Fatalf("an agent that wrote nothing: %v", err)
	}
	dev.Close()
}

// The image goes to the root disk only; its neighbours keep every byte.
func TestWritingTouchesOneDisk(t *testing.T) {
	image := bootsOnBIOS("image content...", 3<<20)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(image))
	}))
	defer s.Close()
	sum := sha256.Sum256(image)
	root := twoDisks(t)
	a := still(root, 0)
	args := wire.ImageInfo{ID: "image", URLs: []string{s.URL + "/image"}, DiskFormat: "raw", HashAlgo: "sha256",
		HashValue: hex.EncodeToString(sum[:])}
	c := Call{Node: wire.Node{Properties: map[string]any{"root_device": map[string]any{"serial": "disk-1"}}}, Report: noReport}
	text, err := a.write(t.Context(), c, args, "")
	if err != nil || !strings.HasPrefix(text.(string), "image (image) written to device /dev/vda: 3145728 bytes of raw in ") {
		t.Fatal(text, err)
	}
	if a.Written == nil || a.Written.Name != "/dev/vda" {
		t.Errorf("written: %+v", a.Written)
	}
	if other, err := os.ReadFile(filepath.Join(root, "dev/vdb")); err != nil || !bytes.Equal(other, bytes.Repeat([]byte{0xa5}, 16<<20)) {
		t.Errorf("the other disk was changed (%v)", err)
	}
	dev, err := disk.Open(filepath.Join(root, "dev/vda"))
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	got := make([]byte, len(image))
	if _, err := dev.ReadAt(got, 0); err != nil || !bytes.Equal(got, image) {
		t.Errorf("the disk does not hold the image (%v)", err)
	}
	args.HashValue = strings.Repeat("0", 64)
	if _, err := a.write(t.Context(), c, args, ""); err == nil || a.Written != nil {
		t.Errorf("after a failed write %v is to be booted (%v)", a.Written, err)
	}
}

// The config drive of a write_image is the step's own, else the image's, else the one that came with the request for the node.
func TestWhichConfigDriveIsWritten(t *testing.T) {
	var asked string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // it has none: nothing is written
		asked = r.URL.Path
		w.WriteHeader(404)
	}))
	defer srv.Close()
	for _, tt := range []struct{ step, image, node, want string }{
		{"/step", "/image", "/node", "/step"}, {"", "/image", "/node", "/image"}, {"", "", "/node", "/node"}, {"/step", "", "", "/step"},
	} {
		url := func(path string) string {
			if path == "" {
				return ""
			}
			return srv.URL + path
		}
		args := Params{}
		for name, value := range map[string]any{
			"image_info": wire.ImageInfo{ID: "img", URLs: []string{srv.URL + "/img"}, HashAlgo: "sha256",
				HashValue: strings.Repeat("ab", 32), ConfigDrive: url(tt.image)}, "configdrive": url(tt.step),
		} {
			b, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			args[name] = b
		}
		root := twoDisks(t)
		a := still(root, 0)
		a.Images = srv.Client()
		a.seen = diskList{disks: a.Inventory.Disks(), since: time.Now().Add(-time.Minute)}
		asked = ""
		_, err := a.WriteImage(t.Context(), Call{Args: args, Report: noReport, Node: wire.Node{
			Properties: map[string]any{"root_device": map[string]any{"serial": "disk-2"}}, InstanceInfo: map[string]any{"configdrive": url(tt.node)},
		}})
		if err == nil || asked != tt.want {
			t.Errorf("%+v: asked for %q, %v", tt, asked, err)
		}
	}
}
