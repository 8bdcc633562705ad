package steps

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/billet-metal/billet/disk/disktest"
	"github.com/billet-metal/billet/wire"
)

// md plays the kernel and mdadm on a recorded machine whose disks are files: it shows the partitions
// that the disks' tables have, and makes, starts and stops arrays, whose superblocks are on the disks.
// What is written to an array goes to a file of its own.
type md struct {
	t     *testing.T
	root  string
	calls []string
	fail  string // the call that begins so fails
}

// raidMachine is an agent on a machine with so many disks of 4 GiB: vda, vdb, …
func raidMachine(t *testing.T, disks int) (*machine, *md) {
	t.Helper()
	root := t.TempDir()
	for i := range disks {
		addDisk(t, root, "vd"+string(rune('a'+i)), fmt.Sprintf("disk-%d", i+1), 4)
	}
	k := &md{t: t, root: root}
	a := still(root, 0)
	a.MDADM.Run = k.run
	return a, k
}

func (k *md) path(elem ...string) string { return filepath.Join(append([]string{k.root}, elem...)...) }

func (k *md) check(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

// part is one entry of a GUID partition table, in sectors.
type part struct{ number, first, count int64 }

func (k *md) table(disk string) (parts []part) {
	f, err := os.Open(k.path("dev", disk))
	k.check(err)
	defer f.Close()
	b := make([]byte, 34*512)
	_, err = f.ReadAt(b, 0)
	k.check(err)
	if string(b[512:520]) != "EFI PART" {
		return nil
	}
	for i := range int64(128) {
		e := b[1024+128*i:][:128]
		if first, last := int64(binary.LittleEndian.Uint64(e[32:])), int64(binary.LittleEndian.Uint64(e[40:])); first > 0 {
			parts = append(parts, part{i + 1, first, last - first + 1})
		}
	}
	return parts
}

func (k *md) disks() []string {
	all, err := filepath.Glob(k.path("sys/block/vd*"))
	k.check(err)
	for i := range all {
		all[i] = filepath.Base(all[i])
	}
	return all
}

// look shows the disks' partitions as they are now, with what is at their ends.
func (k *md) look() {
	k.t.Helper()
	for _, d := range k.disks() {
		old, _ := filepath.Glob(k.path("sys/block", d, d+"*"))
		var names []string
		for _, p := range k.table(d) {
			name := fmt.Sprintf("%s%d", d, p.number)
			names = append(names, name)
			put(k.t, k.root, "sys/block/"+d+"/"+name+"/partition", fmt.Sprint(p.number))
			put(k.t, k.root, "sys/block/"+d+"/"+name+"/size", fmt.Sprint(p.count))
			put(k.t, k.root, "sys/class/block/"+name+"/size", fmt.Sprint(p.count))
			put(k.t, k.root, "dev/"+name, "")
			k.check(os.Truncate(k.path("dev", name), p.count*512))
			k.copy(name, 0, d, p.first*512, 64<<10)
			k.copy(name, p.count*512-64<<10, d, (p.first+p.count)*512-64<<10, 64<<10)
		}
		put(k.t, k.root, "sys/class/block/"+d+"/size", fmt.Sprint(4<<30/512))
		for _, path := range old {
			if name := filepath.Base(path); !slices.Contains(names, name) {
				k.check(errors.Join(os.RemoveAll(path), os.RemoveAll(k.path("sys/class/block", name)), os.RemoveAll(k.path("dev", name))))
			}
		}
	}
}

func (k *md) copy(to string, toAt int64, from string, fromAt, n int64) {
	b := make([]byte, n)
	f, err := os.Open(k.path("dev", from))
	k.check(err)
	_, err = f.ReadAt(b, fromAt)
	k.check(errors.Join(err, f.Close()))
	w, err := os.OpenFile(k.path("dev", to), os.O_WRONLY, 0)
	k.check(err)
	_, err = w.WriteAt(b, toAt)
	k.check(errors.Join(err, w.Close()))
}

var memberName = regexp.MustCompile(`^/dev/(vd.)(\d+)$`)

func (k *md) run(_ context.Context, args ...string) (string, error) {
	k.calls = append(k.calls, strings.Join(args, " "))
	if k.fail != "" && strings.HasPrefix(strings.Join(args, " "), k.fail) {
		return "mdadm: no", errors.New("exit status 1")
	}
	k.look()
	flags, members := map[string]string{}, []string{}
	for _, a := range args[2:] {
		name, value, _ := strings.Cut(a, "=")
		if strings.HasPrefix(a, "--") {
			flags[name] = value
		} else {
			members = append(members, a)
		}
	}
	node := strings.TrimPrefix(args[1], "/dev/")
	switch args[0] {
	case "--create":
		for _, m := range members {
			k.superblock(m, flags)
		}
		k.look()
		k.show(node, flags["--level"], members)
	case "--assemble":
		k.show(node, "1", members)
	case "--stop":
		k.hide(node)
	}
	return "", nil
}

// superblock writes one of version 1.0 to the end of a member.
func (k *md) superblock(member string, flags map[string]string) {
	m := memberName.FindStringSubmatch(member)
	for _, p := range k.table(m[1]) {
		if fmt.Sprint(p.number) != m[2] {
			continue
		}
		at := (p.count - 16) / 8 * 8
		b := make([]byte, 256)
		binary.LittleEndian.PutUint32(b, 0xa92b4efc)
		binary.LittleEndian.PutUint32(b[4:], 1)
		uuid, err := hex.DecodeString(strings.ReplaceAll(flags["--uuid"], ":", ""))
		k.check(err)
		copy(b[16:], uuid)
		binary.LittleEndian.PutUint64(b[144:], uint64(at))
		f, err := os.OpenFile(k.path("dev", m[1]), os.O_WRONLY, 0)
		k.check(err)
		_, err = f.WriteAt(b, (p.first+at)*512)
		k.check(errors.Join(err, f.Close()))
		return
	}
	k.t.Fatalf("mdadm is to use %s, which is not there", member)
}

// show makes an array run.
func (k *md) show(node, level string, members []string) {
	dir := "sys/block/" + node
	var size int64
	for _, m := range members {
		b, err := os.ReadFile(k.path("sys/class/block", strings.TrimPrefix(m, "/dev/"), "size"))
		k.check(err)
		var n int64
		fmt.Sscan(string(b), &n)
		if n -= 2048; level == "0" {
			size += n
		} else {
			size = n
		}
		name := strings.TrimPrefix(m, "/dev/")
		k.check(os.MkdirAll(k.path(dir, "slaves", name), 0o755))
		k.check(os.MkdirAll(k.path("sys/block", name[:3], name, "holders", node), 0o755))
	}
	put(k.t, k.root, dir+"/md/array_state", "clean")
	put(k.t, k.root, dir+"/md/level", "raid"+level)
	put(k.t, k.root, dir+"/size", fmt.Sprint(size))
	put(k.t, k.root, dir+"/queue/logical_block_size", "512")
	if _, err := os.Stat(k.path("dev", node)); err != nil {
		put(k.t, k.root, "dev/"+node, "")
	}
	k.check(os.Truncate(k.path("dev", node), size*512))
}

func (k *md) hide(node string) {
	holders, _ := filepath.Glob(k.path("sys/block/vd*/vd*/holders", node))
	for _, h := range holders {
		k.check(os.RemoveAll(h))
	}
	k.check(os.RemoveAll(k.path("sys/block", node)))
}

// said returns the calls since it was asked last, without UUIDs and flags.
func (k *md) said() string {
	var lines []string
	for _, c := range k.calls {
		var words []string
		for w := range strings.FieldsSeq(c) {
			if !strings.HasPrefix(w, "--") || w == "--create" || w == "--assemble" || w == "--stop" || strings.HasPrefix(w, "--level") {
				words = append(words, strings.TrimPrefix(w, "/dev/"))
			}
		}
		lines = append(lines, strings.Join(words, " "))
	}
	k.calls = nil
	return strings.Join(lines, "; ")
}

// state is what the disks' beginnings, ends and tables are: equal when nothing was written there.
func (k *md) state() string {
	out := ""
	for _, d := range k.disks() {
		f, err := os.Open(k.path("dev", d))
		k.check(err)
		for _, at := range []int64{0, 2 << 20, 4<<30 - 1<<20} {
			b := make([]byte, 1<<20)
			_, err := f.ReadAt(b, at)
			k.check(err)
			out += fmt.Sprintf("%s@%d:%d ", d, at, len(bytes.Trim(b, "\x00")))
		}
		k.check(f.Close())
	}
	return out
}

// write puts a text somewhere on a disk, or an array.
func (k *md) write(disk string, at int64, text string) {
	f, err := os.OpenFile(k.path("dev", disk), os.O_WRONLY, 0)
	k.check(err)
	_, err = f.WriteAt([]byte(text), at)
	k.check(errors.Join(err, f.Close()))
}

func (k *md) read(disk string, at int64, n int) string {
	f, err := os.Open(k.path("dev", disk))
	k.check(err)
	defer f.Close()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		k.t.Fatal(err)
	}
	return string(b)
}

// asked is a call of a step about a node; every report makes the kernel look.
func (k *md) asked(n wire.Node, args string) Call {
	var p Params
	if args != "" {
		k.check(json.Unmarshal([]byte(args), &p))
	}
	return Call{Node: n, Args: p, Report: func(string, int64, int64) { k.look() }, Disks: func(string, []wire.DiskProgress) { k.look() }}
}

func target(t testing.TB, disks string) wire.Node {
	t.Helper()
	n := wire.Node{UUID: testUUID}
	if err := json.Unmarshal([]byte(`{"logical_disks":[`+disks+`]}`), &n.TargetRAIDConfig); err != nil {
		t.Fatal(err)
	}
	return n
}

const (
	oneMirror = `{"size_gb":2,"raid_level":"1","controller":"software","volume_name":"root"}`
	restAs0   = `{"size_gb":"MAX","raid_level":"0","controller":"software"}`
)

// built creates a configuration and returns the node as the service would have it then.
func (k *md) built(a *machine, disks string) wire.Node {
	k.t.Helper()
	n := target(k.t, disks)
	result, err := a.createRAID(k.t.Context(), k.asked(n, ""))
	k.check(err)
	text, err := json.Marshal(result)
	k.check(err)
	n.RAIDConfig = nil
	k.check(json.Unmarshal(text, &n.RAIDConfig))
	k.said()
	return n
}

// Disks of one model differ by less than a MiB now and then: the partitions, and the second table behind them, fit the
// smaller one, whichever it is.
func TestRAIDOfAlmostEqualDisks(t *testing.T) {
	const larger = 5 << 30
	const smaller = larger - (1<<20 - 512)
	for _, small := range []string{"vda", "vdb"} {
		a, k := raidMachine(t, 2)
		for _, d := range []string{"vda", "vdb"} {
			size := int64(larger)
			if d == small {
				size = smaller
			}
			k.check(os.Truncate(k.path("dev", d), size))
			put(t, k.root, "sys/block/"+d+"/size", fmt.Sprint(size/512))
		}
		k.built(a, restAs0)
		for _, p := range k.table("vda") {
			if end := (p.first + p.count) * 512; end > smaller-33*512 {
				t.Errorf("%s is smaller: partition %d ends at %d, where the second table of a disk of %d bytes is", small, p.number, end, smaller)
			}
		}
	}
}

func TestCreateRAID(t *testing.T) {
	a, k := raidMachine(t, 2)
	var loaded []string
	a.LoadModule = func(name string) { loaded = append(loaded, name) }
	result, err := a.createRAID(t.Context(), k.asked(target(t, oneMirror+","+restAs0), ""))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(result)
	k.check(err)
	got := regexp.MustCompile(`[0-9a-f]{8}(:[0-9a-f]{8}){3}`).ReplaceAllString(string(text), "UUID")
	want := `{"logical_disks":[` +
		`{"controller":"software","is_root_volume":true,"members":["/dev/vda (serial disk-1)","/dev/vdb (serial disk-2)"],` +
		`"raid_level":"1","size_gb":2,"uuid":"UUID","volume_name":"root"},` +
		`{"controller":"software","is_root_volume":false,"members":["/dev/vda (serial disk-1)","/dev/vdb (serial disk-2)"],` +
		`"raid_level":"0","size_gb":2,"uuid":"UUID","volume_name":"1"}]}`
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got, want := k.said(), "--create md0 --level=1 vda3 vdb3; --create md1 --level=0 vda4 vdb4"; got != want {
		t.Errorf("mdadm was called\n%s\nwant\n%s", got, want)
	}
	if !slices.Contains(loaded, "raid1") || !slices.Contains(loaded, "raid0") {
		t.Errorf("modules loaded: %v", loaded)
	}
	for _, d := range []string{"vda", "vdb"} {
		out, err := exec.Command("sfdisk", "--dump", k.path("dev", d)).Output()
		if err != nil {
			t.Fatalf("sfdisk: %v (apt-get install fdisk)", err)
		}
		for _, line := range []string{
			`1 : start=        2048, size=        2048, type=21686148-6449-6E6F-744E-656564454649`,
			`2 : start=        4096, size=     1126400, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B`,
			`3 : start=     1130496, size=     4196352, type=A19D880F-05FC-4D3B-A006-743F0F84911E`,
			`4 : start=     5326848, size=     3059712, type=A19D880F-05FC-4D3B-A006-743F0F84911E`,
		} {
			if !strings.Contains(string(out), line) {
				t.Errorf("%s has no line %s:\n%s", d, line, out)
			}
		}
	}
	// Arrays stand in the list of disks, their members are not for images.
	var seen []string
	for _, d := range a.Inventory.Disks() {
		seen = append(seen, fmt.Sprintf("%s %s %q in %q", d.Name, d.Model, d.RAID, d.MemberOf))
	}
	if got, want := strings.Join(seen, "; "),
		`/dev/md0 Software RAID 1 "raid1" in ""; /dev/md1 Software RAID 0 "raid0" in ""; `+
			`/dev/vda  "" in "/dev/md0, /dev/md1"; /dev/vdb  "" in "/dev/md0, /dev/md1"`; got != want {
		t.Errorf("disks:\n%s\nwant\n%s", got, want)
	}
}

// What is refused leaves every byte of every disk alone.
func TestCreateRAIDRefuses(t *testing.T) {
	gpt := func(k *md) {
		if out, err := exec.Command("sgdisk", "--new=1:2048:4095", k.path("dev/vdb")).CombinedOutput(); err != nil {
			k.t.Fatalf("sgdisk: %v: %s (apt-get install gdisk)", err, out)
		}
	}
	for _, tt := range []struct {
		name, disks, args string
		have              int
		prepare           func(k *md, n *wire.Node)
		want              string
	}{
		{"no target", "", "", 2, func(_ *md, n *wire.Node) { n.TargetRAIDConfig = nil },
			"the node has no target_raid_config: set what is to be created first"},
		{"a bad target", `{"size_gb":2,"raid_level":"5","controller":"software"}`, "", 2, nil, `raid_level "5" is not supported`},
		{"one disk", oneMirror, "", 1, nil,
			"nothing was touched: software RAID needs at least 2 disks, but this machine has 1 that can be taken without physical_disks"},
		{"no disk", oneMirror, "", 0, nil, "but this machine has 0 that can be taken"},
		{"a partitioned disk", oneMirror, "", 2, func(k *md, _ *wire.Node) { gpt(k) },
			"nothing was touched: /dev/vdb (serial disk-2) holds a partition table with 1 partitions: run the clean step " +
				"deploy.erase_devices_metadata first"},
		{"a file system", oneMirror, "", 2, func(k *md, _ *wire.Node) { k.write("vda", 0x438, "\x53\xef") },
			"nothing was touched: /dev/vda (serial disk-1) holds a file system or volume (ext4)"},
		{"too large", `{"size_gb":4,"raid_level":"1","controller":"software"}`, "", 2, nil,
			"nothing was touched: the logical disks need 4296015872 bytes of each member disk"},
		{"a protected disk", oneMirror, "", 2, func(_ *md, n *wire.Node) {
			n.Properties = map[string]any{"skip_block_devices": []any{map[string]any{"serial": "disk-2"}}}
		}, "nothing was touched: software RAID needs at least 2 disks, but this machine has 1"},
		{"a read-only disk", oneMirror, "", 2, func(k *md, _ *wire.Node) { put(k.t, k.root, "sys/block/vdb/ro", "1") },
			"/dev/vdb, 4.0 GiB, serial disk-2: read-only"},
		{"disks that are not there", `{"size_gb":2,"raid_level":"1","controller":"software","physical_disks":[{"serial":"disk-1"},` +
			`{"serial":"disk-9"}]}`, "", 2, nil,
			`nothing was touched: physical_disks[1]: no disk matches the root device hints (serial: disk-9); disks seen: /dev/vda, 4.0 ` +
				`GiB, serial disk-1: it is taken by another entry; /dev/vdb, 4.0 GiB, serial disk-2: its serial is "disk-2"`},
		{"an unknown hint", `{"size_gb":2,"raid_level":"1","controller":"software","physical_disks":[{"colour":"red"},` +
			`{"serial":"disk-1"}]}`, "", 2, nil, `physical_disks[0]: root device hint "colour" is unknown`},
		{"unlike sectors", oneMirror, "", 2,
			func(k *md, _ *wire.Node) { put(k.t, k.root, "sys/block/vda/queue/logical_block_size", "4096") },
			"have the same; choose them with physical_disks"},
		{"a bad argument", oneMirror, `{"delete_existing":"perhaps"}`, 2, nil, "Parameter delete_existing is not what is expected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, k := raidMachine(t, tt.have)
			n := target(t, tt.disks)
			if tt.prepare != nil {
				tt.prepare(k, &n)
			}
			k.look()
			before := k.state()
			_, err := a.createRAID(t.Context(), k.asked(n, tt.args))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if after := k.state(); after != before {
				t.Errorf("the disks were changed:\n%s\nwere\n%s", after, before)
			}
			if said := k.said(); said != "" {
				t.Errorf("mdadm was called: %s", said)
			}
		})
	}
}

// A second creation is refused unless what is there is deleted; then the disks are free.
func TestCreateRAIDAgain(t *testing.T) {
	a, k := raidMachine(t, 2)
	n := k.built(a, oneMirror)
	first := n.RAIDConfig["logical_disks"].([]any)[0].(map[string]any)["uuid"]
	before := k.state()
	_, err := a.createRAID(t.Context(), k.asked(n, ""))
	if err == nil || !strings.Contains(err.Error(), "the node has software RAID already, as its raid_config says") || k.state() != before {
		t.Errorf("%v", err)
	}
	// The service may have forgotten it: the disks have not.
	a.LearnRAID(wire.Node{RAIDConfig: map[string]any{}})
	_, err = a.createRAID(t.Context(), k.asked(n, `{"delete_existing":false}`))
	if err == nil || !strings.Contains(err.Error(), "/dev/vda (serial disk-1) is in use") &&
		!strings.Contains(err.Error(), "nothing was touched") || k.state() != before {
		t.Errorf("%v", err)
	}
	result, err := a.createRAID(t.Context(), k.asked(n, `{"delete_existing":true}`))
	if err != nil {
		t.Fatal(err)
	}
	second := result.(map[string]any)["logical_disks"].([]any)[0].(map[string]any)["uuid"]
	if first == second {
		t.Errorf("the new array has the old one's UUID %s", first)
	}
	if got, want := k.said(), "--stop md0; --create md0 --level=1 vda3 vdb3"; got != want {
		t.Errorf("mdadm was called %s, want %s", got, want)
	}
}

// The deploy step deletes what is there without being told to.
func TestApplyRAID(t *testing.T) {
	a, k := raidMachine(t, 3)
	k.built(a, oneMirror)
	result, err := a.applyRAID(t.Context(),
		k.asked(wire.Node{UUID: testUUID},
			`{"raid_config":{"logical_disks":[{"size_gb":"MAX","raid_level":"0","controller":"software",`+
				`"physical_disks":[{"serial":"disk-2"},{"serial":"disk-3"}]}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := k.said(), "--stop md0; --create md0 --level=0 vdb3 vdc3"; got != want {
		t.Errorf("mdadm was called %s, want %s", got, want)
	}
	if d := result.(map[string]any)["logical_disks"].([]any)[0].(map[string]any); d["size_gb"] != 6 || d["is_root_volume"] != true {
		t.Errorf("%v", d)
	}
	for args, want := range map[string]string{`{}`: "the argument raid_config is missing",
		`{"raid_config":[]}`: "Parameter raid_config is not what is expected", `{"raid_config":{"x":1}}`: `the key "x" is unknown`} {
		if _, err := a.applyRAID(t.Context(), k.asked(wire.Node{}, args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// When mdadm fails in the middle, the disks are blank again: the step can be run again.
func TestFailedRAIDLeavesBlankDisks(t *testing.T) {
	a, k := raidMachine(t, 2)
	k.fail = "--create /dev/md1"
	_, err := a.createRAID(t.Context(), k.asked(target(t, oneMirror+","+restAs0), ""))
	if err == nil || err.Error() != "making the array 1 (RAID 0) of /dev/vda4 and /dev/vdb4: mdadm: exit status 1: mdadm: no" {
		t.Error(err)
	}
	if got, want := k.said(), "--create md0 --level=1 vda3 vdb3; --create md1 --level=0 vda4 vdb4; --stop md0"; got != want {
		t.Errorf("mdadm was called %s, want %s", got, want)
	}
	k.look()
	k.fail = ""
	if _, err := a.createRAID(t.Context(), k.asked(target(t, oneMirror+","+restAs0), "")); err != nil {
		t.Errorf("a second try: %v", err)
	}
}

func TestDeleteRAID(t *testing.T) {
	a, k := raidMachine(t, 3)
	k.write("vdc", 5<<20, "somebody's data")
	n := k.built(a, `{"size_gb":2,"raid_level":"1","controller":"software","physical_disks":[{"serial":"disk-1"},{"serial":"disk-2"}]}`)
	k.write("vdc", 0x438, "\x53\xef")
	got, err := a.deleteRAID(t.Context(), k.asked(n, ""))
	if want := "software RAID deleted from /dev/vda (serial disk-1), /dev/vdb (serial disk-2)"; err != nil || got != want {
		t.Errorf("%v, %v; want %s", got, err, want)
	}
	k.look()
	for _, d := range []string{"vda", "vdb"} {
		if k.table(d) != nil || strings.Trim(k.read(d, 0, 1<<20), "\x00") != "" {
			t.Errorf("%s has still a partition table", d)
		}
	}
	if k.read("vdc", 0x438, 2) != "\x53\xef" || k.read("vdc", 5<<20, 15) != "somebody's data" {
		t.Error("a disk without RAID was touched")
	}
	if got, err := a.deleteRAID(t.Context(), k.asked(n, "")); err != nil || got != "no disk held a part of an array" {
		t.Errorf("a second time: %v, %v", got, err)
	}
}

// An array that is on a protected disk as well is not deleted by half.
func TestDeleteRAIDLeavesProtectedArrays(t *testing.T) {
	a, k := raidMachine(t, 2)
	n := k.built(a, oneMirror)
	n.Properties = map[string]any{"skip_block_devices": []any{map[string]any{"serial": "disk-2"}}}
	before := k.state()
	_, err := a.deleteRAID(t.Context(), k.asked(n, ""))
	if err == nil || !strings.Contains(err.Error(), "nothing was deleted: /dev/vda (serial disk-1) holds a part of the array ") ||
		!strings.Contains(err.Error(), "another part is on a disk that is to be left alone (/dev/vdb (serial disk-2), skip_block_devices)") {
		t.Error(err)
	}
	if k.state() != before {
		t.Error("the disks were changed")
	}
	k.fail = "--stop"
	k.show("md0", "1", []string{"/dev/vda3", "/dev/vdb3"})
	if _, err := a.deleteRAID(t.Context(), k.asked(wire.Node{}, "")); err == nil ||
		!strings.Contains(err.Error(), "nothing was deleted: stopping the array /dev/md0") || k.state() != before {
		t.Errorf("an array that does not stop: %v", err)
	}
}

// The ramdisk of a deploy starts the node's arrays and puts the image on the root volume.
func TestRootDiskIsTheRootVolume(t *testing.T) {
	a, k := raidMachine(t, 3)
	n := k.built(a, restAs0+`,{"size_gb":1,"raid_level":"1","controller":"software","volume_name":"os","is_root_volume":true}`)
	for node := range map[string]bool{"md0": true, "md1": true} { // the machine was started anew
		k.hide(node)
	}
	fresh := still(k.root, 0)
	fresh.MDADM.Run = k.run
	fresh.LearnRAID(n)
	d, err := fresh.selectRoot(t.Context(), n)
	if err != nil || d.Name != "/dev/md1" || d.RAID != "raid1" {
		t.Errorf("%+v, %v", d, err)
	}
	if got, want := k.said(), "--assemble md0 vda3 vdb3 vdc3; --assemble md1 vda4 vdb4 vdc4"; got != want {
		t.Errorf("mdadm was called %s, want %s", got, want)
	}
	if again, err := fresh.selectRoot(t.Context(), wire.Node{}); err != nil || again != d || k.said() != "" {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	// Hints choose among arrays; a member is no root disk even when it is named.
	first := n.RAIDConfig["logical_disks"].([]any)[0].(map[string]any)["uuid"]
	n.Properties = map[string]any{"root_device": map[string]any{"serial": first}}
	if d, err := fresh.selectRoot(t.Context(), n); err != nil || d.Name != "/dev/md0" {
		t.Errorf("by its UUID: %+v, %v", d, err)
	}
	n.Properties = map[string]any{"root_device": map[string]any{"serial": "disk-1"}}
	if d, err := fresh.selectRoot(t.Context(), n); err == nil ||
		!strings.Contains(err.Error(), "/dev/vda, 4.0 GiB, serial disk-1: part of the software RAID /dev/md0, /dev/md1") {
		t.Errorf("a member by its serial number: %+v, %v", d, err)
	}
}

// A node with RAID whose arrays are not there must not get its image on a member.
func TestMissingArraysStopADeploy(t *testing.T) {
	a, k := raidMachine(t, 2)
	n := k.built(a, oneMirror)
	k.hide("md0")
	k.fail = "--assemble"
	if _, err := a.selectRoot(t.Context(), n); err == nil || !strings.Contains(err.Error(), "starting the array ") ||
		!strings.Contains(err.Error(), "of /dev/vda3 and /dev/vdb3: mdadm: exit status 1") {
		t.Errorf("an array that does not start: %v", err)
	}
	k.fail = ""
	for _, d := range []string{"vda", "vdb"} { // both were replaced
		k.check(os.Truncate(k.path("dev", d), 0))
		k.check(os.Truncate(k.path("dev", d), 4<<30))
	}
	k.look()
	if _, err := a.selectRoot(t.Context(), n); err == nil ||
		!strings.Contains(err.Error(), "the node's raid_config has the array root (") ||
		!strings.Contains(err.Error(), "no disk of this machine holds a part of it: nothing was touched") {
		t.Errorf("arrays that are gone: %v", err)
	}
	a.RAIDConfig = map[string]any{"logical_disks": []any{map[string]any{"controller": "software"}}}
	if _, err := a.selectRoot(t.Context(), n); err == nil || !strings.Contains(err.Error(), "raid_config's logical_disks[0]") {
		t.Errorf("a raid_config of somebody else: %v", err)
	}
}

// Arrays that nobody told of stay where they are: a disk with an old superblock is an ordinary disk.
func TestForeignArraysAreNotStarted(t *testing.T) {
	a, k := raidMachine(t, 2)
	k.built(a, oneMirror)
	k.hide("md0")
	fresh := still(k.root, 0)
	fresh.MDADM.Run = k.run
	d, err := fresh.selectRoot(t.Context(), wire.Node{UUID: testUUID})
	if err != nil || d.Name != "/dev/vda" || k.said() != "" {
		t.Errorf("%+v, %v", d, err)
	}
}

// Cleaning: metadata go from the array, and the boot loader from the member disks; the RAID stays.
func TestErasingMetadataKeepsRAID(t *testing.T) {
	a, k := raidMachine(t, 3)
	n := k.built(a, `{"size_gb":2,"raid_level":"1","controller":"software","physical_disks":[{"serial":"disk-1"},{"serial":"disk-2"}]}`)
	k.write("md0", 100, "the last user's")
	k.write("vdc", 100, "the last user's")
	for _, d := range []string{"vda", "vdb"} {
		k.write(d, 0, "boot code")
		k.write(d, 1<<20, "GRUB")
		k.write(d, 300<<20, "a loader in the EFI system partition")
	}
	got, err := a.eraseMetadata(t.Context(), k.asked(n, ""))
	k.check(err)
	fate := map[string]string{}
	for _, d := range got.(wire.Erasure).Disks {
		fate[d.Name] = d.Method + d.Skipped
	}
	if want := map[string]string{
		"/dev/md0": "metadata overwritten with zeros", "/dev/vdc": "metadata overwritten with zeros", "/dev/vda": "part of /dev/md0",
		"/dev/vdb": "part of /dev/md0",
	}; !maps.Equal(fate, want) {
		t.Errorf("%v\nwant %v", fate, want)
	}
	if text := got.(wire.Erasure).Says; !strings.HasSuffix(text, "left alone: /dev/vda (part of /dev/md0), /dev/vdb (part of /dev/md0)") {
		t.Error(text)
	}
	if got, want := k.said(), "--stop md0; --assemble md0 vda3 vdb3"; got != want {
		t.Errorf("mdadm was called %s, want %s", got, want)
	}
	for _, where := range []struct {
		disk string
		at   int64
	}{{"md0", 100}, {"vdc", 100}, {"vda", 0}, {"vda", 1 << 20}, {"vda", 300 << 20}, {"vdb", 0}, {"vdb", 1 << 20}, {"vdb", 300 << 20}} {
		if text := strings.Trim(k.read(where.disk, where.at, 40), "\x00"); text != "" {
			t.Errorf("%s still has %q", where.disk, text)
		}
	}
	if len(k.table("vda")) != 3 || len(k.table("vdb")) != 3 {
		t.Error("a member lost its partitions")
	}
	n.Properties = map[string]any{"skip_block_devices": []any{map[string]any{"serial": "disk-2"}}}
	if _, err := a.eraseMetadata(t.Context(), k.asked(n, "")); err == nil ||
		!strings.Contains(err.Error(), "/dev/vdb (serial disk-2) is part of the node's software RAID, but is to be left alone "+
			"(skip_block_devices)") {
		t.Errorf("a protected member: %v", err)
	}
}

// A full erase takes the arrays apart, erases the disks themselves, and builds the same arrays again,
// also when an earlier run was cut off before it could.
func TestErasingDevicesBuildsRAIDAgain(t *testing.T) {
	for name, erase := range map[string]func(*machine) func(context.Context, Call) (any, error){
		"erase_devices":         func(a *machine) func(context.Context, Call) (any, error) { return a.eraseDevices },
		"erase_devices_express": func(a *machine) func(context.Context, Call) (any, error) { return a.eraseExpress },
	} {
		t.Run(name, func(t *testing.T) {
			a, k := raidMachine(t, 2)
			n := k.built(a, oneMirror)
			uuid := n.RAIDConfig["logical_disks"].([]any)[0].(map[string]any)["uuid"].(string)
			k.write("vda", 2<<30, "the last user's")
			for _, want := range []string{"--stop md0; --create md0 --level=1 vda3 vdb3", "--create md0 --level=1 vda3 vdb3"} {
				got, err := erase(a)(t.Context(), k.asked(n, ""))
				k.check(err)
				result := got.(wire.Erasure)
				if len(result.Disks) != 2 || result.Disks[0].Name != "/dev/vda" || result.Disks[1].Name != "/dev/vdb" ||
					result.Disks[0].Method == "" || result.Disks[1].Method == "" {
					t.Fatalf("the members' own records: %+v", result.Disks)
				}
				if !strings.HasSuffix(result.Says, "; the software RAID was built again") {
					t.Error(result.Says)
				}
				if a.running(uuid) != "/dev/md0" {
					t.Errorf("the array %s does not run", uuid)
				}
				if got := k.said(); got != want {
					t.Errorf("mdadm was called %s, want %s", got, want)
				}
				k.hide("md0") // the power failed once the disks were blank
				for _, d := range []string{"vda", "vdb"} {
					k.check(os.Truncate(k.path("dev", d), 0))
					k.check(os.Truncate(k.path("dev", d), 4<<30))
				}
				k.look()
			}
			if name == "erase_devices" && strings.Trim(k.read("vda", 2<<30, 15), "\x00") != "" {
				t.Error("the last user's data are there")
			}
			k.fail = "--create"
			got, err := erase(a)(t.Context(), k.asked(n, ""))
			var failed *EraseFailed
			if !errors.As(err, &failed) || !strings.Contains(err.Error(), "but the software RAID of the node cannot be built again") {
				t.Fatalf("%v, %v", got, err)
			}
			if len(failed.Disks) != 2 || failed.Disks[0].Method == "" || failed.Disks[1].Method == "" {
				t.Errorf("what was erased all the same: %+v", failed.Disks)
			}
		})
	}
}

// What the node's arrays are is kept when it changes, for an agent that is started again.
func TestLearntRAIDIsKept(t *testing.T) {
	a, k := raidMachine(t, 2)
	var kept []map[string]any
	a.KeepRAID = func(config map[string]any) { kept = append(kept, config) }
	n := k.built(a, oneMirror)
	a.LearnRAID(n)
	before := len(kept)
	a.LearnRAID(n)
	a.LearnRAID(wire.Node{})
	if before == 0 || len(kept) != before || !reflect.DeepEqual(kept[before-1], n.RAIDConfig) {
		t.Errorf("%d times kept, then %d: %v", before, len(kept), kept)
	}
}

// loaded gives an array a GPT with an EFI system partition, its first, that holds GRUB, as writing a
// whole-disk image does.
func (k *md) loaded(array string) {
	k.t.Helper()
	disk, esp := k.path("dev", array), k.path("esp")
	k.check(os.WriteFile(esp, make([]byte, 2<<20), 0o600))
	disktest.Run(k.t, "sgdisk", "--zap-all", disk)
	disktest.Run(k.t, "sgdisk", "--new=1:4096:8191", "--typecode=1:ef00", disk)
	disktest.Run(k.t, "mkfs.vfat", esp)
	disktest.Run(k.t, "mmd", "-i", esp, "::/EFI", "::/EFI/debian")
	disktest.Run(k.t, "mcopy", "-i", esp, "/dev/null", "::/EFI/debian/grubx64.efi")
	disktest.Run(k.t, "dd", "if="+esp, "of="+disk, "bs=1M", "seek=2", "conv=notrunc")
}

// mirrorESP makes what is on the mirror stand on the members' partitions, which is the kernel's work.
func (k *md) mirrorESP(array string) {
	k.t.Helper()
	for _, d := range []string{"vda", "vdb"} {
		k.copy(d, 2<<20, array, 0, 2<<20)
	}
}

// On UEFI the loader of an image on an array moves to a mirror over the members' EFI system
// partitions, where firmware finds it, and every member has a boot entry.
func TestArrayIsMadeBootableByUEFI(t *testing.T) {
	a, k := raidMachine(t, 2)
	n := k.built(a, oneMirror)
	vars := k.path("sys/firmware/efi/efivars")
	k.check(os.MkdirAll(vars, 0o755))
	k.loaded("md0")
	d, err := a.selectRoot(t.Context(), n)
	k.check(err)
	a.Written = &d
	install := func() (string, error) {
		result, err := a.Install(t.Context(), Params{})
		text, _ := result.(string)
		return text, err
	}
	// What the mirror's members show is there as soon as the mirror is written.
	run := a.MDADM.Run
	a.MDADM.Run = func(ctx context.Context, args ...string) (string, error) {
		said, err := run(ctx, args...)
		if args[0] == "--create" {
			k.copy("md100", 0, "md0", 2<<20, 2<<20)
			k.mirrorESP("md100")
		}
		return said, err
	}
	const want = `boot entry Boot0001 starts \EFI\debian\grubx64.efi of partition 2 of /dev/vda, boot entry Boot0000 starts ` +
		`\EFI\debian\grubx64.efi of partition 2 of /dev/vdb`
	for _, calls := range []string{"--create md100 --level=1 vda2 vdb2", ""} { // a second run finds it moved
		if got, err := install(); err != nil || got != want {
			t.Errorf("\n got %s, %v\nwant %s", got, err, want)
		}
		if got := k.said(); got != calls {
			t.Errorf("mdadm was called %q, want %q", got, calls)
		}
	}
	if got := strings.Trim(k.read("md0", 2<<20, 1<<20), "\x00"); got != "" {
		t.Errorf("the array still holds the EFI system partition: %d bytes", len(got))
	}
	if got := k.read("md100", 0x36, 5); got != "FAT12" {
		t.Errorf("the mirror holds %q", got)
	}
	// A mirror that does not run, as after a restart of the machine, is started.
	k.hide("md100")
	if got, err := install(); err != nil || got != want {
		t.Errorf("after a restart: %s, %v", got, err)
	}
	if got := k.said(); got != "--assemble md100 vda2 vdb2" {
		t.Errorf("mdadm was called %q", got)
	}
	// Another image takes the mirror's place.
	k.loaded("md0")
	if got, err := install(); err != nil || got != want {
		t.Errorf("another image: %s, %v", got, err)
	}
	if got := k.said(); got != "--stop md100; --create md100 --level=1 vda2 vdb2" {
		t.Errorf("mdadm was called %q", got)
	}
	if files, err := filepath.Glob(vars + "/Boot0*"); err != nil || len(files) != 2 {
		t.Errorf("the firmware has the entries %s, %v", files, err)
	}
}

func TestArrayThatCannotBeMadeBootable(t *testing.T) {
	for _, tt := range []struct {
		name, mode string
		prepare    func(k *md)
		want       string
	}{
		{"no EFI system partition", "uefi", func(k *md) { disktest.Run(k.t, "sgdisk", "--zap-all", "--clear", k.path("dev/md0")) },
			"making /dev/md0 bootable: the image has no EFI system partition"},
		{"one that is empty, and no mirror", "uefi", func(k *md) { k.loaded("md0"); k.write("md0", 2<<20, strings.Repeat("\x00", 1<<20)) },
			"the image's EFI system partition (partition 1) holds no file system, and there is no mirror over the disks' EFI system " +
				"partitions that it could have been moved to: deploy the image again"},
		{"mdadm fails", "uefi", func(k *md) { k.loaded("md0"); k.fail = "--create" },
			"making the array esp (RAID 1) of /dev/vda2 and /dev/vdb2: mdadm: exit status 1"},
		{"too large for the members", "uefi", func(k *md) {
			k.loaded("md0")
			disktest.Run(k.t, "sgdisk", "--delete=1", "--new=1:4096:+600M", "--typecode=1:ef00", k.path("dev/md0"))
		}, "moving the EFI system partition out of the array: partition 1 has 629145600 bytes (600.0 MiB), but where it is to go there are"},
		{"BIOS without a root file system", "bios", func(k *md) { k.loaded("md0") },
			"the image on /dev/md0 has no file system that could be its root (ext4, xfs, btrfs)"},
		{"what may not be run", "bios fs-9 forbidden", func(k *md) {
			k.loaded("md0")
			disktest.Run(k.t, "sgdisk", "--new=2:8192:12287", k.path("dev/md0"))
			k.write("md0", 4<<20+0x438, "\x53\xef") // ext4's
		}, "which the service forbids (run_image_bootloader): nothing of it was run"},
		{"BIOS with another root file system", "bios fs-1", func(k *md) { k.loaded("md0") },
			"no partition of /dev/md0 holds the root file system fs-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, k := raidMachine(t, 2)
			n := k.built(a, oneMirror)
			k.check(os.MkdirAll(k.path("sys/firmware/efi/efivars"), 0o755))
			tt.prepare(k)
			d, err := a.selectRoot(t.Context(), n)
			k.check(err)
			a.Written = &d
			mode, uuid, _ := strings.Cut(tt.mode, " ")
			p := Params{"target_boot_mode": json.RawMessage(`"` + mode + `"`), "root_uuid": json.RawMessage(`"` + uuid + `"`)}
			if uuid == "fs-9 forbidden" {
				p["root_uuid"], p["run_image_bootloader"] = nil, json.RawMessage("false")
			}
			if _, err := a.Install(t.Context(), p); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// A disk beside the RAID that holds the instance boots as ever.
func TestDiskBesideRAIDBootsAsEver(t *testing.T) {
	a, k := raidMachine(t, 3)
	n := k.built(a, `{"size_gb":2,"raid_level":"1","controller":"software","physical_disks":[{"serial":"disk-1"},{"serial":"disk-2"}]}`)
	n.Properties = map[string]any{"root_device": map[string]any{"serial": "disk-3"}}
	d, err := a.selectRoot(t.Context(), n)
	k.check(err)
	a.Written = &d
	_, err = a.Install(t.Context(), Params{"target_boot_mode": json.RawMessage(`"bios"`)})
	if err == nil || !strings.Contains(err.Error(), "a BIOS would not start /dev/vdc") {
		t.Error(err)
	}
	head := bootsOnBIOS("boot", 1<<20)
	f, err := os.OpenFile(k.path("dev/vdc"), os.O_WRONLY, 0)
	k.check(err)
	_, err = f.WriteAt(head, 0) // the rest of the disk is zero already
	k.check(errors.Join(err, f.Close()))
	got, err := a.Install(t.Context(), Params{"target_boot_mode": json.RawMessage(`"bios"`)})
	if err != nil || got != "the disk's boot sector and what it starts are there" {
		t.Errorf("%v, %v", got, err)
	}
}
