package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// configDrive is what an instance reads of its config drive (OpenStack's "config-2" layout).
type configDrive struct {
	Hostname string
	Keys     []string // SSH public keys, by name
	Network  networkData
	UserData []byte // nil: none
}

// networkData is the part of openstack/latest/network_data.json that is understood.
type networkData struct {
	// Given is that there is such a file. Then it names every card that gets a network, as for cloud-init:
	// of an empty one comes a machine without.
	Given bool `json:"-"`
	Links []struct {
		ID  string `json:"id"`
		MAC string `json:"ethernet_mac_address"`
	} `json:"links"`
	Networks []struct {
		Link    string `json:"link"`
		Type    string `json:"type"` // "ipv4" or "ipv4_dhcp"
		Address string `json:"ip_address"`
		Netmask string `json:"netmask"` // dotted quad, or a prefix in Address
		Gateway string `json:"gateway"`
		Routes  []struct {
			Network string `json:"network"`
			Netmask string `json:"netmask"`
			Gateway string `json:"gateway"`
		} `json:"routes"`
	} `json:"networks"`
}

var errNoDrive = errors.New("there is none")

// findConfigDrive waits up to 10 s for a block device with the label "config-2": disks may appear
// after us.
func findConfigDrive() (configDrive, error) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		names, _ := filepath.Glob("/sys/class/block/*") // the pattern is right
		for _, name := range names {
			device := "/dev/" + filepath.Base(name)
			if kind := labelled(device, "config-2"); kind != "" {
				return mountConfigDrive(device, kind)
			}
		}
		if time.Now().After(deadline) {
			return configDrive{}, errNoDrive
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func labelled(device, label string) (kind string) {
	f, err := os.Open(device)
	if err != nil {
		return ""
	}
	defer f.Close()
	return labelOf(f, label)
}

// labelOf reports the file system's kind if it carries the label: the volume identifier of ISO
// 9660 (ECMA-119 section 8.4) or the label in a FAT boot sector.
func labelOf(f io.ReaderAt, label string) (kind string) {
	const descriptor = 16 * 2048
	b := make([]byte, 72)
	if n, _ := f.ReadAt(b, descriptor); n == len(b) && string(b[1:6]) == "CD001" {
		if strings.EqualFold(strings.TrimRight(string(b[40:72]), " \x00"), label) {
			return "iso9660"
		}
	}
	b = make([]byte, 512)
	if n, _ := f.ReadAt(b, 0); n < len(b) || b[510] != 0x55 || b[511] != 0xaa {
		return ""
	}
	for _, at := range []int{43, 71} { // FAT12 and FAT16; FAT32
		if strings.EqualFold(strings.TrimRight(string(b[at:at+11]), " "), label) {
			return "vfat"
		}
	}
	return ""
}

func mountConfigDrive(device, kind string) (configDrive, error) {
	if err := unix.Mount(device, "/mnt", kind, unix.MS_RDONLY, ""); err != nil {
		return configDrive{}, fmt.Errorf("mounting %s: %w", device, err)
	}
	defer func() { _ = unix.Unmount("/mnt", 0) }()
	return readConfigDrive(os.DirFS("/mnt").(fileReader))
}

type fileReader interface {
	ReadFile(name string) ([]byte, error)
}

func readConfigDrive(files fileReader) (configDrive, error) {
	var d configDrive
	var meta struct {
		Hostname string            `json:"hostname"`
		Name     string            `json:"name"`
		Keys     map[string]string `json:"public_keys"`
	}
	text, err := files.ReadFile("openstack/latest/meta_data.json")
	if err != nil {
		return d, fmt.Errorf("reading the metadata: %w", err)
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		return d, fmt.Errorf("reading the metadata: %w", err)
	}
	if d.Hostname = meta.Hostname; d.Hostname == "" {
		d.Hostname = meta.Name
	}
	d.Hostname, _, _ = strings.Cut(d.Hostname, ".")
	for _, name := range slices.Sorted(maps.Keys(meta.Keys)) {
		d.Keys = append(d.Keys, strings.TrimSpace(meta.Keys[name]))
	}
	d.UserData, err = files.ReadFile("openstack/latest/user_data")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return d, fmt.Errorf("reading the user data: %w", err)
	}
	text, err = files.ReadFile("openstack/latest/network_data.json")
	if errors.Is(err, os.ErrNotExist) {
		return d, nil
	}
	if err == nil {
		d.Network.Given = true
		err = json.Unmarshal(text, &d.Network)
	}
	if err != nil {
		return d, fmt.Errorf("reading the network data: %w", err)
	}
	return d, nil
}
