package main

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/billet-metal/billet/lab/images"
)

// Images to deploy are built here rather than downloaded: tests know every byte of them, and need no mirror.

func (f *labFlags) image() *cobra.Command {
	var o images.Options
	c := &cobra.Command{
		Use: "image " + strings.Join(images.Kinds, "|"), Short: "Build an operating system image for the lab", Args: cobra.ExactArgs(1),
		Long: "Build an operating system image that boots from BIOS and UEFI, with its checksum beside it:\n" +
			"  grub    a boot loader that prints the config drive's metadata (5 MB, for tests)\n" +
			"  tiny    a kernel and one program that applies the config drive (24 MB)\n" +
			"  tiny-signed  the same behind shim and GRUB as Debian signs them, for UEFI with Secure Boot (30 MB)\n" +
			"  tiny-root  the same program on a root file system with GRUB's tools: a partition image (raw and qcow2), its kernel and initrd " +
			"beside it\n  tiny-disk  a whole disk with tiny-root's file system, which may be on software RAID\n" +
			"  debian  Debian 12 with an SSH server\n" +
			"  debian-cloud  the same with cloud-init and netplan, which apply the config drive (435 MB)\n" +
			"  debian-root  Debian 12 as a partition image: a root file system with GRUB's programs, its kernel and initrd beside it\n" +
			"An image is built again only when what it is made from has changed.",
		RunE: func(c *cobra.Command, args []string) error {
			o.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
			if err := absolute(&o.OutDir, &o.CacheDir, &o.TinyOS); err != nil {
				return err
			}
			img, err := images.Build(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			return f.print(c.OutOrStdout(), img, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %s, %.1f MB (disk %.1f MB), sha256 %s\n", img.Path, img.Format, float64(img.Size)/1e6, float64(img.Virtual)/1e6,
					img.SHA256)
			})
		},
	}
	p := c.Flags()
	p.StringVar(&o.OutDir, "out", "", "directory for the image")
	p.StringVar(&o.CacheDir, "cache", "", "directory for downloads (default: /var/cache/billet, or the user's cache)")
	p.StringVar(&o.TinyOS, "tinyos", "",
		"the program inside the tiny and Debian images (default: billet-tinyos beside billet, or built in the source tree)")
	if err := c.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

// absolute makes paths independent of the directory a tool is started in; empty ones stay empty.
func absolute(paths ...*string) error {
	for _, p := range paths {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}
