-- Events are kept by machine: the newest of one MAC are found by their number.
CREATE INDEX boot_events_mac_id ON boot_events (mac, id);

-- What a machine last wrote to its serial line, and what its agent logged, masked and sealed.
CREATE TABLE machine_lines (
    node_id    BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    source     TEXT   NOT NULL,
    updated_at BIGINT NOT NULL,
    lines      BLOB   NOT NULL,
    PRIMARY KEY (node_id, source)
);

-- What was known when a node's last flow failed, sealed.
CREATE TABLE failures (
    node_id   BIGINT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    failed_at BIGINT NOT NULL,
    evidence  BLOB   NOT NULL
);
