package node

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
)

func TestSecretKey(t *testing.T) {
	for key, want := range map[string]bool{
		"ipmi_password": true, "redfish_password": true, "redfish_Passwd": true, "IPMI_PASSWORD": true, "snmp-auth-key": true,
		"snmp_priv_key":   true,
		"ipmi_hex_kg_key": true, "agent_secret_token": true, "auth_token": true, "image_pull_secret": true, "adminPass": true,
		"private_key": true, "pass": true, "pwd": true, "passphrase": true, "chap_secret": true, "configdrive": true,
		"image_server_password": true,
		"Authorization":         true, "aws credentials": true, "kg_key": true,
		"ipmi_username": false, "ipmi_address": false, "bypass": false, "passthru": false, "image_source": false, "deploy_kernel": false,
		"public_keys": false, "capabilities": false, "bios_key": false, "compass": false, "": false,
	} {
		if SecretKey(key) != want {
			t.Errorf("%q: %v", key, !want)
		}
	}
}

// Secrets are masked wherever they stand: in lists, in objects under a secret name, whatever their type. What was given
// stays as it is, and SecretTexts finds the texts that are hidden, no others.
func TestMasked(t *testing.T) {
	in := map[string]any{
		"ipmi_address": "192.0.2.1", "password": "one", "none": nil, "pass": nil, "count": 3.0, "agent_token_required": true, "api_token": 5.0,
		"bmcs":        []any{map[string]any{"address": "192.0.2.2", "password": "two"}, []any{map[string]any{"token": "three"}}, "plain", 7.0},
		"credentials": map[string]any{"user": "four"}, "secret_list": []any{"five", 1.0},
		"deep": map[string]any{"deeper": []any{map[string]any{"kg_key": "six", "name": "x"}}},
	}
	want := map[string]any{
		"ipmi_address": "192.0.2.1", "password": Mask, "none": nil, "pass": nil, "count": 3.0, "agent_token_required": true, "api_token": Mask,
		"bmcs":        []any{map[string]any{"address": "192.0.2.2", "password": Mask}, []any{map[string]any{"token": Mask}}, "plain", 7.0},
		"credentials": Mask, "secret_list": Mask,
		"deep": map[string]any{"deeper": []any{map[string]any{"kg_key": Mask, "name": "x"}}},
	}
	if got := Masked(in); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if in["password"] != "one" || in["bmcs"].([]any)[0].(map[string]any)["password"] != "two" {
		t.Error("masking changed what it was given")
	}
	texts := SecretTexts(in)
	slices.Sort(texts)
	if want := []string{"1", "5", "five", "four", "one", "six", "three", "two"}; !slices.Equal(texts, want) {
		t.Errorf("hidden texts are %q, want %q", texts, want)
	}
	if got := MaskedDocument(nil); got == nil || len(got) != 0 {
		t.Errorf("no document is %v", got)
	}
	if got := Masked("plain"); got != "plain" {
		t.Errorf("a text is %v", got)
	}
}

// A password of digits comes as a number, is used as its digits, and is hidden as those.
func TestNumbersAreTexts(t *testing.T) {
	d := Document{"password": 12345678.0, "long": json.Number("12345678901234567890"),
		"port": 623, "on": true, "half": 1.5, "list": []any{1.0}}
	for key, want := range map[string]string{
		"password": "12345678", "long": "12345678901234567890", "port": "623", "on": "", "half": "", "list": "", "none": "",
	} {
		if got := d.Text(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	got := SecretTexts(map[string]any{"ipmi_password": 12345678.0, "pass": json.Number("12345678901234567890"), "ipmi_port": 623.0})
	slices.Sort(got)
	if want := []string{"12345678", "12345678901234567890"}; !slices.Equal(got, want) {
		t.Errorf("secrets %q, want %q", got, want)
	}
}
