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

// firstCall is what a booting ramdisk is waited for with.
var firstCall = node.Await{For: node.FirstCall, Text: "the agent's first heartbeat"}

// deploy boots the deploy ramdisk. The image is looked for first: one that is missing, unsafe or
// has another checksum fails here in seconds, not after the machine's long start.
func (d *Direct) deploy(ctx context.Context, t *driver.Task) (driver.Result, error) {
	asked := driver.InstanceOf(t.Node)
	resolved, err := d.Sources.Resolve(ctx, asked.Image)
	if err != nil {
		return driver.Done(), err
	}
	if err := asked.CheckFits(resolved); err != nil {
		return driver.Done(), err
	}
	return d.bootRamdisk(ctx, t)
}

// bootRamdisk boots the ramdisk of the flow under way and waits for its agent.
func (d *Direct) bootRamdisk(ctx context.Context, t *driver.Task) (driver.Result, error) {
	r := ramdisk{apiURL: d.APIURL}
	if b := rebootNote.Get(t); b.Step == "" && b.Lost == "" { // a step that wants a reboot gets one
		r.reuse = &d.Client
	}
	if err := r.boot(ctx, t, networkOf(t.Node.Plan.Flow)); err != nil {
		return driver.Done(), err
	}
	if called(t) {
		result, err := d.ramdiskCalled(ctx, t)
		if bootNote.Get(t).FastTrack {
			result.Says = "The ramdisk of an earlier flow still runs and is used on, without a reboot (fast track)."
		}
		return result, err
	}
	return d.waitFor(firstCall, orElse(d.BootTimeout, DefaultBootTimeout)), nil
}

// ramdiskCalled ends the wait once the new agent has called, with the steps it offers.
func (d *Direct) ramdiskCalled(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if !called(t) {
		return d.bootsOn(ctx, t)
	}
	steps, err := d.agentSteps(ctx, t)
	if err != nil {
		return driver.Done(), err
	}
	return driver.Result{Steps: steps}, secureAsAsked(t)
}

// writeImage has the agent write the image and the config drive.
func (d *Direct) writeImage(ctx context.Context, t *driver.Task) (driver.Result, error) {
	w := d.imageWork(t)
	r, c, err := d.run(ctx, t, w)
	return d.stepEnded(t, w, r, c, err)
}

func (d *Direct) imageWritten(ctx context.Context, t *driver.Task) (driver.Result, error) {
	w := d.imageWork(t)
	r, c, err := d.poll(ctx, t, w)
	return d.stepEnded(t, w, r, c, err)
}

func (d *Direct) imageWork(t *driver.Task) work {
	return work{
		name: "deploy.execute_deploy_step", what: "write_image", within: orElse(d.StepTimeout, DefaultStepTimeout),
		params: func(ctx context.Context) (map[string]any, error) {
			info, err := d.imageInfo(ctx, t.Node)
			if err != nil {
				return nil, err
			}
			args := map[string]any{"image_info": info}
			if t.Node.ConfigDrive != "" {
				args["configdrive"] = t.Node.ConfigDrive
			}
			params := about(t)
			params["step"] = map[string]any{"interface": "deploy", "step": "write_image", "args": args}
			params["deploy_version"] = version(t)
			return params, nil
		},
	}
}

// imageInfo tells the agent what to read, from where, and how to know it is whole.
func (d *Direct) imageInfo(ctx context.Context, n *node.Node) (wire.ImageInfo, error) {
	asked := driver.InstanceOf(n)
	resolved, err := d.Sources.Resolve(ctx, asked.Image)
	if err != nil {
		return wire.ImageInfo{}, err
	}
	if err := unpacks(n, resolved.Info); err != nil {
		return wire.ImageInfo{}, err
	}
	url, err := d.imageURL(ctx, n, resolved)
	if err != nil {
		return wire.ImageInfo{}, err
	}
	info, err := asked.ImageInfo(resolved, url)
	info.StreamRaw, info.ConfigDrive = true, n.ConfigDrive
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

// imageURL is where the machine reads the image: its own URL, or this service.
func (d *Direct) imageURL(ctx context.Context, n *node.Node, r image.Resolved) (string, error) {
	if r.URL != "" {
		return r.URL, nil
	}
	url, err := d.Images.ServeImage(ctx, n.UUID, r.Path)
	if err != nil {
		return "", fmt.Errorf("offering the image to the machine: %w", err)
	}
	if strings.HasPrefix(url, "/") {
		url = strings.TrimSuffix(d.ImageURL, "/") + url
	}
	return url, nil
}
