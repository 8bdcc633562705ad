package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// SaveAgent replaces what is known of the node's agent but for its token, without the lease: heartbeats never wait
// for the conductor that works on the node. An agent that has no token any more, or whose certificate is another
// than that of the one which has it, is refused: its last heartbeat must not outlive ForgetAgent.
func (s *Store) SaveAgent(ctx context.Context, uuid string, a node.Agent) error {
	uuid = strings.ToLower(uuid)
	const query = `UPDATE node_agent SET url = $2, version = $3, verify_ca = $4, last_heartbeat = $5, refused_at = $6
		WHERE node_id = (SELECT id FROM nodes WHERE uuid = $1) AND token_given AND verify_ca IN ('', $4)`
	saved, err := changedOne(ctx, s.write, query, uuid, a.URL, a.Version, a.VerifyCA, a.LastHeartbeat, a.RefusedAt)
	if err == nil && !saved {
		if _, err = nodeID(ctx, s.write, uuid); err == nil {
			return node.Errorf(node.Invalid, "The agent of node %s is not the one that has its token any more: it must look the node up anew.", uuid)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("save the agent of node %s: %w", uuid, err)
	}
	return nil
}

// GiveAgentToken keeps token as the agent's, and with what it asked for it, and returns true, for the first caller
// only. Later callers get false until ForgetAgent.
func (s *Store) GiveAgentToken(ctx context.Context, uuid, token string, to node.Caller) (bool, error) {
	uuid = strings.ToLower(uuid)
	const query = `INSERT INTO node_agent (node_id, url, version, verify_ca, last_heartbeat,
			token, token_given_at, token_given, boot_key, called_from)
		SELECT id, '', '', '', 0, $2, $3, TRUE, $4, $5 FROM nodes WHERE uuid = $1
		ON CONFLICT (node_id) DO UPDATE SET token = excluded.token, token_given_at = excluded.token_given_at, token_given = TRUE,
			boot_key = excluded.boot_key, called_from = excluded.called_from
		WHERE NOT node_agent.token_given`
	from := ""
	if to.Address.IsValid() {
		from = to.Address.String()
	}
	given, err := changedOne(ctx, s.write, query, uuid, s.agentToken(&uuid, &token), node.Now(), to.BootKey, from)
	if err != nil {
		return false, fmt.Errorf("give the agent of node %s its token: %w", uuid, err)
	}
	if !given {
		_, err = nodeID(ctx, s.write, uuid)
	}
	return given, err
}

// KeepBootKey keeps the key of the boot whose ramdisk reported, for an agent that has no token yet: it may run on when the
// boot's record is gone, and look its node up then. ForgetAgent forgets it.
func (s *Store) KeepBootKey(ctx context.Context, uuid, key string) error {
	uuid = strings.ToLower(uuid)
	const query = `INSERT INTO node_agent (node_id, url, version, verify_ca, last_heartbeat, token_given, boot_key)
		SELECT id, '', '', '', 0, FALSE, $2 FROM nodes WHERE uuid = $1
		ON CONFLICT (node_id) DO UPDATE SET boot_key = excluded.boot_key WHERE NOT node_agent.token_given`
	if _, err := exec(ctx, s.write, query, uuid, key); err != nil {
		return fmt.Errorf("keep the key of the boot of node %s: %w", uuid, err)
	}
	return nil
}

// RefuseAgent keeps when a lookup got no token, if it is the first since the agent's last call, or since the token was
// given: it reports whether it is.
func (s *Store) RefuseAgent(ctx context.Context, uuid string, at time.Time) (bool, error) {
	const query = `UPDATE node_agent SET refused_at = $2 WHERE node_id = (SELECT id FROM nodes WHERE uuid = $1) AND token_given AND ` +
		`refused_at = 0`
	first, err := changedOne(ctx, s.write, query, strings.ToLower(uuid), at)
	if err != nil {
		return false, fmt.Errorf("keep that an agent of node %s got no token: %w", uuid, err)
	}
	return first, nil
}

// ForgetAgent forgets the agent and its token; no agent is not an error.
func (s *Store) ForgetAgent(ctx context.Context, uuid string) error {
	_, err := exec(ctx, s.write, `DELETE FROM node_agent WHERE node_id = (SELECT id FROM nodes WHERE uuid = $1)`, strings.ToLower(uuid))
	if err != nil {
		return fmt.Errorf("forget the agent of node %s: %w", uuid, err)
	}
	return nil
}
