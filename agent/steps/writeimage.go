package steps

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/write"
	"github.com/billet-metal/billet/wire"
)

// Writer carries out write_image.
type Writer struct {
	*Host
	Images *http.Client // reads images
}

var writeImageArgs = map[string]any{
	"image_info": map[string]any{"description": "A dictionary describing the image: id, urls, disk_format, os_hash_algo and " +
		"os_hash_value.", "required": true},
	"configdrive": map[string]any{"description": "Base64 of a gzipped config drive image, or a URL of one.", "required": false},
}

// Steps is write_image.
func (w *Writer) Steps() []Step {
	return []Step{{Name: "write_image", Priority: map[Kind]int{Deploy: 0}, Args: writeImageArgs, Run: w.WriteImage}}
}

// WriteImage puts the user's image on the root disk.
func (w *Writer) WriteImage(ctx context.Context, c Call) (any, error) {
	var img wire.ImageInfo
	var configDrive string
	if err := c.Args.Decode("image_info", &img); err != nil {
		return nil, err
	}
	if err := c.Args.Decode("configdrive", &configDrive); err != nil {
		return nil, err
	}
	if configDrive == "" {
		configDrive = img.ConfigDrive
	}
	if of, ok := c.Node.InstanceInfo["configdrive"].(string); ok && configDrive == "" {
		configDrive = of // a step that people asked for names the image; the config drive came with the request
	}
	if img.BootMode == "" {
		img.BootMode = w.Inventory.BootMode()
	}
	return w.write(ctx, c, img, configDrive)
}

func (w *Writer) write(ctx context.Context, c Call, img wire.ImageInfo, configDrive string) (any, error) {
	root, err := w.selectRoot(ctx, c.Node)
	if err != nil {
		return nil, err
	}
	if err := w.guardRoot(root, c.Node); err != nil {
		return nil, err
	}
	dev, err := w.openDisk(root)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	w.Written = nil
	w.Log.Info("writing the image", "image", img.ID, "disk", root.Name, "size", root.Size, "model", root.Model, "serial", root.Serial,
		"by_path", root.ByPath)
	to := &write.Writer{
		Client: w.Images, MD5: w.Service.MD5Enabled, Formats: w.Service.PermittedImageFormats, Log: w.Log, AnyBoot: w.AnyBoot,
		Progress: func(detail string, done, total int64) { c.Report(root.Name+": "+detail, done, total) },
	}
	if root.RAID != "" && img.ImageType != "partition" && img.BootMode == "bios" {
		img.BootMode = "" // the firmware starts the members, which get the image's GRUB later
	}
	w.RootUUID = ""
	done, err := to.WriteImage(ctx, dev, img, configDrive)
	if err != nil {
		return nil, fmt.Errorf("writing image %s to %s (serial %q)%s: %w", img.ID, root.Name, root.Serial, w.gone(root), err)
	}
	if err := dev.Close(); err != nil {
		return nil, fmt.Errorf("closing %s: %w", root.Name, err)
	}
	if err := disk.Reread(dev.Path()); err != nil {
		w.Log.Warn("the kernel still sees the old partitions", "disk", root.Name, "error", err)
	}
	w.Written = &root
	if err := w.formatEphemeral(ctx, c, root, img, done); err != nil {
		return nil, err
	}
	w.RootUUID = done.Root.UUID
	w.Log.Info("image written", "image", img.ID, "disk", root.Name, "format", done.Format, "file_bytes", done.FileSize, "disk_bytes",
		done.Size, "took", done.Took)
	return fmt.Sprintf("image (%s) written to device %s: %d bytes of %s in %s", img.ID, root.Name, done.FileSize, done.Format,
		done.Took.Round(time.Millisecond)), nil
}

// formatEphemeral makes the ephemeral partition's file system, unless it is to be kept.
func (w *Writer) formatEphemeral(ctx context.Context, c Call, root wire.Disk, img wire.ImageInfo, done write.Written) error {
	for _, p := range done.Parts {
		w.Log.Info("partition", "disk", root.Name, "number", p.Number, "role", p.Role, "offset", p.Offset, "size", p.Length)
		if p.Role != disk.Ephemeral || img.PreserveEphemeral {
			continue
		}
		c.Report("formatting the ephemeral partition of "+root.Name, 0, 0)
		dev, err := w.openDisk(root) // it still is the disk that was written
		if err == nil {
			err = dev.Close()
		}
		if err != nil {
			return fmt.Errorf("formatting the ephemeral partition: %w", err)
		}
		if err := write.FormatEphemeral(ctx, filepath.Join(w.Root, root.Name), p, img.EphemeralFormat); err != nil {
			return fmt.Errorf("%s (serial %q): %w", root.Name, root.Serial, err)
		}
	}
	return nil
}
