package rules

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Actions have Ironic's names and arguments, so that rules written for Ironic run here. They change the working copy of a
// machine; the machine itself changes only when every rule has succeeded. An action that cannot do what it says fails its
// rule: a machine that is set up by half a rule is worse than one that is refused.

// action is one kind of action.
type action struct {
	signature
	do func(ctx context.Context, w *work, args map[string]any) error
}

func signed(expanded string, required []string, optional ...string) signature {
	return signature{required: required, optional: optional, expanded: []string{expanded}}
}

// actions are all there are.
var actions = map[string]action{
	"fail":                  {signed("msg", []string{"msg"}), failMachine},
	"log":                   {signed("msg", []string{"msg"}, "level"), logText},
	"set-attribute":         {signed("value", []string{"path", "value"}), setAttribute},
	"extend-attribute":      {signed("value", []string{"path", "value"}, "unique"), extendAttribute},
	"del-attribute":         {signed("", []string{"path"}), deleteAttribute},
	"set-capability":        {signed("value", []string{"name", "value"}), setCapability},
	"unset-capability":      {signed("", []string{"name"}), unsetCapability},
	"add-trait":             {signed("", []string{"name"}), addTrait},
	"remove-trait":          {signed("", []string{"name"}), removeTrait},
	"set-plugin-data":       {signed("value", []string{"path", "value"}), setPluginData},
	"extend-plugin-data":    {signed("value", []string{"path", "value"}, "unique"), extendPluginData},
	"unset-plugin-data":     {signed("", []string{"path"}), unsetPluginData},
	"set-port-attribute":    {signed("value", []string{"port_id", "path", "value"}), setPortAttribute},
	"extend-port-attribute": {signed("value", []string{"port_id", "path", "value"}, "unique"), extendPortAttribute},
	"del-port-attribute":    {signed("", []string{"port_id", "path"}), deletePortAttribute},
	"api-call":              {signed("url", []string{"url"}, "headers", "proxies", "timeout", "retries", "backoff_factor"), callAPI},
}

// action carries a out, once for each item of its loop.
func (w *work) action(ctx context.Context, a node.RuleOperation) error {
	kind, known := actions[a.Op]
	if !known {
		return faultf("there is no such action", "%s", a.Op)
	}
	rounds, looped, err := w.rounds(a, refused)
	if err != nil {
		return err
	}
	for _, in := range rounds {
		if looped { // an earlier round may have changed what references find
			in = w.scope().with(in["item"])
		}
		args, err := kind.arguments(a, in, looped, refused)
		if err != nil {
			return err
		}
		if err := kind.do(ctx, w, args); err != nil {
			return err
		}
	}
	return nil
}

func failMachine(_ context.Context, _ *work, args map[string]any) error {
	text, err := textArg(args, "msg")
	if err != nil {
		return err
	}
	return &fault{"the rule refuses this machine", text}
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warning": slog.LevelWarn, "error": slog.LevelError, "critical": slog.LevelError,
}

func logText(ctx context.Context, w *work, args map[string]any) error {
	text, err := textArg(args, "msg")
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if args["level"] != nil {
		name, err := textArg(args, "level")
		if err != nil {
			return err
		}
		var known bool
		if level, known = logLevels[strings.ToLower(name)]; !known {
			return faultf("there is no such log level", "%s; allowed are debug, info, warning, error, critical", name)
		}
	}
	if w.quiet {
		text = "(a sensitive rule's message)"
	}
	if w.Log != nil {
		w.Log(ctx, level, text)
	}
	return nil
}

// fieldAt finds the field a path begins with, and the rest of the path.
func fieldAt(args map[string]any, find func(name string) any, allowed []string) (field any, rest []string, err error) {
	path, err := textArg(args, "path")
	if err != nil {
		return nil, nil, err
	}
	parts, err := split(path)
	if err != nil {
		return nil, nil, err
	}
	if field = find(parts[0]); field == nil {
		return nil, nil, faultf("its path begins with a field that rules may not change", "%s; allowed are %s", parts[0],
			strings.Join(allowed, ", "))
	}
	if _, ok := field.(*node.Document); !ok && len(parts) > 1 {
		return nil, nil, faultf("its path leads into a field that is no object", "%s", parts[0])
	}
	return field, parts[1:], nil
}

func (w *work) nodeFieldAt(args map[string]any) (any, []string, error) {
	return fieldAt(args, func(name string) any { return nodeField(w.Node, name) }, fieldNames)
}

// portFieldAt finds a field of the port with the UUID or MAC address port_id.
func (w *work) portFieldAt(args map[string]any) (any, []string, error) {
	id, err := textArg(args, "port_id")
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(w.Ports, func(p node.Port) bool { return strings.EqualFold(p.UUID, id) || strings.EqualFold(p.Address, id) })
	if i < 0 {
		return nil, nil, faultf("the node has no such port", "%q; a port is named by UUID or MAC address", id)
	}
	return fieldAt(args, func(name string) any { return portField(&w.Ports[i], name) }, portFieldNames)
}

func set(field any, rest []string, v any) error {
	if err := noMask(rest, v); err != nil {
		return err
	}
	if len(rest) == 0 {
		return setField(field, v)
	}
	return setIn(*field.(*node.Document), rest, v)
}

func extend(field any, rest []string, args map[string]any) error {
	if len(rest) == 0 {
		return faultf("only a list can be extended",
			"no field of a node or a port is one; name a key in a field, such as extra/racks, or use add-trait")
	}
	if err := noMask(rest, args["value"]); err != nil {
		return err
	}
	unique, err := boolArg(args, "unique")
	if err != nil {
		return err
	}
	return extendIn(*field.(*node.Document), rest, args["value"], unique)
}

func remove(field any, rest []string) error {
	if len(rest) == 0 {
		return setField(field, nil)
	}
	return deleteIn(*field.(*node.Document), rest)
}

func setAttribute(_ context.Context, w *work, args map[string]any) error {
	field, rest, err := w.nodeFieldAt(args)
	if err != nil {
		return err
	}
	return set(field, rest, args["value"])
}

func extendAttribute(_ context.Context, w *work, args map[string]any) error {
	field, rest, err := w.nodeFieldAt(args)
	if err != nil {
		return err
	}
	return extend(field, rest, args)
}

func deleteAttribute(_ context.Context, w *work, args map[string]any) error {
	field, rest, err := w.nodeFieldAt(args)
	if err != nil {
		return err
	}
	return remove(field, rest)
}

func setPortAttribute(_ context.Context, w *work, args map[string]any) error {
	field, rest, err := w.portFieldAt(args)
	if err != nil {
		return err
	}
	return set(field, rest, args["value"])
}

func extendPortAttribute(_ context.Context, w *work, args map[string]any) error {
	field, rest, err := w.portFieldAt(args)
	if err != nil {
		return err
	}
	return extend(field, rest, args)
}

func deletePortAttribute(_ context.Context, w *work, args map[string]any) error {
	field, rest, err := w.portFieldAt(args)
	if err != nil {
		return err
	}
	return remove(field, rest)
}

func setCapability(_ context.Context, w *work, args map[string]any) error {
	name, err := capabilityName(args)
	if err != nil {
		return err
	}
	value, err := textArg(args, "value")
	if err != nil {
		return err
	}
	if object, _, _ := node.Capabilities(w.Node.Properties["capabilities"]); object == nil && strings.Contains(value, ",") {
		return faultf("a capability's value holds a comma", "%s is %q", name, value)
	}
	w.Node.Properties["capabilities"] = node.WithCapability(w.Node.Properties["capabilities"], name, value)
	return nil
}

func unsetCapability(_ context.Context, w *work, args map[string]any) error {
	name, err := capabilityName(args)
	if err == nil && w.Node.Properties["capabilities"] != nil {
		w.Node.Properties["capabilities"] = node.WithCapability(w.Node.Properties["capabilities"], name, "")
	}
	return err
}

func capabilityName(args map[string]any) (string, error) {
	name, err := textArg(args, "name")
	if err == nil && (name == "" || strings.ContainsAny(name, ",: ")) {
		return "", faultf("its name is not one of a capability", "%q; a name has no comma, colon or space", name)
	}
	return name, err
}

func addTrait(_ context.Context, w *work, args map[string]any) error {
	name, err := textArg(args, "name")
	if err != nil {
		return err
	}
	if !traitForm.MatchString(name) {
		return faultf("its name is not one of a trait",
			"%q; a trait is a standard one such as HW_CPU_X86_VMX, or CUSTOM_ followed by A-Z, 0-9 and _", name)
	}
	if !slices.Contains(w.Node.Traits, name) {
		w.Node.Traits = append(slices.Clone(w.Node.Traits), name)
	}
	return nil
}

func removeTrait(_ context.Context, w *work, args map[string]any) error {
	name, err := textArg(args, "name")
	if err == nil {
		w.Node.Traits = slices.DeleteFunc(slices.Clone(w.Node.Traits), func(t string) bool { return t == name })
	}
	return err
}

func pluginPath(args map[string]any) ([]string, error) {
	path, err := textArg(args, "path")
	if err != nil {
		return nil, err
	}
	return split(path)
}

func setPluginData(_ context.Context, w *work, args map[string]any) error {
	parts, err := pluginPath(args)
	if err != nil {
		return err
	}
	return setIn(w.PluginData, parts, args["value"])
}

func extendPluginData(_ context.Context, w *work, args map[string]any) error {
	parts, err := pluginPath(args)
	if err != nil {
		return err
	}
	unique, err := boolArg(args, "unique")
	if err != nil {
		return err
	}
	return extendIn(w.PluginData, parts, args["value"], unique)
}

func unsetPluginData(_ context.Context, w *work, args map[string]any) error {
	parts, err := pluginPath(args)
	if err != nil {
		return err
	}
	return deleteIn(w.PluginData, parts)
}
