package node

import (
	"reflect"
	"testing"
)

func TestWithCapability(t *testing.T) {
	object := map[string]any{"a": "b", "boot_mode": "bios"}
	for _, tt := range []struct {
		have  any
		value string
		want  any
	}{
		{nil, "uefi", "boot_mode:uefi"},
		{"", "uefi", "boot_mode:uefi"},
		{"a:b", "uefi", "a:b,boot_mode:uefi"},
		{" boot_mode:bios , a:b,", "uefi", "a:b,boot_mode:uefi"},
		{"boot_mode:bios,a:b:c,boot_mode:x", "", "a:b:c"},
		{"", "", ""},
		{object, "uefi", map[string]any{"a": "b", "boot_mode": "uefi"}},
		{object, "", map[string]any{"a": "b"}},
		{[]any{"nonsense"}, "uefi", "boot_mode:uefi"},
	} {
		if got := WithCapability(tt.have, "boot_mode", tt.value); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v with %q: %#v, want %#v", tt.have, tt.value, got, tt.want)
		}
	}
	if object["boot_mode"] != "bios" {
		t.Error("the object given was changed")
	}
}

func TestSecretKey(t *testing.T) {
	for key, want := range map[string]bool{
		"ipmi_password": true, "IPMI_PASSWORD": true, "snmp_auth_key": true, "agent_secret_token": true, "configdrive": true, "redfish_Passwd": true,
		"ipmi_address": false, "": false, "pass": false, "deploy_kernel": false,
	} {
		if SecretKey(key) != want {
			t.Errorf("%q: %v", key, !want)
		}
	}
}
