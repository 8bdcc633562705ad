package disk

import (
	"bytes"
	"fmt"
	"strings"
)

// signature is what a file system that several machines share says of itself. A disk of this machine may
// hold one though it is not this machine's alone.
type signature struct {
	name  string
	magic string
	at    int64
}

// sharedSignatures are libblkid's (its documentation of superblocks names the places), but for that of GPFS:
// its network shared disks begin with a text that strings(1) shows.
var sharedSignatures = []signature{
	{"VMFS volume (VMware)", "\x0d\xd0\x01\xc0", 1 << 20},
	{"VMFS (VMware)", "\x5e\xf1\xab\x2f", 2 << 20},
	{"GFS2 or GFS (Red Hat)", "\x01\x16\x19\x70", 64 << 10},
	{"OCFS2 (Oracle)", "OCFSV2", 1 << 10},
	{"OCFS2 (Oracle)", "OCFSV2", 2 << 10},
	{"OCFS2 (Oracle)", "OCFSV2", 4 << 10},
	{"OCFS2 (Oracle)", "OCFSV2", 8 << 10},
	{"OCFS (Oracle)", "OracleCFS", 0},
	{"Oracle ASM", "ORCLDISK", 32},
}

// gpfs is how a network shared disk's descriptor begins, in one of the first sectors.
var gpfs = []byte("NSD descriptor for")

// sharedTypes are partition types that only such file systems use.
var sharedTypes = map[GUID]string{
	mustGUID("aa31e02a-400f-11db-9590-000c2911d1b8"): "VMFS (VMware)",
	mustGUID("381cfccc-7288-11e0-92ee-000c2911d0b2"): "vSAN (VMware)",
	mustGUID("77719a0c-a4a0-11e3-a47e-000c29745a24"): "Virsto (VMware)",
	mustGUID("37affc90-ef7d-4e96-91c3-2d7ae055b174"): "GPFS (IBM)",
}

const mbrVMFS = 0xfb

// Shared says which file system on a disk other machines may be using, and where; "" when none is known.
// Local members of ZFS, LVM, md or Ceph are the machine's own and not meant.
func Shared(d Disk) (string, error) {
	kind, err := sharedIn(Within(d, 0, d.Size()))
	if kind != "" || err != nil {
		return kind, err
	}
	if t, err := ReadGPT(d, d.Size(), d.SectorSize()); err == nil {
		for _, p := range t.numbered() {
			if kind := sharedTypes[t.Entry(p.Number).Type]; kind != "" {
				return fmt.Sprintf("%s in partition %d", kind, p.Number), nil
			}
		}
	}
	if m, err := ReadMBR(d); err == nil && m != nil {
		for i := range 4 {
			if m.Entry(i).Kind == mbrVMFS {
				return fmt.Sprintf("VMFS (VMware) in partition %d", i+1), nil
			}
		}
	}
	for _, p := range Areas(d) {
		kind, err := sharedIn(Within(d, p.Offset, p.Length))
		if err != nil {
			return "", err
		}
		if kind != "" {
			return fmt.Sprintf("%s in the partition at byte %d", kind, p.Offset), nil
		}
	}
	return "", nil
}

func sharedIn(w Window) (string, error) {
	head := make([]byte, min(32<<10, w.length))
	if err := ReadPadded(w, head, 0); err != nil {
		return "", err
	}
	if i := bytes.Index(head, gpfs); i >= 0 && strings.Contains(string(head[i:min(len(head), i+512)]), "GPFS") {
		return "GPFS (IBM)", nil
	}
	for _, s := range sharedSignatures {
		magic := make([]byte, len(s.magic))
		if err := ReadPadded(w, magic, s.at); err != nil {
			return "", err
		}
		if string(magic) == s.magic {
			return s.name, nil
		}
	}
	return "", nil
}
