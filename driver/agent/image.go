package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/wire"
)

// writing is the step write_image.
type writing struct {
	commands commands
	sources  Sources
	images   Images
	base     string // see Direct.ImageURL
}

func (d *Direct) writing() writing {
	return writing{commands: d.commands(), sources: d.Sources, images: d.Images, base: d.ImageURL}
}

// run has the agent write the image and the config drive.
func (w writing) run(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if r, err := driver.ImageThere(ctx, t, w.sources, w.commands.within); err != nil || r.Waiting() {
		return r, err
	}
	return w.commands.run(ctx, t, w.work(t))
}

func (w writing) poll(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if driver.AwaitsImage(t) {
		return w.run(ctx, t)
	}
	return w.commands.poll(ctx, t, w.work(t))
}

func (w writing) work(t *driver.Task) work {
	return work{
		name: "deploy.execute_deploy_step", what: "write_image", within: w.commands.within,
		params: func(ctx context.Context) (map[string]any, error) {
			info, err := w.info(ctx, t.Node)
			if err != nil {
				return nil, err
			}
			drive, err := t.DriveForMachine(ctx)
			if err != nil {
				return nil, err
			}
			info.ConfigDrive = drive
			args := map[string]any{"image_info": info}
			if drive != "" {
				args["configdrive"] = drive
			}
			params := about(t)
			params["step"] = map[string]any{"interface": "deploy", "step": "write_image", "args": args}
			params["deploy_version"] = version(t)
			return params, nil
		},
		ended: func(_ context.Context, c *wire.CommandResult) (driver.Result, error) {
			return driver.Done(), carriedOut(t, "write_image", c)
		},
	}
}

// info tells the agent what to read, from where, and how to know it is whole.
func (w writing) info(ctx context.Context, n *node.Node) (wire.ImageInfo, error) {
	asked := driver.InstanceOf(n)
	resolved, err := w.sources.Resolve(ctx, asked.Image)
	if err != nil {
		return wire.ImageInfo{}, err
	}
	if err := asked.CheckFits(resolved); err != nil { // an image of Glance is known whole only now
		return wire.ImageInfo{}, err
	}
	if err := unpacks(n, resolved.Info); err != nil {
		return wire.ImageInfo{}, err
	}
	url, err := w.url(ctx, n, resolved)
	if err != nil {
		return wire.ImageInfo{}, err
	}
	info, err := asked.ImageInfo(resolved, url)
	info.StreamRaw = true
	return info, err
}

// unpacks refuses a compressed image for an agent that may write it to the disk as it is: nothing in the protocol
// tells an agent that a raw image is compressed, and nothing tells the service what an agent makes of it.
func unpacks(n *node.Node, info image.Info) error {
	if info.Packed == image.Unpacked || strings.HasPrefix(n.Agent.Version, ownAgent) {
		return nil
	}
	return driver.CannotDeploy(n, "its image is packed with %s, and the agent in its ramdisk (version %q) is not Billet's, "+
		"so that whether it unpacks it is not known: unpack the image, or use Billet's ramdisk", info.Packed, n.Agent.Version)
}

// ownAgent is how the version of Billet's own agent begins.
const ownAgent = "billet-agent "

// url is where the machine reads the image: its own URL, or this service.
func (w writing) url(ctx context.Context, n *node.Node, r image.Resolved) (string, error) {
	if r.URL != "" {
		return r.URL, nil
	}
	url, err := w.images.ServeImage(ctx, n.UUID, r.Path)
	if err != nil {
		return "", fmt.Errorf("offering the image to the machine: %w", err)
	}
	if strings.HasPrefix(url, "/") {
		url = strings.TrimSuffix(w.base, "/") + url
	}
	return url, nil
}
