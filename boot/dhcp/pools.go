package dhcp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ParsePools reads the ranges of networks behind relays, as people write them: "NETWORK FIRST-LAST", and then in any order
// "router=ADDRESS", "dns=ADDRESS,ADDRESS" and "lease=TIME"; a semicolon between two.
func ParsePools(text string) ([]Pool, error) {
	var pools []Pool
	for one := range strings.SplitSeq(text, ";") {
		words := strings.Fields(one)
		if len(words) == 0 {
			continue
		}
		p, err := parsePool(words)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", strings.TrimSpace(one), err)
		}
		if err := checkPool(p, pools); err != nil {
			return nil, err
		}
		pools = append(pools, p)
	}
	return pools, nil
}

func parsePool(words []string) (p Pool, err error) {
	if len(words) < 2 {
		return p, fmt.Errorf("a network and first-last are needed, such as 10.50.0.0/24 10.50.0.20-10.50.0.200")
	}
	if p.Prefix, err = netip.ParsePrefix(words[0]); err != nil || !p.Prefix.Addr().Is4() || p.Prefix != p.Prefix.Masked() {
		return p, fmt.Errorf("%q is not an IPv4 network such as 10.50.0.0/24", words[0])
	}
	first, last, _ := strings.Cut(words[1], "-")
	if p.First, err = ipv4Of(first); err != nil {
		return p, err
	}
	if p.Last, err = ipv4Of(last); err != nil {
		return p, err
	}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "router":
			p.Router, err = ipv4Of(value)
		case "dns":
			p.DNS, err = namesOf(value)
		case "lease":
			p.LeaseTime, err = lifeOf(value)
		default:
			err = fmt.Errorf("%q is none of router=, dns=, lease=", word)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

func ipv4Of(s string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(s)
	if err != nil || !ip.Is4() {
		return ip, fmt.Errorf("%q is not an IPv4 address", s)
	}
	return ip, nil
}

func namesOf(s string) ([]netip.Addr, error) {
	names := []netip.Addr{} // not nil: with "dns=" clients get none, also where there is a default
	for one := range strings.SplitSeq(s, ",") {
		if one == "" {
			continue
		}
		ip, err := ipv4Of(one)
		if err != nil {
			return nil, err
		}
		names = append(names, ip)
	}
	return names, nil
}

func lifeOf(s string) (time.Duration, error) {
	life, err := time.ParseDuration(s)
	if seconds, e := strconv.Atoi(s); e == nil {
		life, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || life < time.Minute {
		return 0, fmt.Errorf("%q is not a time of a minute or more, such as 30m", s)
	}
	return life, nil
}

func checkPool(p Pool, before []Pool) error {
	switch {
	case !p.Prefix.IsValid() || !p.Prefix.Addr().Is4():
		return fmt.Errorf("dhcp range: %q is not an IPv4 network", p.Prefix)
	case !p.Prefix.Contains(p.First) || !p.Prefix.Contains(p.Last) || p.Last.Less(p.First):
		return fmt.Errorf("dhcp range %s-%s: both ends must lie in %s, the lower first", p.First, p.Last, p.Prefix)
	case p.Router.IsValid() && !p.Prefix.Contains(p.Router):
		return fmt.Errorf("dhcp router %s does not lie in %s", p.Router, p.Prefix)
	}
	for _, other := range before {
		if other.Prefix.Overlaps(p.Prefix) {
			return fmt.Errorf("dhcp ranges: the networks %s and %s overlap", other.Prefix, p.Prefix)
		}
	}
	return nil
}
