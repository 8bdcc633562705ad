package rules

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Conditions have Ironic's names and arguments. A number and a text that spells it are the same to them: what a reference
// finds is put into a text, so "{inventory[cpu][count]}" is "4" where a rule compares it with 4.

// condition is one kind of condition.
type condition struct {
	signature
	holds func(args map[string]any) (bool, error)
	// of a reference that finds nothing: nil, not the text as written
	lostIsNull bool
}

var (
	valuesOnly = signature{required: []string{"values"}, optional: []string{"force_strings"}, expanded: []string{"values"}}
	valueOnly  = signature{required: []string{"value"}, expanded: []string{"value"}}
	valueRegex = signature{required: []string{"value", "regex"}, expanded: []string{"value"}}
)

// conditions are all there are.
var conditions = map[string]condition{
	"eq":       {signature: valuesOnly, holds: each(equal)},
	"ne":       {signature: valuesOnly, holds: each(func(a, b any) (bool, error) { eq, err := equal(a, b); return !eq, err })},
	"lt":       {signature: valuesOnly, holds: each(ordered(func(c int) bool { return c < 0 }))},
	"le":       {signature: valuesOnly, holds: each(ordered(func(c int) bool { return c <= 0 }))},
	"gt":       {signature: valuesOnly, holds: each(ordered(func(c int) bool { return c > 0 }))},
	"ge":       {signature: valuesOnly, holds: each(ordered(func(c int) bool { return c >= 0 }))},
	"is-empty": {signature: valueOnly, holds: isEmpty, lostIsNull: true},
	"is-none":  {signature: valueOnly, holds: isNone, lostIsNull: true},
	"is-true":  {signature: valueOnly, holds: isTrue},
	"is-false": {signature: valueOnly, holds: isFalse},
	"in-net":   {signature: signature{required: []string{"address", "subnet"}, expanded: []string{"address", "subnet"}}, holds: inNet},
	"matches":  {signature: valueRegex, holds: regex(`^(?:`, `)$`)},
	"contains": {signature: valueRegex, holds: regex(`(?:`, `)`)},
	"one-of":   {signature: signature{required: []string{"value"}, optional: []string{"values"}, expanded: []string{"value"}}, holds: oneOf},
}

// operator takes the "!" off a condition's operator.
func operator(op string) (name string, inverted bool) {
	name, inverted = strings.CutPrefix(strings.TrimSpace(op), "!")
	return strings.TrimSpace(name), inverted
}

// condition reports whether c holds, over its loop when it has one.
func (w *work) condition(c node.RuleOperation) (bool, error) {
	name, inverted := operator(c.Op)
	kind, known := conditions[name]
	if !known {
		return false, faultf("there is no such condition", "%s", name)
	}
	missing := asWritten
	if kind.lostIsNull {
		missing = func(string, error) (any, error) { return nil, nil }
	}
	rounds, looped, err := w.rounds(c, asWritten)
	if err != nil {
		return false, err
	}
	var results []bool
	for _, in := range rounds {
		args, err := kind.arguments(c, in, looped, missing)
		if err != nil {
			return false, err
		}
		holds, err := kind.holds(args)
		if err != nil {
			return false, err
		}
		results = append(results, holds != inverted)
	}
	switch c.Multiple {
	case "all":
		return !slices.Contains(results, false), nil
	case "first":
		return results[0], nil
	case "last":
		return results[len(results)-1], nil
	}
	return slices.Contains(results, true), nil
}

// each holds when compare does for every two neighbours of the values.
func each(compare func(a, b any) (bool, error)) func(map[string]any) (bool, error) {
	return func(args map[string]any) (bool, error) {
		values, ok := args["values"].([]any)
		if !ok {
			return false, faultf("an argument is not a list", "values is %s", kindOf(args["values"]))
		}
		asTexts, err := boolArg(args, "force_strings")
		if err != nil {
			return false, err
		}
		if asTexts {
			values = slices.Clone(values)
			for i, v := range values {
				values[i] = forced(python(v))
			}
		}
		for i := 1; i < len(values); i++ {
			if holds, err := compare(values[i-1], values[i]); !holds || err != nil {
				return false, err
			}
		}
		return true, nil
	}
}

// forced is a text that is compared as a text, whatever it looks like.
type forced string

var numeral = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?$`)

// number reads a number, or a text that spells one. Replaced references are always texts.
func number(v any) (f float64, isNumber bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case int:
		return float64(x), true
	case json.Number:
		f, err := x.Float64()
		return f, err == nil
	case string:
		if s := strings.TrimSpace(x); numeral.MatchString(s) {
			f, err := strconv.ParseFloat(s, 64)
			return f, err == nil
		}
	}
	return 0, false
}

// equal compares as JSON does, but for a number and a text that spells it.
func equal(a, b any) (bool, error) {
	_, aText := a.(string)
	_, bText := b.(string)
	if x, ok := number(a); ok && !(aText && bText) {
		if y, ok := number(b); ok {
			return x == y, nil
		}
	}
	return reflect.DeepEqual(a, b), nil
}

// ordered compares numbers as numbers, also those that texts spell, and other texts by their letters.
func ordered(wanted func(int) bool) func(a, b any) (bool, error) {
	return func(a, b any) (bool, error) {
		x, xOK := number(a)
		y, yOK := number(b)
		if xOK && yOK {
			return wanted(compareNumbers(x, y)), nil
		}
		s, sOK := asText(a)
		t, tOK := asText(b)
		if sOK && tOK {
			return wanted(strings.Compare(s, t)), nil
		}
		return false, faultf("two values have no order", "%s and %s", repr(a), repr(b))
	}
}

func compareNumbers(x, y float64) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func asText(v any) (string, bool) {
	switch x := v.(type) {
	case string:
		return x, true
	case forced:
		return string(x), true
	}
	return "", false
}

func isEmpty(args map[string]any) (bool, error) {
	return slices.Contains([]string{"", "None", "[]", "{}"}, python(args["value"])), nil
}

func isNone(args map[string]any) (bool, error) {
	v := args["value"]
	return v == nil || v == "None", nil // a replaced reference to null is the text None
}

func isTrue(args map[string]any) (bool, error) {
	switch x := args["value"].(type) {
	case bool:
		return x, nil
	case string:
		return strings.EqualFold(x, "true") || strings.EqualFold(x, "yes"), nil
	case float64, json.Number, int:
		f, _ := number(x)
		return f != 0, nil
	}
	return false, nil
}

func isFalse(args map[string]any) (bool, error) {
	switch x := args["value"].(type) {
	case bool:
		return !x, nil
	case string:
		return strings.EqualFold(x, "false") || strings.EqualFold(x, "no"), nil
	case float64, json.Number, int:
		f, _ := number(x)
		return f == 0, nil
	case nil:
		return true, nil
	}
	return false, nil
}

func inNet(args map[string]any) (bool, error) {
	text, err := textArg(args, "subnet")
	if err != nil {
		return false, err
	}
	subnet, err := network(text)
	if err != nil {
		return false, err
	}
	if text, err = textArg(args, "address"); err != nil {
		return false, err
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return false, faultf("an argument is no IP address", "address is %q", text)
	}
	return subnet.Contains(address.Unmap().WithZone("")), nil
}

// network reads a network, or one address as the network of it alone.
func network(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, faultf("an argument is no network", "subnet is %q; a network is like 10.1.0.0/16", text)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func regex(before, after string) func(map[string]any) (bool, error) {
	return func(args map[string]any) (bool, error) {
		pattern, err := textArg(args, "regex")
		if err != nil {
			return false, err
		}
		re, err := compile(before + pattern + after)
		if err != nil {
			return false, err
		}
		return re.MatchString(python(args["value"])), nil
	}
}

func compile(pattern string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, faultf("its regular expression is not one (the syntax is RE2's: no look-around, no back references)", "%v", err)
	}
	return re, nil
}

func oneOf(args map[string]any) (bool, error) {
	list, given := args["values"]
	values, ok := list.([]any)
	if given && !ok {
		return false, faultf("an argument is not a list", "values is %s", kindOf(list))
	}
	for _, v := range values {
		if eq, _ := equal(args["value"], v); eq {
			return true, nil
		}
	}
	return false, nil
}
