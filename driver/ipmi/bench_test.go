package ipmi

import (
	"os/exec"
	"testing"
	"time"

	"github.com/billet-metal/billet/lab/bmc"
)

// BenchmarkPowerRead reads the power state of one BMC with this driver and, in the same run, with
// the program ipmitool, log-in included. "ipmitool/read" is how many times longer ipmitool takes.
func BenchmarkPowerRead(b *testing.B) {
	if _, err := exec.LookPath("ipmitool"); err != nil {
		b.Fatal("ipmitool is missing; install the Debian package ipmitool")
	}
	info := start(b, &bmc.Server{})
	power, _ := New(Options{})
	var ours, theirs time.Duration
	for b.Loop() {
		begin := time.Now()
		if _, err := power.PowerState(b.Context(), task(info)); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(begin)
		begin = time.Now()
		out, err := exec.Command("ipmitool", "-I", "lanplus", "-C", "17", "-H", info.String("ipmi_address"), "-p", info.String("ipmi_port"),
			"-U", "admin", "-P", password, "power", "status").CombinedOutput()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		theirs += time.Since(begin)
	}
	b.ReportMetric(float64(ours.Microseconds())/1000/float64(b.N), "ms/read")
	b.ReportMetric(float64(theirs)/float64(ours), "ipmitool/read")
}
