-- Who has which IPv4 address, decided here for all processes that answer DHCP. What address_leases holds is moved at the next start.
CREATE TABLE addresses (
    number     BIGINT PRIMARY KEY, -- the address
    mac        TEXT   NOT NULL,    -- '' when its client found another machine there
    network    TEXT   NOT NULL,    -- '' of what an earlier version lent
    held_until BIGINT NOT NULL,    -- offered or lent
    lent_until BIGINT NOT NULL     -- 0 when it was only offered
);

-- A machine has one address in a network, whichever process it asks.
CREATE UNIQUE INDEX addresses_mac ON addresses (mac, network) WHERE mac <> '';

-- The processes that answer DHCP, by the addresses with which they name themselves.
CREATE TABLE dhcp_servers (
    ip      TEXT   PRIMARY KEY,
    seen_at BIGINT NOT NULL
);
