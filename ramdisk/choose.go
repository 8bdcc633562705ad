package ramdisk

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// choice is what goes into one ramdisk.
type choice struct {
	modules map[string]*module
	sorted  []*module // every module after the ones it needs
	order   []*module // the part of sorted that is loaded at once, on every machine
	needs   map[string][]*module
	absent  []string
}

// choose picks a flavor's modules and everything they need; more are loaded at once besides the basic
// ones. A module to load at once that the kernel neither has nor has built in is an error; any other
// driver may be missing.
func (k *kernel) choose(f Flavor, more ...string) (choice, error) {
	c := choice{modules: map[string]*module{}, needs: map[string][]*module{}}
	byAlias := k.aliases()
	for _, name := range slices.Concat(flavors[f].basic, more) {
		m, ok := k.modules[canonical(name)]
		if !ok && !k.builtin[canonical(name)] {
			return choice{}, fmt.Errorf("the kernel %s has no module %s, which every %s ramdisk needs", k.release, name, f)
		}
		if ok {
			c.add(k, byAlias, m)
		}
	}
	if err := c.lacks(k); err != nil {
		return choice{}, err
	}
	// Everything sorted so far is a basic module or needed by one.
	c.order = slices.Clone(c.sorted)
	for _, name := range flavors[f].drivers {
		m, ok := k.modules[canonical(name)]
		switch {
		case ok:
			c.add(k, byAlias, m)
		case !k.builtin[canonical(name)]:
			c.absent = append(c.absent, name)
		}
	}
	slices.Sort(c.absent)
	return c, c.lacks(k)
}

// lacks names a module whose need is nowhere: it could never be loaded.
func (c *choice) lacks(k *kernel) error {
	for _, m := range c.sorted {
		for _, need := range m.info.depends {
			if k.modules[need] == nil && !k.builtin[need] {
				return fmt.Errorf("the kernel %s has no module %s, which its module %s needs", k.release, need, m.info.name)
			}
		}
	}
	return nil
}

// add puts m and what it needs behind what is there already, needs first.
func (c *choice) add(k *kernel, byAlias map[string][]*module, m *module) {
	if c.modules[m.info.name] != nil {
		return
	}
	c.modules[m.info.name] = m // before the descent: soft dependencies may run in circles
	for _, need := range k.directNeeds(byAlias, m) {
		c.add(k, byAlias, need)
		c.needs[m.info.name] = append(c.needs[m.info.name], need)
	}
	c.sorted = append(c.sorted, m)
}

// directNeeds are m's dependencies. Soft ones count too: in the ramdisk nobody answers when the
// kernel asks user space for "crypto-crc32c", so it must be there before.
func (k *kernel) directNeeds(byAlias map[string][]*module, m *module) []*module {
	var needs []*module
	for _, name := range m.info.depends {
		if d, ok := k.modules[name]; ok {
			needs = append(needs, d)
		}
	}
	for _, name := range m.info.softdeps {
		if d, ok := k.modules[canonical(name)]; ok {
			needs = append(needs, d)
			continue
		}
		needs = append(needs, byAlias[name]...)
	}
	return slices.DeleteFunc(needs, func(d *module) bool { return d == m })
}

// aliases maps second names (not patterns) to modules, in the order of their names.
func (k *kernel) aliases() map[string][]*module {
	byAlias := map[string][]*module{}
	for _, m := range k.modules {
		for _, a := range m.info.aliases {
			byAlias[a] = append(byAlias[a], m)
		}
	}
	for _, ms := range byAlias {
		slices.SortFunc(ms, func(a, b *module) int { return strings.Compare(a.path, b.path) })
	}
	return byAlias
}

func (c choice) names() []string {
	names := make([]string, 0, len(c.modules))
	for name := range c.modules {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// files lays the modules out for the agent, flat in /modules:
//
//	modules/NAME.ko
//	modules/order          file names to load on every machine, one a line, needs first
//	modules/modules.dep    "a.ko: b.ko c.ko", all needs, the one to load last first (as depmod writes)
//	modules/modules.alias  "alias PATTERN NAME" (as depmod writes), to load by modalias
func (c choice) files() []File {
	var order, dep, alias bytes.Buffer
	var files []File
	for _, m := range c.order {
		fmt.Fprintln(&order, m.file())
	}
	for _, name := range c.names() {
		m := c.modules[name]
		files = append(files, File{Path: "modules/" + m.file(), Mode: 0o644, Data: m.data})
		dep.WriteString(m.file() + ":")
		for _, need := range c.allNeeds(m) {
			dep.WriteString(" " + need.file())
		}
		dep.WriteByte('\n')
		for _, a := range m.info.aliases {
			fmt.Fprintf(&alias, "alias %s %s\n", a, name)
		}
	}
	for name, text := range map[string]*bytes.Buffer{"order": &order, "modules.dep": &dep, "modules.alias": &alias} {
		files = append(files, File{Path: "modules/" + name, Mode: fs.FileMode(0o644), Data: text.Bytes()})
	}
	return files
}

// allNeeds are the modules m cannot do without, nearest first: loading them from the last to the
// first and then m always works.
func (c choice) allNeeds(m *module) []*module {
	wanted := map[*module]bool{}
	var walk func(*module)
	walk = func(of *module) {
		for _, need := range c.needs[of.info.name] {
			if !wanted[need] && need != m {
				wanted[need] = true
				walk(need)
			}
		}
	}
	walk(m)
	var all []*module
	for _, s := range slices.Backward(c.sorted) {
		if wanted[s] {
			all = append(all, s)
		}
	}
	return all
}

func (m *module) file() string { return path.Base(m.path) }
