package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pythonAgent is what is installed: Ironic's own agent, as it is.
const pythonAgent = "ironic-python-agent==13.0.0"

// pythonPackages are the programs that it calls.
const pythonPackages = "python3,udev,kmod,iproute2,isc-dhcp-client,gdisk,parted,qemu-utils,dmidecode,pciutils,ethtool,hdparm," +
	"e2fsprogs,dosfstools,efibootmgr,mdadm,lshw,nvme-cli,psmisc,file,bsdextrautils,procps"

// pythonInit starts udev and DHCP, and then nothing but the agent, again and again as its service would.
const pythonInit = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 PACKAGES=/usr/local/lib/python3.11/dist-packages
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
exec > /dev/ttyS0 2>&1 < /dev/null
echo PYTHON-AGENT-RAMDISK starts
for m in $(cat /modules/order); do insmod /modules/$m 2>/dev/null; done
[ -d /sys/firmware/efi ] && mount -t efivarfs efivarfs /sys/firmware/efi/efivars
/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add
udevadm settle
ip link set lo up
for nic in /sys/class/net/e*; do dhclient -1 ${nic##*/} && break; done
while :; do
	python3 $PACKAGES/bin/ironic-python-agent
	echo "PYTHON-AGENT-RAMDISK: the agent ended: $?"
	sleep 5
done
`

// pythonRamdisk is the deploy ramdisk with Ironic's own agent in Debian. It is made once a version of all
// this and kept in the cache; the kernel's modules are those of Billet's.
func pythonRamdisk(t *testing.T) string {
	t.Helper()
	lower := filepath.Join(cache, "ramdisk", "initramfs")
	modules, err := os.ReadFile(lower)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(pythonAgent + pythonPackages + pythonInit + string(modules)))
	path := filepath.Join(cache, "python-agent-"+hex.EncodeToString(sum[:6])+".cpio")
	lock, err := os.Create(filepath.Join(cache, "python-agent.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	dir := t.TempDir()
	root, init, out := filepath.Join(dir, "root"), filepath.Join(dir, "init"), path+".new"
	if err := os.WriteFile(init, []byte(pythonInit), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"mmdebstrap --quiet --mode=root --variant=minbase --format=directory --include=" + pythonPackages +
			" --aptopt='APT::Install-Recommends false' --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*'" +
			" --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' bookworm " + root,
		"python3 -m pip install --quiet --root-user-action ignore --target " + root +
			"/usr/local/lib/python3.11/dist-packages --python-version 3.11 --only-binary :all: " + pythonAgent,
		// Without systemd nothing here knows how to switch off.
		"for c in o:poweroff b:reboot; do printf '#!/bin/sh\necho %s > /proc/sysrq-trigger\n' ${c%%:*} > " + root +
			"/usr/sbin/${c#*:}; chmod +x " + root + "/usr/sbin/${c#*:}; done",
		"rm -rf " + root + "/var/lib/apt/lists/* " + root + "/var/cache/apt/* && mv " + init + " " + root + "/init",
		"cd " + root + " && zstd -dc " + lower + " | cpio -id --quiet 'modules/*'",
		"cd " + root + " && find . | cpio -o -H newc --quiet | zstd -q -T0 -6 > " + out,
	} {
		if said, err := exec.Command("bash", "-o", "pipefail", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("making the ramdisk of the Python agent (it needs mmdebstrap, zstd, cpio, python3-pip and a package index): %s: %v\n%s",
				command, err, tail(said, 3000))
		}
	}
	if err := os.Rename(out, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Ironic's own agent, unchanged, is driven through a node's life: inspection, cleaning, deploy of a whole-disk
// image, undeploy with its cleaning, deploy of a partition image.
func TestLongPythonAgent(t *testing.T) {
	for _, firmware := range []string{"bios", "uefi"} {
		t.Run(firmware, func(t *testing.T) {
			s := newSite(t)
			m := s.machine("python-"+firmware, "--firmware", firmware, "--memory", "2048", "--disk", "5G")
			m.patch("/driver_info/deploy_ramdisk", pythonRamdisk(t))
			m.patch("/properties/capabilities", "boot_mode:"+firmware)
			m.provision(map[string]any{"target": "manage"})
			m.arrive("manageable", time.Minute)

			start := time.Now()
			m.provision(map[string]any{"target": "inspect"})
			m.arrive("manageable", 8*time.Minute)
			m.checkPythonInventory(firmware)
			inspected := time.Since(start)

			start = time.Now()
			m.provision(map[string]any{"target": "provide"})
			m.arrive("available", 8*time.Minute)
			cleaned := time.Since(start)

			start = time.Now()
			m.deploy(imageInfo(t, "tiny.qcow2"))
			m.arrive("active", 10*time.Minute)
			m.prints(3*time.Minute, m.name+" login:")
			t.Logf("inspected in %.0f s, cleaned in %.0f s, at its login prompt after %.0f s", inspected.Seconds(), cleaned.Seconds(),
				time.Since(start).Seconds())

			m.provision(map[string]any{"target": "deleted"})
			m.arrive("available", 8*time.Minute)
			// Booted over the network: this agent no longer runs an image's own GRUB.
			m.deploy(s.partitionImage(map[string]any{"swap_mb": 64, "ephemeral_gb": 1, "kernel_append_params": "console=ttyS0,115200n8",
				"capabilities": map[string]any{"boot_option": "netboot"}}))
			m.arrive("active", 10*time.Minute)
			m.comesUp(m.name+" login:", 2)
			if n := strings.Count(string(m.console()), "PYTHON-AGENT-RAMDISK starts"); n != 5 {
				t.Errorf("the ramdisk was booted %d times, not for inspection, cleaning, deploy, cleaning and deploy", n)
			}
		})
	}
}

// checkPythonInventory looks at what the agent found, in the forms that it has for it.
func (m *machine) checkPythonInventory(firmware string) {
	m.s.t.Helper()
	var got struct {
		Inventory struct {
			Interfaces []struct {
				MAC string `json:"mac_address"`
			}
			Disks  []struct{ Name, Serial string }
			Memory struct {
				MB int `json:"physical_mb"`
			}
			Boot struct {
				Mode string `json:"current_boot_mode"`
			}
		}
	}
	m.s.call("GET", "/v1/nodes/"+m.uuid+"/inventory", nil, &got, 200)
	i := got.Inventory
	if len(i.Interfaces) != 1 || i.Interfaces[0].MAC != m.NICs[0].MAC || len(i.Disks) != 1 || i.Disks[0].Name != "/dev/vda" ||
		i.Disks[0].Serial != m.Disks[0].Serial || i.Memory.MB != 2048 || i.Boot.Mode != firmware {
		m.s.t.Errorf("the inventory has %+v", i)
	}
	var n struct {
		Properties map[string]any
		BootMode   string `json:"boot_mode"`
	}
	m.s.call("GET", "/v1/nodes/"+m.uuid, nil, &n, 200)
	if n.Properties["cpu_arch"] != "x86_64" || n.BootMode != firmware {
		m.s.t.Errorf("inspection left properties %v, boot mode %q", n.Properties, n.BootMode)
	}
	var ports struct {
		Ports []struct {
			Address string
			PXE     bool `json:"pxe_enabled"`
		}
	}
	m.s.call("GET", "/v1/ports/detail?node="+m.uuid, nil, &ports, 200)
	if len(ports.Ports) != 1 || ports.Ports[0].Address != m.NICs[0].MAC || !ports.Ports[0].PXE {
		m.s.t.Errorf("inspection left ports %+v", ports.Ports)
	}
}
