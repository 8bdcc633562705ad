package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// These commands spare an operator the openstack client for what is done every day. Each is a call or two of the API; none
// does what the API cannot.

func nodeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "Enrol, deploy, watch and take back machines"}
	cmd.PersistentFlags().String("api", "", "base URL of the service (default $BILLET_API or http://127.0.0.1:6385)")
	cmd.PersistentPreRun = func(cmd *cobra.Command, _ []string) { cmd.SetOut(terminal{cmd.OutOrStdout()}) }
	cmd.AddCommand(nodeList(), nodeShow(), nodeCreate(), nodeDelete(), nodeDeploy(), nodePower(),
		nodeWatch(), nodeWhy(), nodeErased(), nodeStrangers())
	for _, v := range []struct{ use, target, short string }{
		{"manage", "manage", "verify a new node, or take one back to manageable"},
		{"inspect", "inspect", "boot the agent and record what is in the machine"},
		{"provide", "provide", "clean a node and make it available"},
		{"undeploy", "deleted", "take a machine back and clean it"},
		{"abort", "abort", "stop what is waiting"},
	} {
		cmd.AddCommand(nodeVerb(v.use, v.target, v.short))
	}
	return cmd
}

type nodeRow struct {
	UUID               string  `json:"uuid"`
	Name               *string `json:"name"`
	Power              *string `json:"power_state"`
	State              string  `json:"provision_state"`
	Target             *string `json:"target_provision_state"`
	Maintenance        bool    `json:"maintenance"`
	MaintenanceReason  *string `json:"maintenance_reason"`
	LastError          *string `json:"last_error"`
	ProvisionUpdatedAt *string `json:"provision_updated_at"`
}

func value(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func nodeList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List nodes", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "UUID\tNAME\tPOWER\tSTATE\tMAINTENANCE")
		c, path := newClient(cmd), "/v1/nodes"
		for path != "" {
			var page struct {
				Nodes []nodeRow
				Next  string
			}
			if err := c.do(cmd.Context(), "GET", path, nil, &page); err != nil {
				return err
			}
			for _, n := range page.Nodes {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%t\n", n.UUID, value(n.Name), value(n.Power), n.State, n.Maintenance)
			}
			path = c.below(page.Next)
		}
		return w.Flush()
	}}
}

func nodeShow() *cobra.Command {
	return &cobra.Command{Use: "show NODE", Short: "Show everything about a node, as JSON", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var n json.RawMessage
			if err := newClient(cmd).do(cmd.Context(), "GET", nodePath(args[0]), nil, &n); err != nil {
				return err
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			out.SetIndent("", "  ")
			out.SetEscapeHTML(false) // people read it: an & is an &
			return out.Encode(n)
		}}
}

func nodeDelete() *cobra.Command {
	return &cobra.Command{Use: "delete NODE", Short: "Forget a node", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return newClient(cmd).do(cmd.Context(), "DELETE", nodePath(args[0]), nil, nil)
		}}
}

// powerTargets are what people call them, and the API's names.
var powerTargets = map[string]string{"on": "power on", "off": "power off", "reboot": "rebooting",
	"soft-off": "soft power off", "soft-reboot": "soft rebooting"}

func nodePower() *cobra.Command {
	return &cobra.Command{Use: "power NODE on|off|reboot|soft-off|soft-reboot", Short: "Switch a machine", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ident, target := args[0], powerTargets[args[1]]
			if target == "" { // as the openstack command has it: power on NODE
				ident, target = args[1], powerTargets[args[0]]
			}
			if target == "" {
				return fmt.Errorf("power %q: use on, off, reboot, soft-off or soft-reboot", args[1])
			}
			return newClient(cmd).do(cmd.Context(), "PUT", nodePath(ident)+"/states/power", map[string]any{"target": target}, nil)
		}}
}

func nodeVerb(use, target, short string) *cobra.Command {
	cmd := &cobra.Command{Use: use + " NODE", Short: strings.ToUpper(short[:1]) + short[1:], Args: cobra.ExactArgs(1)}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return provision(cmd, args[0], map[string]any{"target": target})
	}
	addWaitFlags(cmd)
	return cmd
}

func nodeDeploy() *cobra.Command {
	var image, checksum, hint string
	var asked driveFlags
	cmd := &cobra.Command{Use: "deploy NODE --image URL", Short: "Write an operating system to a machine and start it",
		Args: cobra.ExactArgs(1)}
	cmd.Flags().StringVar(&image, "image", "", "http(s):// or file:// URL, or a name in the local image store")
	cmd.Flags().StringVar(&checksum, "checksum", "", "sha256 or sha512 of the image; needed for http(s)")
	cmd.Flags().StringVar(&hint, "root-device", "", "root device hint as JSON, such as {\"serial\":\"S1\"}")
	cmd.Flags().StringVar(&asked.hostname, "hostname", "", "host name for the config drive")
	cmd.Flags().StringArrayVar(&asked.sshKeys, "ssh-key", nil, "public SSH key for the config drive, or a file with one; may be repeated")
	cmd.Flags().StringVar(&asked.userData, "user-data", "", "file with user data for the config drive")
	cmd.Flags().StringVar(&asked.networkData, "network-data", "",
		"file with network data (JSON) for the config drive; without it instances ask DHCP")
	addWaitFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		patch, err := instancePatch(image, checksum, hint)
		if err != nil {
			return err
		}
		body := map[string]any{"target": "active"}
		drive, err := configDrive(asked)
		if err != nil {
			return err
		}
		if drive != nil {
			if body["configdrive"], err = onTheWire(cmd, args[0], *drive); err != nil {
				return err
			}
		}
		if len(patch) > 0 {
			if err := newClient(cmd).do(cmd.Context(), "PATCH", nodePath(args[0]), patch, nil); err != nil {
				return err
			}
		}
		return provision(cmd, args[0], body)
	}
	return cmd
}

// instancePatch sets instance_info, whole, from the flags; no image leaves it as it is.
func instancePatch(image, checksum, hint string) ([]map[string]any, error) {
	if image == "" {
		if checksum != "" || hint != "" {
			return nil, fmt.Errorf("--checksum and --root-device need --image")
		}
		return nil, nil
	}
	info := map[string]any{"image_source": image}
	switch len(checksum) {
	case 0:
	case 64:
		info["image_os_hash_algo"], info["image_os_hash_value"] = "sha256", checksum
	case 128:
		info["image_os_hash_algo"], info["image_os_hash_value"] = "sha512", checksum
	default:
		return nil, fmt.Errorf("--checksum: %d characters; sha256 has 64 and sha512 has 128", len(checksum))
	}
	if hint != "" {
		var v map[string]any
		if err := json.Unmarshal([]byte(hint), &v); err != nil {
			return nil, fmt.Errorf("--root-device: %w", err)
		}
		info["root_device"] = v
	}
	return []map[string]any{{"op": "add", "path": "/instance_info", "value": info}}, nil
}

func addWaitFlags(cmd *cobra.Command) {
	cmd.Flags().Bool("wait", false, "show live progress until the node arrives or fails")
	cmd.Flags().Duration("timeout", 45*time.Minute, "give up waiting after this")
}

// provision asks for a provision state and, with --wait, watches until the node is there.
func provision(cmd *cobra.Command, ident string, body map[string]any) error {
	c, began := newClient(cmd), time.Now()
	if err := c.do(cmd.Context(), "PUT", nodePath(ident)+"/states/provision", body, nil); err != nil {
		return err
	}
	if wait, _ := cmd.Flags().GetBool("wait"); !wait {
		return nil
	}
	timeout, _ := cmd.Flags().GetDuration("timeout")
	return watch(cmd.Context(), c, ident, cmd.OutOrStdout(), watchOptions{Since: began, Timeout: timeout, UntilStable: true})
}

func nodePath(ident string) string { return "/v1/nodes/" + url.PathEscape(ident) }

// pairs reads key=value flags. A value that is JSON (a number, true, an object) is kept as such.
func pairs(flag string, kvs []string) (map[string]any, error) {
	m := map[string]any{}
	for _, kv := range kvs {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("--%s %q is not key=value", flag, kv)
		}
		var parsed any
		if json.Unmarshal([]byte(v), &parsed) == nil && slices.ContainsFunc([]string{"{", "["}, func(p string) bool {
			return strings.HasPrefix(v, p)
		}) {
			m[k] = parsed
			continue
		}
		m[k] = v
	}
	return m, nil
}
