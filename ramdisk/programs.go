package ramdisk

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
)

// Programs takes programs out of Debian packages, with the dynamic loader and every library they
// need, and everything below the given folders. Paths are without "usr/" in front, sorted. The
// packages come from o.CacheDir, or are downloaded into it; only CacheDir and Log of o are used.
func Programs(ctx context.Context, o Options, packages, programs, folders []string) ([]File, error) {
	if o.CacheDir == "" {
		o.CacheDir = DefaultCacheDir()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	t := tree{files: map[string][]byte{}, links: map[string]string{}}
	for _, name := range packages {
		deb, err := archived(ctx, o, name)
		if err != nil {
			return nil, err
		}
		if err := t.read(ctx, deb); err != nil {
			return nil, err
		}
	}
	files, err := t.collect(programs)
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		below, err := t.below(folder)
		if err != nil {
			return nil, err
		}
		files = append(files, below...)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// below lists the files of one folder.
func (t tree) below(folder string) ([]File, error) {
	var files []File
	for name, data := range t.files {
		if strings.HasPrefix(name, folder+"/") {
			files = append(files, File{Path: name, Mode: fs.FileMode(0o644), Data: data})
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("the packages do not hold the folder %s", folder)
	}
	return files, nil
}
