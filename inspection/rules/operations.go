package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Conditions and actions are operations of one form: a name, arguments as an object or as a list by position, and perhaps
// a loop. What an operation takes is declared in its signature, so that a misspelt argument is found when the rule is
// written and not when a machine reports.

// signature names the arguments of an operation, in the order in which a list gives them.
type signature struct {
	required, optional []string
	expanded           []string // arguments whose references are replaced; in a loop those of all are
}

func (s signature) names() []string { return slices.Concat(s.required, s.optional) }

// named brings the two forms of arguments to one: an object as it is, a list by position. A list of
// what a comparison compares may also be written without the list around it.
func (s signature) named(args any) (map[string]any, error) {
	switch x := args.(type) {
	case map[string]any:
		return x, s.complete(x)
	case []any:
		if s.required[0] == "values" && (len(x) == 0 || !isList(x[0])) {
			x = []any{x}
		}
		if len(x) > len(s.names()) {
			return nil, faultf("it has too many arguments", "at most %d are taken: %s", len(s.names()), strings.Join(s.names(), ", "))
		}
		m := map[string]any{}
		for i, v := range x {
			m[s.names()[i]] = v
		}
		return m, s.complete(m)
	}
	return nil, faultf("its args are neither an object nor a list", "")
}

func isList(v any) bool { _, ok := v.([]any); return ok }

func (s signature) complete(m map[string]any) error {
	var missing, unknown []string
	for _, name := range s.required {
		if _, ok := m[name]; !ok {
			missing = append(missing, name)
		}
	}
	for name := range m {
		if !slices.Contains(s.names(), name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	switch {
	case len(missing) > 0:
		return faultf("it lacks arguments", "%s", strings.Join(missing, ", "))
	case len(unknown) > 0:
		return faultf("it has unknown arguments", "%s; allowed are %s", strings.Join(unknown, ", "), strings.Join(s.names(), ", "))
	}
	return nil
}

// rounds are the scopes an operation runs in: one without a loop, else one for each item.
func (w *work) rounds(o node.RuleOperation, missing onLost) (rounds []scope, looped bool, err error) {
	plain := w.scope()
	items, isList := o.Loop.([]any)
	if object, ok := o.Loop.(map[string]any); ok && len(object) > 0 {
		items = []any{object}
	} else if !isList || len(items) == 0 {
		return []scope{plain}, false, nil
	}
	for _, item := range items {
		// The item's own references are replaced here, once: what the machine reported is never
		// read as a reference.
		item, err := plain.expandAll(item, missing)
		if err != nil {
			return nil, true, err
		}
		rounds = append(rounds, plain.with(item))
	}
	return rounds, true, nil
}

// onLost says what becomes of a text with a reference that finds nothing.
type onLost func(text string, err error) (any, error)

// asWritten leaves a text whose reference finds nothing, which is how Ironic has it.
func asWritten(text string, _ error) (any, error) { return text, nil }

// refused fails the operation.
func refused(_ string, err error) (any, error) {
	if l, ok := errors.AsType[*lost](err); ok {
		return nil, faultf("the machine has nothing under a reference", "%s", l.reference)
	}
	return nil, err
}

// arguments are an operation's in one round.
func (s signature) arguments(o node.RuleOperation, in scope, looped bool, missing onLost) (map[string]any, error) {
	given, err := s.named(o.Args)
	if err != nil {
		return nil, err
	}
	args := map[string]any{}
	for name, v := range given {
		if looped || slices.Contains(s.expanded, name) {
			if v, err = in.expandAll(v, missing); err != nil {
				return nil, err
			}
		}
		args[name] = v
	}
	return args, nil
}

// textArg is an argument as a text; a number or a boolean is spelled out.
func textArg(args map[string]any, name string) (string, error) {
	switch v := args[name].(type) {
	case map[string]any, []any, nil:
		return "", faultf("an argument is not a text", "%s is %s", name, kindOf(v))
	default:
		return python(v), nil
	}
}

func boolArg(args map[string]any, name string) (bool, error) {
	v, given := args[name]
	if !given {
		return false, nil
	}
	b, ok := spelled(v)
	if !ok {
		return false, faultf("an argument is not a boolean", "%s is %s", name, kindOf(v))
	}
	return b, nil
}

// spelled reads a boolean, also in words.
func spelled(v any) (b, ok bool) {
	switch x := v.(type) {
	case bool:
		return x, true
	case string:
		switch strings.ToLower(x) {
		case "true", "yes", "on", "1":
			return true, true
		case "false", "no", "off", "0":
			return false, true
		}
	}
	return false, false
}

// kindOf names a JSON value for people.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a text"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return fmt.Sprintf("a number (%s)", python(v))
}
