package ramdisk

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sampleModinfo = "firmware=x/y.bin\x00license=GPL\x00alias=pci:v00008086d000010D3sv*sd*bc*sc*i*\x00alias=e1000-old\x00" +
	"alias=e1000-old\x00depends=ptp,pps-core\x00softdep=pre: crc32c crct10dif post: never\x00name=e1000e\x00vermagic=6.1.0 " +
	"SMP\x00broken\x00empty=\x00"

func TestParseModinfo(t *testing.T) {
	want := modinfo{
		name:     "e1000e",
		depends:  []string{"ptp", "pps_core"},
		softdeps: []string{"crc32c", "crct10dif"},
		aliases:  []string{"e1000-old", "pci:v00008086d000010D3sv*sd*bc*sc*i*"},
		firmware: []string{"x/y.bin"},
	}
	if diff := cmp.Diff(want, parseModinfo([]byte(sampleModinfo)), cmp.AllowUnexported(modinfo{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadModinfoRefuses(t *testing.T) {
	for _, data := range []string{"", "not an object", "\x7fELF"} {
		if m, err := readModinfo([]byte(data)); err == nil {
			t.Errorf("readModinfo(%q) = %v, want an error", data, m)
		}
	}
}

func FuzzModinfo(f *testing.F) {
	f.Add([]byte(sampleModinfo))
	f.Add([]byte("depends=\x00softdep=post: a pre: b"))
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := parseModinfo(data)
		for _, d := range append(m.depends, m.name) {
			if canonical(d) != d {
				t.Errorf("the name %q is not canonical", d)
			}
		}
		readModinfo(data) // must not panic
	})
}
