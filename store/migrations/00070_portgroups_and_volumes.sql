CREATE TABLE portgroups (
    id                         ROWNUM,
    uuid                       TEXT    NOT NULL,
    created_at                 BIGINT  NOT NULL,
    updated_at                 BIGINT  NOT NULL,
    node_id                    BIGINT  NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    name                       TEXT    NOT NULL,
    address                    TEXT    NOT NULL,
    mode                       TEXT    NOT NULL,
    standalone_ports_supported BOOLEAN NOT NULL,
    physical_network           TEXT    NOT NULL,
    category                   TEXT    NOT NULL,
    properties                 TEXT,
    extra                      TEXT,
    internal_info              TEXT
);

CREATE UNIQUE INDEX portgroups_uuid ON portgroups (uuid);
CREATE UNIQUE INDEX portgroups_name ON portgroups (name) WHERE name <> '';
CREATE UNIQUE INDEX portgroups_address ON portgroups (address) WHERE address <> '';
CREATE INDEX portgroups_node_id ON portgroups (node_id);

CREATE TABLE volume_connectors (
    id           ROWNUM,
    uuid         TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    node_id      BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    type         TEXT   NOT NULL,
    connector_id TEXT   NOT NULL,
    extra        TEXT
);

CREATE UNIQUE INDEX volume_connectors_uuid ON volume_connectors (uuid);
CREATE UNIQUE INDEX volume_connectors_connector_id ON volume_connectors (connector_id, type);
CREATE INDEX volume_connectors_node_id ON volume_connectors (node_id);

-- Properties are sealed: the passwords of iSCSI are among them.
CREATE TABLE volume_targets (
    id          ROWNUM,
    uuid        TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    node_id     BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    volume_type TEXT   NOT NULL,
    volume_id   TEXT   NOT NULL,
    boot_index  BIGINT NOT NULL,
    extra       TEXT,
    properties  BLOB
);

CREATE UNIQUE INDEX volume_targets_uuid ON volume_targets (uuid);
CREATE UNIQUE INDEX volume_targets_boot_index ON volume_targets (boot_index, node_id);
