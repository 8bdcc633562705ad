package rules_test

import (
	"fmt"
	"testing"

	"github.com/billet-metal/billet/node"
)

func TestConditions(t *testing.T) {
	for _, tt := range []struct {
		op, args string
		want     bool
	}{
		{"eq", `{"values":["{node.driver}","ipmi"]}`, true},
		{"eq", `{"values":["{node.driver}","redfish"]}`, false},
		{"eq", `{"values":["{inventory[cpu][count]}",4]}`, true}, // a reference is always a text
		{"eq", `{"values":["4","4.0"]}`, false},
		{"eq", `{"values":[4,4.0,"4"]}`, true},
		{"eq", `{"values":[4,"4.0"],"force_strings":true}`, false},
		{"eq", `{"values":[1,2,1]}`, false},
		{"eq", `{"values":[true,1]}`, false},
		{"eq", `{"values":[null,null]}`, true},
		{"eq", `{"values":[["a"],["a"]]}`, true},
		{"eq", `{"values":[]}`, true}, {"eq", `{"values":[1]}`, true},
		{"eq", `["{node.driver}","ipmi"]`, true}, {"eq", `[["{node.driver}","ipmi"]]`, true}, {"eq", `[[1,"1.0"],true]`, false},
		{"eq", `{"values":["{inventory[nothing]}","x"]}`, false},
		{"ne", `{"values":[1,2]}`, true}, {"ne", `{"values":["{node.driver}","ipmi"]}`, false},
		{"lt", `{"values":["{inventory[cpu][count]}",16]}`, true},
		{"lt", `{"values":["{inventory[memory][physical_mb]}","4096"]}`, false}, // as numbers, not by their letters
		{"lt", `{"values":["16384","4096"],"force_strings":true}`, true},
		{"lt", `{"values":[1,2,3]}`, true}, {"lt", `{"values":[1,3,2]}`, false}, {"lt", `{"values":["a","b"]}`, true},
		{"le", `{"values":[4,"{inventory[cpu][count]}"]}`, true}, {"le", `{"values":[2,1]}`, false},
		{"gt", `{"values":["{inventory[memory][physical_mb]}",8192]}`, true}, {"gt", `{"values":[1,1]}`, false},
		{"ge", `{"values":[1,1]}`, true}, {"ge", `{"values":[1,"2"]}`, false},
		{"is-empty", `{"value":""}`, true}, {"is-empty", `{"value":null}`, true}, {"is-empty", `{"value":[]}`, true},
		{"is-empty", `{"value":{}}`, true},
		{"is-empty", `{"value":"{inventory[disks]}"}`, true}, {"is-empty", `{"value":"{inventory[nothing][at][all]}"}`, true},
		{"is-empty", `{"value":"{inventory[system_vendor][serial_number]}"}`, true}, {"is-empty", `{"value":"{plugin_data[text]}"}`, true},
		{"is-empty", `{"value":"{inventory[cpu]}"}`, false}, {"is-empty", `{"value":0}`, false}, {"is-empty", `["x"]`, false},
		{"is-none", `{"value":null}`, true}, {"is-none", `{"value":"{node.owner}"}`, true}, {"is-none", `{"value":"{inventory[nothing]}"}`, true},
		{"is-none", `{"value":"{node.name}"}`, false}, {"is-none", `{"value":false}`, false},
		{"is-true", `{"value":"{plugin_data[auto_discovered]}"}`, true}, {"is-true", `{"value":"{plugin_data[nothing]}"}`, false},
		{"is-true", `{"value":"YES"}`, true}, {"is-true", `{"value":0.5}`, true}, {"is-true", `{"value":0}`, false},
		{"is-true", `{"value":[1]}`, false}, {"is-true", `{"value":"1"}`, false},
		{"is-false", `{"value":"{node.retired}"}`, true}, {"is-false", `{"value":null}`, true}, {"is-false", `{"value":0}`, true},
		{"is-false", `{"value":"No"}`, true},
		{"is-false", `{"value":true}`, false}, {"is-false", `{"value":{}}`, false}, {"is-false", `{"value":"{plugin_data[nothing]}"}`, false},
		{"in-net", `{"address":"{inventory[bmc_address]}","subnet":"192.0.2.0/24"}`, true},
		{"in-net", `{"address":"192.0.2.7","subnet":"198.51.100.0/24"}`, false},
		{"in-net", `["2001:db8::5","2001:db8::/32"]`, true}, {"in-net", `["fe80::1%eth0","fe80::/10"]`, true},
		{"in-net", `["192.0.2.7","2001:db8::/32"]`, false},
		{"in-net", `["::ffff:192.0.2.7","192.0.2.9/24"]`, true}, {"in-net", `["192.0.2.7","192.0.2.7"]`, true},
		{"in-net", `["192.0.2.7","{inventory[bmc_address]}"]`, true},
		{"matches", `{"value":"{inventory[system_vendor][product_name]}","regex":"R6[0-9]{2}"}`, true},
		{"matches", `{"value":"R640","regex":"R6"}`, false},
		{"matches", `{"value":"xR640","regex":"R640$"}`, false}, {"matches", `{"value":"a","regex":"a|b"}`, true},
		{"matches", `{"value":"ac","regex":"a|b"}`, false},
		{"matches", `{"value":640,"regex":"[0-9]+"}`, true}, {"matches", `{"value":null,"regex":"None"}`, true},
		{"contains", `{"value":"{inventory[system_vendor][manufacturer]}","regex":"(?i)dell"}`, true},
		{"contains", `{"value":"HPE","regex":"(?i)dell"}`, false},
		{"contains", `{"value":"{inventory[cpu][flags]}","regex":"vmx"}`, true}, {"contains", `["testvalue","tv"]`, true},
		{"contains", `["a\nb","^b$"]`, false},
		{"one-of", `{"value":"{inventory[cpu][architecture]}","values":["x86_64","aarch64"]}`, true},
		{"one-of", `{"value":"x","values":[]}`, false}, {"one-of", `{"value":"x"}`, false},
		{"one-of", `{"value":"{inventory[cpu][count]}","values":[2,4]}`, true}, {"one-of", `{"value":null,"values":[null]}`, true},
		{"one-of", `["a",["b","a"]]`, true},
	} {
		for prefix, want := range map[string]bool{"": tt.want, "!": !tt.want, "! ": !tt.want} {
			m := machine(t)
			applied,
				err := apply(t, m, rule(t, fmt.Sprintf(`[{"op":"%s%s","args":%s}]`, prefix, tt.op, tt.args), `[{"op":"log","args":{"msg":"x"}}]`))
			if got := len(applied) == 1; got != want || err != nil {
				t.Errorf("%s%s %s: %v, %v", prefix, tt.op, tt.args, got, err)
			}
		}
	}
}

func TestConditionsThatCannotBeChecked(t *testing.T) {
	const rule7 = "Inspection rule 7be26c0b-03f2-4d2e-ae87-c02d7f33c123, condition 1 "
	for _, tt := range []struct{ condition, want string }{
		{`{"op":"eq","args":{"values":"x"}}`, "(eq): an argument is not a list: values is a text."},
		{`{"op":"lt","args":{"values":["many",4]}}`, "(lt): two values have no order: 'many' and 4."},
		{`{"op":"gt","args":{"values":[null,"x"]}}`, "(gt): two values have no order: None and 'x'."},
		{`{"op":"eq","args":{"values":[1,2],"force_strings":"maybe"}}`, "(eq): an argument is not a boolean: force_strings is a text."},
		{`{"op":"in-net","args":["{inventory[nothing]}","192.0.2.0/24"]}`,
			`(in-net): an argument is no IP address: address is "{inventory[nothing]}".`},
		{`{"op":"in-net","args":["192.0.2.1","{node.name}"]}`,
			`(in-net): an argument is no network: subnet is "blade-7"; a network is like 10.1.0.0/16.`},
		{`{"op":"in-net","args":["192.0.2.1",null]}`, "(in-net): an argument is not a text: subnet is null."},
		{`{"op":"!contains","args":["x","{item}"],"loop":["["]}`, "(!contains): its regular expression is not one (the syntax is RE2's: no " +
			"look-around, no back references): error parsing regexp: missing closing ]: `[)`."},
		{`{"op":"one-of","args":["x","y"]}`, "(one-of): an argument is not a list: values is a text."},
	} {
		_, err := apply(t, machine(t), rule(t, "["+tt.condition+"]", `[{"op":"log","args":{"msg":"x"}}]`))
		if err == nil || err.Error() != rule7+tt.want || node.KindOf(err) != node.Invalid {
			t.Errorf("%s:\n got %v\nwant %s", tt.condition, err, rule7+tt.want)
		}
	}
}

func TestConditionLoops(t *testing.T) {
	for _, tt := range []struct {
		condition                    string
		any, all, first, last, plain bool
	}{
		{`"op":"eq","args":{"values":[1,"{item}"]},"loop":[1,2,3]`, true, false, true, false, true},
		{`"op":"eq","args":{"values":[3,"{item}"]},"loop":[1,2,3]`, true, false, false, true, true},
		{`"op":"!eq","args":{"values":[3,"{item}"]},"loop":[1,2,3]`, true, false, true, false, true},
		{`"op":"contains","args":{"value":"{inventory[cpu][flags]}","regex":"{item}"},"loop":["aes","vmx"]`, true, true, true, true, true},
		{`"op":"one-of","args":{"value":"{inventory[cpu][architecture]}","values":["{item}"]},"loop":["x86_64","aarch64"]`, true, false, true,
			false, true},
		{`"op":"eq","args":{"values":["{item[want]}","{item[have]}"]},"loop":{"want":"blade-7","have":"{node.name}"}`, true, true, true, true,
			true},
		{`"op":"eq","args":{"values":["a","{item}"]},"loop":[]`, false, false, false, false, false}, // no loop: the text as it is
		{`"op":"is-empty","args":{"value":"{item}"},"loop":["{inventory[nothing]}","x"]`, false, false, false, false, false},
	} {
		for multiple, want := range map[string]bool{`,"multiple":"any"`: tt.any, `,"multiple":"all"`: tt.all, `,"multiple":"first"`: tt.first,
			`,"multiple":"last"`: tt.last, "": tt.plain} {
			applied, err := apply(t, machine(t), rule(t, "[{"+tt.condition+multiple+"}]", `[{"op":"log","args":{"msg":"x"}}]`))
			if got := len(applied) == 1; got != want || err != nil {
				t.Errorf("%s%s: %v, %v", tt.condition, multiple, got, err)
			}
		}
	}
}
