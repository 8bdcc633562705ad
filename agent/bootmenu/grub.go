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
	maxLine  = 256 << 10 // bytes of one command once its variables are put in; a kernel takes 2 KB
)

// What ends more than one statement.
var (
	errBoot     = errors.New("boot")                 // the script boots what it has loaded
	errReturn   = errors.New("return")               // a function or file ends
	errBreak    = errors.New("break, in no loop")    // a loop ends
	errContinue = errors.New("continue, in no loop") // its next turn begins
)

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
	budget  *budget
	steps   int
	calls   int
}

// runGRUB runs a configuration as GRUB would that nobody touches, and returns what it boots.
func runGRUB(b *budget, volumes []Volume, v Volume, config string, uefi bool) (Entry, error) {
	platform, cpu := "pc", "i386"
	if uefi {
		platform, cpu = "efi", "x86_64"
	}
	device := fmt.Sprintf("hd0,gpt%d", v.Number)
	g := &grub{budget: b, volumes: volumes, funcs: map[string]script{}, vars: map[string]string{
		"root": device, "prefix": "(" + device + ")" + path.Dir(path.Join("/", config)), "cmdpath": "(hd0)",
		"grub_platform": platform, "grub_cpu": cpu, "lang": "en_US",
		"feature_menuentry_id": "y", "feature_platform_search_hint": "y", "feature_default_font_path": "y",
		"feature_timeout_style": "y", "feature_200_final": "y", "feature_all_video_module": "y",
		"feature_chainloader_bpb": "y", "feature_ntldr": "y", "feature_nativedisk_cmd": "y",
	}}
	err := g.source("(" + device + ")" + path.Join("/", config))
	if err == nil {
		err = g.choose(g.vars["default"])
	}
	if !errors.Is(err, errBoot) {
		return Entry{}, err
	}
	return *g.loaded, nil
}

// choose runs the menu's default entry: "2", a title or an id, and "1>2" inside a submenu. One that
// is not there is the first, as in GRUB. What an entry has loaded is booted: errBoot.
func (g *grub) choose(want string) error {
	if len(g.menu) == 0 && g.loaded != nil {
		return errors.New("it loads a kernel, but has no command that boots it")
	}
	if len(g.menu) == 0 {
		return errors.New("it has no menu entries")
	}
	g.loaded = nil
	want, below := cutPath(want)
	i := g.position(want)
	m := g.menu[max(i, 0)]
	if m.ready != nil {
		g.loaded = m.ready
		return errBoot
	}
	g.vars["chosen"] = m.title
	if m.submenu {
		g.menu = nil
		if _, err := g.run(m.body); err != nil {
			return err
		}
		return g.choose(below)
	}
	_, err := g.run(m.body)
	if g.loaded != nil {
		g.loaded.Title = m.title
	}
	switch {
	case err != nil && !errors.Is(err, errReturn):
		return err
	case g.loaded == nil:
		return fmt.Errorf("its entry %q starts no Linux kernel", m.title)
	}
	return errBoot
}

// cutPath takes the first step off a path into submenus, "a>b>c"; ">>" is a ">" of a title.
func cutPath(p string) (first, rest string) {
	var out []byte
	for i := 0; i < len(p); i++ {
		if p[i] == '>' {
			if i++; i >= len(p) || p[i] != '>' {
				return string(out), p[i:]
			}
		}
		out = append(out, p[i])
	}
	return string(out), ""
}

// position finds an entry: a number counts before a title or id that is the same, one of these before a
// number that only begins the text; -1 is none.
func (g *grub) position(want string) int {
	named := slices.IndexFunc(g.menu, func(m item) bool { return want != "" && (m.id == want || m.title == want) })
	number := strings.TrimSpace(want)
	if number == "" || !isDigit(number[0]) || named >= 0 && strings.Trim(number, "0123456789") != "" {
		return named
	}
	if n := leadingNumber(number); n < int64(len(g.menu)) {
		return int(n)
	}
	return -1
}

// run runs statements; the last decides the outcome. Only what ends the whole run is an error, as in GRUB.
func (g *grub) run(s script) (bool, error) {
	ok := true
	for _, st := range s {
		var err error
		if ok, err = g.do(st); err != nil {
			return ok, err
		}
	}
	return ok, nil
}

// step counts what is done: statements, and turns of loops, which may have none.
func (g *grub) step() error {
	if g.steps++; g.steps > maxSteps {
		return errors.New("it runs without end")
	}
	return nil
}

// do runs one statement, whose outcome is $? then.
func (g *grub) do(st statement) (bool, error) {
	if err := g.step(); err != nil {
		return false, err
	}
	ok, err := g.perform(st)
	g.vars["?"] = map[bool]string{true: "0", false: "1"}[ok]
	return ok, err
}

func (g *grub) perform(st statement) (bool, error) {
	switch st.kind {
	case "":
		words, err := g.expand(st.words)
		if err != nil || len(words) == 0 {
			return true, err
		}
		ok, err := g.command(words)
		return ok != st.negate, err
	case "if":
		for i, test := range st.tests {
			if ok, err := g.run(test); err != nil {
				return false, err
			} else if ok {
				return g.run(st.bodies[i])
			}
		}
		if len(st.bodies) > len(st.tests) {
			return g.run(st.bodies[len(st.tests)])
		}
		return true, nil
	case "while", "until":
		for {
			ok, err := g.run(st.tests[0])
			if err != nil || ok == (st.kind == "until") {
				return ok, err
			}
			if ok, ends, err := g.turn(st.bodies[0]); err != nil || ends {
				return ok, err
			}
		}
	}
	return g.block(st)
}

// turn is one turn of a loop; ends is "break".
func (g *grub) turn(body script) (ok, ends bool, err error) {
	if err := g.step(); err != nil {
		return false, false, err
	}
	ok, err = g.run(body)
	switch {
	case errors.Is(err, errBreak):
		return true, true, nil
	case errors.Is(err, errContinue):
		return true, false, nil
	}
	return ok, false, err
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
		ok := true
		for _, value := range words[2:] {
			g.vars[words[0]] = value
			var ends bool
			if ok, ends, err = g.turn(st.bodies[0]); err != nil || ends {
				return ok, err
			}
		}
		return ok, nil
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
// is no word at all when it is empty; "$@" is a word for each argument.
func (g *grub) expand(words []word) ([]string, error) {
	var out []string
	total := 0
	for _, w := range words {
		var text strings.Builder
		real, pattern := false, false
		for _, p := range w {
			for i, piece := range g.pieces(p) {
				if i > 0 {
					out = append(out, text.String())
					text.Reset()
				}
				if total += len(piece); total > maxLine {
					return nil, errors.New("a command's text grows without end")
				}
				text.WriteString(piece)
				real, pattern = true, pattern || !p.quoted && strings.ContainsAny(piece, "*?")
			}
		}
		if !real {
			continue
		}
		out = append(out, text.String())
		if pattern && strings.ContainsAny(text.String()[:1], "/(") {
			return nil, fmt.Errorf("its pattern of file names %q is not understood", text.String())
		}
	}
	return out, g.budget.spend(total)
}

// pieces is what a part of a word comes to; each but the first begins a new word.
func (g *grub) pieces(p part) []string {
	switch {
	case !p.variable:
		return []string{p.text}
	case !p.quoted:
		return strings.Fields(g.vars[p.text])
	case p.text != "@":
		return []string{g.vars[p.text]}
	}
	var list []string
	n, _ := strconv.Atoi(g.vars["#"])
	for i := range min(n, len(g.vars)) {
		list = append(list, g.vars[strconv.Itoa(i+1)])
	}
	return list
}

// expandText is a text with variables, such as the options of a boot loader entry.
func (g *grub) expandText(text string) (string, error) {
	l := &lexer{rest: text}
	for l.rest != "" {
		c := l.rest[0]
		l.rest = l.rest[1:]
		if c == '$' {
			l.variable(true)
		} else {
			l.addByte(c, true)
		}
	}
	l.flush()
	if l.word == nil {
		return "", nil
	}
	words, err := g.expand([]word{l.word})
	return strings.Join(words, " "), err
}

// expandAll puts variables into a list of names; what comes to nothing is left out.
func (g *grub) expandAll(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		text, err := g.expandText(name)
		if err != nil {
			return nil, err
		}
		out = append(out, strings.Fields(text)...)
	}
	return out, nil
}

// source runs another file.
func (g *grub) source(name string) error {
	v, file, err := g.locate(name)
	if err != nil {
		return err
	}
	text, err := g.budget.read(v, file)
	if err != nil {
		return err
	}
	s, err := parse(text)
	if err != nil {
		return fmt.Errorf("%s of partition %d: %w", file, v.Number, err)
	}
	_, err = g.call(s)
	return err
}

// call runs a file or function within the bounds.
func (g *grub) call(s script) (bool, error) {
	if g.calls++; g.calls > maxCalls {
		return false, errors.New("it calls itself without end")
	}
	defer func() { g.calls-- }()
	ok, err := g.run(s)
	if errors.Is(err, errReturn) {
		err = nil
	}
	return ok, err
}

// function calls a function with its arguments, which are $1, $2 …; $# is their number and $@ all.
func (g *grub) function(body script, args []string) (bool, error) {
	mine := map[string]string{"#": strconv.Itoa(len(args)), "@": strings.Join(args, " "), "*": strings.Join(args, " ")}
	for i := range max(len(args), 9) { // those of the caller are not this one's
		mine[strconv.Itoa(i+1)] = ""
		if i < len(args) {
			mine[strconv.Itoa(i+1)] = args[i]
		}
	}
	before := map[string]string{}
	for name, value := range mine {
		before[name], g.vars[name] = g.vars[name], value
	}
	defer func() {
		for name, value := range before {
			g.vars[name] = value
		}
	}()
	return g.call(body)
}

// configfile runs a configuration of its own. Its menu, if it has one, is what the user would see
// and what starts unasked: nothing after this command runs.
func (g *grub) configfile(name string) (bool, error) {
	menu := g.menu
	g.menu = nil
	ok, err := g.sourceIfThere(name)
	if err == nil && len(g.menu) > 0 {
		err = g.choose(g.vars["default"])
	}
	g.menu = menu
	return ok, err
}

// sourceIfThere runs a file. One that is not there is passed over; GRUB counts that as done.
func (g *grub) sourceIfThere(name string) (bool, error) {
	v, file, err := g.locate(name)
	if err == nil {
		_, err = inroot.Stat(v.Dir, file)
	}
	if err != nil {
		return true, nil
	}
	return true, g.source(name)
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
