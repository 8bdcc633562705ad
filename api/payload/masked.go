package payload

import (
	"reflect"
	"slices"

	"github.com/billet-metal/billet/node"
)

// A secret is shown as node.Mask. A client that sends back what it read sends the mask, and means "as it was": the mask
// never becomes the secret. Where there is no secret to keep it is refused.

// maskedAlso are the keys of a field that are shown masked besides those that node.SecretKey names.
var maskedAlso = map[string][]string{"instance_info": {"image_url"}}

// Unmask is value, a field as a client wants it, with each mask replaced by what old, the field as it is, has there.
func Unmask(field string, old, value any) (any, error) {
	plain, err := asJSON(old)
	if err != nil {
		return nil, err
	}
	return unmasker{also: maskedAlso[field]}.value(field, plain, value)
}

type unmasker struct{ also []string } // keys of the field itself, not of what is below

func (u unmasker) value(at string, old, value any) (any, error) {
	switch x := value.(type) {
	case map[string]any:
		before, _ := old.(map[string]any)
		return u.object(at, before, x)
	case []any:
		before, _ := old.([]any)
		return u.list(at, before, x)
	}
	return value, nil
}

func (u unmasker) object(at string, old, value map[string]any) (any, error) {
	out := make(map[string]any, len(value))
	for key, v := range value {
		var err error
		here := at + "/" + key
		if v == node.Mask && (node.SecretKey(key) || slices.Contains(u.also, key)) {
			out[key], err = kept(here, old[key])
		} else {
			out[key], err = unmasker{}.value(here, old[key], v)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// list pairs what a client sends with what was shown to it: the item in the same place if it was shown so, else the
// only one that was. Two that were shown alike and are not keep nobody's secret but their own place's.
func (u unmasker) list(at string, old, value []any) (any, error) {
	out := make([]any, len(value))
	for i, v := range value {
		item, err := unmasker{}.value(at, pair(old, i, v), v)
		if err != nil {
			return nil, err
		}
		out[i] = item
	}
	return out, nil
}

func pair(old []any, i int, v any) any {
	shown := func(o any) bool { return reflect.DeepEqual(node.Masked(o), v) }
	if i < len(old) && shown(old[i]) {
		return old[i]
	}
	var found []any
	for _, o := range old {
		if shown(o) && !slices.ContainsFunc(found, func(f any) bool { return reflect.DeepEqual(f, o) }) {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

// kept is the secret that a mask stands for.
func kept(at string, old any) (any, error) {
	switch old.(type) {
	case nil, bool:
		return nil, invalid("%s is %q, which stands for a secret in answers, and there is none to keep. "+
			"Send the secret itself, or leave the key out.", at, node.Mask)
	}
	return old, nil
}

// asJSON is v as a client would send it: of the same types.
func asJSON(v any) (any, error) {
	b, err := Marshal(v)
	if err != nil {
		return nil, err
	}
	return DecodeValue(b)
}

// NoMask refuses the mask in what a request brings that keeps nothing of before.
func NoMask(field string, value any) error {
	_, err := Unmask(field, nil, value)
	return err
}
