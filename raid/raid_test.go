package raid

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// decode reads JSON as the API and the agent do.
func decode(t testing.TB, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func disks(list ...string) string { return `{"logical_disks":[` + strings.Join(list, ",") + `]}` }

const (
	mirror100 = `{"size_gb":100,"raid_level":"1","controller":"software"}`
	stripeMax = `{"size_gb":"MAX","raid_level":"0","controller":"software"}`
)

func TestParse(t *testing.T) {
	hints := []map[string]any{{"size": "> 100"}, {"size": "> 100"}}
	for _, tt := range []struct {
		name, doc string
		want      []LogicalDisk
	}{
		{"a mirror", disks(mirror100), []LogicalDisk{{SizeGB: 100, Level: "1"}}},
		{"Ironic's example of two", disks(mirror100, stripeMax), []LogicalDisk{{SizeGB: 100, Level: "1"}, {Level: "0"}}},
		{"everything", disks(`{"size_gb":1,"raid_level":"1","controller":"software","is_root_volume":true,"volume_name":"os.root-1_a",` +
			`"share_physical_disks":true,"physical_disks":[{"size":"> 100"},{"size":"> 100"}]}`),
			[]LogicalDisk{{SizeGB: 1, Level: "1", Root: true, Volume: "os.root-1_a", Members: hints}}},
		{"the same disks in both",
			disks(`{"size_gb":1,"raid_level":"1","controller":"software","physical_disks":[{"size":"> 100"},{"size":"> 100"}]}`,
				`{"size_gb":"MAX","raid_level":"0","controller":"software","physical_disks":[{"size":"> 100"},{"size":"> 100"}]}`),
			[]LogicalDisk{{SizeGB: 1, Level: "1", Members: hints}, {Level: "0", Members: hints}}},
	} {
		c, err := Parse(decode(t, tt.doc))
		if err != nil || !reflect.DeepEqual(c.LogicalDisks, tt.want) {
			t.Errorf("%s: %+v, %v\nwant %+v", tt.name, c.LogicalDisks, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	with := func(rest string) string { return disks(`{"controller":"software",` + rest + `}`) }
	for _, tt := range []struct{ name, doc, want string }{
		{"nothing", `{}`, "logical_disks must be a list of at least one logical disk"},
		{"an empty list", `{"logical_disks":[]}`, "logical_disks must be a list of at least one logical disk"},
		{"another key", `{"logical_disks":[` + mirror100 + `],"disks":1}`,
			`the key "disks" is unknown; a RAID configuration has the one key logical_disks`},
		{"no object", `{"logical_disks":["sda"]}`,
			`logical_disks[0] must be an object, such as {"size_gb": 100, "raid_level": "1", "controller": "software"}`},
		{"no controller", disks(mirror100, `{"size_gb":1,"raid_level":"1"}`),
			`logical_disks[1]: controller is missing; only "software" is supported: the agent builds arrays of Linux's md driver`},
		{"a hardware controller", disks(`{"size_gb":1,"raid_level":"1","controller":"Smart Array P822"}`),
			`logical_disks[0]: controller is "Smart Array P822"; only "software" is supported: the agent builds arrays of Linux's md driver`},
		{"a level nobody knows", with(`"size_gb":1,"raid_level":"7"`),
			`logical_disks[0]: raid_level is "7"; "0" and "1" are supported, as strings`},
		{"a level of others", with(`"size_gb":1,"raid_level":"1+0"`),
			`logical_disks[0]: raid_level "1+0" is not supported for software RAID; "0" and "1" are`},
		{"a level as a number", with(`"size_gb":1,"raid_level":1`), `logical_disks[0]: raid_level is 1; "0" and "1" are supported, as strings`},
		{"no level", with(`"size_gb":1`), `logical_disks[0]: raid_level is missing; "0" and "1" are supported, as strings`},
		{"no size", with(`"raid_level":"1"`), `logical_disks[0]: size_gb is missing; a whole number of GiB of at least 1, or "MAX", is allowed`},
		{"size zero", with(`"raid_level":"1","size_gb":0`),
			`logical_disks[0]: size_gb is 0; a whole number of GiB of at least 1, or "MAX", is allowed`},
		{"a negative size", with(`"raid_level":"1","size_gb":-5`),
			`logical_disks[0]: size_gb is -5; a whole number of GiB of at least 1, or "MAX", is allowed`},
		{"half a size", with(`"raid_level":"1","size_gb":1.5`),
			`logical_disks[0]: size_gb is 1.5; a whole number of GiB of at least 1, or "MAX", is allowed`},
		{"a huge size", with(`"raid_level":"1","size_gb":1e18`),
			`logical_disks[0]: size_gb is 1000000000000000000; a whole number of GiB of at least 1, or "MAX", is allowed`},
		{"another word", with(`"raid_level":"1","size_gb":"max"`),
			`logical_disks[0]: size_gb is "max"; a whole number of GiB of at least 1, or "MAX", is allowed`},
		{"a hint of hardware RAID", with(`"raid_level":"1","size_gb":1,"disk_type":"ssd"`), `logical_disks[0]: disk_type is not supported for ` +
			`software RAID; allowed are controller, is_root_volume, physical_disks, raid_level, size_gb, volume_name`},
		{"a root that is no boolean", with(`"raid_level":"1","size_gb":1,"is_root_volume":"yes"`),
			`logical_disks[0]: is_root_volume is "yes"; true and false are allowed`},
		{"a name with a slash", with(`"raid_level":"1","size_gb":1,"volume_name":"a/b"`), `logical_disks[0]: volume_name is "a/b"; up to 24 ` +
			`letters, digits, "-", "_" and "." are allowed, not beginning with "-" or ".", and not "esp"`},
		{"a name that is an option", with(`"raid_level":"1","size_gb":1,"volume_name":"-x"`), `volume_name is "-x"; up to 24`},
		{"the mirror's own name", with(`"raid_level":"1","size_gb":1,"volume_name":"esp"`), `volume_name is "esp"; up to 24`},
		{"a long name", with(`"raid_level":"1","size_gb":1,"volume_name":"` + strings.Repeat("a", 25) + `"`), `; up to 24`},
		{"one disk", with(`"raid_level":"1","size_gb":1,"physical_disks":[{"serial":"a"}]`),
			`logical_disks[0]: physical_disks must be a list of at least two objects of root device hints, one for each member disk`},
		{"disks by name", with(`"raid_level":"1","size_gb":1,"physical_disks":["sda","sdb"]`),
			`logical_disks[0]: physical_disks[0] must be an object of root device hints, such as {"serial": "…"}`},
		{"a hint without conditions", with(`"raid_level":"1","size_gb":1,"physical_disks":[{"serial":"a"},{}]`),
			`physical_disks[1] must be an object of root device hints`},
		{"two MAX", disks(stripeMax, stripeMax), `2 logical disks have the size_gb "MAX"; one may, as it takes all that the others leave`},
		{"two roots", disks(`{"size_gb":1,"raid_level":"1","controller":"software","is_root_volume":true}`,
			`{"size_gb":1,"raid_level":"0","controller":"software","is_root_volume":true}`), "2 logical disks have is_root_volume; one may"},
		{"one name twice", disks(`{"size_gb":1,"raid_level":"1","controller":"software","volume_name":"a"}`,
			`{"size_gb":1,"raid_level":"1","controller":"software","volume_name":"a"}`),
			`logical_disks[0] and [1] both have the name "a": give each a volume_name of its own`},
		{"a name that is another's number", disks(`{"size_gb":1,"raid_level":"1","controller":"software","volume_name":"1"}`, mirror100),
			`logical_disks[0] and [1] both have the name "1"`},
		{"other disks for each",
			disks(mirror100, `{"size_gb":1,"raid_level":"1","controller":"software","physical_disks":[{"serial":"a"},{"serial":"b"}]}`),
			`logical_disks[1]: its physical_disks are not those of logical_disks[0]; software RAID shares its disks: name the same in all, or none`},
		{"too many", disks(strings.Split(strings.Repeat(mirror100+";", 16)+mirror100, ";")...), "there are 17 logical disks; 16 may be"},
	} {
		if _, err := Parse(decode(t, tt.doc)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.name, err, tt.want)
		}
	}
}

// What Describe writes comes back over JSON, and everything that others wrote is refused or left out.
func TestBuilt(t *testing.T) {
	want := Config{LogicalDisks: []LogicalDisk{
		{SizeGB: 100, Level: "1", UUID: NewUUID(), Members: []map[string]any{{"serial": "a"}, {"serial": "b"}}},
		{SizeGB: 7, Level: "0", Root: true, Volume: "os", UUID: NewUUID(), Members: []map[string]any{{"serial": "a"}, {"serial": "b"}}},
	}}
	text, err := json.Marshal(want.Describe([]string{"/dev/sda (serial a)", "/dev/sdb"}))
	if err != nil {
		t.Fatal(err)
	}
	doc := decode(t, string(text))
	doc["last_updated"] = "2026-01-01T00:00:00Z" // what the service adds
	got, err := Built(doc)
	want.LogicalDisks[0].Volume = "0" // names are settled
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	if got.Root() != 1 || got.Name(0) != "0" || got.Name(1) != "os" {
		t.Errorf("root %d, names %s and %s", got.Root(), got.Name(0), got.Name(1))
	}
	for _, tt := range []struct {
		doc, want string
		software  bool
	}{
		{`{}`, "", false},
		{`{"logical_disks":null}`, "", false},
		{disks(`{"controller":"RAID.Integrated.1-1","raid_level":"5","size_gb":3}`), "", false},
		{disks(mirror100), "raid_config's logical_disks[0] has the uuid missing; the UUID of an array is wanted", true},
		{disks(`{"controller":"software","uuid":"--help","raid_level":"1","size_gb":1}`), `has the uuid "--help"`, true},
		{disks(`{"controller":"software","uuid":"` + NewUUID() + `","raid_level":"5","size_gb":1}`),
			`raid_config's logical_disks[0]: raid_level "5" is not supported`, true},
	} {
		doc := decode(t, tt.doc)
		c, err := Built(doc)
		if tt.want == "" && (err != nil || len(c.LogicalDisks) != 0) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %+v, %v; want %s", tt.doc, c, err, tt.want)
		}
		if IsSoftware(doc) != tt.software {
			t.Errorf("%s: software RAID %v", tt.doc, !tt.software)
		}
	}
}

func TestVolumes(t *testing.T) {
	doc := decode(t, disks(stripeMax, `{"size_gb":1,"raid_level":"1","controller":"software","is_root_volume":true}`))
	for _, tt := range []struct {
		root, others bool
		want         string
	}{
		{true, true, disks(stripeMax, `{"size_gb":1,"raid_level":"1","controller":"software","is_root_volume":true}`)},
		{true, false, disks(`{"size_gb":1,"raid_level":"1","controller":"software","is_root_volume":true}`)},
		{false, true, disks(stripeMax)},
	} {
		got, err := Volumes(doc, tt.root, tt.others)
		if err != nil || !reflect.DeepEqual(got, decode(t, tt.want)) {
			t.Errorf("root %v, others %v: %v, %v", tt.root, tt.others, got, err)
		}
	}
	if _, err := Volumes(doc, false, false); err == nil ||
		err.Error() != "create_root_volume and create_nonroot_volumes leave no logical disk to create" {
		t.Error(err)
	}
	if _, err := Volumes(decode(t, `{}`), true, true); err == nil {
		t.Error("a configuration of nothing was taken")
	}
	// Without a root volume the first is it.
	if got, err := Volumes(decode(t, disks(mirror100, stripeMax)), false, true); err != nil ||
		!reflect.DeepEqual(got, decode(t, disks(stripeMax))) {
		t.Errorf("%v, %v", got, err)
	}
}

// Whatever a document says, nothing panics, and what is accepted can be laid out or is refused.
func FuzzParse(f *testing.F) {
	for _, doc := range []string{`{}`, disks(mirror100), disks(stripeMax, mirror100), disks(`{"physical_disks":[{},{}]}`),
		`{"logical_disks":[null]}`} {
		f.Add(doc, int64(8<<30), 2)
	}
	f.Fuzz(func(t *testing.T, text string, size int64, members int) {
		var doc map[string]any
		if json.Unmarshal([]byte(text), &doc) != nil {
			return
		}
		_, _ = Built(doc)
		c, err := Parse(doc)
		if err != nil {
			return
		}
		if size < 0 || size > 1<<50 || members > 64 {
			return
		}
		checkLayout(t, c, size, members)
	})
}
