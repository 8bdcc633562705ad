-- Conditions and actions are sealed: they may hold passwords.
CREATE TABLE inspection_rules (
    id          ROWNUM,
    uuid        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    priority    BIGINT  NOT NULL,
    phase       TEXT    NOT NULL,
    sensitive   BOOLEAN NOT NULL,
    created_at  BIGINT  NOT NULL,
    updated_at  BIGINT  NOT NULL,
    conditions  BLOB,
    actions     BLOB
);

CREATE UNIQUE INDEX inspection_rules_uuid ON inspection_rules (uuid);
