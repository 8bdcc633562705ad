package conductor

import (
	"context"
	"strings"

	"github.com/billet-metal/billet/configdrive"
	"github.com/billet-metal/billet/crypt"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// What single flows accept, and how they begin: parts of their rows in flows.go.

// canInspect refuses what the hardware has no steps for.
func canInspect(n *node.Node, h *driver.Hardware, _ node.ProvisionRequest) error {
	if len(stepsOf(h, node.FlowInspect)) == 0 {
		return node.Errorf(node.Invalid, "The %s inspect interface of node %s does not support inspection.", h.Inspect.Name(), n.UUID)
	}
	return nil
}

// hasCleanSteps refuses a manual cleaning in which nothing is to be done.
func hasCleanSteps(_ *node.Node, _ *driver.Hardware, req node.ProvisionRequest) error {
	if req.Event == node.EventClean && len(req.CleanSteps) == 0 {
		return node.Errorf(node.Invalid, "Manual cleaning needs at least one step in clean_steps.")
	}
	return nil
}

func hasServiceSteps(_ *node.Node, _ *driver.Hardware, req node.ProvisionRequest) error {
	if len(req.ServiceSteps) == 0 {
		return node.Errorf(node.Invalid, "A service needs at least one step in service_steps.")
	}
	return nil
}

func canRescue(n *node.Node, h *driver.Hardware, req node.ProvisionRequest) error {
	if len(stepsOf(h, node.FlowRescue)) == 0 {
		return noRescue(n)
	}
	if strings.TrimSpace(req.RescuePassword) == "" {
		return node.Errorf(node.Invalid, "A rescue of node %s needs a rescue_password.", n.UUID)
	}
	return nil
}

func canUnrescue(n *node.Node, h *driver.Hardware, _ node.ProvisionRequest) error {
	if len(stepsOf(h, node.FlowUnrescue)) == 0 {
		return noRescue(n)
	}
	return nil
}

func noRescue(n *node.Node) error {
	return node.Errorf(node.Invalid, "The rescue interface of node %s does not support rescue.", n.UUID)
}

// hashPassword keeps the rescue password for the ramdisk, as a hash only.
func hashPassword(n *node.Node, _ *node.Plan, req node.ProvisionRequest) {
	n.InstanceInfo = n.InstanceInfo.Clone()
	n.InstanceInfo[driver.HashedRescuePassword] = crypt.Hash(req.RescuePassword)
}

// fillDeploy adds the steps of deploy templates to a request, and its config drive in the form that is kept.
func fillDeploy(ctx context.Context, c *engine, n *node.Node, req *node.ProvisionRequest) (err error) {
	if *req, err = c.withTemplates(ctx, n, *req); err != nil {
		return err
	}
	req.ConfigDrive, err = driveOf(n, *req)
	return err
}

// driveOf is the config drive that a request asks for: its own, which must be one, or built of parts.
func driveOf(n *node.Node, req node.ProvisionRequest) (string, error) {
	switch {
	case req.DriveParts != nil:
		return configdrive.Build(*req.DriveParts, n)
	case req.ConfigDrive != "":
		return req.ConfigDrive, configdrive.Check(req.ConfigDrive)
	}
	return "", nil
}

// beginDeploy keeps what was asked for: a rebuild without a config drive uses the instance's own again.
func beginDeploy(n *node.Node, plan *node.Plan, req node.ProvisionRequest) {
	plan.Off = switchedOff(req.DeploySteps)
	if req.ConfigDrive != "" {
		n.ConfigDrive = req.ConfigDrive
	}
}
