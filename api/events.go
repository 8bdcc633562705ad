package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/billet-metal/billet/api/payload"
	"github.com/billet-metal/billet/node"
)

// The network service tells here what became of the ports that it connects for machines (Neutron's [ironic] enable_notifications).

// NetworkListener hears what the network service says.
type NetworkListener interface {
	// NetworkEvents has the nodes looked at that the events are about and that wait. Events of no node are none.
	NetworkEvents(ctx context.Context, events []node.NetworkEvent) error
}

// networkEvents are the events that Ironic takes.
var networkEvents = []string{"network.bind_port", "network.unbind_port", "network.delete_port"}

const (
	mostEvents = 1000 // of one call; Neutron gathers those of two seconds
	eventText  = 255
)

type events struct{ con NetworkListener }

func (ev *events) routes() []route {
	return []route{{pattern: "POST /v1/events", serve: ev.take}}
}

func (ev *events) take(w http.ResponseWriter, c *call) error {
	body, err := payload.DecodeObject(c.body)
	if err != nil {
		return err
	}
	list, ok := body["events"].([]any)
	if !ok || len(body) != 1 || len(list) == 0 || len(list) > mostEvents {
		return invalid("The body must be {\"events\": […]} with 1 to %d events.", mostEvents)
	}
	all := make([]node.NetworkEvent, len(list))
	for i, item := range list {
		if all[i], err = readEvent(item); err != nil {
			return invalid("Event %d: %v", i, err)
		}
	}
	if err := ev.con.NetworkEvents(c.Context(), all); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readEvent reads one event. What the network service leaves empty it leaves out.
func readEvent(item any) (e node.NetworkEvent, err error) {
	body, ok := item.(map[string]any)
	if !ok {
		return e, invalid("an event must be an object, not %s.", payload.KindOf(item))
	}
	fields := map[string]*string{
		"event": &e.Name, "port_id": &e.PortID, "mac_address": &e.MAC, "status": &e.Status,
		"binding:host_id": &e.Host, "device_id": new(string), "binding:vnic_type": new(string),
	}
	for key, value := range body {
		field := fields[key]
		if field == nil {
			return e, invalid("unknown field %q; the fields are %s.", key, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
		if *field, err = payload.Text(key, value, eventText); err != nil {
			return e, err
		}
	}
	for _, key := range []string{"event", "port_id", "mac_address", "status"} {
		if *fields[key] == "" {
			return e, invalid("the field %s is missing.", key)
		}
	}
	return checkedEvent(e)
}

func checkedEvent(e node.NetworkEvent) (node.NetworkEvent, error) {
	if !slices.Contains(networkEvents, e.Name) {
		return e, invalid("unknown event %q; known are %s.", e.Name, strings.Join(networkEvents, ", "))
	}
	if !isUUID(e.PortID) {
		return e, invalid("Expected a UUID for port_id but received %q.", e.PortID)
	}
	mac, ok := canonicalMAC(e.MAC)
	if !ok {
		return e, invalid("Expected a MAC address but received %q.", e.MAC)
	}
	e.PortID, e.MAC = canonicalUUID(e.PortID), mac
	if isUUID(e.Host) {
		e.Host = canonicalUUID(e.Host)
	}
	return e, nil
}
