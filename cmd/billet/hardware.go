package main

import (
	"context"
	"slices"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/driver/agent"
	"github.com/billet-metal/billet/driver/fake"
	"github.com/billet-metal/billet/driver/ipmi"
	"github.com/billet-metal/billet/driver/iscsi"
	"github.com/billet-metal/billet/driver/pxe"
	"github.com/billet-metal/billet/inspection"
	"github.com/billet-metal/billet/network"
	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

// The hardware types are literals here, not registered by imports: one file shows every combination that this binary offers,
// and what each part is built from.

// hardwareTypes lists every hardware type of this binary, narrowed to the enabled ones. Of each
// interface the first implementation is the default.
func hardwareTypes(c *Config, p parts) driver.Types {
	power, management := ipmi.New(ipmi.Options{PowerWait: c.PowerTimeout})
	pxeBoot := func(loader boot.Loader) *pxe.Boot {
		return &pxe.Boot{
			Loader: loader, Records: p.records, APIURL: p.machineURL,
			Kernel: c.DeployKernel, Ramdisk: c.DeployRamdisk, AppendParams: c.KernelAppendParams,
			Loaders: boot.Loaders{Dirs: c.LoaderDirs}, Server: p.bootServer,
			Gate: p.gate, Images: p.files(),
			CaptureSerial: c.CaptureSerial, SerialConsole: c.SerialConsole,
		}
	}
	ipxe, tftp, httpIPXE := pxeBoot(boot.IPXE), pxeBoot(boot.PXE), pxeBoot(boot.IPXE)
	httpIPXE.Firmware = pxe.UEFIHTTP
	direct := &agent.Direct{
		Sources: p.sources, Images: p.images, ImageURL: p.machineURL, APIURL: p.machineURL, BootTimeout: c.DeployTimeout,
		Priorities: map[string]int{
			"deploy.erase_devices": c.EraseDevicesPriority, "deploy.erase_devices_metadata": c.EraseMetadataPriority,
			"raid.create_configuration": c.CreateRAIDPriority, "raid.delete_configuration": c.DeleteRAIDPriority,
		},
		NoImagePrograms: !c.RunImageBootloader,
		Erase: &agent.Erase{
			ATA: c.EraseATA, NVMe: c.EraseNVMe, Overwrite: c.EraseContinue, SkipReadOnly: c.EraseSkipReadOnly, AtOnce: c.EraseConcurrency,
			RandomPasses: c.EraseIterations, NoZerosAfterAll: !c.EraseZeros,
		},
	}
	softwareRAID := &agent.RAID{Direct: direct}
	rescue := &agent.Rescue{APIURL: p.machineURL, BootTimeout: c.RescueTimeout}
	viaISCSI := &iscsi.Deploy{
		Base: direct, Sources: p.sources, Gate: p.served, Records: p.records, APIURL: p.machineURL,
		BootTimeout: c.DeployTimeout, TempDir: c.DataDir,
	}
	inspect := &agent.Inspect{
		APIURL: p.machineURL, BootTimeout: c.InspectTimeout, Params: c.InspectionParams,
		Settings: inspection.Settings{
			Hooks:    c.InspectionHooks,
			AddPorts: inspection.AddPorts(c.InspectionAddPorts), KeepPorts: inspection.KeepPorts(c.InspectionKeepPorts),
			CPUCapabilities: c.CPUCapabilities, PCIAliases: c.PCIAliases, PhysicalNetworks: c.PhysicalNetworks,
		},
	}
	if !c.InspectionPXEPorts {
		inspect.PXEPorts = inspection.KeepPXEPorts
	}
	if !c.InspectionPowerOff {
		inspect.After = agent.StayOn
	}
	if c.InspectionLLDP {
		inspect.LLDP = inspection.LLDP
	}

	all := driver.Types{
		{
			Name:       "ipmi",
			Power:      []driver.Power{power},
			Management: []driver.Management{management},
			Boot:       []driver.Boot{ipxe, tftp, httpIPXE},
			Deploy:     []driver.Deploy{direct, agent.InMemory{Direct: direct}, agent.Custom{Direct: direct}, viaISCSI},
			Inspect:    []driver.Inspect{inspect},
			Network:    networkInterfaces(c, p),
			Other: without(func(i node.Interface) []driver.Implementation {
				switch i {
				case node.RescueIf:
					return []driver.Implementation{rescue}
				case node.RAID: // only where somebody asks for it
					return []driver.Implementation{absent{i}, softwareRAID}
				}
				return nil
			}),
		},
		{
			Name:       "fake-hardware",
			Power:      []driver.Power{fake.NewPower()},
			Management: []driver.Management{fake.NewManagement()},
			Boot:       []driver.Boot{fake.NewBoot(), ipxe, tftp, httpIPXE},
			Deploy:     []driver.Deploy{fake.NewDeploy(), direct, agent.InMemory{Direct: direct}, agent.Custom{Direct: direct}, viaISCSI},
			Inspect:    []driver.Inspect{fake.NewInspect(), inspect},
			Network:    append(networkInterfaces(c, p), fake.NewNetwork()),
			Other: without(func(i node.Interface) []driver.Implementation {
				switch i {
				case node.RescueIf:
					return []driver.Implementation{fake.NewOther(i), rescue}
				case node.RAID:
					return []driver.Implementation{fake.NewRAID(), softwareRAID}
				}
				return []driver.Implementation{fake.NewOther(i)}
			}),
		},
		{
			Name:       "manual-management",
			Power:      []driver.Power{agent.Power{}, fake.NewPower()},
			Management: []driver.Management{agent.Unmanaged{}, fake.NewManagement()},
			Boot:       []driver.Boot{ipxe, tftp, httpIPXE},
			Deploy:     []driver.Deploy{direct, agent.InMemory{Direct: direct}, agent.Custom{Direct: direct}},
			Inspect:    []driver.Inspect{inspect},
			Network:    append([]driver.Network{network.Noop{}}, besides(networkInterfaces(c, p), "noop")...),
			Other:      without(func(node.Interface) []driver.Implementation { return nil }),
		},
	}
	return slices.DeleteFunc(all, func(t driver.Type) bool { return !slices.Contains(c.HardwareTypes, t.Name) })
}

// networkInterfaces are the network interfaces. In a cloud Neutron connects machines, unless a node says noop.
func networkInterfaces(c *Config, p parts) []driver.Network {
	if p.cloud == nil || !c.Neutron {
		return []driver.Network{network.Noop{}, network.Flat{}}
	}
	cloud := &network.Cloud{
		Neutron: &openstack.Networks{Session: p.cloud}, Networks: c.NeutronNetworks, PortTime: c.NeutronPortTime,
		DHCP: c.DHCPProvider == "neutron",
	}
	return []driver.Network{network.Flat{Cloud: cloud}, network.Neutron{Cloud: cloud}, network.Noop{}}
}

// besides are the others than the one of a name. Machines that only their ramdisk can reboot need it to run on (fast track), so they
// stay where they are plugged in unless a node says otherwise.
func besides(all []driver.Network, name string) []driver.Network {
	return slices.DeleteFunc(all, func(n driver.Network) bool { return n.Name() == name })
}

// without fills the interfaces that have no implementation of their own yet: storage is "noop" and
// the others "no-<interface>", after what first offers.
func without(first func(node.Interface) []driver.Implementation) map[node.Interface][]driver.Implementation {
	other := map[node.Interface][]driver.Implementation{}
	for _, i := range []node.Interface{node.BIOS, node.Console, node.Firmware, node.RAID, node.RescueIf, node.Storage, node.Vendor} {
		if i != node.Storage {
			other[i] = append(other[i], first(i)...)
		}
		if !slices.Contains(other[i], driver.Implementation(absent{i})) {
			other[i] = append(other[i], absent{i})
		}
	}
	return other
}

// absent is an interface that a hardware type does not have.
type absent struct{ iface node.Interface }

func (a absent) Name() string {
	if a.iface == node.Storage {
		return "noop"
	}
	return "no-" + string(a.iface)
}

func (a absent) Properties() map[string]string { return nil }

func (a absent) Validate(_ context.Context, t *driver.Task) error {
	if a.iface == node.Storage {
		return bootsFromDisk(t)
	}
	return node.Unsupported(t.Node.Driver, string(a.iface))
}

// bootsFromDisk is the check of the storage interface noop: an instance without an image whose first volume is
// elsewhere would boot from that volume, which nothing here can do.
func bootsFromDisk(t *driver.Task) error {
	if t.Node.InstanceInfo["image_source"] != nil {
		return nil
	}
	for _, v := range t.VolumeTargets {
		if v.BootIndex == 0 {
			return node.Errorf(node.Invalid,
				"The instance of node %s is to boot from volume %s: volume target %s has boot index 0, and instance_info has no image_source. "+
					"The storage interface noop can not boot from volumes; name an image, or delete the volume target.", t.Node.UUID, v.VolumeID, v.UUID)
		}
	}
	return nil
}
