package iscsi

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/node"
)

// prepareInstanceBoot makes the machine's next boot its disk's, before the ramdisk reboots it.
func (d *Deploy) prepareInstanceBoot(ctx context.Context, t *driver.Task) (driver.Result, error) {
	if err := t.Hardware.Boot.PrepareInstance(ctx, t); err != nil {
		return driver.Done(), fmt.Errorf("making the machine boot its disk: %w", err)
	}
	return driver.Done(), nil
}

// release tells the ramdisk that all is done: it stops its target and reboots. One that cannot be
// told is rebooted by its BMC; everything is on its disk by now.
func (d *Deploy) release(ctx context.Context, t *driver.Task) (driver.Result, error) {
	address := net.JoinHostPort(t.Recall(memoHost), orElse(d.DonePort, "10000"))
	err := sayDone(ctx, address)
	if err == nil {
		return driver.Done(), nil
	}
	logOf(t).Warn("the deploy ramdisk cannot be told that all is done; the BMC reboots the machine", "address", address, "error", err)
	if err := t.SetPower(ctx, node.Rebooting); err != nil {
		return driver.Done(), fmt.Errorf("rebooting the machine into its disk: %w", err)
	}
	return driver.Done(), nil
}

const (
	doneTries   = 5 // a shell's nc may not listen again at once
	doneTimeout = 5 * time.Second
)

func sayDone(ctx context.Context, address string) error {
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
