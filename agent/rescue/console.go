package rescue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Consoles names the terminals that are the kernel's console: "ttyS0 tty0" in
// /sys/class/tty/console/active. The virtual one is its first screen. The first serial port is always
// one: most servers have nothing else that can be reached from afar.
func Consoles(active string) []string {
	ttys := []string{"/dev/ttyS0"}
	for name := range strings.FieldsSeq(active) {
		if name == "tty0" {
			name = "tty1"
		}
		if name != "ttyS0" {
			ttys = append(ttys, "/dev/"+name)
		}
	}
	return ttys
}

// console shows a login on one terminal, again and again until ctx ends.
func (r *Rescue) console(ctx context.Context, path string) {
	for ctx.Err() == nil {
		err := r.login(ctx, path)
		if err == nil || ctx.Err() != nil {
			continue
		}
		r.Log.Debug("console login", "tty", path, "error", err)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EIO) || errors.Is(err, unix.ENXIO) {
			return // no such terminal: a machine may name a serial port that it does not have
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// login asks once, and runs a shell when the answer is right.
func (r *Rescue) login(ctx context.Context, path string) error {
	tty, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	stop := context.AfterFunc(ctx, func() { tty.Close() })
	defer stop()
	var before *unix.Termios
	err = control(tty, func(fd int) (err error) { before, err = unix.IoctlGetTermios(fd, unix.TCGETS); return })
	if err != nil {
		return err
	}
	set := func(t *unix.Termios) error {
		return control(tty, func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS, t) })
	}
	lines := bufio.NewReader(io.LimitReader(tty, 4096))
	fmt.Fprintf(tty, "\r\nThis machine runs its rescue system.\r\n%s login: ", User)
	user, err := lines.ReadString('\n')
	if err != nil {
		return err
	}
	silent := *before
	silent.Lflag &^= unix.ECHO
	if err := set(&silent); err != nil {
		return err
	}
	fmt.Fprint(tty, "Password: ")
	password, err := lines.ReadString('\n')
	if err := errors.Join(err, set(before)); err != nil {
		return err
	}
	fmt.Fprint(tty, "\r\n")
	if err := r.admit(ctx, strings.TrimSpace(user), strings.TrimRight(password, "\r\n"), path); err != nil {
		fmt.Fprint(tty, "Login incorrect\r\n")
		return nil
	}
	if !stop() { // from here on the shell's end is what ends a login; closing what it is given would race
		return ctx.Err()
	}
	cmd := exec.CommandContext(ctx, r.shell(), "-l")
	cmd.Env, cmd.Dir = environment("vt102"), "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	_ = cmd.Run() // how a person's shell ended matters to nobody
	return nil
}
