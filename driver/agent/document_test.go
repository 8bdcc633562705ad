package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/node"
)

// Secrets are masked wherever they stand in a document: in lists, under other secrets, whatever their type. The node's own
// document stays as it is.
func TestMaskReachesEveryDepth(t *testing.T) {
	doc := node.Document{
		"ipmi_address": "192.0.2.1", "ipmi_password": "hush", "none": nil, "count": 3.0,
		"bmcs":        []any{map[string]any{"address": "192.0.2.2", "password": "hush"}, []any{map[string]any{"token": "hush"}}, "plain", 7.0},
		"credentials": map[string]any{"user": "hush"}, "secret_list": []any{"hush"}, "api_token": 5.0,
		"deep": map[string]any{"deeper": []any{map[string]any{"kg_key": "hush", "name": "x"}}},
	}
	want := map[string]any{
		"ipmi_address": "192.0.2.1", "ipmi_password": masked, "none": nil, "count": 3.0,
		"bmcs":        []any{map[string]any{"address": "192.0.2.2", "password": masked}, []any{map[string]any{"token": masked}}, "plain", 7.0},
		"credentials": masked, "secret_list": masked, "api_token": masked,
		"deep": map[string]any{"deeper": []any{map[string]any{"kg_key": masked, "name": "x"}}},
	}
	if diff := cmp.Diff(want, mask(doc)); diff != "" {
		t.Error(diff)
	}
	if doc["bmcs"].([]any)[0].(map[string]any)["password"] != "hush" || doc["deep"].(map[string]any)["deeper"].([]any)[0].(map[string]any)["kg_key"] != "hush" {
		t.Error("masking changed the node's own document")
	}
	if got := mask(nil); got == nil || len(got) != 0 {
		t.Errorf("no document is %v", got)
	}
}
