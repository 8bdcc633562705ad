package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/billet-metal/billet/server"
)

// A server is what a user wants: an image on any machine of a kind. The commands read flags and print; what a server is and how it
// is taken back is the room server's.

func serverCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "server", Short: "Make servers of machines, without a compute service"}
	cmd.PersistentFlags().String("api", "", "base URL of the service (default $BILLET_API or http://127.0.0.1:6385)")
	cmd.PersistentFlags().StringP("output", "o", "text", "text or json")
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(terminal{cmd.OutOrStdout()})
		cmd.SetErr(terminal{cmd.ErrOrStderr()})
		if output, _ := cmd.Flags().GetString("output"); output != "text" && output != "json" {
			return fmt.Errorf("--output %q: use text or json", output)
		}
		return nil
	}
	cmd.AddCommand(serverCreate(), serverList(), serverShow(), serverRebuild(), serverDelete())
	return cmd
}

// servers are the service's, seen by a command. What happens to them is told on the standard error.
func servers(cmd *cobra.Command) (*server.Servers, error) {
	calls := bareMetal{newClient(cmd)}
	networks, err := userNetworks()
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	began, out := time.Now(), cmd.ErrOrStderr()
	return &server.Servers{Allocations: calls, Nodes: calls, Networks: networks, Say: func(name, line string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, "%7.1fs  %s %s\n", time.Since(began).Seconds(), name, line)
	}}, nil
}

// createFlags are what a server is asked for with.
type createFlags struct {
	order                      server.Order
	info, keys                 []string
	userData, address, gateway string
	dns                        []string
	rootGB, swapMB, count      int
}

func serverCreate() *cobra.Command {
	var f createFlags
	cmd := &cobra.Command{Use: "create NAME --image IMAGE --resource-class CLASS", Args: cobra.ExactArgs(1),
		Short: "Choose a machine, deploy an image to it and connect it; all of it is taken back when something fails"}
	flags := cmd.Flags()
	imageFlags(cmd, &f.order.Image, &f.info)
	flags.IntVar(&f.rootGB, "root-gb", 0, "size of the root partition; makes the image a partition image")
	flags.IntVar(&f.swapMB, "swap-mb", 0, "size of the swap partition of a partition image")
	flags.StringVar(&f.order.Class, "resource-class", "", "resource class that the machine must have")
	flags.StringArrayVar(&f.order.Traits, "trait", nil, "trait that the machine must have; may be repeated")
	flags.StringArrayVar(&f.order.Candidates, "node", nil, "name or UUID of a node that will do, none other; may be repeated")
	flags.StringArrayVar(&f.order.Networks, "network", nil, "name or UUID of a network of Neutron, on which a port is made; may be repeated")
	flags.StringArrayVar(&f.order.Ports, "port", nil, "UUID of a port of Neutron that is there; may be repeated")
	flags.StringVar(&f.address, "address", "", "without Neutron: address that the server is told, such as 192.0.2.7/24; default: it asks DHCP")
	flags.StringVar(&f.gateway, "gateway", "", "its default router")
	flags.StringArrayVar(&f.dns, "dns", nil, "a name server; may be repeated")
	flags.StringArrayVar(&f.keys, "key", nil, "public SSH key, or a file with one; may be repeated")
	flags.StringVar(&f.userData, "user-data", "", "file with user data")
	flags.StringVar(&f.order.Hostname, "hostname", "", "host name (default NAME)")
	flags.IntVar(&f.count, "count", 1, "how many; they are called NAME-1, NAME-2 and so on, and each stands for itself")
	addWaitFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.order.Name, f.order.Wait = args[0], waiting(cmd)
		orders, err := f.orders()
		if err != nil {
			return err
		}
		s, err := servers(cmd)
		if err != nil {
			return err
		}
		defer stopOnSecond(cmd)()
		made, errs := s.CreateAll(cmd.Context(), orders)
		return printMade(cmd, made, errs)
	}
	return cmd
}

func imageFlags(cmd *cobra.Command, i *server.Image, info *[]string) {
	cmd.Flags().StringVar(&i.Source, "image", "", "http(s):// or file:// URL, a name in the local image store, or an image of Glance")
	cmd.Flags().StringVar(&i.Checksum, "checksum", "", "sha256 or sha512 of the image; needed for http(s)")
	cmd.Flags().StringArrayVar(info, "instance-info", nil, "key=value of instance_info, such as capabilities=boot_mode:uefi; may be repeated")
}

// waiting is how long a command waits; 0: not at all.
func waiting(cmd *cobra.Command) time.Duration {
	if wait, _ := cmd.Flags().GetBool("wait"); !wait {
		return 0
	}
	timeout, _ := cmd.Flags().GetDuration("timeout")
	return max(timeout, time.Second)
}

// stopOnSecond lets a second signal end the program at once: the first begins to take back what was made.
func stopOnSecond(cmd *cobra.Command) (stop func() bool) {
	return context.AfterFunc(cmd.Context(), func() {
		signal.Reset(os.Interrupt, syscall.SIGTERM)
		fmt.Fprintln(cmd.ErrOrStderr(), "Taking back what was made. A second signal ends this at once; `billet server delete` finishes it then.")
	})
}

// orders are the servers that the flags ask for.
func (f *createFlags) orders() ([]server.Order, error) {
	o := f.order
	for _, given := range f.keys {
		key, err := publicKey(given)
		if err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
		o.Keys = append(o.Keys, key)
	}
	var err error
	if o.UserData, err = boundedFile(f.userData, server.MostUserData); err != nil {
		return nil, fmt.Errorf("--user-data: %w", err)
	}
	if o.Image.More, err = pairs("instance-info", f.info); err != nil {
		return nil, err
	}
	if f.rootGB != 0 || f.swapMB != 0 {
		o.Image.More["image_type"], o.Image.More["root_gb"], o.Image.More["swap_mb"] = "partition", f.rootGB, f.swapMB
	}
	if o.Address, err = f.staticAddress(); err != nil {
		return nil, err
	}
	switch {
	case f.count < 1 || f.count > mostServers:
		return nil, fmt.Errorf("--count %d: from 1 to %d servers are made at once", f.count, mostServers)
	case f.count == 1:
		return []server.Order{o}, o.Check()
	case o.Address != nil, len(o.Ports) > 0, o.Hostname != "":
		return nil, errors.New("--address, --port and --hostname are for one server, not for several")
	}
	var all []server.Order
	for i := range f.count {
		one := o
		one.Name = fmt.Sprintf("%s-%d", o.Name, i+1)
		all = append(all, one)
	}
	return all, all[f.count-1].Check()
}

// mostServers bounds what one command makes at the same time.
const mostServers = 100

func (f *createFlags) staticAddress() (*server.Address, error) {
	if f.address == "" {
		if f.gateway != "" || len(f.dns) > 0 {
			return nil, errors.New("--gateway and --dns need --address: what asks DHCP is told them there")
		}
		return nil, nil
	}
	var a server.Address
	var err error
	if a.Prefix, err = netip.ParsePrefix(f.address); err != nil {
		return nil, fmt.Errorf("--address %q is not ADDRESS/LENGTH, such as 192.0.2.7/24", f.address)
	}
	if f.gateway != "" {
		if a.Gateway, err = netip.ParseAddr(f.gateway); err != nil || !a.Prefix.Contains(a.Gateway) {
			return nil, fmt.Errorf("--gateway %q is no address of the network %s", f.gateway, a.Prefix.Masked())
		}
	}
	for _, text := range f.dns {
		dns, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--dns %q is no address", text)
		}
		a.DNS = append(a.DNS, dns)
	}
	return &a, nil
}

// boundedFile reads a file of at most so many bytes, and one byte more of a larger one; "" has none.
func boundedFile(path string, most int64) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, err
}

// printMade prints the servers that were made; those that were not are the error.
func printMade(cmd *cobra.Command, made []server.Server, errs []error) error {
	var there []server.Server
	for i, v := range made {
		if errs[i] == nil {
			there = append(there, v)
		}
	}
	var err error
	switch failed := len(made) - len(there); {
	case failed == 1 && len(made) == 1:
		err = errs[0]
	case failed > 0:
		err = fmt.Errorf("%d of %d servers were not made:\n%w", failed, len(made), errors.Join(errs...))
	}
	if len(there) == 0 {
		return err
	}
	return errors.Join(printServers(cmd, there, len(made) == 1), err)
}

// printServers prints a list, or as JSON the one server where only one can be meant.
func printServers(cmd *cobra.Command, list []server.Server, one bool) error {
	if output, _ := cmd.Flags().GetString("output"); output == "json" {
		if one {
			return printJSON(cmd.OutOrStdout(), list[0])
		}
		return printJSON(cmd.OutOrStdout(), list)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tUUID\tNODE\tSTATE\tIMAGE\tADDRESSES\tCREATED")
	for _, v := range list {
		on := v.NodeName
		if on == "" {
			on = v.NodeUUID
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", dash(v.Name), v.UUID, dash(on), v.State, dash(v.Image),
			dash(strings.Join(v.Addresses, ",")), v.CreatedAt.UTC().Format(time.DateTime))
	}
	return w.Flush()
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func serverList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List servers", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		s, err := servers(cmd)
		if err != nil {
			return err
		}
		list, err := s.List(cmd.Context())
		if err != nil {
			return err
		}
		return printServers(cmd, list, false)
	}}
}

func serverShow() *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "Show a server, and why it failed", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := servers(cmd)
			if err != nil {
				return err
			}
			v, err := s.Show(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := printServers(cmd, []server.Server{v}, true); err != nil {
				return err
			}
			if output, _ := cmd.Flags().GetString("output"); output == "text" && v.LastError != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "Why: %s\n", v.LastError)
				if v.NodeUUID != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "`billet node why %s` shows what was seen of its machine.\n", v.NodeUUID)
				}
			}
			return nil
		}}
}

func serverRebuild() *cobra.Command {
	var r server.Rebuild
	var info []string
	cmd := &cobra.Command{Use: "rebuild NAME", Short: "Write a server's disk anew; machine, networks and config drive stay",
		Args: cobra.ExactArgs(1)}
	imageFlags(cmd, &r.Image, &info)
	cmd.Flags().BoolVar(&r.PreserveEphemeral, "preserve-ephemeral", false, "keep the data partition of a partition image")
	addWaitFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		r.Wait = waiting(cmd)
		if r.Image.More, err = pairs("instance-info", info); err != nil {
			return err
		}
		s, err := servers(cmd)
		if err != nil {
			return err
		}
		v, err := s.Rebuild(cmd.Context(), args[0], r)
		if err != nil {
			return err
		}
		return printServers(cmd, []server.Server{v}, true)
	}
	return cmd
}

func serverDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME…", Short: "Take servers back, with all that was made for them",
		Args: cobra.MinimumNArgs(1)}
	cmd.Flags().Bool("wait", false, "until their machines have been cleaned")
	cmd.Flags().Duration("timeout", 45*time.Minute, "give up waiting after this")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := servers(cmd)
		if err != nil {
			return err
		}
		timeout, _ := cmd.Flags().GetDuration("timeout")
		wait, _ := cmd.Flags().GetBool("wait")
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		errs := make([]error, len(args))
		var all sync.WaitGroup
		for i, name := range args {
			all.Go(func() { errs[i] = s.Delete(ctx, name, wait) })
		}
		all.Wait()
		return errors.Join(errs...)
	}
	return cmd
}
