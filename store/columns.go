package store

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"github.com/billet-metal/billet/node"
)

// column ties a column to a node's field: at returns a pointer, which rows are scanned into and
// written from.
type column struct {
	name string
	at   func(n *node.Node) any
}

// hotColumns are the hot row's, but for id, the lease and what derives from the plan. A column
// has the name of its field in the API, so it is also a sort key.
var hotColumns = []column{
	{"uuid", func(n *node.Node) any { return &n.UUID }},
	{"created_at", func(n *node.Node) any { return micros{&n.CreatedAt} }},
	{"updated_at", func(n *node.Node) any { return micros{&n.UpdatedAt} }},
	{"name", func(n *node.Node) any { return &n.Name }},
	{"driver", func(n *node.Node) any { return &n.Driver }},
	{"provision_state", func(n *node.Node) any { return &n.State }},
	{"target_provision_state", func(n *node.Node) any { return &n.TargetState }},
	{"provision_updated_at", func(n *node.Node) any { return micros{&n.ProvisionUpdatedAt} }},
	{"power_state", func(n *node.Node) any { return &n.Power }},
	{"target_power_state", func(n *node.Node) any { return &n.TargetPower }},
	{"power_failures", func(n *node.Node) any { return &n.PowerFailures }},
	{"maintenance", func(n *node.Node) any { return &n.Maintenance }},
	{"maintenance_reason", func(n *node.Node) any { return &n.MaintenanceReason }},
	{"fault", func(n *node.Node) any { return &n.Fault }},
	{"last_error", func(n *node.Node) any { return &n.LastError }},
	{"boot_mode", func(n *node.Node) any { return &n.BootMode }},
	{"secure_boot", func(n *node.Node) any { return &n.SecureBoot }},
	{"console_enabled", func(n *node.Node) any { return &n.ConsoleEnabled }},
	{"instance_uuid", func(n *node.Node) any { return &n.InstanceUUID }},
	{"instance_name", func(n *node.Node) any { return &n.InstanceName }},
	{"allocation_uuid", func(n *node.Node) any { return &n.AllocationUUID }},
	{"chassis_uuid", func(n *node.Node) any { return &n.ChassisUUID }},
	{"parent_node", func(n *node.Node) any { return &n.ParentNode }},
	{"resource_class", func(n *node.Node) any { return &n.ResourceClass }},
	{"conductor_group", func(n *node.Node) any { return &n.ConductorGroup }},
	{"owner", func(n *node.Node) any { return &n.Owner }},
	{"lessee", func(n *node.Node) any { return &n.Lessee }},
	{"description", func(n *node.Node) any { return &n.Description }},
	{"shard", func(n *node.Node) any { return &n.Shard }},
	{"protected", func(n *node.Node) any { return &n.Protected }},
	{"protected_reason", func(n *node.Node) any { return &n.ProtectedReason }},
	{"retired", func(n *node.Node) any { return &n.Retired }},
	{"retired_reason", func(n *node.Node) any { return &n.RetiredReason }},
	{"automated_clean", func(n *node.Node) any { return &n.AutomatedClean }},
	{"disable_power_off", func(n *node.Node) any { return &n.DisablePowerOff }},
	{"inspection_started_at", func(n *node.Node) any { return micros{&n.InspectionStartedAt} }},
	{"inspection_finished_at", func(n *node.Node) any { return micros{&n.InspectionFinishedAt} }},
}

// fixedColumns is how many of hotColumns an update leaves alone: uuid and created_at.
const fixedColumns = 2

// planColumns derive from the plan and are written only: Work asks them.
var planColumns = []string{"plan_deadline", "plan_poll_at"}

func planValues(n *node.Node) []any {
	if n.Plan == nil {
		return []any{time.Time{}, time.Time{}}
	}
	return []any{n.Plan.Deadline, n.Plan.PollAt}
}

// documentColumns are those of node_documents.
func (d *database) documentColumns() []column {
	secret := func(name string, at func(n *node.Node) any) column {
		return column{name, func(n *node.Node) any { return sealed{d.seal, &n.UUID, name, at(n)} }}
	}
	return tolerant([]column{
		{"interfaces", func(n *node.Node) any { return document{&n.Interfaces} }},
		{"traits", func(n *node.Node) any { return document{&n.Traits} }},
		{"properties", func(n *node.Node) any { return document{&n.Properties} }},
		{"driver_internal_info", func(n *node.Node) any { return document{&n.DriverInternalInfo} }},
		{"extra", func(n *node.Node) any { return document{&n.Extra} }},
		{"raid_config", func(n *node.Node) any { return document{&n.RAIDConfig} }},
		{"target_raid_config", func(n *node.Node) any { return document{&n.TargetRAIDConfig} }},
		secret("driver_info", func(n *node.Node) any { return &n.DriverInfo }),
		secret("instance_info", func(n *node.Node) any { return &n.InstanceInfo }),
		secret("network_data", func(n *node.Node) any { return &n.NetworkData }),
		secret("plan", func(n *node.Node) any { return &n.Plan }),
	})
}

// value is a document or a sealed one.
type value interface {
	driver.Valuer
	sql.Scanner
	empty()
}

// forgiving reads a column of a record. What cannot be read is left out and told in unreadable: one damaged value must
// not take the whole record, or the list it is in, out of everybody's reach.
type forgiving struct {
	value
	unreadable *node.Unreadable
	name       string
}

func (f forgiving) Scan(src any) error {
	if err := f.value.Scan(src); err != nil {
		f.empty()
		if *f.unreadable == nil {
			*f.unreadable = node.Unreadable{}
		}
		(*f.unreadable)[f.name] = err.Error()
	}
	return nil
}

func tolerant(columns []column) []column {
	for i, c := range columns {
		columns[i].at = func(n *node.Node) any { return forgiving{c.at(n).(value), &n.Unreadable, c.name} }
	}
	return columns
}

// written leaves out the columns that could not be read and have no new value: what they hold may yet be mended.
func written(columns []string, fields []any) ([]string, []any) {
	var names []string
	var values []any
	for i, c := range columns {
		if f, ok := fields[i].(forgiving); ok && f.hurt() {
			continue
		}
		names, values = append(names, c), append(values, fields[i])
	}
	return names, values
}

// hurt reports whether a value that could not be read has no new one.
func (f forgiving) hurt() bool {
	if _, unread := (*f.unreadable)[f.name]; !unread {
		return false
	}
	v, err := f.Value()
	return err == nil && v == nil
}

// mended takes the values that have been written off the lists of what is unreadable.
func mended(fields []any) {
	for _, v := range fields {
		if f, ok := v.(forgiving); ok {
			delete(*f.unreadable, f.name)
		}
	}
}

func names(columns []column) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.name
	}
	return out
}

func fields(columns []column, n *node.Node) []any {
	out := make([]any, len(columns))
	for i, c := range columns {
		out[i] = c.at(n)
	}
	return out
}

const hotFrom = ` FROM nodes n`

const fullFrom = hotFrom +
	` JOIN node_documents d ON d.node_id = n.id LEFT JOIN node_agent a ON a.node_id = n.id LEFT JOIN config_drives ` +
	`c ON c.node_id = n.id`

var hotSelect = "SELECT n.id, n.lease_holder, n.lease_token, n.lease_until, n." + strings.Join(names(hotColumns), ", n.")

var fullSelect = hotSelect +
	", COALESCE(a.url, ''), COALESCE(a.version, ''), COALESCE(a.verify_ca, ''), a.last_heartbeat, a.token_given_at, a.refused_at, " +
	"COALESCE(a.boot_key, ''), COALESCE(a.called_from, ''), COALESCE(a.token_given, FALSE), a.token, c.config_drive, d." +
	strings.Join(names((*database)(nil).documentColumns()), ", d.")

type scanner interface{ Scan(dest ...any) error }

func hotFields(n *node.Node) []any {
	return append([]any{&n.ID, &n.Lease.Holder, &n.Lease.Token, micros{&n.Lease.Until}}, fields(hotColumns, n)...)
}

// scanHot reads a row of hotSelect.
func scanHot(r scanner) (*node.Node, error) {
	n := &node.Node{}
	if err := r.Scan(hotFields(n)...); err != nil {
		return nil, fmt.Errorf("read a node: %w", err)
	}
	return n, nil
}

// scanFull reads a row of fullSelect. Its documents are never nil.
func (d *database) scanFull(r scanner) (*node.Node, error) {
	n := &node.Node{Interfaces: map[node.Interface]string{}}
	for _, d := range []*node.Document{&n.Properties, &n.DriverInfo, &n.InstanceInfo, &n.DriverInternalInfo, &n.Extra, &n.NetworkData,
		&n.RAIDConfig, &n.TargetRAIDConfig} {
		*d = node.Document{}
	}
	into := append(hotFields(n),
		&n.Agent.URL, &n.Agent.Version, &n.Agent.VerifyCA, micros{&n.Agent.LastHeartbeat}, micros{&n.Agent.TokenGivenAt},
		micros{&n.Agent.RefusedAt}, &n.Agent.BootKey, &n.Agent.CalledFrom, &n.Agent.TokenGiven,
		forgiving{d.agentToken(&n.UUID, &n.Agent.Token), &n.Unreadable, "agent_token"}, forgiving{d.configDrive(n), &n.Unreadable,
			"config_drive"})
	if err := r.Scan(append(into, fields(d.documentColumns(), n)...)...); err != nil {
		return nil, fmt.Errorf("read node %s: %w", n.UUID, err)
	}
	d.tellDamage("a value of a node cannot be read; nothing is done with its machine", "node", n.UUID, n.Unreadable)
	return n, nil
}

// tellDamage logs what is unreadable of a record, once for each run of the service.
func (d *database) tellDamage(text, what, uuid string, unreadable node.Unreadable) {
	for name, why := range unreadable {
		if _, known := d.logged.LoadOrStore(uuid+" "+name, true); !known {
			d.log.Error(text, what, uuid, "field", name, "error", why)
		}
	}
}

func (d *database) agentToken(uuid, token *string) sealed {
	return sealed{d.seal, uuid, "agent_token", token}
}

func (d *database) configDrive(n *node.Node) sealed {
	return sealed{d.seal, &n.UUID, "config_drive", &n.ConfigDrive}
}
