// Command inmachine is the only process of a virtual machine that BenchmarkMachine starts: it writes an
// image to the machine's disk as the agent does, times what the write consists of, prints the figures and
// powers the machine off.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/billet-metal/billet/agent/pid1"
	"github.com/billet-metal/billet/disk"
	"github.com/billet-metal/billet/disk/write"
	"github.com/billet-metal/billet/wire"
)

// target is the disk that is written to.
const target = "/dev/vda"

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "inmachine: this overwrites "+target+" and is for BenchmarkMachine's virtual machine alone")
		os.Exit(1)
	}
	if err := measure(); err != nil {
		fmt.Println("INMACHINE-FAILED", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) // the benchmark's deadline catches what stays on
	select {}
}

func measure() error {
	debug.SetMemoryLimit(96 << 20) // the agent's own
	debug.SetGCPercent(50)
	settings, err := prepare()
	if err != nil {
		return err
	}
	var size int64
	if _, err := fmt.Sscan(settings["bench.size"], &size); err != nil {
		return fmt.Errorf("bench.size: %w", err)
	}
	for range 3 {
		for _, part := range []struct {
			name string
			run  func() error
		}{
			{"dd", func() error { return direct(size) }},
			{"hash", func() error { return hash(size) }},
			{"download", func() error { return download(settings["bench.url"] + "raw") }},
			{"raw", func() error { return deploy(settings["bench.url"]+"raw", "raw", settings["bench.raw"]) }},
			{"qcow2", func() error { return deploy(settings["bench.url"]+"qcow2", "qcow2", settings["bench.qcow2"]) }},
		} {
			start := time.Now()
			if err := part.run(); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
			fmt.Println("INMACHINE", part.name, time.Since(start).Microseconds())
		}
	}
	return nil
}

// prepare mounts, loads drivers, brings the network up, and returns the kernel's parameters.
func prepare() (map[string]string, error) {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := os.MkdirAll(m[1], 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil && err != unix.EBUSY {
			return nil, fmt.Errorf("mounting %s: %w", m[1], err)
		}
	}
	order, err := os.ReadFile("/modules/order")
	if err != nil {
		return nil, err
	}
	for _, name := range strings.Fields(string(order)) {
		_ = pid1.LoadModule("/modules/" + name) // one that the machine has no use for says so
	}
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return nil, fmt.Errorf("eth0: %w", err)
	}
	address, err := netlink.ParseAddr("10.0.2.15/24") // QEMU's user network
	if err != nil {
		return nil, err
	}
	if err := netlink.AddrAdd(link, address); err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, err
	}
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, err
	}
	settings := map[string]string{}
	for _, word := range strings.Fields(string(line)) {
		key, value, _ := strings.Cut(word, "=")
		settings[key] = value
	}
	return settings, nil
}

// direct writes size bytes as `dd oflag=direct bs=1M conv=fsync` does.
func direct(size int64) error {
	f, err := os.OpenFile(target, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	block, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(block)
	for i := 0; i < len(block); i += 8 {
		*(*int)(unsafe.Pointer(&block[i])) = i * 2654435761
	}
	for at := int64(0); at < size; at += int64(len(block)) {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return f.Sync()
}

func hash(size int64) error {
	h, block := sha256.New(), make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(block)) {
		h.Write(block)
	}
	return nil
}

func download(url string) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	block := make([]byte, 1<<20)
	for {
		if _, err := r.Body.Read(block); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func deploy(url, format, sum string) error {
	d, err := disk.Open(target)
	if err != nil {
		return err
	}
	defer d.Close()
	w := write.Writer{Client: http.DefaultClient, Log: slog.New(slog.DiscardHandler)}
	info := wire.ImageInfo{ID: format, URLs: []string{url}, DiskFormat: format, HashAlgo: "sha256", HashValue: sum}
	_, err = w.WriteImage(context.Background(), d, info, "")
	return err
}
