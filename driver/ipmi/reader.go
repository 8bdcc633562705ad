package ipmi

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/node"
)

// reader takes values out of driver_info and keeps the first error. Values never go into errors
// where they may be secret.
type reader struct {
	info node.Document
	err  error
}

func (r *reader) refuse(key, why string) {
	if r.err == nil {
		r.err = node.Errorf(node.Invalid, "driver_info/%s %s.", key, why)
	}
}

// text also takes a number: the command line clients send a password of digits as one. A fraction is
// refused, because the digits that were typed cannot be told from it (1.50 comes as 1.5).
func (r *reader) text(key string) string {
	switch r.info[key].(type) {
	case nil, string, int, int64, json.Number, float64:
		s, _ := r.scalar(key)
		if strings.ContainsAny(s, ".eE") && !isString(r.info[key]) {
			r.refuse(key, "must be a string: of a number with a fraction not all digits arrive; write it in quotes")
		}
		return s
	}
	r.refuse(key, "must be a string")
	return ""
}

func isString(v any) bool { _, ok := v.(string); return ok }

// host is the one text that is never a number.
func (r *reader) host() string {
	if v := r.info[addressKey]; v != nil && !isString(v) {
		r.refuse(addressKey, "must be a string")
		return ""
	}
	return r.info.String(addressKey)
}

// scalar accepts the ways people write numbers and flags in JSON. An empty text is no value.
func (r *reader) scalar(key string) (string, bool) {
	switch v := r.info[key].(type) {
	case nil:
		return "", false
	case string:
		return v, v != ""
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case json.Number:
		return v.String(), true
	case float64:
		if v == math.Trunc(v) {
			return strconv.FormatFloat(v, 'f', 0, 64), true
		}
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	return fmt.Sprintf("a %T", r.info[key]), true
}

func (r *reader) number(key string, standard int) int {
	s, ok := r.scalar(key)
	if !ok {
		return standard
	}
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 1 || n > 65535 {
		r.refuse(key, fmt.Sprintf("is %q; it must be a number from 1 to 65535", s))
	}
	return n
}

// choice compares without case. The refused value is named: none of these keys is secret.
func (r *reader) choice(key, standard string, allowed ...string) string {
	s, ok := r.scalar(key)
	if !ok {
		return standard
	}
	for _, a := range allowed {
		if strings.EqualFold(a, strings.TrimSpace(s)) {
			return a
		}
	}
	why := fmt.Sprintf("is %q; allowed: %s", s, strings.Join(allowed, ", "))
	switch key {
	case "ipmi_protocol_version":
		why = fmt.Sprintf("is %q; allowed: 2.0 (IPMI 1.5 sends commands without encryption)", s)
	case "ipmi_bridging":
		why = fmt.Sprintf("is %q; allowed: no (this driver talks to the BMC itself only; "+
			"give the address of the BMC that is this machine's own)", s)
	}
	r.refuse(key, why)
	return standard
}

// flagWords are what Ironic takes for true and false.
var flagWords = map[string]flag{
	"true": true, "1": true, "t": true, "on": true, "y": true, "yes": true,
	"false": false, "0": false, "f": false, "off": false, "n": false, "no": false,
}

func (r *reader) flag(key string, standard flag) flag {
	s, ok := r.scalar(key)
	if !ok {
		return standard
	}
	value, known := flagWords[strings.ToLower(strings.TrimSpace(s))]
	if !known {
		r.refuse(key, fmt.Sprintf("is %q; allowed: true, false", s))
	}
	return value
}

func (r *reader) suite() int {
	id, _ := strconv.Atoi(r.choice("ipmi_cipher_suite", "0", "3", "17"))
	return id
}

// kg fills a short key up with zeros, as ipmitool does.
func (r *reader) kg() []byte {
	const key = "ipmi_hex_kg_key"
	s := r.text(key)
	if s == "" {
		return nil
	}
	k, err := hex.DecodeString(s)
	if err != nil || len(k) > 20 {
		r.refuse(key, "must be an even number of hexadecimal digits, at most 40")
		return nil
	}
	return padKey(k)
}

// unused are the keys of driver_info for a BMC that this driver does not read: of other programs, of other
// hardware types, left over. They are harmless, and told once.
func unused(info node.Document) (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(info)) {
		_, known := properties[key]
		family := strings.HasPrefix(key, "ipmi_") || strings.HasPrefix(key, "redfish_")
		if family && !known {
			keys = append(keys, key)
		}
	}
	return keys
}

// misspelt refuses a key that is a letter or two off one of ours that is not given: it would be a default
// nobody asked for.
func (r *reader) misspelt() {
	for _, key := range unused(r.info) {
		for _, ours := range slices.Sorted(maps.Keys(properties)) {
			if _, given := r.info[ours]; !given && distance(key, ours) <= 2 {
				r.refuse(key, "is not known; it looks like "+ours+" misspelt")
			}
		}
	}
}

// distance counts the letters to insert, drop or change to make a of b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
