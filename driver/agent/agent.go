// Package agent owns the service side of the ironic-python-agent protocol: the deploy interface
// "direct" and the inspect interface "agent", whose steps boot the deploy ramdisk and have the
// agent in it do the work. It writes no disk itself, serves no file, and trusts nothing an agent
// says but what it says over the certificate it showed the service with its token.
package agent

import (
	"context"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/image"
)

// Sources finds images; image.Store does.
type Sources interface {
	// Validate checks what can be known of an image without a network.
	Validate(ref image.Ref) error
	// Resolve finds it, inspects it and settles its checksum. The error of one that is on its way here is an *image.Fetching.
	Resolve(ctx context.Context, ref image.Ref) (image.Resolved, error)
	driver.Glance
	// File finds a file that is no image, such as the kernel of a partition image: a path of this machine, a URL, or
	// the source of one in Glance.
	File(ctx context.Context, source string) (path string, err error)
}

// Images lets one machine read a file of this service. A URL that starts with a slash is a path
// on the provisioning listener.
type Images interface {
	ServeImage(ctx context.Context, nodeUUID, path string) (url string, err error)
}

// Defaults of the times below, those of Ironic.
const (
	DefaultBootTimeout  = 30 * time.Minute // from power on to the agent's first call
	DefaultStepTimeout  = 2 * time.Hour    // one step of the agent, such as writing the image, without a sign of life
	DefaultAgentLost    = 5 * time.Minute  // without a call and unreachable: the machine is gone
	DefaultAgentDead    = 80 * time.Second // nobody listens at its address, poll after poll: the same, sooner
	DefaultPoll         = 10 * time.Second // how often a working agent is asked, besides its calls
	DefaultPowerPoll    = 2 * time.Second  // how often the BMC is asked while a machine switches off
	DefaultPowerOffWait = 35 * time.Second // then it is switched off hard
)

// orElse returns the duration, or the default when it is zero.
func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// finder finds files for somebody who waits no longer than ctx.
func finder(ctx context.Context, sources Sources) func(source string) (string, error) {
	return func(source string) (string, error) { return sources.File(ctx, source) }
}
