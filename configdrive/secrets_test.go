package configdrive_test

import (
	"encoding/base64"
	"slices"
	"testing"

	"github.com/billet-metal/billet/configdrive"
	"github.com/billet-metal/billet/node"
)

// What a program may quote of a drive is a line of its user data, or a value in it.
func TestSecretsOfADrive(t *testing.T) {
	const script = "#!/bin/sh\n# a comment that is long\nexport DB_PASSWORD='swordfish-7'\ncurl https://mirror/x\nls\npassword: abc\n"
	for _, userData := range []string{script, base64.StdEncoding.EncodeToString([]byte(script))} {
		drive, err := configdrive.Build(node.ConfigDriveParts{
			UserData: userData, MetaData: map[string]any{"admin_pass": "drive-pass", "uuid": "u1"},
		}, &node.Node{UUID: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		got := configdrive.Secrets(drive)
		for _, want := range []string{script, "export DB_PASSWORD='swordfish-7'", "curl https://mirror/x", "abc", "drive-pass"} {
			if !slices.Contains(got, want) {
				t.Errorf("%q is not among the secrets %q", want, got)
			}
		}
		for _, plain := range []string{"ls", "# a comment that is long", "u1"} {
			if slices.Contains(got, plain) {
				t.Errorf("%q is taken for a secret", plain)
			}
		}
	}
	for _, none := range []string{"", "https://swift/drive", "no drive", "H4sIAAAA"} {
		if got := configdrive.Secrets(none); got != nil {
			t.Errorf("%q has the secrets %q", none, got)
		}
	}
}
