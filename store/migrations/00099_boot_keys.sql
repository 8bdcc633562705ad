-- What only the ramdisk of one boot knows: the key in the URLs that it calls, and what its iSCSI token is made of.
-- Records from before have neither, and ask for none.
ALTER TABLE boot_records ADD COLUMN boot_key TEXT NOT NULL DEFAULT '';
ALTER TABLE boot_records ADD COLUMN hidden TEXT NOT NULL DEFAULT '';
-- The addresses that asked first for the script of this boot, by MAC: "52:54:00:00:00:01=192.0.2.7 …".
ALTER TABLE boot_records ADD COLUMN asked_by TEXT NOT NULL DEFAULT '';
-- With what the agent that has the token showed itself: the key of its boot, and the address it called from.
ALTER TABLE node_agent ADD COLUMN boot_key TEXT NOT NULL DEFAULT '';
ALTER TABLE node_agent ADD COLUMN called_from TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX boot_records_boot_key ON boot_records (boot_key) WHERE boot_key <> '';
CREATE INDEX node_agent_boot_key ON node_agent (boot_key) WHERE boot_key <> '';
-- What binds an event to the machine whose MAC address it has; '' for what anybody could have caused.
ALTER TABLE boot_events ADD COLUMN proof TEXT NOT NULL DEFAULT '';
