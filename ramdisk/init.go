package ramdisk

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// readInit reads the program that becomes /init and refuses one that cannot run there: a ramdisk
// has no dynamic loader, and the kernel's panic ("not found") would not say so.
func readInit(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the ramdisk's init: %w", err)
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s cannot be the ramdisk's init: it is no ELF executable: %w", path, err)
	}
	if f.Machine != elf.EM_X86_64 {
		return nil, fmt.Errorf("%s cannot be the ramdisk's init: it is built for %s; build it with GOARCH=amd64", path, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s cannot be the ramdisk's init: it is linked dynamically; build it with CGO_ENABLED=0", path)
		}
	}
	return data, nil
}

// FindProgram returns the path of one of our static programs (such as "billet-agent"): beside the
// running executable, as packages install them, or else built into cacheDir from folder when the
// working directory is inside Billet's source tree.
func FindProgram(ctx context.Context, name, folder, cacheDir string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", name, err)
	}
	beside := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	root, ok := sourceTree()
	if !ok {
		return "", fmt.Errorf("%s is not there; put it beside %s, or name it", beside, filepath.Base(self))
	}
	return buildProgram(ctx, root, folder, filepath.Join(cacheDir, "bin", name))
}

// sourceTree finds the directory with Billet's go.mod above the working directory.
func sourceTree() (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module github.com/billet-metal/billet\n") {
			return dir, true
		}
		if dir == filepath.Dir(dir) {
			return "", false
		}
		dir = filepath.Dir(dir)
	}
}

func buildProgram(ctx context.Context, root, folder, out string) (string, error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", folder, err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, "./"+folder)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w: %s", folder, err, strings.TrimSpace(string(said)))
	}
	return out, nil
}
