package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/configdrive"
)

// said is a command's wanted end: nothing wrong and a pattern of what it prints, or a pattern of its one line of error.
type said struct {
	args string
	out  string // pattern of stdout; "" is nothing
	err  string // pattern of the error; "" is none
}

func (s *serving) check(t *testing.T, rows []said) {
	t.Helper()
	for _, tt := range rows {
		f := s.node(strings.Fields(tt.args)...)
		if tt.err != "" {
			if !regexp.MustCompile(`^billet: (?:`+tt.err+`)\n$`).MatchString(f.stderr) || f.code != 1 {
				t.Errorf("node %s: exit %d\n%s%s\nwant billet: %s", tt.args, f.code, f.stdout, f.stderr, tt.err)
			}
			continue
		}
		if f.code != 0 || f.stderr != "" || !regexp.MustCompile(`^(?s:`+tt.out+`)$`).MatchString(f.stdout) {
			t.Errorf("node %s: exit %d\n%s%s\nwant %s", tt.args, f.code, f.stdout, f.stderr, tt.out)
		}
	}
}

// A machine's life by the commands, on fake hardware: what each prints, and what it says when it cannot be done.
func TestNodeCommands(t *testing.T) {
	s := start(t, t.TempDir())
	const uuid = `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`
	zeros := strings.Repeat("0", 64)
	s.check(t, []said{
		{"list", `UUID +NAME +POWER +STATE +MAINTENANCE\n`, ""},
		{`create n1 --driver fake-hardware --resource-class gold --driver-info a=1 --driver-info b={"x":[1]} --property cpus=4 --mac ` +
			`52:54:00:00:00:01 --mac 52-54-00-00-00-02`, uuid + `\n`, ""},
		{"create n1 --driver fake-hardware", "", `A node with name n1 already exists. \(HTTP 409\)`},
		{"create --name n4 --driver fake-hardware --deploy-interface ramdisk --extra rack=7 --uuid 7a9c1d44-0e2b-4c55-8f6e-1b2c3d4e5f60",
			`7a9c1d44-0e2b-4c55-8f6e-1b2c3d4e5f60\n`, ""},
		{"show n4", `\{.*"deploy_interface": "ramdisk".*"extra": \{\n    "rack": "7"\n  \}.*\}\n`, ""},
		{"delete n4", "", ""},
		{"create n4 --name n4 --driver fake-hardware", uuid + `\n`, ""},
		{"delete n4", "", ""},
		{"create n4 --name n5 --driver fake-hardware", "", `the node is called both n4 and --name n5: give one of them`},
		{"create n4 n5", "", `accepts at most 1 arg\(s\), received 2; usage: .*`},
		{"create n4 --driver fake-hardware --raid-interface magic", "", `.*magic.* \(HTTP 400\)`},
		{"create n2 --driver magic", "",
			`No valid host was found. Reason: No conductor service registered which supports driver magic .* \(HTTP 400\)`},
		{"create n_2/x --driver fake-hardware", "",
			`Cannot use "n_2/x" as the name of a node. Allowed are letters, digits and the characters - . _ ~ \(HTTP 400\)`},
		{"create n2 --driver-info novalue", "", `--driver-info "novalue" is not key=value`},
		{"create n2 --property =4", "", `--property "=4" is not key=value`},
		{"create n2 --driver fake-hardware --mac 52:54:00:00:00:01", "",
			`node ` + uuid +
				` is enrolled, but adding its port 52:54:00:00:00:01: A port with MAC address 52:54:00:00:00:01 already exists. \(HTTP 409\)`},
		{"create n3 --driver fake-hardware --mac nonsense", "",
			`node ` + uuid + ` is enrolled, but adding its port nonsense: Expected a MAC address but received nonsense. \(HTTP 400\)`},
		{"delete n2", "", ""},
		{"delete n3", "", ""},
		{"delete n3", "", `Node n3 could not be found. \(HTTP 404\)`},
		{"list", `UUID .*\n` + uuid + ` +n1 +- +enroll +false\n`, ""},
		{"show n9", "", `Node n9 could not be found. \(HTTP 404\)`},
		{"show n1",
			`\{\n  .*"driver_info": \{\n    "a": "1",\n    "b": \{\n      "x": \[\n        1\n      \]\n    \}\n  \}.*"resource_class": ` +
				`"gold".*\}\n`, ""},

		// Verbs that are not legal here.
		{"provide n1", "", `The requested action "provide" can not be performed on node "` + uuid +
			`" while it is in state "enroll". \(HTTP 400\)`},
		{"inspect n1 --wait", "", `The requested action "inspect" can not be performed on node "` + uuid +
			`" while it is in state "enroll". \(HTTP 400\)`},
		{"abort n1", "", `The requested action "abort" can not be performed on node "` + uuid + `" while it is in state "enroll". \(HTTP 400\)`},
		{"manage nobody --wait", "", `Node nobody could not be found. \(HTTP 404\)`},

		// The life.
		{"manage n1 --wait", `.*manageable\n`, ""},
		{"inspect n1 --wait", `.*manageable\n`, ""},
		{"provide n1 --wait", `.*available\n`, ""},
		{"why n1", `Node n1 \(` + uuid + `\) is "available".\n\n.*History, newest first:\n.*INFO.*`, ""},
		{"deploy n1 --image http://images.example/x.raw --checksum abc", "", `--checksum: 3 characters; sha256 has 64 and sha512 has 128`},
		{"deploy n1 --checksum " + zeros, "", `--checksum and --root-device need --image`},
		{"deploy n1 --image x --root-device {", "", `--root-device: unexpected end of JSON input`},
		{"deploy n1 --image x --root-device []", "",
			`--root-device: json: cannot unmarshal array into Go value of type map\[string\]interface \{\}`},
		{"deploy n1 --image x --user-data nothing", "", `--user-data: open nothing: no such file or directory`},
		{"deploy n1 --image http://images.example/x.raw --checksum " + zeros + ` --root-device {"size":">=10"} --hostname web --wait`,
			`.*write_image.*active\n`, ""},
		{"list", `UUID .*\n` + uuid + ` +n1 +power on +active +false\n`, ""},
		{"show n1", `.*"image_os_hash_algo": "sha256".*"root_device": \{\n      "size": ">=10"\n    \}.*`, ""},
		{"delete n1", "", `Can not delete node "` + uuid + `" while it is in provision state "active". .* \(HTTP 409\)`},
		{"deploy n1", "", `The requested action "deploy" can not be performed on node "` + uuid +
			`" while it is in state "active". \(HTTP 400\)`},

		// Power.
		{"power n1 sideways", "", `power "sideways": use on, off, reboot, soft-off or soft-reboot`},
		{"power n9 on", "", `Node n9 could not be found. \(HTTP 404\)`},
		{"power off n1", "", ""},
	})
	until(t, "n1 is off", func() bool { return s.show("n1")["power_state"] == "power off" })
	for i, target := range []string{"on", "soft-off", "reboot", "soft-reboot"} {
		want := []string{"power on", "power off", "power on", "power on"}[i]
		s.check(t, []said{{"power n1 " + target, "", ""}})
		until(t, "n1 has "+want, func() bool { n := s.show("n1"); return n["power_state"] == want && n["target_power_state"] == nil })
	}
	s.check(t, []said{
		{"undeploy n1 --wait", `.*available\n`, ""},
		{"watch n1 --until-stable", ` *[0-9.]+s  available\n`, ""},
		{"watch n9", "", `Node n9 could not be found. \(HTTP 404\)`},
		{"delete n1", "", ""},
		{"list", `UUID .*\n`, ""},
	})
}

// Flows that fail: the command says so with the reason and exit code 1, and node why says it again.
func TestNodeCommandsOfFailures(t *testing.T) {
	s := start(t, t.TempDir())
	s.check(t, []said{
		{"create bad-power --driver fake-hardware --driver-info fake_power_fail=the-cable-is-out", `.*\n`, ""},
		{"manage bad-power --wait", "", `node \S+ is "enroll": .*the-cable-is-out.*`},
		{"why bad-power", `Node bad-power \(\S+\) is "enroll".\nWhy: .*the-cable-is-out.*History, newest first:\n.*ERROR.*the-cable-is-out.*`,
			""},
		{"create bad-delay --driver fake-hardware --driver-info fake_power_delay=soon", `.*\n`, ""},
		{"manage bad-delay --wait", "", `.*driver_info/fake_power_delay must be seconds from 0 to 86400, or a text such as "250ms".*`},
		{"create bad-clean --driver fake-hardware --driver-info fake_erase_devices_metadata_fail=worn-out", `.*\n`, ""},
		{"manage bad-clean --wait", `.*manageable\n`, ""},
		{"provide bad-clean --wait", "", `node \S+ is "clean failed": .*worn-out.*`},
		{"list", `(?s).*bad-clean +\S+ \S+ +clean failed +true\n`, ""}, // a failed cleaning is put in maintenance
		{"manage bad-clean --wait", `.*manageable\n`, ""},
		{"create bad-inspect --driver fake-hardware --driver-info fake_inspect_fail=no-lamp", `.*\n`, ""},
		{"manage bad-inspect --wait", `.*manageable\n`, ""},
		{"inspect bad-inspect --wait", "", `node \S+ is "inspect failed": .*no-lamp.*`},
		{"create bad-image --driver fake-hardware --driver-info fake_write_image_fail=paper-jam", `.*\n`, ""},
		{"manage bad-image --wait", `.*\n`, ""},
		{"provide bad-image --wait", `.*\n`, ""},
		{"deploy bad-image --image http://images.example/x.raw --checksum " + strings.Repeat("0", 64) + " --wait", "",
			`node \S+ is "deploy failed": .*paper-jam.*`},
		{"why bad-image", `(?s).*Why: .*paper-jam.*`, ""},
		{"undeploy bad-image --wait", `.*available\n`, ""},
	})
	if err, ok := s.show("bad-clean")["last_error"].(string); !ok || !strings.Contains(err, "worn-out") {
		t.Errorf("last_error of the node that was taken back: %q", err)
	}
}

// A deploy that is aborted while it waits ends as failed and says who did it; it can be taken back.
func TestAbortByCommand(t *testing.T) {
	s := start(t, t.TempDir())
	s.must("create", "n1", "--driver", "fake-hardware", "--driver-info", "fake_write_image_delay=1h")
	s.must("manage", "n1", "--wait")
	s.must("provide", "n1", "--wait")
	f := s.node("deploy", "n1", "--image", "http://images.example/x.raw", "--checksum", strings.Repeat("0", 64), "--wait", "--timeout", "2s")
	if f.code != 1 ||
		!regexp.MustCompile(`billet: node n1 is still "(deploying|wait call-back)" after 2s; it goes on without being watched`).
			MatchString(f.stderr) {
		t.Errorf("%+v", f)
	}
	s.must("abort", "n1")
	until(t, "the deploy has failed", func() bool { return s.show("n1")["provision_state"] == "deploy failed" })
	if why := s.must("why", "n1"); !strings.Contains(why, "abort") {
		t.Errorf("why says nothing of the abort:\n%s", why)
	}
	s.must("undeploy", "n1", "--wait")
}

// Config drives from files: keys and user data come back masked, and are there.
func TestConfigDriveByCommand(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"id.pub": "ssh-ed25519 AAAAC3 ada@home\n", "init.sh": "#!/bin/sh\necho hello\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, filepath.Join(dir, "data"))
	s.must("create", "n1", "--driver", "fake-hardware")
	s.must("manage", "n1", "--wait")
	s.must("provide", "n1", "--wait")
	s.must("deploy", "n1", "--image", "http://images.example/x.raw", "--checksum", strings.Repeat("0", 64), "--ssh-key",
		filepath.Join(dir, "id.pub"), "--user-data", filepath.Join(dir, "init.sh"), "--wait")
	info, _ := s.show("n1")["instance_info"].(map[string]any)
	if info["configdrive"] != "******" || info["image_source"] != "http://images.example/x.raw" {
		t.Errorf("instance_info %v", info)
	}
	if out := s.must("show", "n1"); strings.Contains(out, "AAAAC3") || strings.Contains(out, "hello") {
		t.Errorf("the config drive is shown: %s", out)
	}
}

// JSON has no bytes: of user data that are no text the whole drive is built by the command, with the node's name.
func TestUserDataThatAreNoText(t *testing.T) {
	dir := t.TempDir()
	data := "\x1f\x8b\x08\xff\x00 gzip"
	if err := os.WriteFile(filepath.Join(dir, "user-data.gz"), []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	var body struct {
		ConfigDrive string `json:"configdrive"`
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			w.WriteHeader(202)
			return
		}
		fmt.Fprint(w, `{"uuid":"u1","name":"n1","network_data":{"links":[]}}`)
	}))
	defer srv.Close()
	if f := billet(t, dir, []string{"BILLET_API=" + srv.URL},
		"node", "deploy", "n1", "--hostname", "web", "--user-data", "user-data.gz"); f.code != 0 {
		t.Fatalf("%+v", f)
	}
	image, err := configdrive.Decode(body.ConfigDrive)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{data, `{"hostname":"web","name":"web","uuid":"u1"}`, `{"links":[]}`} {
		if !strings.Contains(string(image), want) {
			t.Errorf("the drive lacks %q", want)
		}
	}
}

// A list of more nodes than fit on a page is whole, whatever the service calls itself and whatever path a proxy puts in front.
func TestTheListFollowsNext(t *testing.T) {
	for _, tt := range []struct{ prefix, public string }{
		{"", "SERVER"}, {"", "http://elsewhere.example:6385"}, {"/baremetal", "SERVER/baremetal"},
		{"/bare%20metal", "https://proxy.example/bare%20metal"},
	} {
		var asked []string
		var srv *httptest.Server
		srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.RequestURI())
			page := len(asked)
			next := ""
			if page < 3 {
				next = fmt.Sprintf(`,"next":"%s/v1/nodes?sort_key=id&sort_dir=asc&limit=1&marker=u%d"`,
					strings.Replace(tt.public, "SERVER", srv.URL, 1), page)
			}
			fmt.Fprintf(w, `{"nodes":[{"uuid":"u%d","name":"n%d","provision_state":"active"}]%s}`, page, page, next)
		}))
		f := billet(t, t.TempDir(), []string{"BILLET_API=" + srv.URL + tt.prefix + "/"}, "node", "list")
		srv.Close()
		want := []string{tt.prefix + "/v1/nodes", tt.prefix + "/v1/nodes?sort_key=id&sort_dir=asc&limit=1&marker=u1",
			tt.prefix + "/v1/nodes?sort_key=id&sort_dir=asc&limit=1&marker=u2"}
		if strings.Join(asked, " ") != strings.Join(want, " ") {
			t.Errorf("%+v: asked %v, want %v", tt, asked, want)
		}
		for _, n := range []string{"n1", "n2", "n3"} {
			if strings.Count(f.stdout, n+" ") != 1 {
				t.Errorf("%+v: %+v", tt, f)
			}
		}
	}
}

// What answers that is no Bare Metal service, or breaks off, is said; nothing is taken for an answer that is none.
func TestServicesThatAreNone(t *testing.T) {
	for _, tt := range []struct {
		what   string
		answer http.HandlerFunc
		args   []string
		want   string
	}{
		{"a web page", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>hello</html>") }, []string{"node", "list"},
			`invalid character '<' looking for beginning of value`},
		{"a proxy that is lost", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no upstream", http.StatusBadGateway) },
			[]string{"node", "list"}, `no upstream \(HTTP 502\)`},
		{"nothing at all", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, []string{"node", "list"},
			"asking the service: Get \"http://[^\"]+/v1/nodes\": EOF \\(is `billet serve` running there\\? --api or BILLET_API names it\\)"},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"nodes":[`)
		}, []string{"node", "list"}, `reading the answer of GET /v1/nodes: unexpected EOF`},
		{"an old service", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(406)
			io.WriteString(w, `{"error_message":"{\"code\":406,\"title\":\"Not Acceptable\",\"description\":\"Version 1.115 was requested but the `+
				`minor version is not supported by this service.\"}"}`)
		}, []string{"node", "show", "n1"}, `Version 1.115 was requested but the minor version is not supported by this service. \(HTTP 406\)`},
		{"an error without words", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, []string{"node", "delete", "n1"},
			` ?\(HTTP 500\)`},
	} {
		srv := httptest.NewServer(tt.answer)
		billet(t, t.TempDir(), []string{"BILLET_API=" + srv.URL}, tt.args...).says(t, tt.what, tt.want)
		srv.Close()
	}
}

// Whoever stops watching is told that the node goes on, not that the time was up.
func TestWatchThatIsStopped(t *testing.T) {
	c := playing(t, moment{progress: `{"uuid": "u", "provision_state": "cleaning", "target_provision_state": "available", "flow": "clean"}`})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(700*time.Millisecond, cancel)
	err := watch(ctx, c, "n1", io.Discard, watchOptions{Timeout: time.Hour, UntilStable: true})
	if err == nil || err.Error() != `no longer watched: node n1 is "cleaning" and goes on` {
		t.Error(err)
	}
}
