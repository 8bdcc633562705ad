package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// cell is one way to deploy a machine; its name is the path of its test, such as
// bios/direct/partition/netboot/qcow2. disk is "4kn" for one with sectors of 4096 bytes, "multipath" for one
// behind two controllers; the name begins with that, since go test -run with the name of the cell for
// ordinary disks would run this one too.
type cell struct{ firmware, deploy, kind, boot, format, disk string }

func (c cell) name() string {
	return strings.TrimPrefix(strings.Join([]string{c.disk, c.firmware, c.deploy, c.kind, c.boot, c.format}, "/"), "/")
}

// matrix lists every way there is. A whole-disk image boots from its disk only, and an instance in memory
// is a kernel and a ramdisk, not an image.
func matrix() []cell {
	var cells []cell
	for _, firmware := range []string{"bios", "uefi"} {
		for _, format := range []string{"raw", "qcow2"} {
			for _, deploy := range []string{"direct", "iscsi"} {
				cells = append(cells,
					cell{firmware, deploy, "whole-disk", "local", format, ""},
					cell{firmware, deploy, "partition", "local", format, ""},
					cell{firmware, deploy, "partition", "netboot", format, ""})
			}
		}
		cells = append(cells, cell{firmware, "ramdisk", "kernel", "netboot", "initramfs", ""},
			cell{firmware, "direct", "cloud-init", "local", "qcow2", ""})
	}
	for _, deploy := range []string{"direct", "iscsi"} { // no BIOS starts from such a disk, but over the network it starts anything
		cells = append(cells, cell{"uefi", deploy, "partition", "local", "qcow2", "4kn"})
	}
	return append(cells, cell{"bios", "direct", "partition", "netboot", "raw", "4kn"},
		cell{"bios", "direct", "whole-disk", "local", "raw", "multipath"}, cell{"uefi", "iscsi", "whole-disk", "local", "qcow2", "multipath"})
}

// TestLongMatrix deploys a machine in every way (make matrix; one cell: make matrix CELL=NAME). A cell is
// done when the instance has come up twice, deployed and after a power cycle, and the node's
// undeploy has ended. Each prints a line with its times.
func TestLongMatrix(t *testing.T) {
	for _, c := range matrix() {
		t.Run(c.name(), func(t *testing.T) { c.run(t) })
	}
}

func (c cell) run(t *testing.T) {
	s := newSite(t)
	name := fmt.Sprintf("%s-%s-%.5s-%.3s-%s", c.firmware, c.deploy, c.kind, c.boot, c.format)
	options := []string{"--firmware", c.firmware, "--memory", "512", "--disk", "5G"}
	if c.disk == "4kn" {
		name += "-4kn"
		options = append(options, "--sector-size", "4096")
	}
	if c.disk == "multipath" {
		name += "-mp"
		options = append(options, "--disk-model", "scsi", "--disk-paths", "2")
	}
	m := s.machine(name, options...)
	if c.disk == "multipath" { // on a storage network only a hint chooses
		m.patch("/properties/root_device", map[string]any{"serial": m.Disks[0].Serial})
	}
	m.patch("/properties/capabilities", "boot_mode:"+c.firmware)
	m.patch("/deploy_interface", c.deploy)
	m.available()
	info := c.info(s)
	up := c.up(name)

	began := time.Now()
	m.deploy(info)
	m.arrive("active", 12*time.Minute)
	active := time.Since(began)
	m.comesUp(up, 1)
	first := time.Since(began)
	s.call("PUT", "/v1/nodes/"+m.uuid+"/states/power", map[string]any{"target": "rebooting"}, nil, 202)
	m.comesUp(up, 2)
	second := time.Since(began)
	m.provision(map[string]any{"target": "deleted"})
	m.arrive("available", 4*time.Minute)
	fmt.Printf("MATRIX %-38s active %6.1f s   up %6.1f s   up again %6.1f s   agent's first heartbeat after %s\n",
		c.name(), active.Seconds(), first.Seconds(), second.Seconds(), m.firstHeartbeat())
}

// firstHeartbeat is what the agent said on the console of its way from its start to a heartbeat that
// the service took; "-" if it made none, as in iSCSI mode.
func (m *machine) firstHeartbeat() string {
	if found := firstHeartbeat.FindSubmatch(m.console()); found != nil {
		return string(found[1])
	}
	return "-"
}

var firstHeartbeat = regexp.MustCompile(`msg="first heartbeat taken".* after=(\S+)`)

// up is what the instance's console shows once at every start.
func (c cell) up(name string) string {
	switch c.kind {
	case "partition":
		return name + " login:"
	case "cloud-init":
		return "Datasource DataSourceConfigDrive" // its last words at every start
	case "kernel":
		return "kernel parameter ipa-api-url is missing" // the agent's own ramdisk as an instance
	}
	return "BILLET-INSTANCE-UP"
}

// comesUp waits until the instance has said that it is up that many times.
func (m *machine) comesUp(text string, times int) {
	m.s.t.Helper()
	m.s.eventually(8*time.Minute, fmt.Sprintf("%s to come up (%d)", m.name, times), func() (bool, string) {
		seen := string(m.console())
		return strings.Count(seen, text) >= times, tail([]byte(seen), 2000)
	})
}

// info is the cell's instance_info.
func (c cell) info(s *site) map[string]any {
	s.t.Helper()
	switch c.kind {
	case "kernel":
		return s.inMemory()
	case "cloud-init":
		s.lab("image", "debian-cloud", "--out", filepath.Join(cache, "images"))
		return imageInfo(s.t, "debian-cloud.qcow2")
	case "partition":
		info := s.partitionImage(map[string]any{
			"capabilities": map[string]any{"boot_mode": c.firmware, "boot_option": c.boot}, "kernel_append_params": "console=ttyS0,115200n8",
		})
		for k, v := range imageInfo(s.t, "tiny-root."+c.format) {
			info[k] = v
		}
		return info
	}
	return imageInfo(s.t, "tiny."+c.format)
}

// inMemory is the instance_info of an instance that lives in memory: the deploy ramdisk, served from
// a directory that users may name files in.
func (s *site) inMemory() map[string]any {
	s.t.Helper()
	info := map[string]any{"ramdisk_kernel_arguments": "console=ttyS0 quiet billet-diskless"}
	for key, file := range map[string]string{"kernel": "vmlinuz", "ramdisk": "initramfs"} {
		b, err := os.ReadFile(filepath.Join(cache, "ramdisk", file))
		if err != nil {
			s.t.Fatal(err)
		}
		path := filepath.Join(s.dir, "instance-"+file)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			s.t.Fatal(err)
		}
		info[key] = "file://" + path
	}
	return info
}
