package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// firstBoot applies the config drive to the Debian system at root and says what it did. systemd
// runs it once, before the network and the login prompts.
func firstBoot(root string) error {
	drive, err := findConfigDrive()
	if err != nil && !errors.Is(err, errNoDrive) {
		return err
	}
	if err != nil {
		fmt.Println("config drive: " + err.Error())
	}
	if err := applyTo(root, drive); err != nil {
		return err
	}
	if drive.Hostname != "" {
		if err := unix.Sethostname([]byte(drive.Hostname)); err != nil {
			return fmt.Errorf("setting the host name: %w", err)
		}
		fmt.Println("hostname: " + drive.Hostname)
	}
	for _, key := range drive.Keys {
		fmt.Println("ssh key: " + key)
	}
	if err := makeHostKey(root); err != nil {
		return err
	}
	if err := runUserData(root, drive.UserData); err != nil {
		return err
	}
	return writeFiles(root, map[string]string{"var/lib/billet/first-boot-done": ""})
}

// makeHostKey makes the machine's SSH host key, where there is an SSH server to have one.
func makeHostKey(root string) error {
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		fmt.Println("no SSH server, no host key")
		return nil
	}
	key := filepath.Join(root, "etc/ssh/ssh_host_ed25519_key")
	if said, err := exec.Command(program, "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		return fmt.Errorf("making the SSH host key: %w: %s", err, said)
	}
	return nil
}

// applyTo writes the files that make the drive's contents last.
func applyTo(root string, d configDrive) error {
	files := map[string]string{}
	if d.Hostname != "" {
		files["etc/hostname"] = d.Hostname + "\n"
		files["etc/hosts"] = "127.0.0.1 localhost\n127.0.1.1 " + d.Hostname + "\n::1 localhost ip6-localhost\n"
	}
	for _, l := range d.Network.Links {
		prefix, gateway, ok := static(d.Network, l.MAC)
		mac, err := net.ParseMAC(l.MAC)
		if !ok || err != nil {
			continue
		}
		text := "[Match]\nMACAddress=" + mac.String() + "\n\n[Network]\nAddress=" + prefix.String() + "\n"
		if gateway.IsValid() {
			text += "Gateway=" + gateway.String() + "\n"
		}
		files["etc/systemd/network/10-"+strings.ReplaceAll(mac.String(), ":", "")+".network"] = text
	}
	return errors.Join(writeFiles(root, files), authorize(root, "root", d.Keys), authorize(root, "home/debian", d.Keys))
}

// authorize lets the owners of keys into one account, named by its home directory.
func authorize(root, home string, keys []string) error {
	home = filepath.Join(root, home)
	owner, err := os.Stat(home)
	if len(keys) == 0 || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("authorizing SSH keys: %w", err)
	}
	who := owner.Sys().(*syscall.Stat_t)
	dir := filepath.Join(home, ".ssh")
	file := filepath.Join(dir, "authorized_keys")
	err = errors.Join(
		os.MkdirAll(dir, 0o700),
		os.WriteFile(file, []byte(strings.Join(keys, "\n")+"\n"), 0o600),
		os.Chown(dir, int(who.Uid), int(who.Gid)),
		os.Chown(file, int(who.Uid), int(who.Gid)))
	if err != nil {
		return fmt.Errorf("authorizing SSH keys: %w", err)
	}
	return nil
}

// runUserData runs user data that is a script; other kinds are for cloud-init and left alone.
func runUserData(root string, data []byte) error {
	if !bytes.HasPrefix(data, []byte("#!")) {
		return nil
	}
	const at = "var/lib/billet/user-data"
	if err := writeFiles(root, map[string]string{at: string(data)}); err != nil {
		return err
	}
	script := filepath.Join(root, at)
	if err := os.Chmod(script, 0o700); err != nil {
		return fmt.Errorf("running the user data: %w", err)
	}
	cmd := exec.Command(script)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// A script that fails does not keep the machine from coming up.
	if err := cmd.Run(); err != nil {
		fmt.Println("user data:", err)
	}
	return nil
}

func writeFiles(root string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}
