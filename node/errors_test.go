package node

import "testing"

// The refusal is Ironic's sentence, to the letter: clients look for it.
func TestUnsupported(t *testing.T) {
	err := Unsupported("ipmi", "raid")
	if KindOf(err) != Invalid || err.Error() != "Driver ipmi does not support raid (disabled or not implemented)." {
		t.Errorf("%v: %v", KindOf(err), err)
	}
}
