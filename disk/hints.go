package disk

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/wire"
)

// fields are what root device hints may ask for; all values are lower-cased before comparing.
var fields = map[string]func(wire.Disk) string{
	"size":                 func(d wire.Disk) string { return strconv.FormatInt(d.Size>>30, 10) }, // GiB
	"rotational":           func(d wire.Disk) string { return strconv.FormatBool(d.Rotational) },
	"model":                func(d wire.Disk) string { return d.Model },
	"wwn":                  func(d wire.Disk) string { return d.WWN },
	"wwn_with_extension":   func(d wire.Disk) string { return d.WWNWithExtension },
	"wwn_vendor_extension": func(d wire.Disk) string { return d.WWNVendorExtension },
	"serial":               func(d wire.Disk) string { return d.Serial },
	"vendor":               func(d wire.Disk) string { return d.Vendor },
	"name":                 func(d wire.Disk) string { return d.Name },
	"hctl":                 func(d wire.Disk) string { return d.HCTL },
	"by_path":              func(d wire.Disk) string { return d.ByPath },
	"tran":                 func(d wire.Disk) string { return d.Tran },
}

// hint is one condition: a field of the disk compared with what was asked for.
type hint struct {
	field, text string
	match       func(value string) bool
	identity    bool // it is to name one disk: the exact value of a field that disks do not share
}

// identities are the fields that tell disks apart. Hardware is not always honest about them: some
// RAID controllers give each of their logical disks the controller's serial number.
var identities = []string{"serial", "wwn", "wwn_with_extension", "wwn_vendor_extension", "hctl", "by_path"}

// parseHints reads root device hints as the Bare Metal API has them: field → value, where the value
// may begin with an operator. A bare value must be equal.
func parseHints(raw map[string]any) ([]hint, error) {
	var out []hint
	for _, field := range slices.Sorted(maps.Keys(raw)) {
		if fields[field] == nil {
			return nil, fmt.Errorf("root device hint %q is unknown; allowed are %s", field, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
		text, err := hintText(raw[field])
		if err != nil {
			return nil, fmt.Errorf("root device hint %s: %w", field, err)
		}
		condition := strings.ToLower(strings.TrimSpace(text))
		match, err := parseCondition(field, condition)
		if err != nil {
			return nil, fmt.Errorf("root device hint %s: %q: %w", field, text, err)
		}
		exact := strings.HasPrefix(condition, "s==") || !slices.ContainsFunc(operators, func(o string) bool {
			return strings.HasPrefix(condition, o)
		})
		out = append(out, hint{field: field, text: text, match: match, identity: exact && slices.Contains(identities, field)})
	}
	return out, nil
}

// hintText is a hint's value as text; JSON may have sent a number or a boolean.
func hintText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case json.Number:
		return v.String(), nil
	case int:
		return strconv.Itoa(v), nil
	default:
		return "", fmt.Errorf("its value is a %T; text, a number or a boolean is allowed", v)
	}
}

// numeric are the operators that compare numbers. "=" means at least, as it always has there.
var numeric = map[string]func(order int) bool{
	"=":  func(o int) bool { return o >= 0 },
	"==": func(o int) bool { return o == 0 },
	"!=": func(o int) bool { return o != 0 },
	">=": func(o int) bool { return o >= 0 },
	">":  func(o int) bool { return o > 0 },
	"<=": func(o int) bool { return o <= 0 },
	"<":  func(o int) bool { return o < 0 },
}

// operators, each before those it begins with.
var operators = []string{
	"<range-in>", "<all-in>", "<in>", "<or>",
	"s==", "s!=", "s>=", "s<=", "s>", "s<", "==", "!=", ">=", "<=", "=", ">", "<",
}

// parseCondition reads one operator and its operands.
func parseCondition(field, text string) (func(string) bool, error) {
	if text == "" {
		return nil, fmt.Errorf("it is empty")
	}
	op, rest := "", text
	if i := slices.IndexFunc(operators, func(o string) bool { return strings.HasPrefix(text, o) }); i >= 0 {
		op, rest = operators[i], strings.TrimSpace(text[len(operators[i]):])
	}
	if holds := numeric[op]; holds != nil {
		return compareNumbers(holds, rest)
	}
	if holds := numeric[strings.TrimPrefix(op, "s")]; holds != nil {
		if rest == "" {
			return nil, fmt.Errorf("the operator %s needs a value", op)
		}
		return func(v string) bool { return holds(strings.Compare(v, rest)) }, nil
	}
	switch op {
	case "<in>":
		return contains(rest)
	case "<all-in>":
		return containsAll(rest)
	case "<or>":
		return oneOf(text)
	case "<range-in>":
		return within(rest)
	}
	return equals(field, text)
}

func compareNumbers(holds func(int) bool, text string) (func(string) bool, error) {
	want, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a number", text)
	}
	return func(v string) bool {
		got, err := strconv.ParseFloat(v, 64)
		return err == nil && holds(cmp.Compare(got, want))
	}, nil
}

func contains(text string) (func(string) bool, error) {
	if text == "" {
		return nil, fmt.Errorf("<in> needs a value")
	}
	return func(v string) bool { return strings.Contains(v, text) }, nil
}

func containsAll(text string) (func(string) bool, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil, fmt.Errorf("<all-in> needs values")
	}
	return func(v string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(v, w) })
	}, nil
}

func oneOf(text string) (func(string) bool, error) {
	var options []string
	for option := range strings.SplitSeq(text, "<or>") {
		if option = strings.TrimSpace(option); option != "" {
			options = append(options, option)
		}
	}
	if len(options) == 0 {
		return nil, fmt.Errorf("<or> needs values")
	}
	return func(v string) bool { return slices.Contains(options, v) }, nil
}

// within reads "[ 10 20 ]": a square bracket includes its end, a round one excludes it.
func within(text string) (func(string) bool, error) {
	f := strings.Fields(text)
	if len(f) != 4 || !strings.Contains("[(", f[0]) || !strings.Contains("])", f[3]) {
		return nil, fmt.Errorf("a range is written <range-in> [ LOW HIGH ], with ( or ) for an end that does not count")
	}
	low, err := strconv.ParseFloat(f[1], 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a number", f[1])
	}
	high, err := strconv.ParseFloat(f[2], 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a number", f[2])
	}
	return func(v string) bool {
		got, err := strconv.ParseFloat(v, 64)
		return err == nil && (got > low || f[0] == "[" && got == low) && (got < high || f[3] == "]" && got == high)
	}, nil
}

// equals compares with a bare value: sizes as numbers, booleans in all their spellings, else text.
func equals(field, text string) (func(string) bool, error) {
	switch field {
	case "size":
		return compareNumbers(numeric["=="], text)
	case "rotational":
		spelled := map[string]string{"1": "true", "t": "true", "true": "true", "on": "true", "y": "true", "yes": "true",
			"0": "false", "f": "false", "false": "false", "off": "false", "n": "false", "no": "false"}[text]
		if spelled == "" {
			return nil, fmt.Errorf("it must be true or false")
		}
		text = spelled
	}
	return func(v string) bool { return v == text }, nil
}
