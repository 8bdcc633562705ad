package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/billet-metal/billet/lab"
	"github.com/billet-metal/billet/lab/bmc"
)

// The lab has a command line because people and the tests in e2e must make the same machines: what the suite proves can be
// tried by hand.

// labFlags are what every lab command takes.
type labFlags struct {
	lab    lab.Lab
	output string
}

func labCommand() *cobra.Command {
	f := &labFlags{}
	c := &cobra.Command{
		Use:   "lab",
		Short: "Virtual bare metal: machines with BMCs on a private network",
		Long: "Virtual bare metal for trying Billet without hardware: QEMU machines on a private network, each with a BMC that speaks IPMI.\n" +
			"It needs root (or the capabilities it names). `billet lab down` leaves nothing behind.",
	}
	p := c.PersistentFlags()
	p.StringVar(&f.lab.Dir, "dir", lab.DefaultDir, "directory with everything of the lab")
	p.StringVar(&f.lab.Name, "name", lab.DefaultName, "name of the lab: its namespace and its interface on this host are billet-NAME")
	p.StringVarP(&f.output, "output", "o", "text", "text or json")
	c.AddCommand(f.up(), f.create(), f.list(), f.show(), f.power(), f.console(), f.bmc(), f.disk(), f.destroy(), f.down(), f.runMachine(),
		f.image())
	return c
}

func (f *labFlags) open(c *cobra.Command) (*lab.Lab, error) {
	f.lab.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	return lab.Open(f.lab)
}

// print writes v as JSON or, in text, what text says.
func (f *labFlags) print(w io.Writer, v any, text func(io.Writer)) error {
	if f.output != "json" {
		text(w)
		return nil
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (f *labFlags) up() *cobra.Command {
	cidr := lab.DefaultCIDR
	c := &cobra.Command{
		Use: "up", Short: "Make the lab's network", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			s, err := l.Up(c.Context(), cidr)
			if err != nil {
				return err
			}
			return f.print(c.OutOrStdout(), s, func(w io.Writer) {
				fmt.Fprintf(w, "lab %s is up: this host is %s on %s; files in %s\n", s.Name, s.CIDR, s.Interface, s.Dir)
			})
		},
	}
	c.Flags().StringVar(&cidr, "cidr", cidr, "this host's address and prefix on the lab's network")
	return c
}

func (f *labFlags) create() *cobra.Command {
	var o lab.MachineOptions
	var disks []string
	port := "auto"
	c := &cobra.Command{
		Use: "create MACHINE", Short: "Make a machine, switched off, and its BMC; prints JSON", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			o.Name, f.output = args[0], "json"
			if o.Disks, err = parseSizes(disks); err != nil {
				return err
			}
			if o.CDROM != "" {
				if o.CDROM, err = filepath.Abs(o.CDROM); err != nil {
					return fmt.Errorf("finding the file for the CD drive: %w", err)
				}
			}
			if port != "auto" {
				if o.BMCPort, err = strconv.Atoi(port); err != nil {
					return fmt.Errorf("BMC port %q: a number or auto is allowed", port)
				}
			}
			if o.SecureBoot && !c.Flags().Changed("nic-rom") {
				o.NICROM = "" // the default is not signed
			}
			l, err := f.open(c)
			if err != nil {
				return err
			}
			m, err := l.Create(c.Context(), o)
			if err != nil {
				return err
			}
			return f.print(c.OutOrStdout(), m, nil)
		},
	}
	p := c.Flags()
	p.StringVar(&o.Firmware, "firmware", "bios", "bios or uefi")
	p.BoolVar(&o.SecureBoot, "secure-boot", false,
		"the firmware starts only what is signed with Microsoft's keys; needs --firmware uefi, and the cards carry no iPXE")
	p.IntVar(&o.MemoryMB, "memory", 384, "memory in MiB")
	p.IntVar(&o.CPUs, "cpus", 1, "processors")
	p.StringArrayVar(&disks, "disk", []string{"6G"}, "disk size (sparse), again for another disk; none: no disk")
	p.StringVar(&o.DiskModel, "disk-model", "virtio", "virtio, nvme, ahci or scsi")
	p.Int64Var(&o.SectorSize, "sector-size", 512, "bytes of a disk's sectors: 512 or 4096 (firmware uefi starts from these; not with ahci)")
	p.IntVar(&o.DiskPaths, "disk-paths", 1, "ways to each disk, each through a controller of its own: 1, or 2 with scsi (multipath)")
	p.StringVar(&o.CDROM, "cdrom", "", "file to have in a CD drive, such as an ISO image (default: no drive)")
	p.IntVar(&o.NICs, "nics", 1, "network cards")
	p.StringVar(&o.NICModel, "nic-model", "virtio", "virtio, e1000e or e1000")
	p.StringVar(&o.NICROM, "nic-rom", "ipxe", "ipxe: the cards carry iPXE; none: UEFI's own network boot; http: UEFI HTTP boot alone")
	p.StringArrayVar(&o.MACs, "mac", nil, "MAC address of the first card, again for the next (default: made up)")
	p.BoolVar(&o.SwitchPort, "switch-port", false,
		"each card has a cable of its own, not the lab's network: its end on this host (switch_port) goes into any switch")
	p.StringVar(&port, "bmc-port", port, "the BMC's UDP port on 127.0.0.1, or auto")
	p.BoolVar(&o.BMCInside, "bmc-inside", false, "the machine sees its BMC too, as a KCS interface (/dev/ipmi0)")
	p.StringVar(&o.BMCUser, "bmc-user", "admin", "the BMC's user")
	p.StringVar(&o.BMCPassword, "bmc-password", "", "the BMC's password (default: made up)")
	return c
}

// parseSizes reads sizes such as 6G or 512M (powers of 1024); the single word "none" is no size.
func parseSizes(texts []string) ([]int64, error) {
	sizes := []int64{}
	for _, text := range texts {
		if text == "none" {
			continue
		}
		unit := int64(1)
		number := strings.TrimRight(text, "KMGT")
		if letter := text[len(number):]; len(letter) == 1 {
			unit = 1 << (10 * (strings.Index("KMGT", letter) + 1))
		} else if letter != "" {
			number = ""
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n <= 0 || n > (1<<62)/unit {
			return nil, fmt.Errorf("size %q: a number with K, M, G or T is wanted, such as 6G", text)
		}
		sizes = append(sizes, n*unit)
	}
	return sizes, nil
}

func (f *labFlags) list() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the machines", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			machines, err := l.Machines(c.Context())
			if err != nil {
				return err
			}
			return f.print(c.OutOrStdout(), machines, func(w io.Writer) { machineTable(w, machines) })
		},
	}
}

func machineTable(w io.Writer, machines []lab.Machine) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "NAME\tPOWER\tFIRMWARE\tMEMORY\tDISKS\tMAC\tBMC")
	for _, m := range machines {
		mac := "-"
		if len(m.NICs) > 0 {
			mac = m.NICs[0].MAC
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d MiB\t%d\t%s\t%s:%d\n", m.Name, m.Power, m.Firmware, m.MemoryMB, len(m.Disks), mac, m.BMC.Address,
			m.BMC.Port)
	}
}

func (f *labFlags) show() *cobra.Command {
	return &cobra.Command{
		Use: "show MACHINE", Short: "Show one machine as JSON", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			m, err := l.Machine(c.Context(), args[0])
			if err != nil {
				return err
			}
			f.output = "json"
			return f.print(c.OutOrStdout(), m, nil)
		},
	}
}

func (f *labFlags) power() *cobra.Command {
	return &cobra.Command{
		Use: "power MACHINE on|off|reset|cycle|soft", Short: "Press a machine's buttons", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			return l.Power(c.Context(), args[0], args[1])
		},
	}
}

func (f *labFlags) console() *cobra.Command {
	var o lab.FollowOptions
	var attach, fromNow *bool
	c := &cobra.Command{
		Use: "console MACHINE", Short: "Watch a machine's serial line, from the beginning", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			if *attach {
				o.Typed = os.Stdin
			}
			if *fromNow {
				o.From = lab.FromNow
			}
			return l.Follow(c.Context(), args[0], c.OutOrStdout(), o)
		},
	}
	p := c.Flags()
	p.StringVar(&o.Until, "until", "", "end when this text has appeared")
	p.DurationVar(&o.Within, "timeout", 10*time.Minute, "with --until: fail after this time")
	attach = p.Bool("attach", false, "send what is typed, line by line")
	fromNow = p.Bool("from-now", false, "leave out what was said before")
	return c
}

func (f *labFlags) bmc() *cobra.Command {
	var faults bmc.Faults
	var profile string
	c := &cobra.Command{
		Use: "bmc MACHINE", Short: "Make a machine's BMC misbehave; without options it is healthy again", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			if profile != "" {
				known, ok := bmc.Profiles[profile]
				if !ok {
					return fmt.Errorf("profile %q: there are %s", profile, strings.Join(bmc.ProfileNames(), ", "))
				}
				faults.Quirks = known.Quirks
			}
			return l.SetFaults(c.Context(), args[0], faults)
		},
	}
	p := c.Flags()
	p.Bool("ok", false, "healthy (as without any option)")
	p.StringVar(&profile, "profile", "", "a BMC with a maker's ways: "+strings.Join(bmc.ProfileNames(), ", "))
	p.BoolVar(&faults.Dead, "dead", false, "answers nothing")
	p.DurationVar(&faults.Delay, "slow", 0, "every answer leaves this late")
	p.IntVar(&faults.DropPercent, "drop-percent", 0, "loses this share of packets")
	p.BoolVar(&faults.RefuseLogin, "refuse-login", false, "every password is wrong")
	p.BoolVar(&faults.NoSlots, "no-slots", false, "no room for another session")
	p.BoolVar(&faults.LiesAboutPower, "lies-about-power", false, "says yes to power commands and does nothing")
	p.BoolVar(&faults.LiesAboutBoot, "lies-about-boot", false, "says yes to boot devices and forgets them")
	p.BoolVar(&faults.BrokenPower, "broken-power", false, "cannot tell the power state")
	p.BoolVar(&faults.Garbage, "garbage", false, "garbles every answer")
	p.IntVar(&faults.BusyCommands, "busy", 0, "the next N commands are answered with: node busy")
	return c
}

func (f *labFlags) disk() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use: "disk MACHINE NUMBER pull|plug|break|heal", Short: "Pull a disk out, plug it in, or break it, so that a write fails",
		Args: cobra.ExactArgs(3),
		Long: "Pull a disk out of a machine, plug it in, or break it, so that a write to one place of it fails. Disks are counted from 0.\n" +
			"While a machine is on, only disks of the model scsi can be pulled and plugged, and none broken or healed.",
		RunE: func(c *cobra.Command, args []string) (err error) {
			change := lab.DiskChange{Do: args[2]}
			if change.Number, err = strconv.Atoi(args[1]); err != nil {
				return fmt.Errorf("disk number %q: a number from 0 on is wanted", args[1])
			}
			if change.Do == "break" {
				sizes, err := parseSizes([]string{at})
				if err != nil {
					return err
				}
				if len(sizes) != 1 {
					return fmt.Errorf("--at %s: a place such as 8M is wanted", at)
				}
				change.BadAt = sizes[0]
			}
			l, err := f.open(c)
			if err != nil {
				return err
			}
			return l.ChangeDisk(c.Context(), args[0], change)
		},
	}
	c.Flags().StringVar(&at, "at", "8M", "with break: where on the disk a write fails")
	return c
}

func (f *labFlags) destroy() *cobra.Command {
	return &cobra.Command{
		Use: "destroy MACHINE", Short: "Remove a machine and its disks", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			return l.Destroy(c.Context(), args[0])
		},
	}
}

func (f *labFlags) down() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Remove the whole lab: machines, network, files", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			return l.Down(c.Context())
		},
	}
}

// runMachine is what `create` starts for each machine, in the background.
func (f *labFlags) runMachine() *cobra.Command {
	return &cobra.Command{
		Use: "run-machine MACHINE", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open(c)
			if err != nil {
				return err
			}
			return l.RunMachine(c.Context(), args[0])
		},
	}
}
