package images

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Two builds of one image into one directory at the same time: the second takes what the first has made, and
// the checksum beside it is its own.
func TestBuildsAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	var got [3]Image
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = Build(t.Context(), "grub", Options{OutDir: dir}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	made := 0
	for _, img := range got {
		if !img.Cached {
			made++
		}
	}
	if made != 1 {
		t.Errorf("it was made %d times", made)
	}
	data, err := os.ReadFile(filepath.Join(dir, "grub.raw"))
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(filepath.Join(dir, "grub.raw.sha256"))
	if want := fmt.Sprintf("%x", sha256.Sum256(data)); err != nil || !strings.HasPrefix(string(said), want) {
		t.Errorf("the checksum beside it is %s, want %s (%v)", said, want, err)
	}
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	unlock, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, dir); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), dir) {
		t.Errorf("somebody else's lock was taken: %v", err)
	}
	unlock()
	again, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
	if _, err := lock(t.Context(), "/proc/nowhere"); err == nil {
		t.Error("a directory that cannot be made is locked")
	}
}
