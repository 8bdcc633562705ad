package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/billet-metal/billet/ramdisk"
)

// The deploy ramdisk is built on the operator's machine from the distribution's kernel package: no binary has to be trusted or
// mirrored, and security updates of the kernel are the distribution's.

func ramdiskCommand() *cobra.Command {
	c := &cobra.Command{Use: "ramdisk", Short: "Build the deploy kernel and ramdisk"}
	c.AddCommand(ramdiskBuildCommand())
	return c
}

func ramdiskBuildCommand() *cobra.Command {
	var o ramdisk.Options
	output := "text"
	c := &cobra.Command{
		Use:   "build --out DIR",
		Short: "Make vmlinuz and initramfs from Debian's kernel package and the agent",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			o.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
			if o.CacheDir == "" {
				o.CacheDir = ramdisk.DefaultCacheDir()
			}
			if o.Init == "" {
				agent, remove, err := findAgent(c.Context(), o.CacheDir)
				if err != nil {
					return err
				}
				defer remove()
				o.Init = agent
			}
			o.Rescue = true
			m, err := ramdisk.Build(c.Context(), o)
			if err != nil {
				return err
			}
			return printManifest(c.OutOrStdout(), output, o.OutDir, m)
		},
	}
	f := c.Flags()
	f.StringVar((*string)(&o.Flavor), "flavor", string(ramdisk.Generic),
		"kernel and drivers: generic (ordinary servers) or cloud (virtual machines)")
	f.StringVar(&o.OutDir, "out", "", "directory for vmlinuz, initramfs and manifest.json")
	f.StringVar(&o.Init, "agent", "", "static agent executable (default: the one inside billet)")
	f.StringVar(&o.KernelVersion, "kernel-version", "", "kernel to take, such as 6.1.0-56 (default: the newest in the package lists)")
	f.StringVar(&o.KernelPackage, "kernel-package", "", "kernel package file to take instead of a download")
	f.StringVar(&o.Firmware, "firmware", "", "directory such as /lib/firmware: what the drivers ask for is added")
	f.StringVar(&o.CacheDir, "cache", "", "directory for downloads (default: /var/cache/billet, or the user's cache)")
	f.StringVarP(&output, "output", "o", "text", "text or json")
	if err := c.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

// findAgent returns the path of the agent to pack: the one inside this binary, else the one beside
// it or built from the source tree. remove takes away what was made for it.
func findAgent(ctx context.Context, cacheDir string) (path string, remove func(), err error) {
	if len(embeddedAgent) == 0 {
		path, err = ramdisk.FindProgram(ctx, "billet-agent", "cmd/billet-agent", cacheDir)
		return path, func() {}, err
	}
	f, err := os.CreateTemp("", "billet-agent-")
	if err != nil {
		return "", nil, fmt.Errorf("unpacking the agent: %w", err)
	}
	remove = func() { os.Remove(f.Name()) }
	if _, err := f.Write(embeddedAgent); err != nil {
		remove()
		return "", nil, fmt.Errorf("unpacking the agent: %w", err)
	}
	return f.Name(), remove, f.Close()
}

func printManifest(w io.Writer, output, dir string, m ramdisk.Manifest) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(m)
	}
	for _, a := range []ramdisk.Artifact{m.Kernel, m.Initramfs} {
		fmt.Fprintf(w, "%-40s %6.1f MB  sha256 %s\n", filepath.Join(dir, a.File), float64(a.Size)/1e6, a.SHA256)
	}
	_, err := fmt.Fprintf(w, "kernel %s, %d modules, %.1f MB together\n", m.KernelRelease, len(m.Modules),
		float64(m.Kernel.Size+m.Initramfs.Size)/1e6)
	return err
}
