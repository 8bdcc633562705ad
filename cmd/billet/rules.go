package main

import (
	"encoding/json"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/billet-metal/billet/inspection/rules"
	"github.com/billet-metal/billet/node"
)

// Inspection rules may come from a file, so that a site keeps them with its configuration. They are read and checked at the
// start: a rule with a mistake must not be found by the first machine.

// builtInRules reads a YAML file with a list of inspection rules; "" has none.
func builtInRules(path string) ([]node.InspectionRule, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("inspection_rules_built_in: %w", err)
	}
	list, err := readRules(text)
	if err != nil {
		return nil, fmt.Errorf("inspection_rules_built_in: %s: %w", path, err)
	}
	return list, nil
}

func readRules(text []byte) ([]node.InspectionRule, error) {
	var items []any
	if err := yaml.Unmarshal(text, &items); err != nil {
		return nil, fmt.Errorf("not a YAML list of rules: %w", err)
	}
	plain, err := json.Marshal(items) // numbers as everywhere else
	if err != nil {
		return nil, fmt.Errorf("a key that is no text: %w", err)
	}
	if err := json.Unmarshal(plain, &items); err != nil {
		return nil, err
	}
	var out []node.InspectionRule
	seen := map[string]bool{}
	for i, item := range items {
		body, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("rule %d is not a mapping", i+1)
		}
		r, err := rules.ReadBuiltIn(body, i)
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
		if seen[r.UUID] {
			return nil, fmt.Errorf("rule %d: the uuid %s is another rule's too", i+1, r.UUID)
		}
		seen[r.UUID] = true
		out = append(out, r)
	}
	return out, nil
}
