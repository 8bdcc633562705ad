package efi

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"
)

// ancient is when nothing was written by a test.
var ancient = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// Somebody else's entries stay what and where they are, behind ours, over many deployments.
func TestManyDeploymentsLeaveOthersAlone(t *testing.T) {
	other := func(text string) string {
		return hex.EncodeToString(Option{Description: text, Path: `\EFI\other`, Partition: Partition{Number: 1, Start: 34, Sectors: 9}}.Encode())
	}
	vars := map[string]string{"BootOrder": "020005000100", "Timeout": "0500", "BootCurrent": "0200"}
	for n, text := range map[int]string{1: "Windows Boot Manager", 2: "UEFI PXEv4", 5: "Billet instance 2"} {
		vars[fmt.Sprintf("Boot%04X", n)] = other(text)
	}
	v := firmware(t, vars)
	for round := range 5 {
		o := debian
		o.Partition.Signature[0] = byte(round) // each deployment has another partition
		number, err := v.Install(o)
		if err != nil || number != 0 {
			t.Fatalf("round %d: entry %d, %v", round, number, err)
		}
		order, err := v.BootOrder()
		if err != nil || fmt.Sprint(order) != "[0 2 5 1]" {
			t.Errorf("round %d: order %v, %v", round, order, err)
		}
		raw, err := v.read("Boot0000")
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Decode(raw); err != nil || back != o {
			t.Errorf("round %d: %+v, %v", round, back, err)
		}
	}
	for name, want := range vars {
		if name == "BootOrder" {
			continue
		}
		if raw, err := v.read(name); err != nil || hex.EncodeToString(raw) != want {
			t.Errorf("%s is %x, %v; it was %s", name, raw, err, want)
		}
	}
}

// Writing what is there already writes nothing: flash wears, and some firmware counts.
func TestNothingIsWrittenTwice(t *testing.T) {
	v := firmware(t, nil)
	if _, err := v.Install(debian); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Boot0000", "BootOrder"} {
		if err := os.Chtimes(v.path(name), ancient, ancient); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Install(debian); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Boot0000", "BootOrder"} {
		if st, err := os.Stat(v.path(name)); err != nil || !st.ModTime().Equal(ancient) {
			t.Errorf("%s was written again (%v)", name, err)
		}
	}
}

// The lowest free number is taken, in hexadecimal, and what only looks like an entry is none.
func TestNumbersOfEntries(t *testing.T) {
	vars := map[string]string{"BootNext": "0100", "Boot00": "01", "Boot00000": "01", "Boota": "01"}
	for n := range 11 {
		vars[entryName(uint16(n))] = "01"
	}
	v := firmware(t, vars)
	if err := os.WriteFile(v.Dir+"/Boot000B-00000000-0000-0000-0000-000000000000", nil, 0o644); err != nil { // somebody's own
		t.Fatal(err)
	}
	all, err := v.entries()
	if err != nil || fmt.Sprint(all) != "[0 1 2 3 4 5 6 7 8 9 10]" {
		t.Errorf("%v, %v", all, err)
	}
	if n, err := v.Install(debian); err != nil || n != 11 {
		t.Errorf("entry %d, %v", n, err)
	}
	if _, err := os.Stat(v.path("Boot000B")); err != nil {
		t.Error(err)
	}
}

func TestNoFreeEntry(t *testing.T) {
	var all []uint16
	for n := range 0xffff {
		all = append(all, uint16(n))
	}
	if _, err := pick(all, nil); err == nil || err.Error() != "the firmware has no free boot entry" {
		t.Error(err)
	}
	if n, err := pick(all, []uint16{7, 9}); err != nil || n != 7 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := pick([]uint16{2, 0, 0, 1, 1, 4}, nil); err != nil || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := pick(all[1:], nil); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
}

// Variables that the firmware shows oddly: each has its own error, and none loses the boot order.
func TestOddFirmware(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, v Variables)
		want   string
	}{
		{"an order shorter than its attributes", func(t *testing.T, v Variables) { overwrite(t, v, "BootOrder", []byte{7, 0}) },
			"reading the firmware variable BootOrder: it has 2 bytes, fewer than its attributes"},
		{"an order that cannot be written", func(t *testing.T, v Variables) { folder(t, v, "BootOrder") },
			"reading the firmware variable BootOrder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := firmware(t, nil)
			tt.damage(t, v)
			_, err := v.Install(debian)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func overwrite(t *testing.T, v Variables, name string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(v.path(name), raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

func folder(t *testing.T, v Variables, name string) {
	t.Helper()
	if err := os.Mkdir(v.path(name), 0o755); err != nil {
		t.Fatal(err)
	}
}

// A number whose variable cannot be read is somebody's: the next one is taken.
func TestAnEntryThatCannotBeReadIsNotOurs(t *testing.T) {
	v := firmware(t, nil)
	folder(t, v, "Boot0000")
	if n, err := v.Install(debian); err != nil || n != 1 {
		t.Errorf("entry %d, %v", n, err)
	}
}

// Firmware that takes a write and keeps something else is found out.
func TestFirmwareThatForgets(t *testing.T) {
	v := firmware(t, nil)
	if err := os.Symlink("/dev/null", v.path("Boot0000")); err != nil {
		t.Fatal(err)
	}
	err := v.write("Boot0000", debian.Encode())
	if err == nil || err.Error() != "reading the firmware variable Boot0000: it has 0 bytes, fewer than its attributes" {
		t.Error(err)
	}
	if err := v.remove("Boot0000"); err != nil {
		t.Error(err)
	}
	if err := v.remove("Boot0000"); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
	if _, err := v.read("Boot0000"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if order, err := v.BootOrder(); order != nil || err != nil {
		t.Errorf("%v, %v", order, err)
	}
}

// The order may have an odd number of bytes, entries twice, and ours anywhere.
func TestPutFirst(t *testing.T) {
	for _, tt := range []struct {
		order string
		stale []uint16
		want  string
	}{
		{"", nil, "[3]"},
		{"0300", nil, "[3]"},
		{"010002000300", nil, "[3 1 2]"},
		{"030001000300", nil, "[3 1]"},
		{"0100020004", nil, "[3 1 2]"},
		{"010002000400", []uint16{2, 4}, "[3 1]"},
		{"02000400", []uint16{2, 3, 4}, "[3]"},
	} {
		v := firmware(t, map[string]string{"BootOrder": tt.order})
		if err := v.putFirst(3, tt.stale); err != nil {
			t.Fatal(err)
		}
		if got, err := v.BootOrder(); err != nil || fmt.Sprint(got) != tt.want {
			t.Errorf("%s without %v became %v, %v; want %s", tt.order, tt.stale, got, err, tt.want)
		}
	}
}

// Every length of text and path survives, and the lengths in the bytes are right.
func TestOptionsOfEachLength(t *testing.T) {
	for n := range 80 {
		o := Option{Description: strings.Repeat("ä", n), Path: `\` + strings.Repeat("x", n), Partition: debian.Partition}
		raw := o.Encode()
		length := int(binary.LittleEndian.Uint16(raw[4:]))
		if want := hardDriveSize + 4 + 2*(n+2) + 4; length != want || len(raw) != 6+2*(n+1)+length {
			t.Errorf("%d: a path of %d bytes in %d, want %d", n, length, len(raw), want)
		}
		if !bytes.HasSuffix(raw, []byte{0x7f, 0xff, 4, 0}) {
			t.Errorf("%d: the path does not end", n)
		}
		if back, err := Decode(raw); err != nil || back != o {
			t.Errorf("%d: %+v, %v", n, back, err)
		}
	}
}
