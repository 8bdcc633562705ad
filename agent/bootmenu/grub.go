package bootmenu

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/billet-metal/billet/agent/inroot"
)

// Bounds of a run: a menu may loop for ever, and does on images that only wait.
const (
	maxSteps = 20000
	maxCalls = 20
)

// errBoot ends a run: the script boots what it has loaded.
var errBoot = errors.New("boot")

// item is one line of a menu.
type item struct {
	title, id string
	submenu   bool
	body      script
	ready     *Entry // of a boot loader entry, which needs no script
}

// grub is one run of GRUB's configuration.
type grub struct {
	volumes []Volume
	vars    map[string]string
	funcs   map[string]script
	menu    []item
	loaded  *Entry
	steps   int
	calls   int
}

// runGRUB runs a configuration as GRUB would that nobody touches, and returns what it boots.
func runGRUB(volumes []Volume, v Volume, config string, uefi bool) (Entry, error) {
	platform := "pc"
	if uefi {
		platform = "efi"
	}
	device := fmt.Sprintf("hd0,gpt%d", v.Number)
	g := &grub{volumes: volumes, funcs: map[string]script{}, vars: map[string]string{
		"root": device, "prefix": "(" + device + ")" + path.Dir(path.Join("/", config)), "cmdpath": "(hd0)",
		"grub_platform": platform, "grub_cpu": "x86_64", "lang": "en_US",
		"feature_menuentry_id": "y", "feature_platform_search_hint": "y", "feature_default_font_path": "y",
		"feature_timeout_style": "y", "feature_200_final": "y", "feature_all_video_module": "y",
		"feature_chainloader_bpb": "y", "feature_ntldr": "y", "feature_nativedisk_cmd": "y",
	}}
	err := g.source("(" + device + ")" + path.Join("/", config))
	if err == nil && g.loaded == nil {
		err = g.choose(g.vars["default"])
	}
	if err != nil && !errors.Is(err, errBoot) {
		return Entry{}, err
	}
	if g.loaded == nil {
		return Entry{}, errors.New("it loads no Linux kernel")
	}
	return *g.loaded, nil
}

// choose runs the menu's default entry: "2", a title or an id, and "1>2" inside a submenu. One that
// is not there is the first, as in GRUB.
func (g *grub) choose(want string) error {
	if len(g.menu) == 0 {
		return errors.New("it has no menu entries")
	}
	want, below, _ := strings.Cut(want, ">")
	i := slices.IndexFunc(g.menu, func(m item) bool { return want != "" && (m.id == want || m.title == want) })
	if n, err := strconv.Atoi(want); i < 0 && err == nil && n >= 0 && n < len(g.menu) {
		i = n
	}
	m := g.menu[max(i, 0)]
	if m.ready != nil {
		g.loaded = m.ready
		return nil
	}
	g.vars["chosen"] = m.title
	if m.submenu {
		g.menu = nil
		if err := g.run(m.body); err != nil {
			return err
		}
		return g.choose(below)
	}
	err := g.run(m.body)
	if g.loaded != nil {
		g.loaded.Title = m.title
	}
	if err == nil && g.loaded == nil {
		err = fmt.Errorf("its entry %q starts no Linux kernel", m.title)
	}
	return err
}

// run runs statements; only what ends the whole run is an error, as in GRUB.
func (g *grub) run(s script) error {
	for _, st := range s {
		if _, err := g.do(st); err != nil {
			return err
		}
	}
	return nil
}

// truth runs a condition; the last statement decides.
func (g *grub) truth(s script) (bool, error) {
	ok := true
	for _, st := range s {
		var err error
		if ok, err = g.do(st); err != nil {
			return false, err
		}
	}
	return ok, nil
}

func (g *grub) do(st statement) (bool, error) {
	if g.steps++; g.steps > maxSteps {
		return false, errors.New("it runs without end")
	}
	switch st.kind {
	case "":
		words, err := g.expand(st.words)
		if err != nil || len(words) == 0 {
			return true, err
		}
		ok, err := g.command(words)
		g.vars["?"] = map[bool]string{true: "0", false: "1"}[ok]
		return ok != st.negate, err
	case "if":
		for i, test := range st.tests {
			if ok, err := g.truth(test); err != nil || ok {
				return ok, errOr(err, func() error { return g.run(st.bodies[i]) })
			}
		}
		if len(st.bodies) > len(st.tests) {
			return true, g.run(st.bodies[len(st.tests)])
		}
		return true, nil
	case "while", "until":
		for {
			ok, err := g.truth(st.tests[0])
			if err != nil || ok == (st.kind == "until") {
				return true, err
			}
			if err := g.run(st.bodies[0]); err != nil {
				return false, err
			}
		}
	}
	return g.block(st)
}

func errOr(err error, then func() error) error {
	if err != nil {
		return err
	}
	return then()
}

// block does what defines or repeats something.
func (g *grub) block(st statement) (bool, error) {
	words, err := g.expand(st.words)
	if err != nil {
		return false, err
	}
	switch st.kind {
	case "for":
		if len(words) < 2 || words[1] != "in" {
			return false, nil
		}
		for _, value := range words[2:] {
			g.vars[words[0]] = value
			if err := g.run(st.bodies[0]); err != nil {
				return false, err
			}
		}
	case "function":
		if len(words) == 1 {
			g.funcs[words[0]] = st.bodies[0]
		}
	default:
		g.menu = append(g.menu, menuItem(st, words))
	}
	return true, nil
}

// menuItem reads a menu entry's title and id out of its options.
func menuItem(st statement, words []string) item {
	m := item{submenu: st.kind == "submenu", body: st.bodies[0]}
	titled := false
	for i := 0; i < len(words); i++ {
		w := words[i]
		option, value, inline := strings.Cut(w, "=")
		switch option {
		case "--id", "--class", "--users", "--hotkey", "--source":
			if !inline && i+1 < len(words) {
				i++
				value = words[i]
			}
			if option == "--id" {
				m.id = value
			}
		case "--unrestricted":
		default:
			if !titled {
				m.title, titled = w, true
			}
		}
	}
	return m
}

// expand puts variables into words. What comes unquoted out of a variable is split at blanks, and
// is no word at all when it is empty.
func (g *grub) expand(words []word) ([]string, error) {
	var out []string
	total := 0
	for _, w := range words {
		text, real := "", false
		for _, p := range w {
			value := p.text
			if p.variable {
				value = g.vars[p.text]
			}
			if total += len(value); total > maxConfig {
				return nil, errors.New("a command's text grows without end")
			}
			if !p.variable || p.quoted {
				text, real = text+value, true
				continue
			}
			pieces := strings.Fields(value)
			for i, piece := range pieces {
				if i > 0 {
					out, text = append(out, text), ""
				}
				text, real = text+piece, true
			}
		}
		if real {
			out = append(out, text)
		}
	}
	return out, nil
}

// expandText is a text with variables, such as the options of a boot loader entry.
func (g *grub) expandText(text string) (string, error) {
	l := &lexer{rest: text}
	var w word
	for l.rest != "" {
		c := l.rest[0]
		l.rest = l.rest[1:]
		if c == '$' {
			l.variable(true)
		} else {
			l.add(string(c), true)
		}
	}
	if w = l.word; w == nil {
		return "", nil
	}
	words, err := g.expand([]word{w})
	return strings.Join(words, " "), err
}

// source runs another file.
func (g *grub) source(name string) error {
	v, file, err := g.locate(name)
	if err != nil {
		return err
	}
	text, err := inroot.ReadFile(v.Dir, file, maxConfig)
	if err != nil {
		return err
	}
	s, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("%s of partition %d: %w", file, v.Number, err)
	}
	return g.call(s)
}

// call runs a file or function within the bounds.
func (g *grub) call(s script) error {
	if g.calls++; g.calls > maxCalls {
		return errors.New("it calls itself without end")
	}
	defer func() { g.calls-- }()
	return g.run(s)
}

// locate takes "(hd0,gpt2)/boot/x" apart; without a device it is on the root.
func (g *grub) locate(name string) (Volume, string, error) {
	device := g.vars["root"]
	if rest, ok := strings.CutPrefix(name, "("); ok {
		var found bool
		if device, name, found = strings.Cut(rest, ")"); !found {
			return Volume{}, "", fmt.Errorf("%q names no file", rest)
		}
	}
	v, err := g.device(device)
	return v, path.Join("/", name), err
}

// device finds the partition that GRUB calls "hd0,gpt2", "hd0,msdos1" or ",1".
func (g *grub) device(name string) (Volume, error) {
	disk, partition, ok := strings.Cut(name, ",")
	if i := strings.LastIndexByte(partition, ','); i >= 0 { // nested, as on a RAID
		partition = partition[i+1:]
	}
	digits := strings.TrimLeft(partition, "abcdefghijklmnopqrstuvwxyz")
	number, err := strconv.Atoi(digits)
	if ok && err == nil && (disk == "" || disk == "hd0" || strings.HasPrefix(disk, "md")) {
		for _, v := range g.volumes {
			if v.Number == number {
				return v, nil
			}
		}
	}
	return Volume{}, fmt.Errorf("its device %q is none of this disk's file systems that can be read", name)
}
