package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// SaveAgent replaces what is known of the node's agent but for its token, without the lease:
// heartbeats never wait for the conductor that works on the node.
func (s *Store) SaveAgent(ctx context.Context, uuid string, a node.Agent) error {
	const query = `INSERT INTO node_agent (node_id, url, version, verify_ca, last_heartbeat, token_given)
		SELECT id, $2, $3, $4, $5, FALSE FROM nodes WHERE uuid = $1
		ON CONFLICT (node_id) DO UPDATE SET url = excluded.url, version = excluded.version,
			verify_ca = excluded.verify_ca, last_heartbeat = excluded.last_heartbeat`
	saved, err := changedOne(ctx, s.write, query, strings.ToLower(uuid), a.URL, a.Version, a.VerifyCA, a.LastHeartbeat)
	if err != nil {
		return fmt.Errorf("save the agent of node %s: %w", uuid, err)
	}
	if !saved {
		return node.NodeNotFound(uuid)
	}
	return nil
}

// GiveAgentToken keeps token as the agent's and returns true, for the first caller only. Later
// callers get false until ForgetAgent.
func (s *Store) GiveAgentToken(ctx context.Context, uuid, token string) (bool, error) {
	uuid = strings.ToLower(uuid)
	const query = `INSERT INTO node_agent (node_id, url, version, verify_ca, last_heartbeat, token, token_given)
		SELECT id, '', '', '', 0, $2, TRUE FROM nodes WHERE uuid = $1
		ON CONFLICT (node_id) DO UPDATE SET token = excluded.token, token_given = TRUE WHERE NOT node_agent.token_given`
	given, err := changedOne(ctx, s.write, query, uuid, s.agentToken(&uuid, &token))
	if err != nil {
		return false, fmt.Errorf("give the agent of node %s its token: %w", uuid, err)
	}
	if !given {
		_, err = nodeID(ctx, s.write, uuid)
	}
	return given, err
}

// ForgetAgent forgets the agent and its token; no agent is not an error.
func (s *Store) ForgetAgent(ctx context.Context, uuid string) error {
	_, err := exec(ctx, s.write, `DELETE FROM node_agent WHERE node_id = (SELECT id FROM nodes WHERE uuid = $1)`, strings.ToLower(uuid))
	if err != nil {
		return fmt.Errorf("forget the agent of node %s: %w", uuid, err)
	}
	return nil
}
