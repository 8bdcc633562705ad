package image

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/billet-metal/billet/fetch"
)

// TestOneSlowServer: of a server that never answers a few images are looked at at once, the others end soon and say
// why, and images of another server are found meanwhile.
func TestOneSlowServer(t *testing.T) {
	var now, most atomic.Int32
	slow := quiet(t, func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		<-r.Context().Done()
	})
	fast := quiet(t, honest)
	s := &Store{Gate: fetch.Loopback(), Timeout: 10 * time.Second, turnWait: 100 * time.Millisecond}
	var refused atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, err := s.Resolve(t.Context(), Ref{Source: slow.URL + "/i", Checksum: sha256Of(big)})
			if err != nil && strings.Contains(err.Error(), "4 other images of "+strings.TrimPrefix(slow.URL, "http://")+" are being looked at") {
				refused.Add(1)
			}
		})
	}
	for refused.Load() < 16 {
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := s.Resolve(t.Context(), Ref{Source: fast.URL + "/i", Checksum: sha256Of(big)}); err != nil {
		t.Errorf("another server's image: %v", err)
	}
	slow.CloseClientConnections()
	all.Wait()
	if refused.Load() != 16 || most.Load() > turnsAtOnce {
		t.Errorf("%d were refused, %d were asked for at once", refused.Load(), most.Load())
	}
	if _, err := s.Resolve(t.Context(), Ref{Source: fast.URL + "/i", Checksum: sha256Of(big)}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
