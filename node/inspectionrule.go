package node

import (
	"maps"
	"strings"
	"time"
)

// InspectionRule is what is done with a machine that an inspection has found: when all conditions hold,
// the actions run, in order.
type InspectionRule struct {
	ID          int64
	UUID        string // of a built-in rule any text
	Description string
	Priority    int // higher runs earlier
	Phase       string
	Sensitive   bool            // conditions and actions are shown to nobody
	Conditions  []RuleOperation // sealed in the store
	Actions     []RuleOperation // sealed in the store
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Unreadable  Unreadable
}

// RuleOperation is one condition or one action of an inspection rule.
type RuleOperation struct {
	Op       string `json:"op"`                 // a condition's may begin with "!": it holds when it would not
	Args     any    `json:"args"`               // map[string]any by name, or []any in the order of the names
	Loop     any    `json:"loop,omitempty"`     // []any: once for each item; map[string]any: once, with it as the item
	Multiple string `json:"multiple,omitempty"` // how a condition's loop counts: any, all, first or last; "" is any
}

// MainPhase is the one phase of an inspection that rules run in: after the hooks.
const MainPhase = "main"

// InspectionRuleNotFound is the API's answer for an unknown inspection rule.
func InspectionRuleNotFound(uuid string) *Err {
	return Errorf(NotFound, "Rule %s could not be found.", uuid)
}

// WithCapability returns capabilities with one set, in the form (text or object) that the others are in;
// an empty value removes it.
func WithCapability(capabilities any, name, value string) any {
	object, text, _ := Capabilities(capabilities)
	if object != nil {
		copied := maps.Clone(object)
		if copied[name] = value; value == "" {
			delete(copied, name)
		}
		return copied
	}
	var pairs []string
	for pair := range strings.SplitSeq(text, ",") {
		if k, _, _ := strings.Cut(pair, ":"); strings.TrimSpace(pair) != "" && strings.TrimSpace(k) != name {
			pairs = append(pairs, strings.TrimSpace(pair))
		}
	}
	if value != "" {
		pairs = append(pairs, name+":"+value)
	}
	return strings.Join(pairs, ",")
}
