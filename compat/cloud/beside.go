package cloud

import (
	"syscall"
	"testing"
)

// Run starts a process that is no service of OpenStack, such as Billet, as one of the cloud's: it has a log, gets signals, and ends
// with the cloud.
func (c *Cloud) Run(name string, env []string, command string, args ...string) {
	c.t.Helper()
	c.run(name, env, command, args...)
}

// Kill takes a service away as a crash does, and returns when it is gone. Run, Start or Compute start it again.
func (c *Cloud) Kill(name string) {
	c.t.Helper()
	c.Signal(name, syscall.SIGKILL)
	<-c.services[name].done
}

// For is the same cloud for a part of a test, which fails instead of the whole.
func (c *Cloud) For(t testing.TB) *Cloud {
	part := *c
	part.t, part.neutron = t, nil
	return &part
}
