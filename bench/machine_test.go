package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/billet-metal/billet/ramdisk"
)

// BenchmarkMachine writes the image inside a virtual machine like the lab's, with the lab's kernel, from a
// server on the host to a virtio disk, and reports how the time compares, in that machine and run: x-dd
// with writing as much past the page cache from memory, one block of 1 MiB after the other; x-limit with
// the slowest of what a write consists of, each alone: that writing, the SHA-256, and the download. Where
// QEMU emulates the processor (BILLET_LAB_ACCEL=kvm: it does not), the SHA-256 and the download are slow
// beyond all proportion to the disk, which is the host's. qcow2-x-raw is the sparse image's time by the raw one's.
func BenchmarkMachine(b *testing.B) {
	raw, err := source()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	qcow2 := imageFile(b, "qcow2", raw)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, map[string]string{"/raw": raw, "/qcow2": qcow2}[r.URL.Path])
	}))
	defer server.Close()
	program := filepath.Join(dir, "inmachine")
	build := exec.Command("go", "build", "-o", program, "./inmachine")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("building inmachine: %v\n%s", err, out)
	}
	if _, err := ramdisk.Build(context.Background(),
		ramdisk.Options{Flavor: ramdisk.Cloud, Init: program, OutDir: dir, Bare: true}); err != nil {
		b.Fatal(err)
	}
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	line := fmt.Sprintf("console=ttyS0 quiet panic=-1 bench.url=http://10.0.2.2%s/ bench.size=%d bench.raw=%s bench.qcow2=%s", port,
		int64(diskSize), sumOf(b, raw), sumOf(b, qcow2))
	parts := map[string]times{}
	target := usedDisk(b)
	for b.Loop() {
		for name, took := range machine(b, dir, line, target) {
			parts[name] = append(parts[name], took...)
		}
	}
	compareDisk(b, target, raw)
	limit := 0.0
	for _, name := range []string{"dd", "hash", "download"} {
		limit = max(limit, parts[name].median())
		b.ReportMetric(parts[name].median(), name+"-s")
	}
	b.ReportMetric(parts["raw"].median(), "raw-s")
	b.ReportMetric(parts["raw"].median()/parts["dd"].median(), "x-dd")
	b.ReportMetric(parts["raw"].median()/limit, "x-limit")
	b.ReportMetric(parts["qcow2"].median()/parts["raw"].median(), "qcow2-x-raw")
}

// machine runs the virtual machine to its end and returns the times that it printed.
func machine(b *testing.B, dir, line, target string) map[string]times {
	b.Helper()
	accelerator := []string{"-accel", "tcg,thread=multi", "-cpu", "max,-avx2"}
	if os.Getenv("BILLET_LAB_ACCEL") == "kvm" {
		accelerator = []string{"-accel", "kvm", "-cpu", "host"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		append(accelerator, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35",
			"-m", "512", "-smp", "2", "-serial", "stdio", "-no-reboot", "-kernel", filepath.Join(dir, ramdisk.KernelFile), "-initrd",
			filepath.Join(dir, ramdisk.InitramfsFile),
			"-append", line, "-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile=",
			"-drive", "if=none,id=drive0,format=raw,cache=unsafe,discard=unmap,file="+target, "-device", "virtio-blk-pci,drive=drive0")...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		b.Fatalf("the virtual machine (apt-get install qemu-system-x86): %v\n%s", err, said.String())
	}
	parts := map[string]times{}
	for line := range strings.Lines(said.String()) {
		var name string
		var micros int64
		if _, err := fmt.Sscanf(line, "INMACHINE %s %d", &name, &micros); err == nil {
			parts[name] = append(parts[name], time.Duration(micros)*time.Microsecond)
		}
	}
	if len(parts["qcow2"]) == 0 || strings.Contains(said.String(), "INMACHINE-FAILED") {
		b.Fatalf("the virtual machine measured nothing:\n%s", said.String())
	}
	return parts
}
