package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/billet-metal/billet/image"
)

// The same inspection that a deploy makes can be had beforehand, on the file at hand, before a machine waits for it.

func imageCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "image", Short: "Look at images before machines do"}
	cmd.AddCommand(&cobra.Command{Use: "inspect FILE", Short: "Say what an image really is, and whether Billet would write it",
		Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			st, err := f.Stat()
			if err != nil {
				return err
			}
			info, err := image.Inspect(f, st.Size())
			if err != nil {
				return fmt.Errorf("%s is refused: %w", args[0], err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), describe(info))
			return err
		}})
	return cmd
}

// describe is what people read about an image.
func describe(info image.Info) string {
	text := fmt.Sprintf("format %s, %d bytes in the file, ", info.Format, info.Size)
	switch {
	case info.Packed == image.Unpacked:
		return text + fmt.Sprintf("%d bytes on the disk", info.VirtualSize)
	case info.VirtualSize == 0:
		return text + fmt.Sprintf("packed with %s, which does not say how many bytes it needs on the disk", info.Packed)
	}
	return text + fmt.Sprintf("packed with %s, at least %d bytes on the disk", info.Packed, info.VirtualSize)
}
