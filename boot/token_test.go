package boot

import "testing"

func TestToken(t *testing.T) {
	const uuid = "7b9f3c64-8f2a-4a53-9f52-0d2a5a7c9e11"
	r := &Record{NodeUUID: uuid, Secret: "00112233445566778899aabbccddeeff", Kernel: "/k", CommandLine: "a deployment_id=" + uuid + " b"}
	r.Key, r.Hidden = "10112233445566778899aabbccddeeff", "20112233445566778899aabbccddeeff"
	other := *r
	other.Hidden = "ff112233445566778899aabbccddeeff" // all that a script shows is the same
	if IPXEScript("http://b", "52:54:00:00:00:01", r) != IPXEScript("http://b", "52:54:00:00:00:01", &other) {
		t.Error("what is hidden shows in the script")
	}
	if r.DeployToken() == other.DeployToken() || r.DeployKey() == other.DeployKey() || r.DeployToken()[:32] == r.DeployKey() ||
		len(r.DeployKey()) != 32 {
		t.Error("tokens and keys must differ between boots and from each other")
	}
	direct, bare := *r, *r
	direct.CommandLine, bare.Kernel = "ipa-api-url=x", ""
	for _, tt := range []struct {
		name string
		m    Machine
		id   string
		want string
	}{
		{"its own", Machine{uuid, r}, uuid, r.DeployToken()},
		{"another's", Machine{"8b9f3c64-8f2a-4a53-9f52-0d2a5a7c9e11", r}, uuid, ""},
		{"no id", Machine{uuid, r}, "", ""},
		{"no iSCSI deploy", Machine{uuid, &direct}, uuid, ""},
		{"no boot", Machine{uuid, &bare}, uuid, ""},
		{"unknown machine", Machine{}, uuid, ""},
	} {
		if got := tt.m.Token(tt.id); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestDeploymentID(t *testing.T) {
	for name, want := range map[string]string{"token-abc": "abc", "/tftpboot/token-abc": "abc", "pxelinux.0": "", "token": ""} {
		got, ok := DeploymentID(name)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}
