package door

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/billet-metal/billet/node"
)

// Question is what is asked about a token.
type Question struct {
	Token string
	Ended bool // one that has ended is taken too, for as long as Keystone allows it
	Anew  bool // what is remembered does not do: it may have been revoked
}

// Tokens knows whose a token is. Errors are a node.NotFound for one that is not valid, has ended or was revoked, and something
// else where that can not be said.
type Tokens interface {
	// Recall answers from memory, at no cost of a while; known says whether it could.
	Recall(q Question) (id node.Identity, known bool, err error)
	Ask(ctx context.Context, q Question) (node.Identity, error)
}

// Keystone lets in whoever shows a token of Keystone in X-Auth-Token. A service that works for a user may show its own in
// X-Service-Token beside it; then the user's may have ended meanwhile.
type Keystone struct {
	tokens  Tokens
	authURL string
	log     *slog.Logger
	gate    *Gate
}

// NewKeystone tells clients that show no token to get one at authURL.
func NewKeystone(tokens Tokens, authURL string, log *slog.Logger) *Keystone {
	return &Keystone{tokens: tokens, authURL: authURL, log: log, gate: NewGate(32, mostOfOne, 256, 20*time.Second)}
}

// Bounds of unknown tokens: so many of one address are asked about or wait for it, and longer ones are not. Those of Keystone have
// some 200 bytes, signed ones a few thousand.
const (
	mostOfOne = 24
	mostToken = 16 << 10
)

// serviceRole is the role by which Keystone knows a service.
const serviceRole = "service"

// Authenticate says who asks. Its errors are *Refusal: 401 without a valid token, 503 when Keystone can not say, 429 when too
// many other tokens are being asked about. What reads may go by what was said of the token a moment ago; what changes something
// does not, so that a token that was revoked changes nothing any more.
func (k *Keystone) Authenticate(r *http.Request) (node.Identity, error) {
	q := Question{Token: r.Header.Get("X-Auth-Token"), Anew: r.Method != http.MethodGet && r.Method != http.MethodHead}
	if q.Token == "" {
		return node.Identity{}, k.unauthorized()
	}
	if service := r.Header.Get("X-Service-Token"); service != "" {
		id, err := k.identify(r, Question{Token: service, Anew: q.Anew})
		if err != nil {
			return id, err
		}
		q.Ended = id.Has(serviceRole)
	}
	return k.identify(r, q)
}

func (k *Keystone) identify(r *http.Request, q Question) (node.Identity, error) {
	if len(q.Token) > mostToken {
		return node.Identity{}, k.unauthorized()
	}
	id, known, err := k.tokens.Recall(q)
	switch {
	case known && err == nil && q.Anew: // who was let in a moment ago is no flood
		id, err = k.tokens.Ask(r.Context(), q)
	case !known:
		leave, ok := k.gate.Enter(r.Context(), SourceOf(r))
		if !ok {
			return id, &Refusal{Status: http.StatusTooManyRequests, Text: "Too many tokens are being checked; try again in a moment", Wait: 1}
		}
		id, err = k.tokens.Ask(r.Context(), q)
		leave()
	}
	switch {
	case err == nil:
		return id, nil
	case node.KindOf(err) == node.NotFound:
		return id, k.unauthorized()
	}
	k.log.Warn("a token cannot be checked", "error", err)
	const text = "Keystone can not be asked about the token at the moment, please retry."
	return id, &Refusal{Status: http.StatusServiceUnavailable, Text: text, Wait: 5}
}

func (k *Keystone) unauthorized() error {
	return &Refusal{
		Status: http.StatusUnauthorized, Text: "The request you have made requires authentication.",
		Challenge: fmt.Sprintf("Keystone uri=%q", k.authURL),
	}
}
