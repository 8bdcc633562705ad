package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/node"
)

// A client names a minor version and must see the API as it was then. Versions are numbers that are compared; the table of what
// each brought is microversions.go.

// version is a minor number of API 1.x.
type version int

// The range of microversions. The highest is 1.115, the newest there is for the shapes served here:
// node, port, driver, history, lookup and heartbeat are as 1.115 has them. Resources that Billet
// does not serve yet answer 404 whatever the version, as an unknown path does, so they do not
// decide it; what decides it is that no field, filter or verb of a served resource is missing or
// wrong at that version.
const (
	minVersion version = 1
	maxVersion version = 115
)

func (v version) String() string { return "1." + strconv.Itoa(int(v)) }

// knows reports whether the version has the thing.
func (v version) knows(thing string) bool { return v >= firstOf(thing) }

// firstOf is the first version that knows the thing: none, when the table does not name it.
func firstOf(thing string) version {
	if first, declared := since[thing]; declared {
		return first
	}
	return maxVersion + 1
}

// needs is the 406 for what is newer than the version asked for.
func (v version) needs(first version, what string) error {
	if v >= first {
		return nil
	}
	return node.Errorf(node.NotAcceptable, "Request not acceptable. The minimal required API version for %s is %s.", what, first)
}

// needsField, needsFilter and needsArgument are the 406 for a field of a resource, for a filter of its list and for an argument.
func (v version) needsField(resource, field string) error {
	return v.needs(firstOf(resource+"."+field), "the field '"+field+"'")
}

func (v version) needsFilter(resource, filter string) error {
	return v.needs(firstOf(resource+"?"+filter), "the filter '"+filter+"'")
}

func (v version) needsArgument(of, name string) error {
	return v.needs(firstOf(of+"."+name), "the argument '"+name+"'")
}

// Names of the headers that carry versions. The standard one wins over the service's own.
const (
	versionHeader    = "X-Openstack-Ironic-Api-Version"
	minVersionHeader = "X-Openstack-Ironic-Api-Minimum-Version"
	maxVersionHeader = "X-Openstack-Ironic-Api-Maximum-Version"
	standardHeader   = "Openstack-Api-Version"
)

// versionOf reads the version a request asks for. No header means 1.1, never the latest; the error
// is a 406.
func versionOf(h http.Header) (version, error) {
	asked := strings.TrimSpace(h.Get(versionHeader))
	for part := range strings.SplitSeq(strings.Join(h.Values(standardHeader), ","), ",") {
		if service, v, ok := strings.Cut(strings.TrimSpace(part), " "); ok && service == "baremetal" {
			asked = strings.TrimSpace(v)
		}
	}
	switch asked {
	case "":
		return minVersion, nil
	case "latest":
		return maxVersion, nil
	}
	major, minor, ok := strings.Cut(asked, ".")
	mj, err1 := strconv.Atoi(major)
	mn, err2 := strconv.Atoi(minor)
	switch {
	case !ok || err1 != nil || err2 != nil:
		return minVersion, aborted(http.StatusNotAcceptable, "Invalid value for X-OpenStack-Ironic-API-Version header")
	case mj != 1:
		return minVersion, aborted(http.StatusNotAcceptable, fmt.Sprintf("Mutually exclusive versions requested. "+
			"Version %s requested but not supported by this service. The supported version range is: [%s, %s].", asked, minVersion, maxVersion))
	case version(mn) < minVersion || version(mn) > maxVersion:
		return minVersion, aborted(http.StatusNotAcceptable, fmt.Sprintf("Version %s was requested but the minor version "+
			"is not supported by this service. The supported version range is: [%s, %s].", asked, minVersion, maxVersion))
	}
	return version(mn), nil
}

// stamp puts the three version headers on an answer.
func (v version) stamp(h http.Header) {
	h.Set(minVersionHeader, minVersion.String())
	h.Set(maxVersionHeader, maxVersion.String())
	h.Set(versionHeader, v.String())
}
