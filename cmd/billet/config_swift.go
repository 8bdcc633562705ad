package main

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/billet-metal/billet/conductor"
	"github.com/billet-metal/billet/openstack"
)

// swiftConfig is what lies in the cloud's Swift, and how machines read it there.
type swiftConfig struct {
	Key, Endpoint string // of temporary URLs

	Drives                    bool
	DriveContainer            string
	DriveKB                   int
	DriveExpire, DriveTimeout time.Duration

	LogBackend, LogContainer string
	LogDays                  int

	InventoryBackend, InventoryContainer string
}

func (c *Config) swiftKeys() []key {
	s := &c.Swift
	return []key{
		{"swift_temp_url_key", "", "key of the temporary URLs by which machines read objects; empty: the one that the account has, or a new " +
			"one that it is given", text(&s.Key)},
		{"swift_temp_url_endpoint", "", "http://host:port of those URLs, where machines reach Swift elsewhere than Billet does; empty: the " +
			"catalog's", webURL(&s.Endpoint)},
		{"configdrive_use_object_store", "false", "whether large config drives lie in Swift instead of the database", boolean(&s.Drives)},
		{"configdrive_swift_container", "ironic_configdrive_container", "their container, which is made where it is not there",
			text(&s.DriveContainer)},
		{"configdrive_swift_threshold_kb", "64", "kilobytes of a config drive, as the API carries it, that the database still takes",
			number(&s.DriveKB, 0, 1_000_000)},
		{"configdrive_swift_expire", "168h", "a config drive in Swift deletes itself after that; when its instance ends, it is deleted at once",
			duration(&s.DriveExpire)},
		{"configdrive_swift_timeout", "5m", "how long a deploy waits for Swift to take its config drive", duration(&s.DriveTimeout)},
		{"deploy_logs_storage_backend", "local", "where the logs of machines whose flow failed are kept: local (data_dir/deploy-logs) or swift",
			oneOf(&s.LogBackend, "local", "swift")},
		{"deploy_logs_swift_container", "ironic_deploy_logs_container", "their container in Swift", text(&s.LogContainer)},
		{"deploy_logs_swift_days_to_expire", "30", "days after which logs in Swift delete themselves; 0: never", number(&s.LogDays, 0, 36_500)},
		{"inventory_data_backend", "database", "where what inspection finds is kept: database, swift, or none (nowhere)",
			oneOf(&s.InventoryBackend, "database", "swift", "none")},
		{"inventory_swift_data_container", "introspection_data_container", "its container in Swift", text(&s.InventoryContainer)},
	}
}

// checkSwift refuses what needs a Swift, where there is no cloud.
func (c *Config) checkSwift() error {
	s := &c.Swift
	for _, k := range []struct {
		key       string
		wanted    bool
		container string
	}{
		{"configdrive_use_object_store", s.Drives, s.DriveContainer},
		{"deploy_logs_storage_backend", s.LogBackend == "swift", s.LogContainer},
		{"inventory_data_backend", s.InventoryBackend == "swift", s.InventoryContainer},
	} {
		switch {
		case k.wanted && !c.inCloud():
			return fmt.Errorf("%s: Swift needs openstack_auth_url and a login there", k.key)
		case k.wanted && k.container == "":
			return fmt.Errorf("%s: Swift needs a container, and its name is empty", k.key)
		}
	}
	if s.Drives && s.DriveExpire < time.Minute {
		return fmt.Errorf("configdrive_swift_expire: a config drive must be there until its machine has read it: at least a minute")
	}
	return nil
}

// keepIn tells a conductor what lies in Swift.
func (s *swiftConfig) keepIn(to *conductor.Config, session *openstack.Session, log *slog.Logger) {
	if session == nil {
		return
	}
	to.Objects = &openstack.Objects{Session: session, Key: s.Key, Endpoint: s.Endpoint, Log: log}
	if s.Drives {
		to.Drives = conductor.DriveKeep{Container: s.DriveContainer, Over: s.DriveKB << 10, For: s.DriveExpire, Patience: s.DriveTimeout}
	}
	if s.LogBackend == "swift" {
		to.LogKeep.Container, to.LogKeep.Expires = s.LogContainer, time.Duration(s.LogDays)*24*time.Hour
	}
}
