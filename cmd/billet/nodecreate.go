package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// A node and its ports are enrolled together here, because a node without a port cannot boot from the network, and two calls
// that belong together are easily made one.

// interfaceKinds are the parts of a hardware type that a node can choose, as the openstack command names
// their flags.
var interfaceKinds = []string{"bios", "boot", "console", "deploy", "firmware", "inspect", "management", "network",
	"power", "raid", "rescue", "storage", "vendor"}

// nodeCreate takes what people type who know `openstack baremetal node create`, and the name without its flag.
func nodeCreate() *cobra.Command {
	var driverInfo, properties, extra, macs []string
	texts := map[string]*string{}
	cmd := &cobra.Command{Use: "create [NAME]", Short: "Enrol a machine", Args: cobra.MaximumNArgs(1)}
	text := func(flag, key, value, usage string) { texts[key] = cmd.Flags().String(flag, value, usage) }
	text("name", "name", "", "name of the node; the same as NAME")
	text("driver", "driver", "ipmi", "hardware type")
	text("resource-class", "resource_class", "", "resource class")
	text("uuid", "uuid", "", "UUID of the node (default a new one)")
	text("owner", "owner", "", "project that owns the node")
	text("description", "description", "", "a text about the node")
	for _, kind := range interfaceKinds {
		text(kind+"-interface", kind+"_interface", "", kind+" interface (default the hardware type's)")
	}
	cmd.Flags().StringArrayVar(&driverInfo, "driver-info", nil, "key=value, may be repeated")
	cmd.Flags().StringArrayVar(&properties, "property", nil, "key=value, may be repeated")
	cmd.Flags().StringArrayVar(&extra, "extra", nil, "key=value, may be repeated")
	cmd.Flags().StringArrayVar(&macs, "mac", nil, "MAC address of a port, may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]any{}
		for key, value := range texts {
			if *value != "" {
				body[key] = *value
			}
		}
		for _, name := range args {
			if typed := body["name"]; typed != nil && typed != name {
				return fmt.Errorf("the node is called both %s and --name %s: give one of them", name, typed)
			}
			body["name"] = name
		}
		for _, p := range []struct {
			flag, key string
			kvs       []string
		}{{"driver-info", "driver_info", driverInfo}, {"property", "properties", properties}, {"extra", "extra", extra}} {
			values, err := pairs(p.flag, p.kvs)
			if err != nil {
				return err
			}
			if len(values) > 0 {
				body[p.key] = values
			}
		}
		return create(cmd, body, macs)
	}
	return cmd
}

// create enrols a node and its ports.
func create(cmd *cobra.Command, body map[string]any, macs []string) error {
	c := newClient(cmd)
	var n nodeRow
	if err := c.do(cmd.Context(), "POST", "/v1/nodes", body, &n); err != nil {
		return err
	}
	for _, mac := range macs {
		if err := c.do(cmd.Context(), "POST", "/v1/ports", map[string]any{"node_uuid": n.UUID, "address": mac}, nil); err != nil {
			return fmt.Errorf("node %s is enrolled, but adding its port %s: %w", n.UUID, mac, err)
		}
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), n.UUID)
	return err
}
