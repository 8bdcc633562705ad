// Package lab owns virtual bare metal: QEMU machines on a private network, each with a baseboard
// management controller that speaks IPMI, so that the whole of Billet can be tried and tested
// without hardware. It speaks only what real machines speak (IPMI, PXE, a serial line) and refuses
// to know nodes, boot records or images.
//
// A lab is a directory and a network namespace. Every machine has a supervisor, a process of its
// own that holds the BMC and runs QEMU as its child. What exists is found by looking (processes,
// namespaces, links), never by trusting a note, so Down works after any crash.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Defaults of a lab.
const (
	DefaultDir  = "/var/lib/billet/lab"
	DefaultName = "lab0"
	DefaultCIDR = "10.99.0.1/24"
)

// Lab is one lab. Dir and Name must be set; the methods take a lock in Dir, so several processes
// may work on one lab.
type Lab struct {
	Dir  string // everything of the lab: state, disks, logs
	Name string // up to 8 of a-z, 0-9, '-'; the namespace and the host's interface are "billet-NAME"

	// Supervisor is the command that runs one machine, such as {"/usr/bin/billet", "lab"};
	// "run-machine", "--dir", DIR, "--name", LAB, MACHINE are added. nil: this executable and "lab".
	Supervisor []string
	Log        *slog.Logger
}

// State is what a lab says of itself.
type State struct {
	Name      string `json:"name"`
	CIDR      string `json:"cidr"`      // the host's address and prefix on the private network
	Interface string `json:"interface"` // the host's end
	Namespace string `json:"namespace"` // where the bridge and the machines' taps are
	Dir       string `json:"dir"`
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,7}$`)

// Open checks the names and makes the paths absolute.
func Open(l Lab) (*Lab, error) {
	if l.Dir == "" {
		l.Dir = DefaultDir
	}
	if l.Name == "" {
		l.Name = DefaultName
	}
	if !validName.MatchString(l.Name) {
		return nil, fmt.Errorf("lab name %q: only 1 to 8 of a-z, 0-9 and '-' are allowed", l.Name)
	}
	dir, err := filepath.Abs(l.Dir)
	if err != nil {
		return nil, fmt.Errorf("lab directory: %w", err)
	}
	l.Dir = dir
	if l.Log == nil {
		l.Log = slog.New(slog.DiscardHandler)
	}
	return &l, nil
}

// Up makes the lab's network. A lab that is up already with the same address stays as it is.
func (l *Lab) Up(ctx context.Context, cidr string) (State, error) {
	host, err := netip.ParsePrefix(cidr)
	if err != nil || !host.Addr().Is4() || host.Bits() > 29 {
		return State{}, fmt.Errorf("lab network %q: an IPv4 address with a prefix of at most 29 bits is wanted, such as %s", cidr, DefaultCIDR)
	}
	if !isHost(host) {
		return State{}, fmt.Errorf("lab network %q: the address is the network's own or everybody's; the host's is wanted, such as %s", cidr,
			DefaultCIDR)
	}
	if err := mayMakeNetworks(); err != nil {
		return State{}, err
	}
	unlock, err := l.lock()
	if err != nil {
		return State{}, err
	}
	defer unlock()
	n := l.network()
	if old, err := l.State(); err == nil && n.exists(ctx) {
		if old.CIDR != cidr || old.Name != l.Name {
			return State{}, fmt.Errorf("lab %s is up already with %s; to change it: billet lab down", old.Name, old.CIDR)
		}
		return old, nil
	}
	if n.exists(ctx) {
		return State{}, fmt.Errorf("another lab named %s is there (network namespace %s); choose another --name, or: billet lab down --name %s",
			l.Name, n.namespace, l.Name)
	}
	s := State{Name: l.Name, CIDR: cidr, Interface: n.host, Namespace: n.namespace, Dir: l.Dir}
	// Saved first: what is made next must be found by Down even if we die half way.
	if err := saveJSON(filepath.Join(l.Dir, "lab.json"), s); err != nil {
		return State{}, err
	}
	if err := n.make(ctx, host); err != nil {
		_ = n.remove(context.WithoutCancel(ctx))
		return State{}, err
	}
	return s, nil
}

// isHost reports whether an IPv4 address is neither the first nor the last of its network.
func isHost(p netip.Prefix) bool {
	a := p.Addr()
	return a != p.Masked().Addr() && p.Contains(a.Next())
}

// State reads what Up saved.
func (l *Lab) State() (State, error) {
	var s State
	err := loadJSON(filepath.Join(l.Dir, "lab.json"), &s)
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("there is no lab in %s; make one with: billet lab up: %w", l.Dir, err)
	}
	return s, err
}

// Down removes everything of the lab: machines, namespace, links, files. It finds what a crash
// left, and does nothing when nothing is there. It returns the first error but goes on.
func (l *Lab) Down(ctx context.Context) error {
	if err := mayMakeNetworks(); err != nil {
		return err
	}
	var errs []error
	if _, err := os.Stat(l.Dir); err == nil {
		unlock, err := l.lock()
		if err != nil {
			return err
		}
		defer unlock()
		if s, err := l.State(); err == nil {
			l.Name = s.Name
		}
		errs = append(errs, l.stopMachines(ctx, ""))
	}
	n := l.network()
	if n.exists(ctx) { // with machines, maybe, of a lab of this name in another directory, which a crash left
		strays, err := allProcesses(l.supervisesAnywhere)
		errs = append(errs, err, killProcesses(ctx, strays), n.killAll(ctx))
	}
	errs = append(errs, n.remove(ctx), l.removeFiles())
	return errors.Join(errs...)
}

// removeFiles removes what the lab made and nothing else: --dir may be somebody's home.
func (l *Lab) removeFiles() error {
	errs := []error{os.RemoveAll(l.machinesDir())}
	for _, name := range []string{"lab.json", "lock"} {
		if err := os.Remove(filepath.Join(l.Dir, name)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	err := os.Remove(l.Dir)
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (l *Lab) network() network {
	return network{namespace: "billet-" + l.Name, host: "billet-" + l.Name}
}

func (l *Lab) machinesDir() string { return filepath.Join(l.Dir, "machines") }

// lock keeps other processes away from this lab; the kernel lets go when the process dies.
func (l *Lab) lock() (unlock func(), err error) {
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the lab's directory: %w (another one: --dir)", err)
	}
	f, err := os.OpenFile(filepath.Join(l.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the lab: %w", err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("locking the lab in %s: another billet lab command works on it: %w", l.Dir, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (l *Lab) supervisorCommand() ([]string, error) {
	if l.Supervisor != nil {
		return slices.Clone(l.Supervisor), nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	// A program replaced while it runs is called "… (deleted)".
	return []string{strings.TrimSuffix(self, " (deleted)"), "lab"}, nil
}

func saveJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	part := path + ".part"
	if err := os.WriteFile(part, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func loadJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}
