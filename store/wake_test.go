package store

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hub
		ctx, cancel := context.WithCancel(t.Context())
		short, long := h.subscribe(ctx), h.subscribe(t.Context())
		h.publish("a")
		if a, b := <-short, <-long; a != "a" || b != "a" {
			t.Errorf("got %s and %s", a, b)
		}
		cancel()
		synctest.Wait()
		if _, open := <-short; open {
			t.Error("open after its context ended")
		}
		for range 100 { // more than it holds: the reader misses some, the publisher does not wait
			h.publish("b")
		}
		if len(long) != 64 {
			t.Errorf("%d waiting", len(long))
		}
		h.close()
		n := 0
		for range long {
			n++
		}
		if n != 64 {
			t.Errorf("%d read after the close", n)
		}
		if _, open := <-h.subscribe(t.Context()); open {
			t.Error("subscribed to a closed hub")
		}
		h.publish("c")
	})
}
