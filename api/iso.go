package api

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// isoFile is a file of an image: a slash-separated path and what is in it.
type isoFile struct {
	path string
	data []byte
}

// makeISO builds an ISO 9660 image with Rock Ridge names (SUSP/RRIP 1.12). The library works on
// disk; the directory it works in holds user data, is private to this process and goes away at the end.
func makeISO(label string, files []isoFile) (image []byte, err error) {
	dir, err := os.MkdirTemp("", "billet-configdrive-")
	if err != nil {
		return nil, fmt.Errorf("making a directory to work in: %w", err)
	}
	defer os.RemoveAll(dir)
	tree := filepath.Join(dir, "tree")
	for _, f := range files {
		name := filepath.Join(tree, filepath.FromSlash(f.path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, f.data, 0o644); err != nil {
			return nil, err
		}
	}
	out := filepath.Join(dir, "image.iso")
	if err := writeISO(out, tree, label); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

func writeISO(out, tree, label string) error {
	disk, err := file.CreateFromPath(out, 1<<20) // grows as needed
	if err != nil {
		return err
	}
	defer disk.Close()
	fs, err := iso9660.Create(disk, 0, 0, 2048, tree)
	if err != nil {
		return err
	}
	return fs.Finalize(iso9660.FinalizeOptions{RockRidge: true, VolumeIdentifier: label})
}
