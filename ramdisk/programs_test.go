package ramdisk

import (
	"fmt"
	"testing"
)

func TestBelow(t *testing.T) {
	pkg := tree{files: map[string][]byte{"lib/grub/i386-pc/a.mod": []byte("a"), "lib/grub/i386-pc-more/b.mod": nil, "sbin/grub-install": nil}}
	files, err := pkg.below("lib/grub/i386-pc")
	if err != nil || len(files) != 1 || files[0].Path != "lib/grub/i386-pc/a.mod" || string(files[0].Data) != "a" || files[0].Mode != 0o644 {
		t.Errorf("got %+v, %v; want the one module", files, err)
	}
	_, err = pkg.below("lib/grub/arm64-efi")
	if got, want := fmt.Sprint(err), "the packages do not hold the folder lib/grub/arm64-efi"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	_, err = pkg.collect([]string{"sbin/no-such"})
	if got, want := fmt.Sprint(err), "the packages do not hold sbin/no-such, which is needed"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
