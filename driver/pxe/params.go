package pxe

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// commandLine is the service's or the node's own parameters, then the API's address, then what the
// flow asks for, sorted by name. Where the ramdisk is to call, the key of its boot is in the path.
func (b *Boot) commandLine(t *driver.Task, bootKey string, params map[string]string) (string, error) {
	params = b.keyed(params, bootKey)
	own, key := appendParams(t.Node, b.defaults())
	words := []string{own}
	if _, given := params["ipa-api-url"]; !given && b.APIURL != "" {
		words = append(words, "ipa-api-url="+b.withKey(b.APIURL, bootKey))
	}
	for _, k := range slices.Sorted(maps.Keys(params)) {
		word, err := param(k, params[k])
		if err != nil {
			return "", err
		}
		if k == "ipa-api-url" {
			words = slices.Insert(words, 1, word)
			continue
		}
		words = append(words, word)
	}
	line := strings.Join(append(words, b.serialParams(t, words)...), " ")
	return spell(b.ramdiskLoader(t), line, key)
}

// spell is a command line as the loader can hand it over, or says why it cannot; key is the setting of its free part.
func spell(l boot.Loader, line, key string) (string, error) {
	line, err := boot.CommandLine(l, line)
	if err != nil {
		return "", node.Errorf(node.Invalid, "%s: the kernel parameters %s.", key, node.MaskBootKeys(err.Error()))
	}
	return line, nil
}

// param is one parameter that this program sets. Its value may be somebody's, such as a capability: it stays one word.
func param(name, value string) (string, error) {
	word := name + "=" + value
	if strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
		return "", node.Errorf(node.Invalid,
			"The kernel parameter %s cannot be %q: blanks, double quotes and what is not printable ASCII would begin another one.", name, value)
	}
	return word, nil
}

// reportPath ends the URL of an inspection report, also where it is not this service's own, but an address that it
// shares with others.
const reportPath = "/v1/continue_inspection"

// keyed are the parameters with the boot's key in each URL of this service.
func (b *Boot) keyed(params map[string]string, key string) map[string]string {
	out := map[string]string{}
	for name, value := range params {
		out[name] = b.withKey(value, key)
	}
	return out
}

func (b *Boot) withKey(value, key string) string {
	base := strings.TrimSuffix(b.APIURL, "/")
	rest, ours := strings.CutPrefix(value, base)
	switch {
	case key == "":
		return value
	case base != "" && ours && (rest == "" || rest[0] == '/'):
		return node.WithBootKey(base, key) + rest
	}
	if rest, reports := strings.CutSuffix(value, reportPath); reports {
		return node.WithBootKey(rest, key) + reportPath
	}
	return value
}

// serialParams make the kernel and the agent speak on a serial line that is heard, unless the node's own parameters
// say where to speak. The kernel says there what matters: a serial line is slow.
func (b *Boot) serialParams(t *driver.Task, words []string) []string {
	if _, heard := driver.SerialOf(t.Node, t.Hardware, b.CaptureSerial); !heard || b.SerialConsole == "" {
		return nil
	}
	given := func(names ...string) bool {
		for word := range strings.FieldsSeq(strings.Join(words, " ")) {
			name, _, _ := strings.Cut(word, "=")
			if slices.Contains(names, name) {
				return true
			}
		}
		return false
	}
	if given("console") {
		return nil
	}
	params := []string{"console=tty0", "console=" + b.SerialConsole}
	if !given("loglevel", "quiet", "debug", "ignore_loglevel") {
		params = append(params, "loglevel=5") // warnings and worse, and all of a panic
	}
	return params
}

func (b *Boot) defaults() string {
	if b.AppendParams != "" {
		return b.AppendParams
	}
	return DefaultAppendParams
}

// appendParams picks the instance's parameters, else the node's, else the service's, and says whose they are.
func appendParams(n *node.Node, service string) (params, key string) {
	const name = "kernel_append_params"
	if own := n.InstanceInfo.String(name); own != "" {
		return strings.ReplaceAll(own, "%default%", service), "instance_info/" + name
	}
	if own := n.DriverInfo.String(name); own != "" {
		return strings.ReplaceAll(own, "%default%", service), "driver_info/" + name
	}
	return service, "The service's " + name
}

// stay says which boot devices are set to stay over more than one boot.
type stay int

const (
	instanceOnly stay = iota
	always
	never
)

// persistence reads driver_info.force_persistent_boot_device. Booleans are its older form.
func persistence(n *node.Node) (stay, error) {
	v := n.DriverInfo["force_persistent_boot_device"]
	switch strings.ToLower(fmt.Sprint(v)) {
	case "<nil>", "", "default", "false":
		return instanceOnly, nil
	case "always", "true":
		return always, nil
	case "never":
		return never, nil
	}
	return 0, node.Errorf(node.Invalid, "driver_info/force_persistent_boot_device is %q; it must be Default, Always or Never.", fmt.Sprint(v))
}
