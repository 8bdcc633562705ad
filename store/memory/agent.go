package memory

import (
	"context"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// SaveAgent replaces what is known of the node's agent but for its token. An agent that has no token any more, or whose
// certificate is another than that of the one which has it, is refused.
func (s agents) SaveAgent(ctx context.Context, uuid string, a node.Agent) error {
	return s.change(ctx, uuid, func(m *machine) error {
		was := &m.node.Agent
		if !was.TokenGiven || was.VerifyCA != "" && was.VerifyCA != a.VerifyCA {
			return node.Errorf(node.Invalid, "The agent of node %s is not the one that has its token any more: it must look the node up anew.", uuid)
		}
		a.Token, a.TokenGiven, a.TokenGivenAt, a.BootKey, a.CalledFrom = was.Token, was.TokenGiven, was.TokenGivenAt, was.BootKey, was.CalledFrom
		*was = kept(a)
		return nil
	})
}

// GiveAgentToken keeps token as the agent's, and returns true, for the first caller only.
func (s agents) GiveAgentToken(ctx context.Context, uuid, token string, to node.Caller) (given bool, err error) {
	err = s.change(ctx, uuid, func(m *machine) error {
		a := &m.node.Agent
		if given = !a.TokenGiven; !given {
			return nil
		}
		a.Token, a.TokenGiven, a.TokenGivenAt, a.BootKey, a.CalledFrom = token, true, node.Now(), to.BootKey, ""
		if to.Address.IsValid() {
			a.CalledFrom = to.Address.String()
		}
		if s.damage[m.node.UUID] != nil {
			delete(s.damage[m.node.UUID], "agent_token")
		}
		return nil
	})
	return given, err
}

// KeepBootKey keeps the key of the boot whose ramdisk reported, for an agent that has no token yet.
func (s agents) KeepBootKey(ctx context.Context, uuid, key string) error {
	return s.changeIfThere(ctx, uuid, func(m *machine) {
		if !m.node.Agent.TokenGiven {
			m.node.Agent.BootKey = key
		}
	})
}

// RefuseAgent keeps when a lookup got no token, if it is the first, and reports whether it is.
func (s agents) RefuseAgent(ctx context.Context, uuid string, at time.Time) (first bool, err error) {
	err = s.changeIfThere(ctx, uuid, func(m *machine) {
		a := &m.node.Agent
		if first = a.TokenGiven && a.RefusedAt.IsZero(); first {
			a.RefusedAt = micros(at)
		}
	})
	return first, err
}

// ForgetAgent forgets the agent and its token; no agent is not an error.
func (s agents) ForgetAgent(ctx context.Context, uuid string) error {
	return s.changeIfThere(ctx, uuid, func(m *machine) {
		m.node.Agent = node.Agent{}
		if s.damage[m.node.UUID] != nil {
			delete(s.damage[m.node.UUID], "agent_token")
		}
	})
}

// changeIfThere is change for what a node that is gone does not need.
func (s *data) changeIfThere(ctx context.Context, uuid string, f func(m *machine)) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if m := s.machines[strings.ToLower(uuid)]; m != nil {
		f(m)
	}
	return nil
}
