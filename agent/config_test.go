package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseCommandLine(t *testing.T) {
	for line, want := range map[string]map[string]string{
		"": {},
		"quiet ipa-api-url=http://a:1/ BOOTIF=01-52\n": {"quiet": "", "ipa-api-url": "http://a:1/", "BOOTIF": "01-52"},
		`a="b c" "d e=f g" h=1 h=2`:                    {"a": "b c", "d e": "f g", "h": "2"},
		"x=y=z\t=nokey  ":                              {"x": "y=z"},
		`open="to the end`:                             {"open": "to the end"},
	} {
		if diff := cmp.Diff(want, ParseCommandLine(line)); diff != "" {
			t.Errorf("%q: %s", line, diff)
		}
	}
}

func TestNewConfig(t *testing.T) {
	got, err := NewConfig(ParseCommandLine("nofb vga=normal ipa-api-url=http://192.0.2.1:6385/v1,https://two/ " +
		"ipa-inspection-callback-url=http://i/v1/continue_inspection " +
		"ipa-inspection-collectors=default,logs ipa-collect-lldp=1 ipa-lldp-timeout=12 ipa-inspection-benchmarks=cpu,mem " +
		"ipa-agent-token=t ipa-debug=1 ipa-insecure=true ipa-listen-port=0 ipa-lookup-timeout=5 ipa-ironic-api-version=1.68 " +
		"BOOTIF=01-52-54-00-00-00-0A ipa-unknown=x"))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		APIURLs: []string{"http://192.0.2.1:6385", "https://two"}, InspectionCallback: "http://i/v1/continue_inspection",
		Collectors: []string{"default", "logs"}, Token: "t", Debug: true, Insecure: true, APIVersion: 68, ListenHost: "::",
		Benchmarks: []string{"cpu", "mem"}, CollectLLDP: true, LLDPTimeout: 12 * time.Second,
		LookupTimeout: 5 * time.Second, LookupInterval: time.Second, DiskWait: 30 * time.Second, BootMAC: "52:54:00:00:00:0a",
		Root: "/", StateDir: "/run/billet-agent",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNewConfigRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"quiet": "kernel parameter ipa-api-url is missing",
		"ipa-api-url=192.0.2.1:6385": `"192.0.2.1:6385" in a kernel parameter is not a URL that starts with ` +
			`http:// or https://`,
		"ipa-api-url=http://a ipa-listen-port=x":          "kernel parameter ipa-listen-port=x: a number from 0 to 1048576 is allowed",
		"ipa-api-url=http://a ipa-lookup-timeout=-1":      "ipa-lookup-timeout=-1",
		"ipa-api-url=http://a ipa-ironic-api-version=two": `"two" is not a version of the Bare Metal API, such as 1.89`,
		"ipa-inspection-callback-url=ftp://a":             "is not a URL",
	} {
		_, err := NewConfig(ParseCommandLine(line))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestFlagsAndBootMAC(t *testing.T) {
	for value, want := range map[string]bool{"1": true, "": true, "true": true, "0": false, "False": false, "no": false} {
		p := reader{params: map[string]string{"ipa-debug": value}}
		if p.flag("ipa-debug") != want {
			t.Errorf("ipa-debug=%s", value)
		}
	}
	for text, want := range map[string]string{
		"01-52-54-00-00-00-01": "52:54:00:00:00:01", "52:54:00:00:00:01": "52:54:00:00:00:01", "01:AA:bb:00:00:00:01": "aa:bb:00:00:00:01",
		"": "", "eth0": "", "01-52-54-00-00-00-zz": "",
	} {
		if got := bootMAC(text); got != want {
			t.Errorf("BOOTIF=%s is %q", text, got)
		}
	}
}

func FuzzCommandLine(f *testing.F) {
	f.Add(`ipa-api-url=http://a "quoted b"=c BOOTIF=01-02`)
	f.Add(`="""=`)
	f.Fuzz(func(t *testing.T, line string) {
		params := ParseCommandLine(line)
		for key := range params {
			if key == "" || strings.Contains(key, `"`) {
				t.Errorf("key %q", key)
			}
		}
		c, err := NewConfig(params)
		if err == nil && len(c.APIURLs) == 0 && c.InspectionCallback == "" {
			t.Errorf("%q has nothing to do", line)
		}
	})
}
