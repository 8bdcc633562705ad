CREATE TABLE chassis (
    id          ROWNUM,
    uuid        TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    description TEXT   NOT NULL,
    extra       TEXT
);

CREATE UNIQUE INDEX chassis_uuid ON chassis (uuid);
