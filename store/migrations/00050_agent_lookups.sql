-- When the agent got its token, and when a lookup was first answered without the token since the agent's last call:
-- the machine started anew by itself, or the answer with the token was lost.
ALTER TABLE node_agent ADD COLUMN token_given_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE node_agent ADD COLUMN refused_at BIGINT NOT NULL DEFAULT 0;
