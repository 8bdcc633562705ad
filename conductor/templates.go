package conductor

import (
	"context"
	"slices"
	"strings"

	"github.com/billet-metal/billet/node"
)

// withTemplates adds the steps of the deploy templates that are named among instance_info.traits. The request's
// own steps win over a template's of the same interface and name, a later made template's over an earlier one's.
func (c *engine) withTemplates(ctx context.Context, n *node.Node, req node.ProvisionRequest) (node.ProvisionRequest, error) {
	traits, err := instanceTraits(n)
	if err != nil || len(traits) == 0 {
		return req, err
	}
	templates, err := c.templates.List(ctx, node.DeployTemplateFilter{Names: traits}, node.Page{})
	if err != nil {
		return req, err
	}
	asked := slices.Clone(req.DeploySteps)
	for _, t := range slices.Backward(templates) {
		if err := t.Damage(); err != nil {
			return req, err
		}
		for _, s := range t.Steps {
			if !isAsked(asked, s.Interface, s.Step) {
				asked = append(asked, s)
			}
		}
	}
	req.DeploySteps = asked
	return req, nil
}

// instanceTraits are the traits that an instance was asked for with; the node must have them all.
func instanceTraits(n *node.Node) ([]string, error) {
	if n.InstanceInfo["traits"] == nil {
		return nil, nil
	}
	list, ok := n.InstanceInfo["traits"].([]any)
	var traits, missing []string
	for _, v := range list {
		s, isText := v.(string)
		ok = ok && isText
		if isText && !slices.Contains(n.Traits, s) {
			missing = append(missing, s)
		}
		traits = append(traits, s)
	}
	if !ok {
		return nil, node.Errorf(node.Invalid, "Error parsing traits from node %s instance_info field. A list of strings is expected.", n.UUID)
	}
	if len(missing) > 0 {
		return nil, node.Errorf(node.Invalid, "Cannot specify instance traits that are not also set on the node. Node %s is missing traits %s.",
			n.UUID, strings.Join(missing, ", "))
	}
	return traits, nil
}

// switchedOff names the steps that people asked for with priority 0: the agent's own of these names do not run either.
func switchedOff(asked []node.PlannedStep) []string {
	var off []string
	for _, s := range asked {
		if s.Priority == 0 {
			off = append(off, name(&s))
		}
	}
	return off
}
