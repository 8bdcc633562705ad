package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/billet-metal/billet/api/payload"
)

// form reads and changes records of a kind whose fields are checked together.
type form[T any] struct {
	fields []string // that clients may write
	read   func(body map[string]any) (T, error)
	change func(x *T, ops []patchOp) error
}

// read makes a new record of a POST's body.
func (k *records[T, F]) read(c *call, body map[string]any) (x T, err error) {
	uuid := newUUID()
	if v, given := body["uuid"]; given && (v != nil || k.form.read == nil) {
		s, _ := v.(string)
		if !isUUID(s) {
			return x, invalid("Expected a UUID for uuid but received %v.", v)
		}
		uuid = canonicalUUID(s)
	}
	fields := maps.Clone(body)
	delete(fields, "uuid")
	if k.form.read != nil {
		x, err = k.form.read(fields)
	} else {
		x, err = k.set(c, fields)
	}
	*k.head(&x).uuid = uuid
	return x, err
}

func (k *records[T, F]) set(c *call, body map[string]any) (x T, err error) {
	if k.defaults != nil {
		x = k.defaults()
	}
	for _, key := range slices.Sorted(maps.Keys(body)) {
		set := k.setters[key]
		if set == nil {
			return x, invalid("A%s cannot be created with the field %q. Allowed are: %s, uuid", article(k.noun)[1:], key,
				strings.Join(k.writable(), ", "))
		}
		if err := c.version.needsField(k.name, key); err != nil {
			return x, err
		}
		if k.bare[key] != nil {
			if err := payload.NoMask(key, body[key]); err != nil {
				return x, err
			}
		}
		if err := set(&x, body[key]); err != nil {
			return x, err
		}
	}
	return x, k.lacks(body)
}

// lacks says which required field a body has not.
func (k *records[T, F]) lacks(body map[string]any) error {
	for _, key := range k.required {
		switch {
		case body[key] != nil:
		case k.needs != "":
			return invalid("A%s needs %s", article(k.noun)[1:], strings.ReplaceAll(k.needs, "%q", fmt.Sprintf("%q", key)))
		default:
			return invalid("A%s needs %q. It can not be without: %s", article(k.noun)[1:], key, strings.Join(k.required, ", "))
		}
	}
	return nil
}

func (k *records[T, F]) writable() []string {
	if k.form.fields != nil {
		return k.form.fields
	}
	return slices.Sorted(maps.Keys(k.setters))
}

func (k *records[T, F]) patchable() []string {
	return slices.DeleteFunc(slices.Clone(k.writable()), func(f string) bool { return slices.Contains(k.once, f) })
}

// change reads a PATCH's body and returns what it does to a record.
func (k *records[T, F]) change(c *call) (func(*T) error, error) {
	known := func(f string) bool { return hasColumn(k.columns, f) }
	ops, err := decodePatch(c.body, patchRules{resource: k.name, version: c.version, allowed: k.patchable(), known: known})
	if err != nil {
		return nil, err
	}
	return func(x *T) error { return k.apply(c, x, ops) }, nil
}

func (k *records[T, F]) apply(c *call, x *T, ops []patchOp) error {
	if k.mended && !replacesAll(k.head(x).unreadable, ops) {
		return k.damaged(x)
	}
	if k.form.change != nil {
		return k.form.change(x, ops)
	}
	for _, op := range ops {
		if root := op.root(); slices.Contains(k.whole, root) && op.Path != "/"+root {
			return invalid("Cannot patch %s: the %s of %s are replaced as a whole, by the path /%s.", op.Path, root, article(k.noun), root)
		}
	}
	form := map[string]any{}
	for _, f := range touched(ops) {
		form[f] = k.own(c, x, f)
	}
	changed, err := applyPatch(form, ops)
	if err != nil {
		return err
	}
	for _, f := range touched(ops) {
		if changed[f] == nil && slices.Contains(k.required, f) && k.needs == "" {
			return invalid("The %s of %s can not be taken away.", f, article(k.noun))
		}
		value := changed[f]
		if k.bare[f] != nil {
			if value, err = payload.Unmask(f, form[f], value); err != nil {
				return err
			}
		}
		if err := k.setters[f](x, value); err != nil {
			return err
		}
	}
	return nil
}

// own is a field's value, of which a patch may change a part: unmasked, and nil when it cannot be read, which can only be
// written anew.
func (k *records[T, F]) own(c *call, x *T, field string) any {
	if _, hurt := k.head(x).unreadable[field]; hurt {
		return nil
	}
	if bare := k.bare[field]; bare != nil {
		return bare(x)
	}
	i := slices.IndexFunc(k.columns, func(col column[view[T]]) bool { return col.name == field })
	return k.columns[i].get(view[T]{x, c})
}
