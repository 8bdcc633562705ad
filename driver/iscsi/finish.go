package iscsi

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// prepareInstanceBoot makes the machine's next boot its instance's, before the ramdisk reboots it. An
// image without a boot loader of its own has it installed first: the ramdisk is told that all is written
// and answers with pass_bootloader_install_info. The boot record, which holds the token and the key of
// that call, lives until then.
func (d *Deploy) prepareInstanceBoot(ctx context.Context, t *driver.Task) (driver.Result, error) {
	asked := driver.InstanceOf(t.Node)
	if err := asked.NoteRoot(loaderNote.Get(t).Root, func(source string) (string, error) {
		return d.Sources.File(ctx, source)
	}); err != nil {
		return driver.Done(), err
	}
	if !asked.NeedsLoader() || loaderNote.Get(t).Status != "" {
		return d.loaderInstalled(ctx, t)
	}
	if err := d.askForLoader(ctx, t); err != nil {
		return driver.Done(), err
	}
	return driver.Wait(loaderCall, orElse(d.LoaderTimeout, 25*time.Minute)), nil
}

// loaderCall is what a ramdisk that installs a boot loader is waited for with.
var loaderCall = node.Await{For: node.LoaderInfo, Text: "the deploy ramdisk's pass_bootloader_install_info"}

// askForLoader says the first "done". After a crash nobody knows whether it was said; it is said again
// then, and a ramdisk that listens no more has heard it: it listens again only when its own call was taken.
func (d *Deploy) askForLoader(ctx context.Context, t *driver.Task) error {
	asked := loaderNote.Get(t).Asked
	loaderNote.Edit(t, func(l *loader) { l.Asked = true })
	if err := t.Checkpoint(ctx); err != nil {
		return err
	}
	err := d.sayDone(ctx, t)
	if err != nil && !asked {
		return fmt.Errorf("telling the deploy ramdisk to install the boot loader: %w", err)
	}
	return nil
}

// loaderInstalled ends the wait once the ramdisk has said how it went.
func (d *Deploy) loaderInstalled(ctx context.Context, t *driver.Task) (driver.Result, error) {
	switch local := driver.InstanceOf(t.Node).NeedsLoader(); {
	case local && loaderNote.Get(t).Status == "":
		return driver.Result{WaitFor: loaderCall}, nil
	case local && loaderNote.Get(t).Status != installed:
		return driver.Done(), fmt.Errorf("installing the boot loader failed, the deploy ramdisk says: %s", ramdiskNote.Get(t).Error)
	}
	if err := t.Hardware.Boot.PrepareInstance(ctx, t); err != nil {
		return driver.Done(), fmt.Errorf("making the machine boot its instance: %w", err)
	}
	return driver.Done(), nil
}

// release tells the ramdisk that all is done: it stops its target and reboots. One that cannot be
// told is rebooted by its BMC; everything is on its disk by now.
func (d *Deploy) release(ctx context.Context, t *driver.Task) (driver.Result, error) {
	err := d.sayDone(ctx, t)
	if err == nil {
		return driver.Done(), nil
	}
	t.Logger().Warn("the deploy ramdisk cannot be told that all is done; the BMC reboots the machine", "error", err)
	if err := t.SetPower(ctx, node.Rebooting); err != nil {
		return driver.Done(), fmt.Errorf("rebooting the machine into its instance: %w", err)
	}
	return driver.Done(), nil
}

const (
	doneTries   = 5 // a shell's nc may not listen again at once
	doneTimeout = 5 * time.Second
)

// sayDone connects to the ramdisk and says "done".
func (d *Deploy) sayDone(ctx context.Context, t *driver.Task) error {
	address := net.JoinHostPort(ramdiskNote.Get(t).Host, orElse(d.DonePort, "10000"))
	dialer := net.Dialer{Timeout: doneTimeout}
	var last error
	for range doneTries {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			conn.SetDeadline(time.Now().Add(doneTimeout))
			_, err = conn.Write([]byte("done"))
			if closing := conn.Close(); err == nil {
				return closing
			}
		}
		last = err
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
	return last
}
