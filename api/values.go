package api

import (
	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// Fields are read by one function for each kind of value, so that the same mistake gets the same sentence everywhere.

func textField[T any](key string, limit int, at func(*T) *string) func(*T, any) error {
	return func(x *T, v any) (err error) { *at(x), err = payload.Text(key, v, limit); return }
}

func boolField[T any](key string, at func(*T) *bool) func(*T, any) error {
	return func(x *T, v any) (err error) { *at(x), err = payload.Boolean(key, v); return }
}

func documentField[T any](key string, at func(*T) *node.Document) func(*T, any) error {
	return func(x *T, v any) (err error) { *at(x), err = payload.Object(key, v); return }
}

// optionalField keeps null apart from false.
func optionalField[T any](key string, at func(*T) **bool) func(*T, any) error {
	return func(x *T, v any) error {
		if v == nil {
			*at(x) = nil
			return nil
		}
		b, err := payload.Boolean(key, v)
		*at(x) = &b
		return err
	}
}

// interfaceField stores an interface's implementation; the conductor checks that the hardware type
// has it. Removing it brings the default back.
func interfaceField(i node.Interface) func(*node.Node, any) error {
	return func(n *node.Node, v any) error {
		s, err := payload.Text(string(i)+"_interface", v, 255)
		if n.Interfaces == nil {
			n.Interfaces = map[node.Interface]string{}
		}
		if delete(n.Interfaces, i); s != "" {
			n.Interfaces[i] = s
		}
		return err
	}
}

// nodeField is the setter of node_uuid.
func nodeField[T any](at func(*T) *string) func(*T, any) error {
	return func(x *T, v any) error {
		s, _ := v.(string)
		if !isUUID(s) {
			return invalid("Expected a UUID for node_uuid but received %v.", v)
		}
		*at(x) = canonicalUUID(s)
		return nil
	}
}

// macField is the setter of an address, which may be left out when it is optional.
func macField[T any](optional bool, at func(*T) *string) func(*T, any) error {
	return func(x *T, v any) error {
		if *at(x) = ""; v == nil && optional {
			return nil
		}
		s, _ := v.(string)
		mac, ok := canonicalMAC(s)
		if !ok {
			return invalid("Expected a MAC address but received %v.", v)
		}
		*at(x) = mac
		return nil
	}
}

// trueField is the setter of what is true unless it is said to be false.
func trueField[T any](key string, at func(*T) *bool) func(*T, any) error {
	return func(x *T, v any) (err error) {
		if *at(x) = true; v != nil {
			*at(x), err = payload.Boolean(key, v)
		}
		return err
	}
}

// nameField is the setter of a logical name; null takes it away.
func nameField[T any](noun string, at func(*T) *string) func(*T, any) error {
	return func(x *T, v any) error {
		s, err := payload.Text("name", v, 255)
		if err == nil && s != "" {
			err = checkName(noun, s)
		}
		*at(x) = s
		return err
	}
}

// mustField is the setter of a text that may not be empty.
func mustField[T any](key string, at func(*T) *string) func(*T, any) error {
	return func(x *T, v any) error {
		s, err := payload.Text(key, v, 255)
		if err == nil && s == "" {
			err = invalid("Field %s may not be empty.", key)
		}
		*at(x) = s
		return err
	}
}
