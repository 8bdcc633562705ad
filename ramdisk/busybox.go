package ramdisk

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strings"
)

// busyboxPackage holds one static program that is a shell and three hundred commands: what people
// find who log in to rescue a machine. The agent itself needs none of it.
const busyboxPackage = "busybox-static"

// busybox returns the files of the rescue system's commands. The agent makes the links to all the
// commands when a rescue begins; the shell's own is there from the start.
func busybox(ctx context.Context, o Options) ([]File, error) {
	if !o.Rescue {
		return nil, nil
	}
	deb := o.BusyboxPackage
	if deb == "" {
		var err error
		if deb, err = archived(ctx, o, busyboxPackage); err != nil {
			return nil, err
		}
	}
	program, err := fileOfPackage(ctx, deb, "bin/busybox")
	if err != nil {
		return nil, err
	}
	return []File{
		{Path: "bin/busybox", Mode: 0o755, Data: program},
		{Path: "bin/sh", Mode: fs.ModeSymlink | 0o777, Data: []byte("busybox")},
	}, nil
}

// fileOfPackage reads one file of a .deb.
func fileOfPackage(ctx context.Context, deb, name string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb).Output()
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w (the program dpkg-deb comes with the package dpkg)", deb, err)
	}
	for t := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading %s: it holds no %s", deb, name)
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", deb, err)
		}
		file := strings.TrimPrefix(strings.TrimPrefix(h.Name, "./"), "usr/")
		if h.Typeflag == tar.TypeReg && file == name {
			return io.ReadAll(t)
		}
	}
}
