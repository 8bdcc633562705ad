package node

import (
	"reflect"
	"testing"
)

func TestWithCapability(t *testing.T) {
	object := map[string]any{"a": "b", "boot_mode": "bios"}
	for _, tt := range []struct {
		have  any
		value string
		want  any
	}{
		{nil, "uefi", "boot_mode:uefi"},
		{"", "uefi", "boot_mode:uefi"},
		{"a:b", "uefi", "a:b,boot_mode:uefi"},
		{" boot_mode:bios , a:b,", "uefi", "a:b,boot_mode:uefi"},
		{"boot_mode:bios,a:b:c,boot_mode:x", "", "a:b:c"},
		{"", "", ""},
		{object, "uefi", map[string]any{"a": "b", "boot_mode": "uefi"}},
		{object, "", map[string]any{"a": "b"}},
		{[]any{"nonsense"}, "uefi", "boot_mode:uefi"},
		{`{"a": "b:c,d"}`, "uefi", map[string]any{"a": "b:c,d", "boot_mode": "uefi"}},
	} {
		if got := WithCapability(tt.have, "boot_mode", tt.value); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v with %q: %#v, want %#v", tt.have, tt.value, got, tt.want)
		}
	}
	if object["boot_mode"] != "bios" {
		t.Error("the object given was changed")
	}
}
