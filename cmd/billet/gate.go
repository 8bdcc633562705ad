package main

import (
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/billet-metal/billet/fetch"
)

// A user's URL must not read the service's own secrets. What is open and what is closed follows from the configuration in this
// one place, so that no driver decides it again.

// gate says which files and URLs this process reads for somebody. All of data_dir is the service's own but for the
// folders of images and of deploy ramdisks.
func (c *Config) gate() *fetch.Gate {
	g := &fetch.Gate{Near: c.URLAllowed, Denied: c.URLDenied, Ports: []uint16{uint16(c.ProvisionPort)}}
	dirs := append(slices.Clone(c.FileURLPaths), c.ImageDir, filepath.Join(c.DataDir, "ramdisk"))
	for i, dir := range dirs {
		if abs, err := filepath.Abs(dir); err == nil && i >= len(c.FileURLPaths) {
			dir = abs // a relative entry of file_url_allowed_paths allows nothing
		}
		g.Dirs = append(g.Dirs, dir)
	}
	for _, place := range []string{c.DeployKernel, c.DeployRamdisk} {
		if place != "" && !fetch.IsURL(place) {
			g.Files = append(g.Files, fetch.Path(place))
		}
	}
	for _, path := range []string{c.DataDir, c.SecretKeyFile, c.HtpasswdFile, c.File, c.Cloud.CAFile, c.ImageCacheDir} {
		if abs, err := filepath.Abs(path); err == nil && path != "" {
			g.Secrets = append(g.Secrets, abs)
		}
	}
	if _, port, err := net.SplitHostPort(c.Listen); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			g.Ports = append(g.Ports, uint16(n))
		}
	}
	return g
}
