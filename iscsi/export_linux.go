package iscsi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Export makes a block device the logical unit 1 of the kernel's own iSCSI target (LIO, through
// configfs). The modules target_core_mod, target_core_iblock and iscsi_target_mod must be loaded.
type Export struct {
	IQN    string
	Device string // "/dev/vda"
	Listen string // "0.0.0.0:3260"; "" is that
	CHAP   *CHAP  // what an initiator must know, and how this target proves who it is; nil: anybody may log in
	Root   string // "/sys/kernel/config"; "" is that. Tests have another
}

// ExportLUN is the logical unit an exported disk has.
const ExportLUN = 1

var iqnForm = regexp.MustCompile(`^(iqn\.[0-9]{4}-[0-9]{2}\.|eui\.|naa\.)[a-z0-9.:-]{1,200}$`)

// CheckIQN refuses what is no name of an iSCSI target (RFC 7143 section 4.2.7). Such a name becomes
// a path and a kernel parameter.
func CheckIQN(name string) error {
	if !iqnForm.MatchString(name) {
		return fmt.Errorf("%.60q is not an iSCSI name, such as iqn.2026-11.org.example:disk", name)
	}
	return nil
}

const configFS = "/sys/kernel/config"

// Start sets the target up. What a crashed start left is taken over.
func (e Export) Start() error {
	if err := CheckIQN(e.IQN); err != nil {
		return err
	}
	if e.Root == "" {
		e.Root = configFS
		if err := mountConfigFS(); err != nil {
			return err
		}
	}
	for _, s := range e.steps() {
		if err := s.do(); err != nil {
			return fmt.Errorf("exporting %s as an iSCSI target: %w", e.Device, err)
		}
	}
	return nil
}

func mountConfigFS() error {
	if _, err := os.Stat(configFS + "/target"); err == nil {
		return nil
	}
	err := unix.Mount("configfs", configFS, "configfs", 0, "")
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mounting configfs: %w", err)
	}
	return nil
}

// step is one act on configfs: a folder, a value in a file, or a link.
type step struct{ path, value, link string }

func (s step) do() error {
	switch {
	case s.link != "":
		if err := os.Symlink(s.link, s.path); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	case s.value != "":
		return os.WriteFile(s.path, []byte(s.value), 0o644)
	}
	return os.MkdirAll(s.path, 0o755)
}

func (e Export) places() (core, tpg string) {
	root := filepath.Join(e.Root, "target")
	return filepath.Join(root, "core", "iblock_0", "disk"), filepath.Join(root, "iscsi", e.IQN, "tpgt_1")
}

func (e Export) steps() []step {
	core, tpg := e.places()
	listen := e.Listen
	if listen == "" {
		listen = "0.0.0.0:" + DefaultPort
	}
	authentication := "0"
	if e.CHAP != nil {
		authentication = "1"
	}
	steps := []step{
		{path: core},
		{path: core + "/control", value: "udev_path=" + e.Device},
		{path: core + "/enable", value: "1"},
		{path: filepath.Dir(filepath.Dir(tpg))},
		{path: filepath.Dir(tpg)},
		{path: tpg},
		{path: tpg + "/attrib/authentication", value: authentication},
		{path: tpg + "/attrib/demo_mode_write_protect", value: "0"},
		{path: tpg + "/attrib/generate_node_acls", value: "1"},
		{path: tpg + "/attrib/cache_dynamic_acls", value: "1"},
		{path: fmt.Sprintf("%s/lun/lun_%d", tpg, ExportLUN)},
		{path: fmt.Sprintf("%s/lun/lun_%d/port", tpg, ExportLUN), link: core},
		{path: tpg + "/np/" + listen},
		{path: tpg + "/enable", value: "1"},
	}
	if c := e.CHAP; c != nil {
		auth := []step{{path: tpg + "/auth/userid", value: c.User}, {path: tpg + "/auth/password", value: c.Secret}}
		if c.MutualSecret != "" {
			auth = append(auth, step{path: tpg + "/auth/userid_mutual", value: c.MutualUser},
				step{path: tpg + "/auth/password_mutual", value: c.MutualSecret})
		}
		steps = slices.Insert(steps, 7, auth...)
	}
	return steps
}

// stopTime bounds the kernel's farewell to initiators that are still logged in.
const stopTime = 10 * time.Second

// Stop takes the target down, so that nothing more is written and the device is free. It does as
// much as it can by ctx's end, and returns the first error.
func (e Export) Stop(ctx context.Context) error {
	if e.Root == "" {
		e.Root = configFS
	}
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- e.remove() }() // the kernel may hang in it; the machine must reboot anyway
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the kernel does not let go of the iSCSI target in time")
	}
}

func (e Export) remove() error {
	var first error
	note := func(err error) {
		if err != nil && first == nil && !errors.Is(err, fs.ErrNotExist) {
			first = fmt.Errorf("taking the iSCSI target down: %w", err)
		}
	}
	core, tpg := e.places()
	note(os.WriteFile(tpg+"/enable", []byte("0"), 0o644))
	listeners, _ := filepath.Glob(tpg + "/np/*")
	lun := fmt.Sprintf("%s/lun/lun_%d", tpg, ExportLUN)
	for _, path := range append(listeners, lun+"/port", lun, tpg, filepath.Dir(tpg), core) {
		note(os.Remove(path))
	}
	return first
}
