package api

import (
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Names and UUIDs share one place in a path, so what may be a name must never look like a UUID. All forms stand side by side.

var (
	uuidForm  = regexp.MustCompile(`^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$`)
	requestID = regexp.MustCompile(`^req-[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	nameForm  = regexp.MustCompile(`^[a-zA-Z0-9\-._~]+$`)
	traitForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
	labelForm = regexp.MustCompile(`^[a-z0-9_-]{0,62}[a-z0-9]$`)
	groupForm = regexp.MustCompile(`^[a-zA-Z0-9_\-.]*$`)
)

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() string { return uuid.NewString() }

// isUUID goes by a form of its own: Ironic takes a UUID with or without any of its dashes, and neither the braces nor the
// "urn:uuid:" that package uuid takes.
func isUUID(s string) bool { return uuidForm.MatchString(s) }

// canonicalUUID gives a UUID in the one form stored: lower case with dashes.
func canonicalUUID(s string) string {
	s = strings.ToLower(strings.ReplaceAll(s, "-", ""))
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}

// optionalUUID gives a UUID that may be left out in the form stored; an error when it is none.
func optionalUUID(key, s string) (string, error) {
	switch {
	case s == "":
		return "", nil
	case !isUUID(s):
		return "", invalid("Expected a UUID for %s but received %q.", key, s)
	}
	return canonicalUUID(s), nil
}

// canonicalMAC gives a MAC address in lower case with colons; false when s is none.
func canonicalMAC(s string) (string, bool) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 && len(hw) != 20 {
		return "", false
	}
	return hw.String(), true
}

// isHostName reports whether s is a name that nodes could have before version 1.10: the labels of a host name with dots
// between them, and one at the end if need be, in lower case. Only labels after the first may have a "_" or begin with
// a "-".
func isHostName(s string) bool {
	if len(s) > 255 {
		return false
	}
	for i, label := range strings.Split(strings.TrimSuffix(s, "."), ".") {
		if i == 0 && (strings.HasPrefix(label, "-") || strings.Contains(label, "_")) || !labelForm.MatchString(label) {
			return false
		}
	}
	return true
}

// namesBelowNodes are the words that paths have where nodes have their names, and right below.
func namesBelowNodes(routes []route) (names []string) {
	for _, rt := range routes {
		rest, _ := strings.CutPrefix(rt.path(), "/v1/nodes/")
		name, _, _ := strings.Cut(strings.TrimPrefix(rest, "{ident}/"), "/")
		if rest != rt.path() && !strings.HasPrefix(name, "{") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// checkNodeName is what is wrong with a new name of a node besides its form.
func (ns *nodes) checkNodeName(v version, name string) error {
	if slices.Contains(ns.reserved, name) {
		return invalid("Cannot use %q as the name of a node: the API has a path of that name.", name)
	}
	return checkNameIn(v, name)
}

// checkNameIn is what is wrong with a node's name in a version; an empty one takes the name away.
func checkNameIn(v version, name string) error {
	if name == "" || v >= anyNames || isHostName(name) {
		return nil
	}
	return invalid("Cannot use %q as the name of a node: before API version %s it must be a host name, in lower case.", name, anyNames)
}

// article puts "a" or "an" before a noun.
func article(noun string) string {
	if strings.ContainsAny(noun[:1], "aeiou") {
		return "an " + noun
	}
	return "a " + noun
}

// checkName says what is wrong with a logical name.
func checkName(what, name string) error {
	switch {
	case len(name) > 255:
		return invalid("The name of %s may have at most 255 characters, not %d.", article(what), len(name))
	case isUUID(name):
		return invalid("The name of %s may not look like a UUID: %q.", article(what), name)
	case !nameForm.MatchString(name):
		return invalid("Cannot use %q as the name of %s. Allowed are letters, digits and the characters - . _ ~", name, article(what))
	}
	return nil
}
