package pxe

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// maxCommandLine is what a kernel takes (COMMAND_LINE_SIZE on x86), less what loaders add.
const maxCommandLine = 2048 - 128

// commandLine is the service's or the node's own parameters, then the API's address, then what the
// flow asks for, sorted by name.
func (b *Boot) commandLine(t *driver.Task, params map[string]string) (string, error) {
	words := []string{appendParams(t.Node, b.defaults())}
	if _, given := params["ipa-api-url"]; !given && b.APIURL != "" {
		words = append(words, "ipa-api-url="+b.APIURL)
	}
	for _, k := range slices.Sorted(maps.Keys(params)) {
		if k == "ipa-api-url" {
			words = slices.Insert(words, 1, k+"="+params[k])
			continue
		}
		words = append(words, k+"="+params[k])
	}
	line := strings.Join(append(words, b.serialParams(t, words)...), " ")
	if err := safeLine(line); err != nil {
		return "", err
	}
	return strings.Join(strings.Fields(line), " "), nil
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

// appendParams picks the instance's parameters, else the node's, else the service's.
func appendParams(n *node.Node, service string) string {
	for _, d := range []node.Document{n.InstanceInfo, n.DriverInfo} {
		if own := d.String("kernel_append_params"); own != "" {
			return strings.ReplaceAll(own, "%default%", service)
		}
	}
	return service
}

// safeLine refuses what would end the line in a boot loader's script and start another command.
func safeLine(line string) error {
	const key = "kernel_append_params"
	if i := strings.IndexFunc(line, unicode.IsControl); i >= 0 {
		return node.Errorf(node.Invalid, "%s must be one line without control characters; character %d is %q.", key, i+1, line[i])
	}
	for word := range strings.FieldsSeq(line) {
		if word == "||" || word == "&&" {
			return node.Errorf(node.Invalid, "%s must not hold the word %q: boot loaders read it as the end of a command.", key, word)
		}
	}
	if len(line) > maxCommandLine {
		return node.Errorf(node.Invalid, "The kernel command line would be %d characters long; at most %d are allowed. Shorten %s.", len(line), maxCommandLine, key)
	}
	return nil
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
