// Command tinyos is what runs inside the lab's images. As init it is the whole operating system of
// the tiny image: it reads the config drive as a cloud's instance does, tells on the serial line
// what it found, brings up the network and shows a login prompt that lets nobody in. In the tiny-root
// image it is that, on the root file system that it mounted as the ramdisk's init, and update-grub.
// As "tinyos first-boot" it applies the config drive to the Debian image, once, in a fraction of the time
// that cloud-init takes on an emulated processor.
package main

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	switch {
	case os.Getpid() == 1:
		runAsInit()
	case filepath.Base(os.Args[0]) == "update-grub":
		if err := updateGrub(); err != nil {
			fmt.Fprintln(os.Stderr, "update-grub:", err)
			os.Exit(1)
		}
	case len(os.Args) == 2 && os.Args[1] == "first-boot":
		if err := firstBoot("/"); err != nil {
			fmt.Fprintln(os.Stderr, "first boot:", err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "tinyos is the init of the lab's tiny image, and as \"tinyos first-boot\" a service of its Debian image")
		os.Exit(2)
	}
}

func runAsInit() {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"},
	} {
		mounts, _ := os.ReadFile("/proc/self/mountinfo") // none before /proc is there
		if !isMounted(string(mounts), m.at) {
			report("mounting "+m.at, unix.Mount(m.kind, m.at, m.kind, 0, ""))
		}
	}
	console()
	kind := "tiny"
	if os.Args[0] == "/init" { // in a ramdisk
		loadModules("/modules")
		line, err := os.ReadFile("/proc/cmdline")
		report("kernel parameters", err)
		sayParameters(strings.TrimSuffix(string(line), "\n"))
		if uuid := rootUUID(string(line)); uuid != "" {
			report("root file system", switchRoot(uuid))
			_ = unix.Pause() // panic=… is for kernels; this is kept to be read
		}
	} else {
		kind = "tiny-root"
	}
	drive, err := findConfigDrive()
	report("config drive", err)
	name := drive.Hostname
	if name == "" {
		name = kind
	}
	report("host name", unix.Sethostname([]byte(name)))
	fmt.Printf("\nBILLET-INSTANCE-UP %s\nhostname: %s\n", kind, name)
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err == nil && kind == "tiny-root" {
		fmt.Println("root: " + rootMount(string(mounts)))
	}
	for _, key := range drive.Keys {
		fmt.Printf("ssh key: %s\n", key)
	}
	for _, line := range configureNetwork(drive.Network) {
		fmt.Println("network: " + line)
	}
	if issue, err := os.ReadFile("/etc/issue"); err == nil {
		fmt.Printf("%s\n", issue) // what getty says before it asks for a name
	}
	prompt(name)
}

// sayParameters writes the kernel's command line in numbered pieces with their sums, many times: a busy emulated serial
// line doubles a character now and then.
func sayParameters(line string) {
	const size = 32
	for range 10 {
		for at := 0; at < len(line); at += size {
			piece := line[at:min(at+size, len(line))]
			fmt.Printf("\nBILLET-KERNEL-PARAMETERS %d %d %08x %s\n", at, len(line), crc32.ChecksumIEEE([]byte(piece)), piece)
		}
	}
}

// console makes the kernel's console our standard input and output: before devtmpfs was mounted
// it may have been missing.
func console() {
	f, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		return
	}
	for fd := range 3 {
		_ = unix.Dup2(int(f.Fd()), fd)
	}
}

// prompt asks for a name again and again, as getty does; "reboot" and "poweroff" are obeyed, so that a
// person at the console can end it, and "reach" tells what this machine can reach.
func prompt(host string) {
	lines := bufio.NewScanner(os.Stdin)
	for {
		fmt.Printf("\n%s login: ", host)
		if !lines.Scan() {
			_ = unix.Pause()
		}
		if words := strings.Fields(lines.Text()); len(words) == 3 && words[0] == "reach" {
			fmt.Println("reach " + words[2] + ": " + reach(words[1], words[2]))
			continue
		}
		switch strings.TrimSpace(lines.Text()) {
		case "reboot":
			report("rebooting", unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART))
		case "poweroff":
			report("switching off", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
		case "":
		default:
			fmt.Println("Login incorrect")
		}
	}
}

// loadModules loads what every machine needs, in the ramdisk's order. A driver without hardware
// may refuse; that is no error here.
func loadModules(dir string) {
	order, err := os.ReadFile(dir + "/order")
	report("modules", err)
	for name := range strings.FieldsSeq(string(order)) {
		f, err := os.Open(dir + "/" + name)
		if err != nil {
			report("modules", err)
			continue
		}
		_ = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
	}
}

func report(what string, err error) {
	if err != nil {
		fmt.Printf("tinyos: %s: %v\n", what, err)
	}
}
