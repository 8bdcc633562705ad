package efi

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var debian = Option{
	Description: "Billet instance",
	Path:        `\EFI\BOOT\BOOTX64.EFI`,
	Partition: Partition{
		Number: 15, Start: 2048, Sectors: 253952,
		Signature: [16]byte{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b},
	},
}

// By the tables of the UEFI Specification 2.10: 3.1.3 load option, 10-49 hard drive, 10-53 file.
const debianBytes = "01000000" + "5e00" + // active; length of the path
	"420069006c006c0065007400200069006e007300740061006e0063006500" + "0000" + // Billet instance
	"04012a00" + "0f000000" + "0008000000000000" + "00e0030000000000" + "28732ac11ff8d211ba4b00a0c93ec93b" + "02" + "02" +
	"04043000" + "5c004500460049005c0042004f004f0054005c0042004f004f0054005800360034002e00450046004900" + "0000" +
	"7fff0400"

func TestOptionByteForByte(t *testing.T) {
	if got := hex.EncodeToString(debian.Encode()); got != debianBytes {
		t.Errorf("\n got %s\nwant %s", got, debianBytes)
	}
	back, err := Decode(debian.Encode())
	if err != nil || back != debian {
		t.Errorf("%+v, %v", back, err)
	}
	mbr := debian
	mbr.Partition.MBR, mbr.Partition.Signature = true, [16]byte{1, 2, 3, 4}
	raw := mbr.Encode()
	if at := 6 + 32 + 40; raw[at] != 1 || raw[at+1] != 1 {
		t.Errorf("format and signature type are %d, %d", raw[at], raw[at+1])
	}
	if back, err = Decode(raw); err != nil || back != mbr {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := debian.Encode()
	for name, raw := range map[string][]byte{
		"nothing": nil, "short": good[:7], "endless text": good[:20], "endless path": good[:len(good)-1],
		"another device": append(bytes.Clone(good[:38]), append([]byte{2}, good[39:]...)...),
	} {
		if o, err := Decode(raw); err == nil {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

// firmware is a folder of variables like efivarfs: name → value in hex.
func firmware(t *testing.T, vars map[string]string) Variables {
	t.Helper()
	v := Variables{Dir: t.TempDir()}
	for name, text := range vars {
		raw, err := hex.DecodeString("07000000" + text)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(v.path(name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func show(t *testing.T, v Variables) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(v.Dir, "Boot*"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text := hex.EncodeToString(raw)
		text = strings.Replace(text, debianBytes, "DEBIAN", 1)
		out = append(out, strings.TrimSuffix(filepath.Base(f), "-"+globalGUID)+"="+text)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestInstall(t *testing.T) {
	pxe := "01000000" + "0400" + "500058004500" + "0000" + "7fff0400"
	old := hex.EncodeToString(Option{Description: debian.Description, Path: `\OLD`}.Encode())
	for _, tt := range []struct {
		name   string
		vars   map[string]string
		number uint16
		want   string
	}{
		{"empty firmware", nil, 0, "Boot0000=07000000DEBIAN BootOrder=070000000000"},
		{"beside PXE", map[string]string{"Boot0000": pxe, "BootOrder": "0000"}, 1,
			"Boot0000=07000000" + pxe + " Boot0001=07000000DEBIAN BootOrder=0700000001000000"},
		{"stale entries go", map[string]string{"Boot0000": pxe, "Boot0003": old, "Boot000A": old, "BootOrder": "0a0000000300"}, 3,
			"Boot0000=07000000" + pxe + " Boot0003=07000000DEBIAN BootOrder=0700000003000000"},
		{"twice", map[string]string{"Boot0000": pxe, "Boot0001": debianBytes, "BootOrder": "01000000"}, 1,
			"Boot0000=07000000" + pxe + " Boot0001=07000000DEBIAN BootOrder=0700000001000000"},
		{"order names what is not there", map[string]string{"BootOrder": "07000800"}, 0,
			"Boot0000=07000000DEBIAN BootOrder=07000000000007000800"},
		{"damaged entry is left alone", map[string]string{"Boot0000": "01"}, 1,
			"Boot0000=0700000001 Boot0001=07000000DEBIAN BootOrder=070000000100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := firmware(t, tt.vars)
			n, err := v.Install(debian)
			if err != nil || n != tt.number {
				t.Errorf("entry %d, %v", n, err)
			}
			if got := show(t, v); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestInstallWithoutFirmware(t *testing.T) {
	_, err := Variables{Dir: filepath.Join(t.TempDir(), "none")}.Install(debian)
	if err == nil || !strings.Contains(err.Error(), "listing the firmware's variables") {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(debian.Encode())
	f.Add([]byte("\x01\x00\x00\x00\x04\x00P\x00\x00\x00\x7f\xff\x04\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = Description(raw)
		o, err := Decode(raw)
		if err != nil {
			return
		}
		again, err := Decode(o.Encode())
		if err != nil || again != o {
			t.Errorf("%+v became %+v, %v", o, again, err)
		}
	})
}
