package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/billet-metal/billet/node"
)

// Clients choose a driver by what it says of its interfaces and properties. Both are read off the hardware types, so nothing
// can be shown that a node could not be given.

// HardwareTypes are what nodes may be made of.
type HardwareTypes interface {
	// Drivers lists them; Driver describes one (NotFound).
	Drivers(ctx context.Context) ([]node.DriverInfo, error)
	Driver(ctx context.Context, name string) (node.DriverInfo, error)
	// LogicalDiskProperties describes the logical disks that a type builds (NotFound).
	LogicalDiskProperties(ctx context.Context, driver string) (map[string]string, error)
}

// services are the calls about the service itself.
type services struct {
	finder
	read  Reader
	con   HardwareTypes
	host  string
	roots []root
}

// driverView is a hardware type as one request sees it.
type driverView struct {
	node.DriverInfo
	call *call
}

var driverColumns = slices.Concat([]column[*driverView]{
	{"name", func(d *driverView) any { return d.Name }},
	{"hosts", func(d *driverView) any { return listOrEmpty(d.Hosts) }},
	{"type", func(d *driverView) any { return d.Type }},
	{"links", func(d *driverView) any { return d.call.links("drivers", d.Name) }},
	{"properties", func(d *driverView) any { return d.call.links("drivers", d.Name, "properties") }},
}, driverInterfaces())

// driverInterfaces are default_<iface>_interface and enabled_<iface>_interfaces. Only a detailed
// answer has them, and each since the node field of that interface is known.
func driverInterfaces() []column[*driverView] {
	var cols []column[*driverView]
	for _, i := range node.Interfaces {
		def, enabled := "default_"+string(i)+"_interface", "enabled_"+string(i)+"_interfaces"
		cols = append(cols,
			column[*driverView]{def, func(d *driverView) any { return orNull(d.Default[i]) }},
			column[*driverView]{enabled, func(d *driverView) any { return listOrEmpty(d.Enabled[i]) }})
	}
	return cols
}

var driverListFields = []string{"name", "hosts", "type", "links", "properties"}

func listOrEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func (sv *services) listDrivers(w http.ResponseWriter, c *call) error {
	q, err := c.query("type", "detail", "fields")
	if err != nil {
		return err
	}
	for _, key := range []string{"type", "detail"} {
		if q.Has(key) {
			if err := c.version.needs(firstOf("driver?"+key), "the query argument '"+key+"'"); err != nil {
				return err
			}
		}
	}
	fields, err := fieldsAsked(c, q, "driver", driverColumns)
	if err != nil {
		return err
	}
	detail, err := boolArg(q, "detail")
	if err != nil {
		return err
	}
	if t := q.Get("type"); t != "" && t != "classic" && t != "dynamic" {
		return invalid("The driver type must be \"classic\" or \"dynamic\", not %q.", t)
	}
	if fields == nil && (detail == nil || !*detail) {
		fields = driverListFields
	}
	return sv.writeDrivers(w, c, q.Get("type"), fields)
}

func (sv *services) writeDrivers(w http.ResponseWriter, c *call, kind string, fields []string) error {
	drivers, err := sv.con.Drivers(c.Context())
	if err != nil {
		return err
	}
	cols := shown(driverColumns, "driver", c.version, fields)
	items := []map[string]any{}
	for _, d := range drivers {
		if kind == "" || kind == d.Type {
			items = append(items, render(cols, &driverView{sv.hosted(d), c}))
		}
	}
	writeJSON(w, http.StatusOK, collection("drivers", items, nil))
	return nil
}

// hosted fills in this host for a conductor that does not say where it runs.
func (sv *services) hosted(d node.DriverInfo) node.DriverInfo {
	if len(d.Hosts) == 0 && sv.host != "" {
		d.Hosts = []string{sv.host}
	}
	return d
}

func (sv *services) showDriver(w http.ResponseWriter, c *call) error {
	q, err := c.query("fields")
	if err != nil {
		return err
	}
	fields, err := fieldsAsked(c, q, "driver", driverColumns)
	if err != nil {
		return err
	}
	d, err := sv.con.Driver(c.Context(), c.PathValue("name"))
	if err != nil {
		return err
	}
	cols := shown(driverColumns, "driver", c.version, fields)
	writeJSON(w, http.StatusOK, render(cols, &driverView{sv.hosted(d), c}))
	return nil
}

// showDriverProperties maps each driver_info key to its help.
func (sv *services) showDriverProperties(w http.ResponseWriter, c *call) error {
	d, err := sv.con.Driver(c.Context(), c.PathValue("name"))
	if err != nil {
		return err
	}
	if d.Properties == nil {
		d.Properties = map[string]string{}
	}
	writeJSON(w, http.StatusOK, d.Properties)
	return nil
}
