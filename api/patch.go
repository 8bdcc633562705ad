package api

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// JSON Patch is understood as far as Ironic does, which is not all of RFC 6902: what clients send is held by tests, and
// everything else is refused with its place.

// patchOp is one operation of a JSON Patch (RFC 6902), of those the API takes.
type patchOp struct {
	Op, Path string
	raw      json.RawMessage // the whole operation, for the patch engine
}

// root is the field an operation touches.
func (o patchOp) root() string {
	root, _, _ := strings.Cut(strings.TrimPrefix(o.Path, "/"), "/")
	return root
}

// patchRules is what may be patched in a resource.
type patchRules struct {
	resource string
	version  version
	known    func(field string) bool // fields the resource has at all
	allowed  []string
}

var pathForm = regexp.MustCompile(`^(/[\pL\pN_-]+)+$`)

// decodePatch reads the body of a PATCH and checks it against the rules, operation by operation.
func decodePatch(body []byte, rules patchRules) ([]patchOp, error) {
	var raws []json.RawMessage
	if err := payload.Unmarshal(body, &raws); err != nil || raws == nil {
		return nil, invalid("A PATCH needs a JSON list of operations, each an object with \"op\", \"path\" and, for add and replace, \"value\".")
	}
	var ops []patchOp
	for _, raw := range raws {
		op, err := decodeOp(raw)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	return ops, rules.check(ops)
}

func decodeOp(raw json.RawMessage) (patchOp, error) {
	var m map[string]json.RawMessage
	if err := payload.Unmarshal(raw, &m); err != nil {
		return patchOp{}, invalid("A patch operation must be an object: %s", raw)
	}
	op := patchOp{raw: raw}
	if err := json.Unmarshal(m["op"], &op.Op); err != nil || !slices.Contains([]string{"add", "replace", "remove"}, op.Op) {
		return op, invalid("A patch operation needs \"op\" to be one of add, replace and remove.")
	}
	if err := json.Unmarshal(m["path"], &op.Path); err != nil || !pathForm.MatchString(op.Path) {
		return op, invalid("A patch operation needs \"path\" to be like \"/field\" or \"/field/key\", of letters, digits, _ and -.")
	}
	if _, ok := m["value"]; !ok && op.Op != "remove" {
		return op, invalid("The patch operation %s of %s needs a \"value\".", op.Op, op.Path)
	}
	for key := range m {
		if key != "op" && key != "path" && key != "value" {
			return op, invalid("A patch operation has no %q; allowed are op, path and value.", key)
		}
	}
	return op, nil
}

func (rules patchRules) check(ops []patchOp) error {
	var refused []string
	for _, op := range ops {
		root := op.root()
		if op.Op == "add" && !rules.known(root) {
			return invalid("Adding a new attribute (%s) to the root of the resource is not allowed", op.Path)
		}
		if !slices.Contains(rules.allowed, root) && !slices.Contains(refused, "/"+root) {
			refused = append(refused, "/"+root)
		}
	}
	if len(refused) > 0 {
		slices.Sort(refused)
		return invalid("Cannot patch %s. Only the following can be updated: %s", strings.Join(refused, ", "), strings.Join(rules.allowed, ", "))
	}
	for _, op := range ops {
		if err := rules.version.needsField(rules.resource, op.root()); err != nil {
			return err
		}
	}
	return nil
}

// touched lists the fields the operations change, each once, in order.
func touched(ops []patchOp) []string {
	var fields []string
	for _, op := range ops {
		if !slices.Contains(fields, op.root()) {
			fields = append(fields, op.root())
		}
	}
	return fields
}

// replacesAll reports whether a patch gives all that cannot be read of a record a new value.
func replacesAll(unreadable node.Unreadable, ops []patchOp) bool {
	for name := range unreadable {
		if !slices.ContainsFunc(ops, func(op patchOp) bool { return op.Path == "/"+name && op.Op != "test" }) {
			return false
		}
	}
	return true
}

// applyPatch applies the operations to form, a resource's own fields as JSON values, and returns
// the new value of every touched field: nil when it was removed. An operation that does not
// apply is named in the error. Numbers keep their text all the way.
func applyPatch(form map[string]any, ops []patchOp) (map[string]any, error) {
	doc, err := payload.Marshal(form)
	if err != nil {
		return nil, fmt.Errorf("encoding the resource to patch it: %w", err)
	}
	opts := jsonpatch.NewApplyOptions()
	opts.SupportNegativeIndices = false
	for _, op := range ops {
		patch, err := jsonpatch.DecodePatch(slices.Concat([]byte("["), op.raw, []byte("]")))
		if err == nil {
			doc, err = patch.ApplyWithOptions(doc, opts)
		}
		if err != nil {
			return nil, &node.Err{Kind: node.Invalid, Cause: err,
				Msg: fmt.Sprintf("Couldn't apply patch '%s %s'. Reason: %s", op.Op, op.Path, reasonOf(op))}
		}
	}
	var out map[string]any
	if err := payload.Unmarshal(doc, &out); err != nil {
		return nil, fmt.Errorf("decoding the patched resource: %w", err)
	}
	return payload.Plain(out).(map[string]any), nil
}

// reasonOf says why an operation can not apply. The engine's own texts are for programmers and
// may quote the document, which holds secrets.
func reasonOf(op patchOp) string {
	parent, key := op.Path[:strings.LastIndex(op.Path, "/")], op.Path[strings.LastIndex(op.Path, "/")+1:]
	if op.Op == "add" {
		return fmt.Sprintf("%s is neither an object nor a list that %q could be added to", parent, key)
	}
	return fmt.Sprintf("there is no %q to %s in the resource", op.Path, op.Op)
}
