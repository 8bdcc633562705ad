-- One row: how far the time of the stored rows had come, and where the host stood then, so that the next process knows
-- what has passed even when the host's clock was set meanwhile. Times and lengths in microseconds.
CREATE TABLE service_clock (
    id        BIGINT PRIMARY KEY,
    host_boot TEXT   NOT NULL,
    uptime    BIGINT NOT NULL,
    reached   BIGINT NOT NULL,
    ahead     BIGINT NOT NULL
);
