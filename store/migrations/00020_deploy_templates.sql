-- Steps are sealed: their arguments may hold passwords.
CREATE TABLE deploy_templates (
    id          ROWNUM,
    uuid        TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    description TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    extra       TEXT,
    steps       BLOB
);

CREATE UNIQUE INDEX deploy_templates_uuid ON deploy_templates (uuid);
CREATE UNIQUE INDEX deploy_templates_name ON deploy_templates (name);
