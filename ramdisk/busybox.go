package ramdisk

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
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
	var data []byte
	found := false
	err := eachFile(ctx, deb, func(h *tar.Header, content io.Reader) error {
		if h.Typeflag != tar.TypeReg || plainPath(h.Name) != name {
			return nil
		}
		found = true
		return readAll(content, &data)
	})
	if err == nil && !found {
		err = fmt.Errorf("reading %s: it holds no %s", deb, name)
	}
	return data, err
}
