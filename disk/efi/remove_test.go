package efi

import (
	"strings"
	"testing"
)

// Entries are removed by their description, from the boot order too; all others stay.
func TestRemove(t *testing.T) {
	v := firmware(t, map[string]string{})
	for _, text := range []string{"Billet instance, disk 3", "UEFI PXE", "Billet instance, disk 2", "Billet instance"} {
		o := debian
		o.Description, o.Path = text, `\EFI\`+text
		if _, err := v.Install(o); err != nil {
			t.Fatal(err)
		}
	}
	ours := func(text string) bool { return strings.HasPrefix(text, "Billet instance, disk") }
	for range 2 { // a second time there is nothing to do
		if err := v.Remove(ours); err != nil {
			t.Fatal(err)
		}
		order, err := v.BootOrder()
		var left []string
		for _, n := range order {
			raw, err := v.read(entryName(n))
			if err != nil {
				t.Fatal(err)
			}
			text, err := Description(raw)
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, text)
		}
		if got := strings.Join(left, "; "); err != nil || got != "Billet instance; UEFI PXE" {
			t.Errorf("left are %s, %v", got, err)
		}
		if all, err := v.entries(); err != nil || len(all) != 2 {
			t.Errorf("entries %v, %v", all, err)
		}
	}
	if err := (Variables{Dir: "/nowhere"}).Remove(ours); err == nil || !strings.Contains(err.Error(), "listing the firmware's variables") {
		t.Error(err)
	}
}

// Of firmware without a boot order nothing is removed but the entries.
func TestRemoveWithoutABootOrder(t *testing.T) {
	v := firmware(t, map[string]string{"Boot0007": debianBytes, "Boot0008": "ff"})
	if err := v.Remove(func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if all, err := v.entries(); err != nil || len(all) != 1 || all[0] != 8 { // what cannot be read is not ours
		t.Errorf("entries %v, %v", all, err)
	}
}
