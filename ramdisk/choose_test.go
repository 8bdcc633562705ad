package ramdisk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeKernel has modules "file: depends; alias, alias; soft dependencies; firmware".
func fakeKernel(modules map[string]modinfo) *kernel {
	k := &kernel{release: "1.2.3-test", modules: map[string]*module{}, builtin: map[string]bool{}}
	for file, info := range modules {
		info.name = moduleName(file)
		k.modules[info.name] = &module{path: file, data: []byte("data of " + file), info: info}
	}
	return k
}

func withFlavor(t *testing.T, f flavor) Flavor {
	t.Helper()
	const name = Flavor("test")
	flavors[name] = f
	t.Cleanup(func() { delete(flavors, name) })
	return name
}

func text(files []File, path string) string {
	for _, f := range files {
		if f.Path == path {
			return string(f.Data)
		}
	}
	return "(not there)"
}

func TestChoose(t *testing.T) {
	k := fakeKernel(map[string]modinfo{
		"kernel/drivers/net/virtio_net.ko":       {depends: []string{"net_failover", "virtio"}, aliases: []string{"virtio:d00000001v*"}},
		"kernel/net/net_failover.ko":             {depends: []string{"failover"}},
		"kernel/net/failover.ko":                 {},
		"kernel/drivers/virtio/virtio.ko":        {depends: []string{"built_in"}},
		"kernel/fs/nls/nls_iso8859-1.ko":         {},
		"kernel/drivers/md/raid456.ko":           {depends: []string{"libcrc32c", "virtio"}, aliases: []string{"md-level-5", "md-raid6"}},
		"kernel/lib/libcrc32c.ko":                {softdeps: []string{"crc32c"}},
		"kernel/crypto/crc32c_generic.ko":        {aliases: []string{"crc32c", "crypto-crc32c"}},
		"kernel/arch/x86/crypto/crc32c-intel.ko": {aliases: []string{"crc32c", "crypto-crc32c"}},
		"kernel/sound/nobody_asked.ko":           {},
	})
	k.builtin["nvme"], k.builtin["built_in"] = true, true
	c, err := k.choose(withFlavor(t, flavor{
		basic:   []string{"virtio_net", "nls_iso8859-1"},
		drivers: []string{"raid456", "nvme", "unheard_of", "virtio_net"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	files := c.files()
	for path, want := range map[string]string{
		"modules/order": "failover.ko\nnet_failover.ko\nvirtio.ko\nvirtio_net.ko\nnls_iso8859-1.ko\n",
		"modules/modules.dep": `crc32c_generic.ko:
crc32c-intel.ko:
failover.ko:
libcrc32c.ko: crc32c_generic.ko crc32c-intel.ko
net_failover.ko: failover.ko
nls_iso8859-1.ko:
raid456.ko: libcrc32c.ko crc32c_generic.ko crc32c-intel.ko virtio.ko
virtio.ko:
virtio_net.ko: virtio.ko net_failover.ko failover.ko
`,
		"modules/modules.alias": `alias crc32c crc32c_generic
alias crypto-crc32c crc32c_generic
alias crc32c crc32c_intel
alias crypto-crc32c crc32c_intel
alias md-level-5 raid456
alias md-raid6 raid456
alias virtio:d00000001v* virtio_net
`,
		"modules/virtio_net.ko":   "data of kernel/drivers/net/virtio_net.ko",
		"modules/nobody_asked.ko": "(not there)",
	} {
		if diff := cmp.Diff(want, text(files, path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if diff := cmp.Diff([]string{"unheard_of"}, c.absent); diff != "" {
		t.Errorf("absent (-want +got):\n%s", diff)
	}
}

// What is to be loaded besides the flavor's basic modules comes behind them, with what it needs.
func TestChooseMore(t *testing.T) {
	k := fakeKernel(map[string]modinfo{"disk.ko": {}, "raid1.ko": {depends: []string{"md_mod"}}, "md-mod.ko": {},
		"raid0.ko": {depends: []string{"md_mod"}}})
	k.builtin["built_in"] = true
	f := withFlavor(t, flavor{basic: []string{"disk"}, drivers: []string{"raid0"}})
	c, err := k.choose(f, "raid1", "built-in")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := text(c.files(), "modules/order"), "disk.ko\nmd-mod.ko\nraid1.ko\n"; got != want {
		t.Errorf("loaded are %q, want %q", got, want)
	}
	if _, err := k.choose(f, "raid7"); err == nil || !strings.Contains(err.Error(), "has no module raid7") {
		t.Errorf("a module that is not there: %v", err)
	}
}

func TestChooseMissingBasic(t *testing.T) {
	_, err := fakeKernel(nil).choose(withFlavor(t, flavor{basic: []string{"vfat"}}))
	want := "the kernel 1.2.3-test has no module vfat, which every test ramdisk needs"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Soft dependencies may run in circles; hard ones must still come out in order.
func TestChooseCircle(t *testing.T) {
	k := fakeKernel(map[string]modinfo{
		"a.ko": {depends: []string{"b"}},
		"b.ko": {softdeps: []string{"a"}},
	})
	c, err := k.choose(withFlavor(t, flavor{basic: []string{"a"}}))
	if err != nil {
		t.Fatal(err)
	}
	if got := text(c.files(), "modules/order"); got != "b.ko\na.ko\n" {
		t.Errorf("order is %q", got)
	}
}

func TestFirmware(t *testing.T) {
	k := fakeKernel(map[string]modinfo{"tg3.ko": {firmware: []string{"tigon/tg3.bin", "tigon/none.bin", "../../etc/shadow"}}})
	c, err := k.choose(withFlavor(t, flavor{basic: []string{"tg3"}}))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "tigon"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tigon/tg3.bin"), []byte("fw"), 0o644); err != nil {
		t.Fatal(err)
	}
	files, missing, err := c.firmware(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 || files[0].Path != "lib/firmware/tigon/tg3.bin" || string(files[0].Data) != "fw" {
		t.Errorf("files are %v", files)
	}
	if diff := cmp.Diff([]string{"../../etc/shadow", "tigon/none.bin"}, missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

// Every driver is named once: a second mention would hide a typing error.
func TestFlavorsNameDriversOnce(t *testing.T) {
	for name, f := range flavors {
		seen := map[string]bool{}
		for _, m := range append(append([]string{}, f.basic...), f.drivers...) {
			if seen[canonical(m)] {
				t.Errorf("%s names %s twice", name, m)
			}
			seen[canonical(m)] = true
			if strings.ContainsAny(m, " ./") {
				t.Errorf("%s: %q is no module name", name, m)
			}
		}
	}
}
