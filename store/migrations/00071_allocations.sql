-- The node of an allocation is the one whose allocation_uuid and instance_uuid are the allocation's: there is one truth, and
-- the index on instance_uuid lets no allocation have two. state is what is known without a node.
CREATE TABLE allocations (
    id              ROWNUM,
    uuid            TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    name            TEXT   NOT NULL,
    state           TEXT   NOT NULL,
    last_error      TEXT   NOT NULL,
    resource_class  TEXT   NOT NULL,
    owner           TEXT   NOT NULL,
    traits          TEXT,
    candidate_nodes TEXT,
    extra           TEXT
);

CREATE UNIQUE INDEX allocations_uuid ON allocations (uuid);
CREATE UNIQUE INDEX allocations_name ON allocations (name) WHERE name <> '';
CREATE INDEX allocations_state ON allocations (state);
