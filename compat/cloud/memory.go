package cloud

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Memory is the resident memory of every service, in MiB: the sum over the processes of its session, which is the whole of it but
// for what has left the session (dnsmasq, privsep daemons). Pages that its processes share are counted in each.
func Memory(c *Cloud) map[string]int {
	names := map[int]string{}
	for name, s := range c.services {
		names[s.cmd.Process.Pid] = name
	}
	kib := map[string]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // it has just ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ") // proc(5): state, parent, group, session
		fields := strings.Fields(rest)
		if len(fields) < 4 {
			continue
		}
		session, _ := strconv.Atoi(fields[3])
		if name, ok := names[session]; ok {
			kib[name] += resident(dir)
		}
	}
	mib := map[string]int{}
	for name, n := range kib {
		mib[name] = n / 1024
	}
	return mib
}

// resident is VmRSS of a process, in KiB.
func resident(dir string) int {
	status, _ := os.ReadFile(filepath.Join(dir, "status"))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(fields[0])
	return n
}

// MemoryTable is Memory for people, the largest first, with the sum.
func MemoryTable(c *Cloud) string {
	memory := Memory(c)
	var b strings.Builder
	sum := 0
	for _, name := range slices.SortedFunc(maps.Keys(memory), func(x, y string) int { return memory[y] - memory[x] }) {
		fmt.Fprintf(&b, "%6d MiB  %s\n", memory[name], name)
		sum += memory[name]
	}
	fmt.Fprintf(&b, "%6d MiB  in all\n", sum)
	return b.String()
}
