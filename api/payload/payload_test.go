package payload_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/api/payload"
)

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestNumbersKeepTheirValue(t *testing.T) {
	for _, tt := range []struct {
		text string
		want any
	}{
		{"1", 1.0}, {"-1", -1.0}, {"1.50", 1.5}, {"1e3", 1000.0}, {"0", 0.0},
		{"9007199254740992", 9007199254740992.0},
		{"9007199254740993", json.Number("9007199254740993")},
		{"-9007199254740993", json.Number("-9007199254740993")},
		{"18446744073709551616", json.Number("18446744073709551616")},
		{"1e999", json.Number("1e999")},
	} {
		got, err := payload.DecodeValue([]byte(`{"a":[` + tt.text + `]}`))
		want := map[string]any{"a": []any{tt.want}}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", tt.text, err, diff)
		}
	}
}

func TestDecodeObject(t *testing.T) {
	for _, tt := range []struct {
		body string
		want string // of the error
	}{
		{"", ""}, {"  ", ""}, {"null", ""}, {"{}", ""}, {" {\"a\": 1} ", ""},
		{"[]", "The body must be a JSON object, not a list."},
		{"true", "The body must be a JSON object, not a boolean."},
		{`"x"`, "The body must be a JSON object, not a string."},
		{"5", "The body must be a JSON object, not a number."},
		{"{}{}", "The body is not valid JSON: there is something after the JSON value."},
		{"{'a'}", "The body is not valid JSON: invalid character '\\'' looking for beginning of object key string."},
	} {
		m, err := payload.DecodeObject([]byte(tt.body))
		if errText(err) != tt.want || err == nil && m == nil {
			t.Errorf("%q: %v %v, want %q", tt.body, m, err, tt.want)
		}
	}
	if err := payload.Unmarshal(nil, new(any)); errText(err) != "the body is empty" {
		t.Error(err)
	}
}

func TestTooDeep(t *testing.T) {
	nest := func(open, end string, n int) string { return strings.Repeat(open, n) + "1" + strings.Repeat(end, n) }
	for _, tt := range []struct {
		body string
		want bool
	}{
		{nest("[", "]", 25), false}, {nest("[", "]", 26), true},
		{nest(`{"a":`, "}", 25), false}, {nest(`{"a":`, "}", 26), true},
		{"[" + strings.Repeat("[],", 100) + "[]]", false},
		{`"` + strings.Repeat("[", 100) + `"`, false},
		{`"\"` + strings.Repeat("[", 100) + `"`, false},
		{`"\\"` + strings.Repeat("[", 26), true},
		{`"`, false}, {`"\`, false}, {"", false},
	} {
		if got := payload.TooMuch([]byte(tt.body)) != ""; got != tt.want {
			t.Errorf("%.60s: %v", tt.body, got)
		}
	}
}

func TestBooleans(t *testing.T) {
	for _, tt := range []struct {
		v    any
		want bool
		err  string
	}{
		{true, true, ""}, {false, false, ""}, {nil, false, ""}, {"True", true, ""}, {"on", true, ""}, {"n", false, ""}, {" 0 ", false, ""},
		{"", false, "Field x must be a boolean, not a string."},
		{1.0, false, "Field x must be a boolean, not a number."},
		{[]any{}, false, "Field x must be a boolean, not a list."},
	} {
		if got, err := payload.Boolean("x", tt.v); got != tt.want || errText(err) != tt.err {
			t.Errorf("%v: %v %v", tt.v, got, err)
		}
	}
}

func TestTextIsCountedInCharacters(t *testing.T) {
	if s, err := payload.Text("x", "éé", 2); s != "éé" || err != nil {
		t.Error(s, err)
	}
	if _, err := payload.Text("x", "ééé", 2); errText(err) != "Field x may have at most 2 characters, not 3." {
		t.Error(err)
	}
}
