package agent

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/billet-metal/billet/agent/classic"
	"github.com/billet-metal/billet/fetch"
)

// Version is what the agent says of itself in heartbeats. The build sets it to the service's (-ldflags "-X …/agent.Version=…").
var Version = "billet-agent dev"

// Config is what kernel parameters tell the agent.
type Config struct {
	APIURLs            []string // ipa-api-url, a comma list without "/v1"
	InspectionCallback string   // ipa-inspection-callback-url
	Collectors         []string // ipa-inspection-collectors
	CollectLLDP        bool     // ipa-collect-lldp: the switches' LLDP frames belong to the inventory
	LLDPTimeout        time.Duration
	Benchmarks         []string // ipa-inspection-benchmarks: any of cpu, mem, disk
	Token              string   // ipa-agent-token
	NodeUUID           string   // ipa-node-uuid
	RequestID          string   // ipa-global-request-id
	Debug              bool     // ipa-debug
	Insecure           bool     // ipa-insecure: certificates of the service and of image servers are not verified
	APIVersion         int      // ipa-ironic-api-version: 89 for 1.89; 0: ask
	ListenHost         string   // ipa-listen-host
	ListenPort         int      // ipa-listen-port; 0: any
	AdvertiseHost      string   // ipa-advertise-host; "": the address that reaches the service
	AdvertisePort      int      // ipa-advertise-port; 0: the one listened on
	LookupTimeout      time.Duration
	LookupInterval     time.Duration
	DiskWait           time.Duration   // ipa-disk-wait-attempts × ipa-disk-wait-delay
	InjectPriority     int             // ipa-inject-files-priority: of the deploy step inject_files; 0: only when asked for
	AnyBoot            bool            // ipa-ignore-bootloader-failure: an image that no firmware would start is written too
	WipeShared         bool            // ipa-guard-special-filesystems=false: what other machines may share is erased too
	BootMAC            string          // BOOTIF, lower case with colons
	Root               string          // billet-root: read the machine below this folder, for tests
	StateDir           string          // billet-state-dir: token and certificate survive a restart of the agent here
	ISCSI              *classic.Params // iscsi_target_iqn and its like; nil: the agent works itself
	URLAllowed         []fetch.Place   // billet-url-allowed-networks: as the service's key url_allowed_networks
	DonePort           string          // where it waits for "done" in that mode; "": 10000
}

// ParseCommandLine splits a kernel command line into its parameters; the last of two wins. Double
// quotes keep blanks together.
func ParseCommandLine(line string) map[string]string {
	params := map[string]string{}
	var word strings.Builder
	quoted := false
	end := func() {
		if key, value, _ := strings.Cut(word.String(), "="); key != "" {
			params[key] = value
		}
		word.Reset()
	}
	for _, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
		case !quoted && (r == ' ' || r == '\t' || r == '\n'):
			end()
		default:
			word.WriteRune(r)
		}
	}
	end()
	return params
}

// NewConfig reads the parameters the agent knows; all others are somebody else's.
func NewConfig(params map[string]string) (Config, error) {
	p := reader{params: params}
	c := Config{
		APIURLs:            p.list("ipa-api-url"),
		InspectionCallback: p.text("ipa-inspection-callback-url", ""),
		Collectors:         p.list("ipa-inspection-collectors"),
		CollectLLDP:        p.flag("ipa-collect-lldp"),
		LLDPTimeout:        p.seconds("ipa-lldp-timeout", 30),
		Benchmarks:         p.list("ipa-inspection-benchmarks"),
		Token:              p.text("ipa-agent-token", ""),
		NodeUUID:           p.text("ipa-node-uuid", ""),
		RequestID:          p.text("ipa-global-request-id", ""),
		Debug:              p.flag("ipa-debug"),
		Insecure:           p.flag("ipa-insecure"),
		APIVersion:         p.version("ipa-ironic-api-version"),
		ListenHost:         p.text("ipa-listen-host", "::"),
		ListenPort:         p.number("ipa-listen-port", 9999),
		AdvertiseHost:      p.text("ipa-advertise-host", ""),
		AdvertisePort:      p.number("ipa-advertise-port", 0),
		LookupTimeout:      p.seconds("ipa-lookup-timeout", 600),
		LookupInterval:     p.seconds("ipa-lookup-interval", 1),
		DiskWait:           time.Duration(p.number("ipa-disk-wait-attempts", 10)) * p.seconds("ipa-disk-wait-delay", 3),
		InjectPriority:     p.number("ipa-inject-files-priority", 0),
		AnyBoot:            p.flag("ipa-ignore-bootloader-failure"),
		WipeShared:         p.refused("ipa-guard-special-filesystems"),
		BootMAC:            bootMAC(p.text("BOOTIF", "")),
		Root:               p.text("billet-root", "/"),
		StateDir:           p.text("billet-state-dir", "/run/billet-agent"),
	}
	if c.ISCSI = classic.Parse(params); c.ISCSI != nil && len(c.APIURLs) == 0 {
		c.APIURLs = p.list("ironic_api_url")
	}
	for _, item := range p.list("billet-url-allowed-networks") {
		place, err := fetch.ParsePlace(item)
		if err != nil {
			p.fail("kernel parameter billet-url-allowed-networks: %w", err)
		}
		c.URLAllowed = append(c.URLAllowed, place)
	}
	for _, u := range append(c.APIURLs, c.InspectionCallback) {
		p.checkURL(u)
	}
	if p.err != nil {
		return Config{}, p.err
	}
	if len(c.APIURLs) == 0 && c.InspectionCallback == "" {
		return Config{}, fmt.Errorf("kernel parameter ipa-api-url is missing: it must say where the Bare Metal API is, such as " +
			"ipa-api-url=http://192.0.2.1:6385")
	}
	return c, nil
}

// reader takes parameters apart; it keeps the first error.
type reader struct {
	params map[string]string
	err    error
}

func (p *reader) text(key, fallback string) string {
	if v := p.params[key]; v != "" {
		return v
	}
	return fallback
}

func (p *reader) list(key string) []string {
	var out []string
	for item := range strings.SplitSeq(p.params[key], ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, strings.TrimSuffix(strings.TrimRight(item, "/"), "/v1"))
		}
	}
	return out
}

// flag is on when the parameter is there and does not say no.
func (p *reader) flag(key string) bool {
	v, there := p.params[key]
	switch strings.ToLower(v) {
	case "0", "false", "no", "off":
		return false
	}
	return there
}

// refused reports whether the parameter is there and says no.
func (p *reader) refused(key string) bool {
	_, there := p.params[key]
	return there && !p.flag(key)
}

func (p *reader) number(key string, fallback int) int {
	v := p.params[key]
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > 1<<20 {
		p.fail("kernel parameter %s=%s: a number from 0 to %d is allowed", key, v, 1<<20)
	}
	return n
}

func (p *reader) seconds(key string, fallback int) time.Duration {
	return time.Duration(p.number(key, fallback)) * time.Second
}

// version reads "1.89" as 89; "auto" and nothing as 0.
func (p *reader) version(key string) int {
	v := p.params[key]
	if v == "" || v == "auto" {
		return 0
	}
	n, err := minor(v)
	if err != nil {
		p.fail("kernel parameter %s: %w", key, err)
	}
	return n
}

// minor reads the second part of a microversion "1.89".
func minor(version string) (int, error) {
	text, ok := strings.CutPrefix(version, "1.")
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a version of the Bare Metal API, such as 1.89", version)
	}
	return n, nil
}

func (p *reader) checkURL(text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		p.fail("%q in a kernel parameter is not a URL that starts with http:// or https://", text)
	}
}

func (p *reader) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// bootMAC reads BOOTIF as boot loaders write it: "01-52-54-00-00-00-01", the hardware type first;
// iPXE scripts may leave that out. Anything else is as good as nothing.
func bootMAC(text string) string {
	text = strings.ReplaceAll(strings.ToLower(text), "-", ":")
	if len(text) == len("01:52:54:00:00:00:01") {
		text = text[3:]
	}
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return ""
	}
	return mac.String()
}
