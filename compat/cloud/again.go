package cloud

import (
	"net"
	"strings"
	"time"
)

// Again starts a service anew that was taken away, and returns when it listens. Nothing of it was lost but what it had in memory.
func (c *Cloud) Again(name string) {
	c.t.Helper()
	s := c.services[name]
	if s == nil {
		c.t.Fatalf("no service %q has run", name)
	}
	<-s.done
	c.run(name, s.cmd.Env, s.cmd.Args[0], s.cmd.Args[1:]...)
	port := strings.TrimPrefix(c.URL(strings.TrimSuffix(name, "-proxy")), "http://")
	c.await(name, time.Minute, func() bool {
		conn, err := net.DialTimeout("tcp", port, 5*time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}
