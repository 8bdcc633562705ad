package rules

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/billet-metal/billet/node"
)

// A rule is checked as a whole when people write it, because it runs much later, on a machine that nobody is watching.

// Fields are the fields of a rule that people write, but for its UUID.
var Fields = []string{"actions", "conditions", "description", "phase", "priority", "sensitive"}

const maxPriority = 9999 // of rules that people make

// Read makes a rule of a decoded JSON object with Fields; "actions" is required. Priorities of people's
// rules are 0 to 9999. An error is node.Invalid and says what is wrong where.
func Read(body map[string]any) (node.InspectionRule, error) {
	r := node.InspectionRule{Phase: node.MainPhase}
	for _, key := range slices.Sorted(maps.Keys(body)) {
		if err := readField(&r, key, body[key]); err != nil {
			return r, err
		}
	}
	if len(r.Actions) == 0 {
		return r, invalid("An inspection rule needs \"actions\": a list of at least one action.")
	}
	return r, nil
}

// ReadBuiltIn makes a rule of an item of a file of built-in rules: any priority will do, and any text is a
// UUID; without one it gets one by its place in the file.
func ReadBuiltIn(body map[string]any, place int) (node.InspectionRule, error) {
	body = maps.Clone(body)
	uuid, given := body["uuid"].(string)
	if body["uuid"] != nil && (!given || uuid == "") {
		return node.InspectionRule{}, invalid("The uuid of a built-in inspection rule must be a text.")
	}
	priority := body["priority"]
	delete(body, "uuid")
	delete(body, "priority")
	r, err := Read(body)
	if err != nil {
		return r, err
	}
	if priority != nil {
		if r.Priority, err = whole(priority); err != nil {
			return r, err
		}
	}
	if r.UUID = uuid; uuid == "" {
		r.UUID = fmt.Sprintf("00000000-0000-0000-0000-%012x", place)
	}
	return r, nil
}

func invalid(format string, args ...any) error { return node.Errorf(node.Invalid, format, args...) }

func readField(r *node.InspectionRule, key string, v any) (err error) {
	switch key {
	case "actions":
		r.Actions, err = readOperations(key, v, checkAction)
	case "conditions":
		r.Conditions, err = readOperations(key, v, checkCondition)
	case "description":
		s, ok := v.(string)
		if !ok && v != nil {
			return invalid("The description of an inspection rule must be a text or null, not %s.", kindOf(v))
		}
		if n := utf8.RuneCountInString(s); n > 255 {
			return invalid("The description of an inspection rule may have at most 255 characters, not %d.", n)
		}
		r.Description = s
	case "phase":
		if s, ok := v.(string); v != nil && (!ok || s != node.MainPhase) {
			return invalid("Invalid phase: %s. Valid phases are: %s", python(v), node.MainPhase)
		}
	case "priority":
		if v == nil {
			return nil
		}
		r.Priority, err = whole(v)
		if err == nil && (r.Priority < 0 || r.Priority > maxPriority) {
			return invalid("Priority must be between 0 and %d for user-defined rules, not %d.", maxPriority, r.Priority)
		}
	case "sensitive":
		b, ok := spelled(v)
		if !ok && v != nil {
			return invalid("The field sensitive of an inspection rule must be a boolean, not %s.", kindOf(v))
		}
		r.Sensitive = b
	default:
		return invalid("An inspection rule has no field %q. Allowed are: %s, uuid", key, strings.Join(Fields, ", "))
	}
	return err
}

// whole reads a whole number; clients without a type for the option send it as text.
func whole(v any) (int, error) {
	f, ok := number(v)
	if _, text := v.(string); text {
		_, err := strconv.Atoi(v.(string))
		ok = ok && err == nil
	}
	if !ok || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return 0, invalid("The priority of an inspection rule must be a whole number, not %s.", python(v))
	}
	return int(f), nil
}

func readOperations(key string, v any, check func(node.RuleOperation) error) ([]node.RuleOperation, error) {
	list, ok := v.([]any)
	if !ok && (v != nil || key == "actions") {
		return nil, invalid("The field %s of an inspection rule must be a list, not %s.", key, kindOf(v))
	}
	var out []node.RuleOperation
	for i, e := range list {
		o, err := readOperation(e)
		if err == nil {
			err = check(o)
		}
		if err != nil {
			return nil, invalid("%s[%d] of the inspection rule is wrong: %s.", key, i, err)
		}
		out = append(out, o)
	}
	return out, nil
}

func readOperation(v any) (node.RuleOperation, error) {
	var o node.RuleOperation
	m, ok := v.(map[string]any)
	if !ok {
		return o, fmt.Errorf("it must be an object, not %s", kindOf(v))
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains([]string{"op", "args", "loop", "multiple"}, k) {
			return o, fmt.Errorf("it has an unknown key %q; allowed are op, args, loop, multiple", k)
		}
	}
	if o.Op, ok = m["op"].(string); !ok || o.Op == "" {
		return o, errors.New(`it needs "op": the name of an operation`)
	}
	if o.Args = m["args"]; o.Args == nil {
		return o, errors.New(`it needs "args": an object, or a list`)
	}
	switch o.Loop = m["loop"]; m["loop"].(type) {
	case nil, []any, map[string]any:
	default:
		return o, fmt.Errorf("loop must be a list or an object, not %s", kindOf(m["loop"]))
	}
	if m["multiple"] != nil {
		o.Multiple, _ = m["multiple"].(string)
		if !slices.Contains([]string{"any", "all", "first", "last"}, o.Multiple) {
			return o, fmt.Errorf("multiple must be any, all, first or last, not %s", python(m["multiple"]))
		}
	}
	return o, nil
}

func looped(o node.RuleOperation) bool {
	switch loop := o.Loop.(type) {
	case []any:
		return len(loop) > 0
	case map[string]any:
		return len(loop) > 0
	}
	return false
}

func checkCondition(c node.RuleOperation) error {
	name, _ := operator(c.Op)
	kind, known := conditions[name]
	if !known {
		return fmt.Errorf("there is no condition %q; there are %s, each also with ! before it", c.Op,
			strings.Join(slices.Sorted(maps.Keys(conditions)), ", "))
	}
	args, err := kind.named(c.Args)
	if err != nil || looped(c) {
		return err
	}
	if pattern, ok := args["regex"].(string); ok {
		_, err = compile(pattern)
	}
	if subnet, ok := args["subnet"].(string); ok && !strings.ContainsAny(subnet, "{}") {
		_, err = network(subnet)
	}
	return err
}

func checkAction(a node.RuleOperation) error {
	kind, known := actions[a.Op]
	if !known {
		return fmt.Errorf("there is no action %q; there are %s", a.Op, strings.Join(slices.Sorted(maps.Keys(actions)), ", "))
	}
	_, err := kind.named(a.Args)
	return err
}
