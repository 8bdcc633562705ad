package pxe

import (
	"strings"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// keyless is a record's command line without the key of the boot.
func keyless(r boot.Record) string {
	return strings.ReplaceAll(r.CommandLine, "/b/"+r.Key, "")
}

// Every URL of this service that a ramdisk is told has the key of its boot in it, whichever flow tells it: agents of
// every make only append to it. The key is not the secret of the files' URLs.
func TestEveryURLOfTheServiceHasTheKeyOfTheBoot(t *testing.T) {
	b, w, task := setUp(t, boot.IPXE)
	b.APIURL = "http://10.99.0.1:6385/"
	params := map[string]string{
		"ipa-api-url": "http://10.99.0.1:6385", "ironic_api_url": "http://10.99.0.1:6385/",
		"ipa-inspection-callback-url": "http://vip.example/v1/continue_inspection",
		"boot_server":                 "10.99.0.1", "other": "http://10.99.0.1:63850/x",
		"elsewhere": "https://inspector.example:5050/v1/continue",
	}
	if err := b.PrepareRamdisk(t.Context(), task, params); err != nil {
		t.Fatal(err)
	}
	r := w.records[uuid]
	if !boot.IsSecret(r.Key) || r.Key == r.Secret || r.Hidden == r.Key || !boot.IsSecret(r.Hidden) ||
		strings.Contains(r.CommandLine, r.Secret) || strings.Contains(r.CommandLine, r.Hidden) {
		t.Fatalf("key %q, secret %q, hidden %q: %s", r.Key, r.Secret, r.Hidden, r.CommandLine)
	}
	want := "nofb vga=normal ipa-api-url=http://10.99.0.1:6385/b/" + r.Key +
		" boot_server=10.99.0.1 elsewhere=https://inspector.example:5050/v1/continue" +
		" ipa-inspection-callback-url=http://vip.example/b/" + r.Key + "/v1/continue_inspection ironic_api_url=http://10.99.0.1:6385/b/" + r.Key +
		"/ other=http://10.99.0.1:63850/x"
	if r.CommandLine != want {
		t.Errorf("got  %s\nwant %s", r.CommandLine, want)
	}
	first := r.Key
	if err := b.PrepareRamdisk(t.Context(), task, params); err != nil || w.records[uuid].Key != first {
		t.Errorf("the same flow again: %v, key %q after %q", err, w.records[uuid].Key, first)
	}
	task.Node.Plan.StartedAt = node.Now()
	if err := b.PrepareRamdisk(t.Context(), task, params); err != nil || w.records[uuid].Key == first {
		t.Errorf("the next flow: %v, the same key", err)
	}
}

// A ramdisk on a medium of its own reads no key, so none is asked of it.
func TestAForeignRamdiskHasNoKey(t *testing.T) {
	for value, keyed := range map[any]bool{nil: true, false: true, "false": true, true: false, "True": false, "yes": false} {
		b, w, task := setUp(t, boot.IPXE)
		task.Node.DriverInfo["foreign_ramdisk"] = value
		if err := b.PrepareRamdisk(t.Context(), task, nil); err != nil {
			t.Fatal(err)
		}
		if r := w.records[uuid]; (r.Key != "") != keyed || strings.Contains(r.CommandLine, "/b/") != keyed ||
			driver.Keyed(b).GivesKey(task.Node, task.Hardware) != keyed {
			t.Errorf("foreign_ramdisk %v: key %q, %s", value, r.Key, r.CommandLine)
		}
	}
}
