package pid1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Modules loads kernel modules from a folder with plain .ko files and three tables:
//
//	order            names of files, one a line, dependencies first: always loaded
//	modules.alias    as depmod writes it: "alias PATTERN MODULE"
//	modules.dep      as depmod writes it: "FILE: DEPENDENCY…", paths relative to the folder
//
// A table that is missing is empty.
type Modules struct {
	Dir  string // "/modules"
	Sys  string // "/sys"
	Load func(file string) error
	Log  *slog.Logger

	loaded  map[string]bool // files tried, whatever came of it
	aliases []alias
	files   map[string]string   // module name → file
	deps    map[string][]string // file → files it needs, depmod's order: nearest first
}

type alias struct{ pattern, module string }

// LoadModule gives one module to the kernel; one that is there already is no error. Where FILE is
// not there but FILE.zst is, that is unpacked: a ramdisk of packed modules takes a third of the
// memory, and machines may have 256 MB.
func LoadModule(file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		if packed, openErr := os.Open(file + ".zst"); openErr == nil {
			defer packed.Close()
			return loadPacked(packed, path.Base(file))
		}
	}
	if err != nil {
		return fmt.Errorf("opening the module: %w", err)
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("loading %s: %w", path.Base(file), err)
	}
	return nil
}

// maxModule bounds a module's size unpacked; the largest drivers have some megabytes.
const maxModule = 64 << 20

func loadPacked(r io.Reader, name string) error {
	unpack, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxModule))
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", name, err)
	}
	defer unpack.Close()
	module, err := io.ReadAll(io.LimitReader(unpack, maxModule))
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", name, err)
	}
	if err := unix.InitModule(module, ""); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("loading %s: %w", name, err)
	}
	return nil
}

// Discard frees the memory that the ramdisk's modules take, once they are loaded, but for those
// named and what they need, which LoadByName can still load. An agent that is started again finds
// nothing to load by itself, and nothing is missing: the kernel keeps its copies.
func (m *Modules) Discard(keep ...string) error {
	kept := map[string]bool{"modules.dep": len(keep) > 0}
	for _, name := range keep {
		file := m.files[canonical(name)]
		kept[file] = true
		for _, need := range m.deps[file] {
			kept[need] = true
		}
	}
	err := filepath.WalkDir(m.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		// The tables know nothing of packing.
		if name, _ := filepath.Rel(m.Dir, path); kept[strings.TrimSuffix(name, ".zst")] {
			return nil
		}
		return os.Remove(path)
	})
	if errors.Is(err, fs.ErrNotExist) { // an agent that is started again
		err = nil
	}
	if len(keep) == 0 && err == nil {
		err = os.RemoveAll(m.Dir)
	}
	if err != nil {
		return fmt.Errorf("removing the modules: %w", err)
	}
	return nil
}

// LoadAll loads what is always loaded, then the drivers of every device the kernel shows, until no
// new device brings a new driver. A driver that fails is logged and never fatal: the machine may
// well work without it.
func (m *Modules) LoadAll() error {
	m.loaded = map[string]bool{}
	order, err := m.lines("order")
	if err != nil {
		return err
	}
	for _, name := range order {
		m.load(strings.TrimPrefix(name, "./"))
	}
	if err := m.readTables(); err != nil {
		return err
	}
	// Before disks are found: the kernel asks for it by name when an array says that its paths are of different
	// worth (ALUA), and without it reads of a standby path hang.
	m.loadByName("scsi_dh_alua")
	for range 10 { // deeper trees of buses do not exist
		if m.loadForDevices() == 0 {
			return nil
		}
		time.Sleep(20 * time.Millisecond) // drivers probe in the background
	}
	return nil
}

// LoadNamed loads modules that no device asks for, with what they need, unless the kernel has them
// built in. LoadAll comes first. One goroutine at a time.
func (m *Modules) LoadNamed(names ...string) {
	for _, name := range names {
		m.loadByName(name)
	}
}

// loadForDevices loads a driver for each device that asks for one; it returns how many were new.
func (m *Modules) loadForDevices() int {
	before := len(m.loaded)
	files, _ := filepath.Glob(filepath.Join(m.Sys, "bus/*/devices/*/modalias"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the device has gone
		}
		want := strings.TrimSpace(string(text))
		for _, a := range m.aliases {
			if match(a.pattern, want) {
				m.loadByName(a.module)
			}
		}
	}
	return len(m.loaded) - before
}

func (m *Modules) loadByName(name string) {
	file, ok := m.files[canonical(name)]
	if !ok || m.loaded[file] {
		return
	}
	needs := m.deps[file]
	for i := len(needs) - 1; i >= 0; i-- {
		m.load(needs[i])
	}
	m.load(file)
}

func (m *Modules) load(file string) {
	if m.loaded[file] {
		return
	}
	m.loaded[file] = true
	err := m.Load(filepath.Join(m.Dir, file))
	if errors.Is(err, unix.ENODEV) {
		m.Log.Debug("a kernel module has nothing to do on this machine", "module", file)
	} else if err != nil {
		m.Log.Warn("a kernel module could not be loaded", "module", file, "error", err)
	}
}

func (m *Modules) readTables() error {
	m.aliases, m.files, m.deps = nil, map[string]string{}, map[string][]string{}
	lines, err := m.lines("modules.dep")
	if err != nil {
		return err
	}
	for _, line := range lines {
		file, needs, ok := strings.Cut(line, ":")
		if ok {
			m.files[canonical(strings.TrimSuffix(path.Base(file), ".ko"))] = file
			m.deps[file] = strings.Fields(needs)
		}
	}
	lines, err = m.lines("modules.alias")
	if err != nil {
		return err
	}
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "alias" && m.files[canonical(f[2])] != "" {
			m.aliases = append(m.aliases, alias{pattern: f[1], module: f[2]})
		}
	}
	return nil
}

// canonical is a module's name as the kernel spells it: file names may have dashes for underscores.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// lines returns the lines of a table without blanks and comments.
func (m *Modules) lines(name string) ([]string, error) {
	f, err := os.Open(filepath.Join(m.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the module table: %w", err)
	}
	defer f.Close()
	var out []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("reading the module table %s: %w", name, err)
	}
	return out, nil
}
