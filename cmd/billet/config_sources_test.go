package main

import (
	"maps"
	"strings"
	"testing"
)

// What YAML can say and no key can mean is refused, with the file and the key; what it says in a roundabout way is taken.
func TestYAMLThatIsNoSetting(t *testing.T) {
	const aMapping = "a mapping is not allowed; use one value, or a list where the key takes one"
	for _, tt := range []struct{ file, want string }{
		{"workers:\n  a: 1\n", `unknown key "workers.a"; the keys are `},
		{"workers:\n  a:\n    b: 1\n", `unknown key "workers.a.b"; the keys are `},
		{"boot:\n  dhcp: x\n", `unknown key "boot.dhcp"; the keys are `},
		{"host: {1: 2}\n", `unknown key "host.1"; the keys are `},
		{"boot: {}\n", `unknown key "boot"; the keys are `},
		{"boot: ~\n", `unknown key "boot"; the keys are `},
		{"zoo: 1\nboot: 2\n", `unknown key "boot"; the keys are `},
		{"Workers: 5\n", `unknown key "Workers"; the keys are `},
		{"data-dir: /x\n", `unknown key "data-dir"; the keys are `},
		{"1: x\n", `unknown key "1"; the keys are `},
		{"'': x\n", `unknown key ""; the keys are `},
		{"x: &x {host: a}\n<<: *x\n", `unknown key "x.host"; the keys are `},
		{"host: {}\n", "host: " + aMapping},
		{"workers: {}\n", "workers: " + aMapping},
		{"loader_dirs: [/a, [/b]]\n", "loader_dirs: item 2 of the list is empty, a list or a mapping; use plain values"},
		{"loader_dirs: [{a: /b}]\n", "loader_dirs: item 1 of the list is empty, a list or a mapping; use plain values"},
		{"loader_dirs: [/a, ~]\n", "loader_dirs: item 2 of the list is empty, a list or a mapping; use plain values"},
		{"workers: ~\n", `workers: "" is not a number from 1 to 100000`},
		{"workers:\n", `workers: "" is not a number from 1 to 100000`},
		{"roles: ~\n", "roles: is empty; use any of api, conductor, boot"},
		{"roles: [api, 5]\n", `roles: "5" is not allowed; use any of api, conductor, boot`},
		{"workers: 1.5\n", `workers: "1.5" is not a number from 1 to 100000`},
		{"automated_clean: yes\n", `automated_clean: "yes" is not true or false`},
		{"workers: 1\nworkers: 2\n", "yaml: unmarshal errors:\n  line 2: mapping key \"workers\" already defined at line 1"},
		{"- host\n", "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into map[string]interface {}"},
		{"host\n", "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!str `host` into map[string]interface {}"},
		{"host: a\n\tworkers: 5\n", "yaml: line 2: found a tab character that violates indentation"},
	} {
		_, err := written(t, tt.file, nil, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "configuration file /") || !strings.Contains(err.Error(), ".yaml: "+tt.want) {
			t.Errorf("%q:\n got %v\nwant configuration file ….yaml: %s", tt.file, err, tt.want)
		}
	}
	for _, tt := range []struct{ file, key, want string }{
		{"workers: 0x10\n", "workers", "16"},
		{"workers: 1e3\n", "workers", "1000"},
		{"automated_clean: True\n", "automated_clean", "true"},
		{"host: yes\n", "host", "yes"},
		{"host: 18446744073709551615\n", "host", "18446744073709551615"},
		{"loader_dirs: ['/a,/b', /c]\n", "loader_dirs", "/a,/b,/c"},
		{"loader_dirs: [1, true, 2.5]\n", "loader_dirs", "1,true,2.5"},
		{"deploy_kernel: &k /x\ndeploy_ramdisk: *k\n", "deploy_ramdisk", "/x"},
		{"<<: {host: a}\nworkers: 5\n", "host", "a"},
	} {
		texts, err := written(t, tt.file, nil, nil)
		if err != nil || texts[tt.key] != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.file, texts[tt.key], err, tt.want)
		}
	}
}

// The environment as processes really find it: variables twice, without a value, without an equals sign, in small letters.
func TestVariablesOfTheEnvironment(t *testing.T) {
	for _, tt := range []struct {
		environ []string
		want    map[string]string
	}{
		{[]string{"BILLET_=x", "BILLET_HOST", "BILLET", "=x", ""}, map[string]string{}},
		{[]string{"BILLET_HOST="}, map[string]string{"host": ""}},
		{[]string{"BILLET_HOST=a=b"}, map[string]string{"host": "a=b"}},
		{[]string{"BILLET_HOST=a", "BILLET_HOST=b"}, map[string]string{"host": "b"}},
		{[]string{"BILLET_HOST=a", "BILLET_host=b"}, map[string]string{"host": "b"}},
		{[]string{"BILLET_LOADER_DIRS=/a, /b", "BILLET_CONFIG="}, map[string]string{"loader_dirs": "/a, /b"}},
	} {
		texts, err := written(t, "", tt.environ, nil)
		if err != nil || !maps.Equal(texts, tt.want) {
			t.Errorf("%v: %v, %v; want %v", tt.environ, texts, err, tt.want)
		}
	}
}

// An empty value is a value: it beats what was set before. The reason names the source that won, though another said the same.
func TestTheLaterSourceIsBlamed(t *testing.T) {
	texts, err := written(t, "host: a\nserial_console: ttyS1\n", []string{"BILLET_HOST="}, []string{"--serial-console="})
	if err != nil || !maps.Equal(texts, map[string]string{"host": "", "serial_console": ""}) {
		t.Errorf("%v, %v", texts, err)
	}
	for _, tt := range []struct {
		environ, args []string
		want          string
	}{
		{[]string{"BILLET_WORKERS=0"}, nil, "environment (BILLET_…): workers: "},
		{nil, []string{"--workers=0"}, "flag --workers: workers: "},
		{[]string{"BILLET_WORKERS=0"}, []string{"--workers=0"}, "flag --workers: workers: "},
	} {
		_, err := written(t, "workers: 0\n", tt.environ, tt.args)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v %v: %v, want %s…", tt.environ, tt.args, err, tt.want)
		}
	}
}

// The file may be named in the environment; a flag wins. What cannot be read is named once, with the reason.
func TestNamesOfTheFile(t *testing.T) {
	named := writeFile(t, "host: of-the-variable\n")
	texts, err := written(t, "", []string{"BILLET_CONFIG=" + named}, nil)
	if err != nil || texts["host"] != "of-the-variable" {
		t.Errorf("%v, %v", texts, err)
	}
	texts, err = written(t, "host: of-the-flag\n", []string{"BILLET_CONFIG=" + named}, nil)
	if err != nil || texts["host"] != "of-the-flag" {
		t.Errorf("%v, %v", texts, err)
	}
	dir := t.TempDir()
	for path, why := range map[string]string{dir + "/none.yaml": "open " + dir + "/none.yaml: no such file or directory",
		dir: "read " + dir + ": is a directory"} {
		_, err := written(t, "", []string{"BILLET_CONFIG=" + path}, nil)
		if want := "configuration file " + path + ": " + why; err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
