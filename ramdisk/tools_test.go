package ramdisk

import (
	"os"
	"strings"
	"testing"
)

// The libraries of a program are followed to the last, links and all.
func TestCollectFollowsLibraries(t *testing.T) {
	program, err := os.ReadFile("/sbin/mke2fs")
	if err != nil {
		t.Fatalf("%v: apt-get install e2fsprogs", err)
	}
	library, err := os.ReadFile("/lib/x86_64-linux-gnu/libcom_err.so.2")
	if err != nil {
		t.Fatal(err)
	}
	names, err := needed(program)
	if err != nil || len(names) < 3 {
		t.Fatalf("mke2fs needs %v, %v", names, err)
	}
	pkg := tree{files: map[string][]byte{"sbin/mke2fs": program}, links: map[string]string{}}
	more, err := needed(library)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range append(names, more...) {
		pkg.links[libraryDir+l] = l + ".1.2.3"
		pkg.files[libraryDir+l+".1.2.3"] = library
	}
	pkg.links[loaderLink] = "/usr/lib/x86_64-linux-gnu/ld.so"
	pkg.files["lib/x86_64-linux-gnu/ld.so"] = library
	files, err := pkg.collect([]string{"sbin/mke2fs"})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range files {
		got += f.Path + "\n"
		if len(f.Data) == 0 || f.Mode != 0o755 {
			t.Errorf("%s: %d bytes, %v", f.Path, len(f.Data), f.Mode)
		}
	}
	for _, want := range []string{"sbin/mke2fs\n", loaderLink + "\n", libraryDir + "libc.so.6\n", libraryDir + "libcom_err.so.2\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in:\n%s", strings.TrimSpace(want), got)
		}
	}
	delete(pkg.links, libraryDir+"libc.so.6")
	if _, err := pkg.collect([]string{"sbin/mke2fs"}); err == nil || !strings.Contains(err.Error(), "do not hold "+libraryDir+"libc.so.6") {
		t.Errorf("without libc: %v", err)
	}
}

func TestLinksInCircles(t *testing.T) {
	pkg := tree{links: map[string]string{"lib/a": "b", "lib/b": "/usr/lib/a"}}
	if _, ok := pkg.file("lib/a"); ok {
		t.Error("a circle leads somewhere")
	}
}
