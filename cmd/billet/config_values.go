package main

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/billet-metal/billet/boot/dhcp"
	"github.com/billet-metal/billet/fetch"
	"github.com/billet-metal/billet/inspection"
)

// The parsers of configuration values: each returns what puts a text into its field, or says what
// is allowed.

func text(p *string) func(string) error {
	return func(s string) error { *p = s; return nil }
}

func oneOf(p *string, allowed ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(allowed, s) {
			return fmt.Errorf("%q is not allowed; use one of %s", s, strings.Join(allowed, ", "))
		}
		*p = s
		return nil
	}
}

func list(p *[]string, allowed ...string) func(string) error {
	return func(s string) error {
		*p = nil
		for item := range strings.SplitSeq(s, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			if len(allowed) > 0 && !slices.Contains(allowed, item) {
				return fmt.Errorf("%q is not allowed; use any of %s", item, strings.Join(allowed, ", "))
			}
			*p = append(*p, item)
		}
		if len(allowed) > 0 && len(*p) == 0 {
			return fmt.Errorf("is empty; use any of %s", strings.Join(allowed, ", "))
		}
		return nil
	}
}

func boolean(p *bool) func(string) error {
	return func(s string) (err error) {
		if *p, err = strconv.ParseBool(s); err != nil {
			return fmt.Errorf("%q is not true or false", s)
		}
		return nil
	}
}

func number(p *int, low, high int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q is not a number from %d to %d", s, low, high)
		}
		*p = n
		return nil
	}
}

// duration takes Go's form ("90s", "30m") or a bare number of seconds, as Ironic's options are.
func duration(p *time.Duration) func(string) error {
	return func(s string) error {
		d, err := time.ParseDuration(s)
		if seconds, e := strconv.Atoi(s); e == nil {
			d, err = time.Duration(seconds)*time.Second, nil
		}
		if err != nil || d < 0 {
			return fmt.Errorf("%q is not a duration such as 90s or 30m", s)
		}
		*p = d
		return nil
	}
}

func hostPort(p *string) func(string) error {
	return func(s string) error {
		_, port, err := net.SplitHostPort(s)
		if n, e := strconv.Atoi(port); err != nil || e != nil || n < 0 || n > 65535 {
			return fmt.Errorf("%q is not address:port", s)
		}
		*p = s
		return nil
	}
}

func address(p *string) func(string) error {
	return func(s string) error {
		if _, err := netip.ParseAddr(s); s != "" && err != nil {
			return fmt.Errorf("%q is not an IP address", s)
		}
		*p = s
		return nil
	}
}

// places reads a list of addresses, networks and address:port.
func places(p *[]fetch.Place) func(string) error {
	return func(s string) error {
		var texts []string
		if err := list(&texts)(s); err != nil {
			return err
		}
		*p = nil
		for _, item := range texts {
			place, err := fetch.ParsePlace(item)
			if err != nil {
				return err
			}
			*p = append(*p, place)
		}
		return nil
	}
}

// prefixes reads a list of addresses and networks.
func prefixes(p *[]netip.Prefix) func(string) error {
	return func(s string) error {
		var texts []string
		if err := list(&texts)(s); err != nil {
			return err
		}
		*p = nil
		for _, item := range texts {
			network, err := fetch.ParseNet(item)
			if err != nil {
				return err
			}
			*p = append(*p, network)
		}
		return nil
	}
}

func addresses(p *[]string) func(string) error {
	take := list(p)
	return func(s string) error {
		if err := take(s); err != nil {
			return err
		}
		for _, item := range *p {
			if _, err := netip.ParseAddr(item); err != nil {
				return fmt.Errorf("%q is not an IP address", item)
			}
		}
		return nil
	}
}

func addressRange(p *string) func(string) error {
	return func(s string) error {
		first, last, _ := strings.Cut(s, "-")
		a, errA := netip.ParseAddr(first)
		b, errB := netip.ParseAddr(last)
		if s != "" && (errA != nil || errB != nil || !a.Is4() || !b.Is4() || b.Less(a)) {
			return fmt.Errorf("%q is not first-last, two IPv4 addresses", s)
		}
		*p = s
		return nil
	}
}

func ranges(p *[]dhcp.Pool) func(string) error {
	return func(s string) (err error) {
		*p, err = dhcp.ParsePools(s)
		return err
	}
}

// items are the parts of a comma list.
func items(s string) (out []string) {
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

func hookList(p *[]string) func(string) error {
	return func(s string) error {
		*p = append([]string{}, items(s)...)
		return inspection.CheckHooks(*p)
	}
}

// lastColon cuts an item before its last colon.
func lastColon(item, form string) (before, after string, err error) {
	i := strings.LastIndex(item, ":")
	if i < 1 || i == len(item)-1 {
		return "", "", fmt.Errorf("%q is not like %s", item, form)
	}
	return strings.TrimSpace(item[:i]), strings.TrimSpace(item[i+1:]), nil
}

func colonPairs(p *map[string]string) func(string) error {
	return func(s string) error {
		*p = map[string]string{}
		for _, item := range items(s) {
			key, value, err := lastColon(item, "flag:capability")
			if err != nil {
				return err
			}
			(*p)[key] = value
		}
		return nil
	}
}

var pciID = regexp.MustCompile(`^[0-9a-f]{4}:[0-9a-f]{4}$`)

func pciAliases(p *map[string]string) func(string) error {
	return func(s string) error {
		*p = map[string]string{}
		for _, item := range items(s) {
			id, name, err := lastColon(item, "10de:1eb8:tesla_t4")
			if id = strings.ToLower(id); err == nil && !pciID.MatchString(id) {
				err = fmt.Errorf("%q is not like 10de:1eb8:tesla_t4", item)
			}
			if err != nil {
				return err
			}
			(*p)[id] = name
		}
		return nil
	}
}

func networks(p *map[netip.Prefix]string) func(string) error {
	return func(s string) error {
		*p = map[netip.Prefix]string{}
		for _, item := range items(s) {
			network, name, err := lastColon(item, "10.1.0.0/16:racks")
			if err != nil {
				return err
			}
			prefix, err := netip.ParsePrefix(network)
			if err != nil {
				return fmt.Errorf("%q does not begin with a network such as 10.1.0.0/16", item)
			}
			(*p)[prefix.Masked()] = name
		}
		return nil
	}
}

func parameters(p *map[string]string) func(string) error {
	return func(s string) error {
		*p = map[string]string{}
		for _, item := range strings.Fields(s) {
			key, value, ok := strings.Cut(item, "=")
			if !ok || key == "" || value == "" {
				return fmt.Errorf("%q is not like key=value", item)
			}
			(*p)[key] = value
		}
		return nil
	}
}
