package openstack

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/billet-metal/billet/door"
	"github.com/billet-metal/billet/node"
)

// Bounds of what is remembered of tokens. A token that was revoked reads for as long as it is remembered, so that is short.
const (
	tokenTime  = time.Minute
	wrongTime  = 10 * time.Second
	mostTokens = 10_000
)

// Tokens asks Keystone about tokens, and remembers what it said for a minute, by the token's hash.
type Tokens struct {
	Session *Session

	mu     sync.Mutex
	known  map[[32]byte]*answer // what was said
	asking map[[32]byte]*answer // what is being asked; about a token that is known, too
}

// answer is Keystone's word about one token, or the question that is under way.
type answer struct {
	done  chan struct{} // closed when the rest is filled in
	id    node.Identity
	err   error
	until time.Time
}

// Recall answers from memory.
func (t *Tokens) Recall(q door.Question) (id node.Identity, known bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.known[keyOf(q)]; a != nil && node.Now().Before(a.until) {
		return a.id, true, a.err
	}
	return id, false, nil
}

// Ask says whose a token is: node.NotFound when it is not valid, has ended or was revoked. Many who ask about the same token at
// the same time get one answer.
func (t *Tokens) Ask(ctx context.Context, q door.Question) (node.Identity, error) {
	key := keyOf(q)
	a, mine := t.question(key, q.Anew)
	if mine {
		t.settle(ctx, key, a, q)
	}
	select {
	case <-a.done:
		return a.id, a.err
	case <-ctx.Done():
		return node.Identity{}, failure(identity, "to validate a token", ctx.Err())
	}
}

// keyOf keeps tokens out of memory dumps.
func keyOf(q door.Question) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%v %s", q.Ended, q.Token))
}

// question finds the answer about a token, or begins one; mine says that the caller is to find it out.
func (t *Tokens) question(key [32]byte, anew bool) (a *answer, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a = t.known[key]; a != nil && node.Now().Before(a.until) && (!anew || a.err != nil) {
		return a, false
	}
	if a = t.asking[key]; a != nil {
		return a, false
	}
	a = &answer{done: make(chan struct{})}
	if t.asking == nil {
		t.asking = map[[32]byte]*answer{}
	}
	t.asking[key] = a
	return a, true
}

// remember keeps an answer, for as long as it holds; what has ended makes room, and everything does when that is not enough.
func (t *Tokens) remember(key [32]byte, a *answer, now time.Time) {
	if len(t.known) >= mostTokens {
		maps.DeleteFunc(t.known, func(_ [32]byte, a *answer) bool { return !now.Before(a.until) })
	}
	if t.known == nil || len(t.known) >= mostTokens {
		t.known = map[[32]byte]*answer{}
	}
	t.known[key] = a
}

// settle asks Keystone. It goes on when the request that began it is given up: others wait for the same answer.
func (t *Tokens) settle(ctx context.Context, key [32]byte, a *answer, q door.Question) {
	ctx, cancel := t.Session.within(context.WithoutCancel(ctx))
	defer cancel()
	id, expires, err := t.validate(ctx, q)
	now := node.Now()
	until := now.Add(tokenTime)
	switch {
	case err != nil:
		until = now.Add(wrongTime)
	case !q.Ended && expires.Before(until):
		until = expires
	}
	t.mu.Lock()
	a.id, a.err, a.until = id, err, until
	delete(t.asking, key)
	if err == nil || node.KindOf(err) == node.NotFound { // else the next one asks again
		t.remember(key, a, now)
	}
	t.mu.Unlock()
	close(a.done)
}

// validate asks Keystone about a token (GET /v3/auth/tokens), without the catalog, which is most of its answer.
func (t *Tokens) validate(ctx context.Context, q door.Question) (id node.Identity, expires time.Time, err error) {
	keystone, err := t.Session.service(ctx, identity, "/v3")
	if err != nil {
		return id, expires, err
	}
	url := keystone.ServiceURL("auth", "tokens") + "?nocatalog=1"
	if q.Ended {
		url += "&allow_expired=1"
	}
	var body struct {
		Token struct {
			User      struct{ ID string }
			Project   struct{ ID string }
			System    map[string]bool
			Roles     []struct{ Name string }
			ExpiresAt time.Time `json:"expires_at"`
		}
	}
	_, err = keystone.Get(ctx, url, &body, &gophercloud.RequestOpts{
		MoreHeaders: map[string]string{"X-Subject-Token": q.Token}, OkCodes: []int{http.StatusOK, http.StatusNonAuthoritativeInfo},
	})
	if err != nil {
		return id, expires, invalid(failure(identity, "to validate a token", err), err)
	}
	in := body.Token
	id = node.Identity{User: in.User.ID, Project: in.Project.ID, System: in.System["all"]}
	id.Home = id.Project != "" && id.Project == t.Session.home()
	for _, r := range in.Roles {
		id.Roles = append(id.Roles, r.Name)
	}
	return id, in.ExpiresAt, nil
}

// invalid keeps a 404 apart that is no word of Keystone about the token: of a proxy, or of a wrong URL.
func invalid(err, cause error) error {
	if node.KindOf(err) != node.NotFound {
		return err
	}
	var said struct{ Error struct{ Code int } }
	if answer := answerOf(cause); json.Unmarshal(answer.Body, &said) != nil || said.Error.Code != http.StatusNotFound {
		return &node.Err{Kind: node.Unavailable, Msg: "Keystone was asked to validate a token, and something else answered 404", Cause: err}
	}
	return err
}
