package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIsSecret(t *testing.T) {
	for key, want := range map[string]bool{
		"ipmi_password": true, "redfish_password": true, "IPMI_PASSWORD": true, "snmp-auth-key": true, "snmp_priv_key": true,
		"ipmi_hex_kg_key": true, "agent_secret_token": true, "auth_token": true, "image_pull_secret": true, "adminPass": true,
		"private_key": true, "pass": true, "passphrase": true, "chap_secret": true, "configdrive": true, "image_server_password": true,
		"ipmi_username": false, "ipmi_address": false, "bypass": false, "passthru": false, "image_source": false, "deploy_kernel": false,
		"public_keys": false, "capabilities": false, "bios_key": false, "compass": false,
	} {
		if got := isSecret(key); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
}

func TestMaskAll(t *testing.T) {
	in := map[string]any{
		"password": "x", "token": 5.0, "secret": map[string]any{"a": "x"}, "auth_token": []any{"x"}, "pass": nil, "agent_token_required": true,
		"list": []any{map[string]any{"password": "x", "n": 1.0}}, "plain": "x",
	}
	want := map[string]any{
		"password": masked, "token": masked, "secret": masked, "auth_token": masked, "pass": nil, "agent_token_required": true,
		"list": []any{map[string]any{"password": masked, "n": 1.0}}, "plain": "x",
	}
	if diff := cmp.Diff(want, maskAll(in)); diff != "" {
		t.Error(diff)
	}
	if in["password"] != "x" || in["list"].([]any)[0].(map[string]any)["password"] != "x" {
		t.Error("masking changed what it was given")
	}
}
