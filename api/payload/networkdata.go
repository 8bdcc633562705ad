package payload

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/node"
)

// A node's network_data goes into its config drive as it is, and cloud-init drops a drive it cannot read. So it is checked when
// it is set, not on the machine.

// shape is what an object of network_data must be: its keys and what each may hold. A key that begins with "?" may be missing.
type shape map[string]func(any) (allowed string, ok bool)

func CheckNetworkData(d node.Document) error {
	for _, list := range []struct {
		key  string
		kind func(map[string]any) (shape, error)
	}{{"links", linkShape}, {"networks", networkShape}, {"services", serviceShape}} {
		items, ok := d[list.key].([]any)
		if !ok {
			return invalid("network_data/%s is %s; a list is needed. network_data is empty or has the lists links, networks and services.", list.key,
				KindOf(d[list.key]))
		}
		if err := checkItems("network_data/"+list.key, items, list.kind); err != nil {
			return err
		}
	}
	return nil
}

func checkItems(at string, items []any, kind func(map[string]any) (shape, error)) error {
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", at, i)
		m, ok := item.(map[string]any)
		if !ok {
			return invalid("%s is %s; an object is needed.", at, KindOf(item))
		}
		s, err := kind(m)
		if err != nil {
			return invalid("%s/%v.", at, err)
		}
		if err := s.check(at, m); err != nil {
			return err
		}
	}
	return nil
}

// check looks at the keys in order, so that the same mistake always gets the same answer.
func (s shape) check(at string, m map[string]any) error {
	var keys []string
	for key := range s {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int { return strings.Compare(strings.TrimPrefix(a, "?"), strings.TrimPrefix(b, "?")) })
	for _, marked := range keys {
		key, optional := strings.CutPrefix(marked, "?")
		v, there := m[key]
		allowed, ok := s[marked](v)
		switch {
		case !there && optional, there && ok:
			continue
		case !there:
			return invalid("%s has no %q; needed is %s.", at, key, allowed)
		}
		shown, _ := json.Marshal(v)
		return invalid("%s/%s is %s; allowed is %s.", at, key, shown, allowed)
	}
	if routes, ok := m["routes"].([]any); ok && s["?routes"] != nil {
		v6 := slices.Contains(v6Networks, m["type"].(string)) // networkShape has looked
		return checkItems(at+"/routes", routes, func(map[string]any) (shape, error) {
			return shape{"network": address(v6), "netmask": netmask(v6), "gateway": address(v6)}, nil
		})
	}
	return nil
}

var (
	plainLinks = []string{"bridge", "dvs", "hw_veb", "hyperv", "ovs", "phy", "tap", "vhostuser", "vif"}
	// 802.3ad is the bonding driver's name of what the schema calls 802.1ad.
	bondModes  = []string{"802.1ad", "802.3ad", "active-backup", "balance-alb", "balance-rr", "balance-tlb", "balance-xor", "broadcast"}
	v4Networks = []string{"ipv4", "ipv4_dhcp"}
	v6Networks = []string{"ipv6", "ipv6_dhcp", "ipv6_slaac"}
)

func linkShape(m map[string]any) (shape, error) {
	s := shape{"id": aText, "?mtu": anMTU, "?vif_id": aText}
	switch kind, _ := m["type"].(string); {
	case slices.Contains(plainLinks, kind):
		s["ethernet_mac_address"] = aMAC
	case kind == "bond":
		s["ethernet_mac_address"], s["bond_mode"], s["bond_links"] = aMAC, oneOf(bondModes), someTexts
	case kind == "vlan":
		s["vlan_mac_address"], s["vlan_link"], s["vlan_id"] = aMAC, aText, between("a whole number from 0 to 4095", 0, 4095)
	default:
		return nil, wrongType(m, append(slices.Clone(plainLinks), "bond", "vlan"))
	}
	return s, nil
}

func networkShape(m map[string]any) (shape, error) {
	kind, _ := m["type"].(string)
	if all := slices.Concat(v4Networks, v6Networks); !slices.Contains(all, kind) {
		return nil, wrongType(m, all)
	}
	v6 := slices.Contains(v6Networks, kind)
	return shape{"id": aText, "link": aText, "network_id": aText, "?ip_address": hostAddress(v6), "?netmask": netmask(v6), "?routes": aList},
		nil
}

func serviceShape(m map[string]any) (shape, error) {
	if m["type"] != "dns" {
		return nil, wrongType(m, []string{"dns"})
	}
	return shape{"address": func(v any) (string, bool) {
		_, is4 := hostAddress(false)(v)
		_, is6 := hostAddress(true)(v)
		return "an IP address", is4 || is6
	}}, nil
}

func wrongType(m map[string]any, allowed []string) error {
	shown, _ := json.Marshal(m["type"])
	return fmt.Errorf("type is %s; allowed are %s", shown, strings.Join(allowed, ", "))
}

func aText(v any) (string, bool) { _, ok := v.(string); return "a string", ok }
func aList(v any) (string, bool) { _, ok := v.([]any); return "a list of routes", ok }

func someTexts(v any) (string, bool) {
	list, ok := v.([]any)
	return "a list of strings", ok && !slices.ContainsFunc(list, func(v any) bool { _, is := v.(string); return !is })
}

func aMAC(v any) (string, bool) {
	s, _ := v.(string)
	mac, err := net.ParseMAC(s)
	return "a MAC address such as fa:16:3e:9c:bf:3d", err == nil && len(mac) == 6 && len(s) == 17
}

func anMTU(v any) (string, bool) {
	allowed, ok := between("a number from 1 to 65535, or null", 1, 65535)(v)
	return allowed, ok || v == nil
}

func between(allowed string, low, high int64) func(any) (string, bool) {
	return func(v any) (string, bool) {
		var text string
		switch v := v.(type) {
		case json.Number:
			text = v.String()
		case float64:
			text = strconv.FormatFloat(v, 'f', -1, 64)
		}
		n, err := strconv.ParseInt(text, 10, 64)
		return allowed, err == nil && n >= low && n <= high
	}
}

func oneOf(words []string) func(any) (string, bool) {
	return func(v any) (string, bool) {
		s, _ := v.(string)
		return "one of " + strings.Join(words, ", "), slices.Contains(words, s)
	}
}

func family(v6 bool) string {
	if v6 {
		return "an IPv6 address"
	}
	return "an IPv4 address"
}

func address(v6 bool) func(any) (string, bool) {
	return func(v any) (string, bool) {
		s, _ := v.(string)
		a, err := netip.ParseAddr(s)
		return family(v6), err == nil && a.Is6() == v6
	}
}

// hostAddress is an address; of IPv6 it may say how long its prefix is.
func hostAddress(v6 bool) func(any) (string, bool) {
	return func(v any) (string, bool) {
		s, _ := v.(string)
		p, err := netip.ParsePrefix(s)
		allowed, ok := address(v6)(v)
		return allowed, ok || v6 && err == nil && p.Addr().Is6()
	}
}

func netmask(v6 bool) func(any) (string, bool) {
	return func(v any) (string, bool) {
		s, _ := v.(string)
		allowed := family(v6) + " that is a network mask"
		a, err := netip.ParseAddr(s)
		if err != nil || a.Is6() != v6 || a.Zone() != "" {
			return allowed, false
		}
		_, size := net.IPMask(a.AsSlice()).Size() // 0 when the ones are not all in front
		return allowed, size > 0
	}
}
