package iscsi

import (
	"testing"

	"github.com/billet-metal/billet/driver"
)

// The program is replaced while the ramdisk installs the boot loader: what it said, and that it was asked, is known on.
func TestNotesOfBefore(t *testing.T) {
	w := local(t)
	w.task.Node.Plan.Memo = map[string]string{
		"iscsi.booted": "yes", "iscsi.host": "192.0.2.50", "iscsi.mode": "uefi", "iscsi.auth": "CHAP", "iscsi.error": "no disk",
		"iscsi.root": "6f0c", "iscsi.asked": "yes", "iscsi.loader": failed,
	}
	for range 2 {
		if got := ramdiskNote.Get(w.task); got != (ramdisk{true, "192.0.2.50", "uefi", "CHAP", "no disk"}) {
			t.Errorf("the ramdisk: %+v", got)
		}
		if got := loaderNote.Get(w.task); got != (loader{"6f0c", true, failed}) {
			t.Errorf("the loader: %+v", got)
		}
		ramdiskNote.Edit(w.task, func(*ramdisk) {})
		loaderNote.Edit(w.task, func(*loader) {})
	}
	if n := len(w.task.Node.Plan.Memo); n != 2 {
		t.Errorf("%d keys are left: %v", n, w.task.Node.Plan.Memo)
	}
	_, err := w.loaderInstalled(t.Context(), w.task)
	if want := "installing the boot loader failed, the deploy ramdisk says: no disk"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	w.task = &driver.Task{Node: w.task.Node, Hardware: w.task.Hardware}
	loaderNote.Edit(w.task, func(l *loader) { l.Status = installed })
	if r, err := w.loaderInstalled(t.Context(), w.task); err != nil || r.Waiting() {
		t.Errorf("%+v, %v", r, err)
	}
}
