package e2e

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shellInit is a deploy ramdisk as Ironic had them before there was an agent: a shell script,
// busybox, and the kernel's own iSCSI target set up by hand. It knows the wire contract alone. Its
// first call uses a wrong key, which must be refused.
const shellInit = `#!/bin/busybox sh
/bin/busybox mkdir -p /bin /proc /sys /dev /etc/target /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec > /dev/ttyS0 2>&1
echo SHELL-RAMDISK starts
load() {
	deps=""
	for d in $(grep "^$1.ko:" /modules/modules.dep | cut -d: -f2); do deps="$d $deps"; done
	for m in $deps $1.ko; do insmod /modules/$m 2>/dev/null; done
}
for m in $(cat /modules/order); do insmod /modules/$m 2>/dev/null; done
load target_core_iblock
load iscsi_target_mod
for word in $(cat /proc/cmdline); do
	case "$word" in
	iscsi_target_iqn=*) IQN=${word#*=} ;;
	deployment_id=*) ID=${word#*=} ;;
	deployment_key=*) KEY=${word#*=} ;;
	ironic_api_url=*) API=${word#*=} ;;
	boot_server=*) SERVER=${word#*=} ;;
	disk=*) DISKS=${word#*=} ;;
	boot_option=*) OPTION=${word#*=} ;;
	esac
done
printf '#!/bin/sh\n[ "$1" = bound ] && ifconfig $interface $ip netmask $subnet && echo $ip > /tmp/ip\nexit 0\n' > /tmp/udhcpc
chmod +x /tmp/udhcpc
ifconfig lo up
ifconfig eth0 up
udhcpc -i eth0 -n -q -t 20 -s /tmp/udhcpc
ADDRESS=$(cat /tmp/ip)
for d in $(echo $DISKS | tr , ' '); do [ -b /dev/$d ] && DISK=/dev/$d && break; done
mount -t configfs configfs /sys/kernel/config
T=/sys/kernel/config/target
mkdir -p $T/core/iblock_0/disk
echo udev_path=$DISK > $T/core/iblock_0/disk/control
echo 1 > $T/core/iblock_0/disk/enable
mkdir -p $T/iscsi
G=$T/iscsi/$IQN/tpgt_1
mkdir -p $T/iscsi/$IQN && mkdir -p $G
echo 0 > $G/attrib/authentication
echo 0 > $G/attrib/demo_mode_write_protect
echo 1 > $G/attrib/generate_node_acls
echo 1 > $G/attrib/cache_dynamic_acls
mkdir -p $G/lun/lun_1
ln -s $T/core/iblock_0/disk $G/lun/lun_1/port
mkdir -p $G/np/0.0.0.0:3260
echo 1 > $G/enable
tftp -g -r token-$ID -l /tmp/token $SERVER
TOKEN=$(cat /tmp/token)
cd /tmp && tftp-hpa $SERVER -c get token-$ID && cmp token token-$ID && echo SHELL-RAMDISK has the same token from both clients
call() { # method, key, further fields
	wget -O - --header "X-Auth-Token: $TOKEN" --header "Content-Type: application/json" \
		--post-data "{\"address\":\"$ADDRESS\",\"key\":\"$2\",\"error\":\"\",$3}" \
		$API/v1/nodes/$ID/vendor_passthru/$1 2>&1
}
callagain() {
	for try in 1 2 3 4 5 6 7 8 9 10; do
		call "$@" && break
		sleep 1
	done
}
echo WRONG-KEY: $(call pass_deploy_info 0000 "\"iqn\":\"$IQN\"")
echo TOO-EARLY: $(call pass_bootloader_install_info $KEY "\"status\":\"SUCCEEDED\"")
callagain pass_deploy_info $KEY "\"iqn\":\"$IQN\""
echo SHELL-RAMDISK called
echo SHELL-RAMDISK heard: $(nc -l -p 10000)
echo 0 > $G/enable
rmdir $G/np/0.0.0.0:3260
rm $G/lun/lun_1/port
rmdir $G/lun/lun_1 $G $T/iscsi/$IQN $T/core/iblock_0/disk
if [ "$OPTION" = local ]; then
	blockdev --rereadpt $DISK
	ROOT=$(fdisk -l $DISK | grep '^/dev/[^ ]* *\*' | cut -d' ' -f1)
	mkdir /root
	mount -t ext4 $ROOT /root
	for d in dev proc sys; do mount -o bind /$d /root/$d; done
	STATUS=FAILED
	chroot /root /usr/sbin/grub-install --target=i386-pc $DISK && chroot /root /usr/sbin/update-grub && STATUS=SUCCEEDED
	umount /root/dev /root/proc /root/sys /root
	sync
	callagain pass_bootloader_install_info $KEY "\"status\":\"$STATUS\""
	echo SHELL-RAMDISK installed on $ROOT: $STATUS
	echo SHELL-RAMDISK heard again: $(nc -l -p 10000)
fi
sync
reboot -f
`

// shellRamdisk puts the script and Debian's busybox on top of the ramdisk's kernel modules: of two
// archives in a row the kernel takes the later file of a name.
func (s *site) shellRamdisk() string {
	s.t.Helper()
	root := filepath.Join(s.dir, "shell")
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		s.t.Fatal("busybox is missing: install Debian's package busybox-static (scripts/deps test): ", err)
	}
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	tftp, err := os.ReadFile("/usr/bin/tftp")
	if err != nil {
		s.t.Fatal("the other TFTP client is missing: install Debian's package tftp-hpa (scripts/deps test): ", err)
	}
	for name, data := range map[string][]byte{"init": []byte(shellInit), "bin/busybox": busybox, "bin/tftp-hpa": tftp} {
		if err := os.WriteFile(filepath.Join(root, name), data, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	cpio := exec.Command("cpio", "-o", "-H", "newc", "--quiet")
	cpio.Dir, cpio.Stdin = root, strings.NewReader("init\nbin\nbin/busybox\nbin/tftp-hpa\n")
	upper, err := cpio.Output()
	if err != nil {
		s.t.Fatal("cpio: ", err)
	}
	lower, err := os.ReadFile(filepath.Join(cache, "ramdisk", "initramfs"))
	if err != nil {
		s.t.Fatal(err)
	}
	var both bytes.Buffer
	both.Write(lower)
	both.Write(make([]byte, (4-len(lower)%4)%4))
	zip := gzip.NewWriter(&both)
	zip.Write(upper)
	zip.Close()
	path := filepath.Join(s.dir, "shell.cpio")
	if err := os.WriteFile(path, both.Bytes(), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// The same deploys with a ramdisk that knows nothing but the wire contract: a whole disk, and a partition
// image whose boot loader it installs between the two words on port 10000. Both TFTP clients that such
// ramdisks have get the token.
func TestLongISCSIShellRamdisk(t *testing.T) {
	t.Run("whole-disk", func(t *testing.T) {
		s := newSite(t)
		m := s.shellMachine("shell")
		m.deploy(imageInfo(t, "grub.qcow2"))
		m.prints(2*time.Minute, "SHELL-RAMDISK has the same token from both clients", "WRONG-KEY:", "400 Bad Request", "SHELL-RAMDISK called")
		m.arrive("active", 3*time.Minute)
		m.prints(3*time.Minute, "SHELL-RAMDISK heard: done", "BILLET-INSTANCE-UP grub")
	})
	t.Run("partition", func(t *testing.T) {
		s := newSite(t)
		m := s.shellMachine("shellpart")
		m.patch("/properties/capabilities", "boot_mode:bios")
		m.deploy(s.partitionImage(map[string]any{"swap_mb": 64, "ephemeral_gb": 1}))
		m.prints(2*time.Minute, "TOO-EARLY:", "409 Conflict", "SHELL-RAMDISK called")
		m.arrive("active", 6*time.Minute)
		m.prints(3*time.Minute, "SHELL-RAMDISK heard: done", "SHELL-RAMDISK installed on /dev/vda3: SUCCEEDED", "SHELL-RAMDISK heard again: done")
		m.comesUp("shellpart login:", 1)
	})
}

// shellMachine is an available machine that boots the shell's ramdisk.
func (s *site) shellMachine(name string) *machine {
	s.t.Helper()
	m := s.machine(name, "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/deploy_interface", "iscsi")
	m.patch("/driver_info/deploy_ramdisk", s.shellRamdisk())
	m.available()
	return m
}

// The machine goes away in the middle of the write: the deploy fails in bounded time with the reason.
func TestLongISCSITargetVanishes(t *testing.T) {
	s := newSite(t)
	m := s.machine("vanish", "--firmware", "bios", "--memory", "384", "--disk", "5G")
	m.patch("/deploy_interface", "iscsi")
	m.available()
	m.deploy(map[string]any{"image_source": "file://" + s.dense("dense.raw", 700<<20)})
	s.eventually(3*time.Minute, "the write to begin", func() (bool, string) {
		var p struct {
			State    string `json:"provision_state"`
			Progress *struct {
				Detail string
				Done   int64
			}
		}
		s.call("GET", "/billet/v1/nodes/"+m.uuid+"/progress", nil, &p, 200)
		return p.Progress != nil && p.Progress.Detail == "writing", p.State
	})
	m.refusesStrangers(m.exported())
	s.lab("power", m.name, "off")
	began := time.Now()
	n := m.arrive("deploy failed", 3*time.Minute)
	t.Logf("after %.0f s, last_error: %s", time.Since(began).Seconds(), *n.LastError)
	for _, word := range []string{"write_image", "iqn.2008-10.org.openstack:" + m.uuid, "3260", "has not answered for 1m0s"} {
		if !strings.Contains(*n.LastError, word) {
			t.Errorf("last_error does not say %q: %s", word, *n.LastError)
		}
	}
	if time.Since(began) > 100*time.Second {
		t.Errorf("it took %s to notice", time.Since(began))
	}
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", time.Minute)
}

// dense makes an image file without a single zero, so that all of it must be written.
func (s *site) dense(name string, size int) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	block := bytes.Repeat([]byte("billet!?"), 1<<17)
	f, err := os.Create(path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	for n := 0; n < size; n += len(block) {
		if _, err := f.Write(block); err != nil {
			s.t.Fatal(err)
		}
	}
	if _, err := f.WriteAt([]byte{0x55, 0xaa}, 510); err != nil {
		s.t.Fatal(err)
	}
	return path
}
