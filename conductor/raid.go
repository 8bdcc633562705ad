package conductor

import (
	"context"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// SetTargetRAIDConfig keeps what RAID a node is to have, once its raid interface has found nothing
// wrong with it; it is built when somebody asks for that. The empty configuration is none. NotFound
// when the raid interface builds nothing.
func (c *registry) SetTargetRAIDConfig(ctx context.Context, ident string, config node.Document) error {
	return c.changeNode(ctx, ident, func(_ context.Context, n *node.Node) error {
		n.TargetRAIDConfig = config
		return c.mayTarget(n, config)
	})
}

func (c *registry) mayTarget(n *node.Node, config node.Document) error {
	h, err := c.cfg.Types.Resolve(n)
	if err != nil {
		return err
	}
	r, ok := h.Other[node.RAID].(driver.RAID)
	if !ok {
		name := "none"
		if impl := h.Other[node.RAID]; impl != nil {
			name = impl.Name()
		}
		// 404, as Ironic answers.
		return node.Errorf(node.NotFound, "%v The node's raid_interface is %q.", node.Unsupported(n.Driver, string(node.RAID)), name)
	}
	if len(config) == 0 {
		return nil
	}
	return r.ValidateRAIDConfig(config)
}

// LogicalDiskProperties describes what a logical disk of a hardware type may say.
func (c *registry) LogicalDiskProperties(_ context.Context, driver string) (map[string]string, error) {
	return c.cfg.Types.LogicalDiskProperties(driver)
}
