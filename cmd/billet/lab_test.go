package main

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/billet-metal/billet/lab"
)

func TestParseSizes(t *testing.T) {
	for _, c := range []struct {
		texts []string
		want  []int64
		err   string
	}{
		{nil, []int64{}, ""},
		{[]string{"none"}, []int64{}, ""},
		{[]string{"6G", "512M", "1T", "4096", "8K"}, []int64{6 << 30, 512 << 20, 1 << 40, 4096, 8 << 10}, ""},
		{[]string{""}, nil, `size "": a number with K, M, G or T is wanted, such as 6G`},
		{[]string{"G"}, nil, `size "G": a number with K, M, G or T is wanted, such as 6G`},
		{[]string{"6GG"}, nil, `size "6GG": a number with K, M, G or T is wanted, such as 6G`},
		{[]string{"-6G"}, nil, `size "-6G": a number with K, M, G or T is wanted, such as 6G`},
		{[]string{"6g"}, nil, `size "6g": a number with K, M, G or T is wanted, such as 6G`},
		{[]string{"99999999999T"}, nil, `size "99999999999T": a number with K, M, G or T is wanted, such as 6G`},
	} {
		got, err := parseSizes(c.texts)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if diff := cmp.Diff(c.want, got); diff != "" || said != c.err {
			t.Errorf("%q: %s (-want +got):\n%s", c.texts, said, diff)
		}
	}
}

func TestMachineTable(t *testing.T) {
	var out bytes.Buffer
	machineTable(&out, []lab.Machine{
		{Name: "m1", Power: "on", Firmware: "uefi", MemoryMB: 384, NICs: []lab.NIC{{MAC: "52:54:00:00:00:01"}}, Disks: make([]lab.Disk, 2),
			BMC: lab.BMC{Address: "127.0.0.1", Port: 623}},
		{Name: "long-name", Power: "unknown", Firmware: "bios", MemoryMB: 1024, BMC: lab.BMC{Address: "127.0.0.1", Port: 50000}},
	})
	want := `NAME       POWER    FIRMWARE  MEMORY    DISKS  MAC                BMC
m1         on       uefi      384 MiB   2      52:54:00:00:00:01  127.0.0.1:623
long-name  unknown  bios      1024 MiB  0      -                  127.0.0.1:50000
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
