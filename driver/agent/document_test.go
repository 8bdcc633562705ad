package agent

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/billet-metal/billet/node"
)

// Agents are told no secret of a node, at whatever depth; the config drive neither, which the step that writes it has.
func TestNodeDocumentHasNoSecrets(t *testing.T) {
	secret := node.Document{"plain": "shown", "password": "hush", "list": []any{map[string]any{"token": "hush", "name": "shown"}},
		"credentials": map[string]any{"user": "hush"}}
	n := &node.Node{
		Properties: secret, DriverInfo: secret, InstanceInfo: secret.Clone(), DriverInternalInfo: secret, Extra: secret,
		RAIDConfig: secret, TargetRAIDConfig: secret, ConfigDrive: "the config drive",
	}
	n.InstanceInfo["image_url"] = "http://images/x?signature=hush"
	text, err := json.Marshal(nodeDocument(n))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hush") || strings.Count(string(text), "shown") != 14 || strings.Contains(string(text), "config drive") {
		t.Error(string(text))
	}
}
