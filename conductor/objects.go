package conductor

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/billet-metal/billet/node"
)

// Objects is a store of objects beside the database, such as Swift. An object is there as a whole or not at all, and deletes itself
// at its end. An error that asking again may mend has node.ErrServiceAway in its chain.
type Objects interface {
	Put(ctx context.Context, container, object string, body io.ReadSeeker, keep time.Duration) error
	Get(ctx context.Context, container, object string, most int64) ([]byte, error) // NotFound when there is none
	List(ctx context.Context, container, prefix string) ([]string, error)
	Delete(ctx context.Context, container, object string) error // nil when there is none
	// URL is one by which anybody reads the object until the end: a secret. Check tries it.
	URL(ctx context.Context, container, object string, end time.Time) (string, error)
	Check(ctx context.Context, url string) error
}

// The store is asked again at growing intervals.
const firstTry, lastTry = time.Second, 15 * time.Second

// patient does what needs a service beside this one until that is back, or until most has passed or ctx has ended.
func patient(ctx context.Context, most time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for wait := firstTry; ; wait = min(2*wait, lastTry) {
		err := do(ctx)
		if !errors.Is(err, node.ErrServiceAway) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}
