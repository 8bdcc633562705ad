// Package rescue owns the way into a machine that runs the rescue ramdisk: an SSH server and a login
// on each serial console, for the user "rescue" with root's rights and the password that was asked
// for over the API. It knows the password's hash only. It refuses keys, forwarding and every other
// user, and it decides nothing about when it runs.
package rescue

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/crypt"
)

// User is who may log in.
const User = "rescue"

// Rescue is what people get.
type Rescue struct {
	Hash     string   // SHA-crypt of the password
	Address  string   // where SSH listens; "" is ":22"
	Shell    string   // "" is /bin/sh
	Consoles []string // terminals with a login; nil: none
	Ready    func()   // called once people can log in; may be nil
	Log      *slog.Logger
}

const (
	maxConnections = 32
	// A wrong password costs this long, so that guessing over a network takes years.
	wrongDelay = time.Second
	handshake  = 30 * time.Second
)

var errLogin = errors.New("user or password is wrong")

// Run lets people in until ctx ends; it returns when all sessions have ended.
func (r *Rescue) Run(ctx context.Context) error {
	if !crypt.Valid(r.Hash) {
		return crypt.ErrForm
	}
	address := r.Address
	if address == "" {
		address = ":22"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("opening SSH: %w", err)
	}
	return r.Serve(ctx, l)
}

// Serve is Run on a listener, which it closes.
func (r *Rescue) Serve(ctx context.Context, l net.Listener) error {
	config, err := r.config(ctx)
	if err != nil {
		l.Close()
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for _, tty := range r.Consoles {
		all.Go(func() { r.console(ctx, tty) })
	}
	if r.Ready != nil {
		r.Ready()
	}
	r.Log.Info("people can log in", "user", User, "ssh", l.Addr().String(), "consoles", r.Consoles)
	places := make(chan struct{}, maxConnections)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("SSH: %w", err)
		}
		select {
		case places <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		all.Go(func() {
			defer func() { <-places }()
			r.connection(ctx, conn, config)
		})
	}
}

// config has a host key of this boot: the machine has no disk of its own to keep one on.
func (r *Rescue) config(ctx context.Context) (*ssh.ServerConfig, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the host key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, fmt.Errorf("making the host key: %w", err)
	}
	config := &ssh.ServerConfig{
		MaxAuthTries: 3,
		PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			return nil, r.admit(ctx, c.User(), string(password), c.RemoteAddr().String())
		},
	}
	config.AddHostKey(signer)
	return config, nil
}

// admit checks a login. The hash is worked out for every user, so that time tells nothing.
func (r *Rescue) admit(ctx context.Context, user, password, from string) error {
	err := crypt.Check(r.Hash, password)
	if err == nil && user == User {
		r.Log.Info("login", "user", user, "from", from)
		return nil
	}
	r.Log.Warn("login refused", "from", from)
	select {
	case <-time.After(wrongDelay):
	case <-ctx.Done():
	}
	return errLogin
}

func (r *Rescue) shell() string {
	if r.Shell == "" {
		return "/bin/sh"
	}
	return r.Shell
}

// environment is what a shell starts with.
func environment(term string) []string {
	if term == "" {
		term = "linux"
	}
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=" + User, "LOGNAME=" + User,
		"SHELL=/bin/sh", "TERM=" + term, `PS1=rescue:\w# `,
	}
}

// Prepare makes an initramfs a place to work in: pseudo terminals, the shell's commands as links to
// busybox, a user. It may be repeated.
func Prepare(root string, busybox func() error) error {
	if err := os.MkdirAll(filepath.Join(root, "dev/pts"), 0o755); err != nil {
		return fmt.Errorf("making /dev/pts: %w", err)
	}
	err := unix.Mount("devpts", filepath.Join(root, "dev/pts"), "devpts", 0, "mode=620,ptmxmode=666")
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mounting devpts: %w", err)
	}
	if err := busybox(); err != nil {
		return fmt.Errorf("laying out the shell's commands: %w", err)
	}
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nrescue:x:0:0:rescue:/root:/bin/sh\n",
		"etc/group":  "root:x:0:\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the users: %w", err)
		}
	}
	return nil
}
