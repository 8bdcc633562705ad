-- What every poll and every list touches: one narrow row per node. Times are microseconds since
-- 1970 in UTC, 0 for none; an empty text is none. ROWNUM is the row number type of the database.
CREATE TABLE nodes (
    id                     ROWNUM,
    uuid                   TEXT    NOT NULL,
    name                   TEXT    NOT NULL,
    driver                 TEXT    NOT NULL,
    provision_state        TEXT    NOT NULL,
    target_provision_state TEXT    NOT NULL,
    provision_updated_at   BIGINT  NOT NULL,
    power_state            TEXT    NOT NULL,
    target_power_state     TEXT    NOT NULL,
    power_failures         BIGINT  NOT NULL,
    maintenance            BOOLEAN NOT NULL,
    maintenance_reason     TEXT    NOT NULL,
    fault                  TEXT    NOT NULL,
    last_error             TEXT    NOT NULL,
    boot_mode              TEXT    NOT NULL,
    secure_boot            BOOLEAN,
    console_enabled        BOOLEAN NOT NULL,
    instance_uuid          TEXT    NOT NULL,
    instance_name          TEXT    NOT NULL,
    allocation_uuid        TEXT    NOT NULL,
    chassis_uuid           TEXT    NOT NULL,
    parent_node            TEXT    NOT NULL,
    resource_class         TEXT    NOT NULL,
    conductor_group        TEXT    NOT NULL,
    owner                  TEXT    NOT NULL,
    lessee                 TEXT    NOT NULL,
    description            TEXT    NOT NULL,
    shard                  TEXT    NOT NULL,
    protected              BOOLEAN NOT NULL,
    protected_reason       TEXT    NOT NULL,
    retired                BOOLEAN NOT NULL,
    retired_reason         TEXT    NOT NULL,
    automated_clean        BOOLEAN,
    disable_power_off      BOOLEAN NOT NULL,
    inspection_started_at  BIGINT  NOT NULL,
    inspection_finished_at BIGINT  NOT NULL,
    created_at             BIGINT  NOT NULL,
    updated_at             BIGINT  NOT NULL,
    lease_holder           TEXT    NOT NULL DEFAULT '',
    lease_token            BIGINT  NOT NULL DEFAULT 0,
    lease_until            BIGINT  NOT NULL DEFAULT 0,
    plan_deadline          BIGINT  NOT NULL, -- of the waiting step; 0 without a plan or a deadline
    plan_poll_at           BIGINT  NOT NULL
);

-- A query that wants an index on part of the rows says the index's condition itself.
CREATE UNIQUE INDEX nodes_uuid ON nodes (uuid);
CREATE UNIQUE INDEX nodes_name ON nodes (name) WHERE name <> '';
CREATE UNIQUE INDEX nodes_instance_uuid ON nodes (instance_uuid) WHERE instance_uuid <> '';
CREATE INDEX nodes_deadline ON nodes (provision_state, plan_deadline);
CREATE INDEX nodes_poll ON nodes (provision_state, plan_poll_at);
CREATE INDEX nodes_driver ON nodes (driver);
CREATE INDEX nodes_resource_class ON nodes (resource_class);
CREATE INDEX nodes_conductor_group ON nodes (conductor_group);
CREATE INDEX nodes_owner ON nodes (owner);
CREATE INDEX nodes_lessee ON nodes (lessee);
CREATE INDEX nodes_shard ON nodes (shard);
CREATE INDEX nodes_parent_node ON nodes (parent_node);
CREATE INDEX nodes_chassis_uuid ON nodes (chassis_uuid);
CREATE INDEX nodes_lease_holder ON nodes (lease_holder) WHERE lease_holder <> '';
CREATE INDEX nodes_target_power_state ON nodes (target_power_state) WHERE target_power_state <> '';
CREATE INDEX nodes_maintenance ON nodes (id) WHERE maintenance;

-- JSON, beside the hot row. BLOB columns are sealed. NULL is empty.
CREATE TABLE node_documents (
    node_id              BIGINT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    interfaces           TEXT,
    traits               TEXT,
    properties           TEXT,
    driver_internal_info TEXT,
    extra                TEXT,
    raid_config          TEXT,
    target_raid_config   TEXT,
    driver_info          BLOB,
    instance_info        BLOB,
    network_data         BLOB,
    plan                 BLOB
);

-- Apart, because they may be megabytes and rarely change: digest is keyed, over the plain text.
CREATE TABLE config_drives (
    node_id      BIGINT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    digest       BLOB NOT NULL,
    config_drive BLOB NOT NULL
);

-- Written by heartbeats, without the lease.
CREATE TABLE node_agent (
    node_id        BIGINT  PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    url            TEXT    NOT NULL,
    version        TEXT    NOT NULL,
    verify_ca      TEXT    NOT NULL,
    last_heartbeat BIGINT  NOT NULL,
    token          BLOB,
    token_given    BOOLEAN NOT NULL
);

CREATE TABLE ports (
    id                    ROWNUM,
    uuid                  TEXT    NOT NULL,
    node_id               BIGINT  NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    name                  TEXT    NOT NULL,
    address               TEXT    NOT NULL,
    pxe_enabled           BOOLEAN NOT NULL,
    portgroup_uuid        TEXT    NOT NULL,
    physical_network      TEXT    NOT NULL,
    is_smartnic           BOOLEAN NOT NULL,
    description           TEXT    NOT NULL,
    vendor                TEXT    NOT NULL,
    category              TEXT    NOT NULL,
    created_at            BIGINT  NOT NULL,
    updated_at            BIGINT  NOT NULL,
    local_link_connection TEXT,
    extra                 TEXT,
    internal_info         TEXT
);

CREATE UNIQUE INDEX ports_uuid ON ports (uuid);
CREATE UNIQUE INDEX ports_address ON ports (address);
CREATE UNIQUE INDEX ports_name ON ports (name) WHERE name <> '';
CREATE INDEX ports_node_id ON ports (node_id);
CREATE INDEX ports_portgroup_uuid ON ports (portgroup_uuid);

CREATE TABLE history (
    id         ROWNUM,
    uuid       TEXT   NOT NULL,
    node_id    BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    conductor  TEXT   NOT NULL,
    event_type TEXT   NOT NULL,
    severity   TEXT   NOT NULL,
    event      TEXT   NOT NULL,
    username   TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE UNIQUE INDEX history_uuid ON history (uuid);
CREATE INDEX history_node_id ON history (node_id, id);

CREATE TABLE inventory (
    node_id     BIGINT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    inventory   TEXT,
    plugin_data TEXT
);

CREATE TABLE progress (
    node_id     BIGINT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    flow        TEXT   NOT NULL,
    step        TEXT   NOT NULL,
    detail      TEXT   NOT NULL,
    done_bytes  BIGINT NOT NULL,
    total_bytes BIGINT NOT NULL,
    reported_at BIGINT NOT NULL
);

CREATE TABLE boot_records (
    node_id      BIGINT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    loader       TEXT   NOT NULL,
    kernel       TEXT   NOT NULL,
    ramdisk      TEXT   NOT NULL,
    command_line TEXT   NOT NULL,
    image        TEXT   NOT NULL,
    secret       TEXT   NOT NULL,
    valid_until  BIGINT NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE UNIQUE INDEX boot_records_secret ON boot_records (secret) WHERE secret <> '';

-- By MAC, not by node: the evidence is older than the node when a machine was plugged in first.
CREATE TABLE boot_events (
    id      ROWNUM,
    mac     TEXT   NOT NULL,
    service TEXT   NOT NULL,
    what    TEXT   NOT NULL,
    seen_at BIGINT NOT NULL
);

CREATE INDEX boot_events_mac ON boot_events (mac, seen_at);
CREATE INDEX boot_events_seen_at ON boot_events (seen_at);

CREATE TABLE address_leases (
    mac        TEXT   PRIMARY KEY,
    ip         TEXT   NOT NULL,
    lent_until BIGINT NOT NULL
);

CREATE UNIQUE INDEX address_leases_ip ON address_leases (ip);

-- One row: a sealed known text, which tells at start whether the key is this database's.
CREATE TABLE key_canary (
    id     BIGINT PRIMARY KEY,
    sealed BLOB NOT NULL
);
