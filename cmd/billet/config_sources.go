package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Four places can set a key. They are merged as texts, before any is parsed, so that an error can name the place that set the
// wrong value and a value means the same wherever it stands.

// setting is what a key was set to, as it was written, and where that was.
type setting struct{ text, source string }

// sources merges the file, the environment and the flags; the later wins. What is set nowhere is not in it.
func sources(flags *pflag.FlagSet, environ []string, path string, known []key) (map[string]setting, error) {
	set := map[string]setting{}
	if path != "" {
		source := "configuration file " + path
		values, err := fileValues(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		if err := merge(set, source, values, known); err != nil {
			return nil, err
		}
	}
	if err := merge(set, "environment (BILLET_…)", environmentValues(environ), known); err != nil {
		return nil, err
	}
	flags.Visit(func(f *pflag.Flag) {
		if name := strings.ReplaceAll(f.Name, "-", "_"); name != "config" {
			set[name] = setting{f.Value.String(), "flag --" + f.Name}
		}
	})
	return set, nil
}

// merge puts the values of one source over those of the sources before it.
func merge(set map[string]setting, source string, values map[string]any, known []key) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		full := below(name, values[name])
		if !slices.ContainsFunc(known, func(k key) bool { return k.name == full }) {
			return unknownKey(source, full, known)
		}
		text, err := valueText(values[name])
		if err != nil {
			return fmt.Errorf("%s: %s: %w", source, name, err)
		}
		set[name] = setting{text, source}
	}
	return nil
}

// fileValues reads a YAML file; the keys of the table stand at its top.
func fileValues(path string) (map[string]any, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var values map[string]any
	err = yaml.Unmarshal(raw, &values)
	return values, err
}

// environmentValues reads BILLET_… variables; BILLET_CONFIG and the client's own are not keys. Of a variable that is there twice the
// last wins.
func environmentValues(environ []string) map[string]any {
	values := map[string]any{}
	for _, line := range environ {
		variable, value, _ := strings.Cut(line, "=")
		name, ours := strings.CutPrefix(variable, "BILLET_")
		if strings.HasPrefix(name, "TEST_") { // tells the tests something, whose services inherit it
			continue
		}
		if ours && name != "" && strings.Contains(line, "=") && !slices.Contains(clientVariables, variable) {
			values[strings.ToLower(name)] = value
		}
	}
	return values
}

// clientVariables are for the operator's commands, not keys of the service.
var clientVariables = []string{"BILLET_CONFIG", "BILLET_API", "BILLET_USER", "BILLET_PASSWORD", "BILLET_LAB_DIR"}

func lookupEnv(environ []string, name string) string {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// below names the first key below a key, as "workers.a"; a key with a plain value keeps its name. No key has others below it, so what is
// named like this is unknown.
func below(name string, v any) string {
	if m, ok := v.(map[any]any); ok { // a mapping with a key that is no text
		texts := map[string]any{}
		for k, v := range m {
			texts[fmt.Sprint(k)] = v
		}
		v = texts
	}
	m, _ := v.(map[string]any)
	if len(m) == 0 {
		return name
	}
	first := slices.Sorted(maps.Keys(m))[0]
	return below(name+"."+first, m[first])
}

// valueText turns a value into the text its key parses; a list becomes a comma list, and nothing an empty text.
func valueText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case map[string]any:
		return "", errors.New("a mapping is not allowed; use one value, or a list where the key takes one")
	case []any:
		texts := make([]string, len(v))
		for i, item := range v {
			switch item.(type) {
			case nil, []any, map[string]any, map[any]any:
				return "", fmt.Errorf("item %d of the list is empty, a list or a mapping; use plain values", i+1)
			}
			texts[i] = fmt.Sprint(item)
		}
		return strings.Join(texts, ","), nil
	}
	return fmt.Sprint(v), nil
}
