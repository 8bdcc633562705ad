package door

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/billet-metal/billet/node"
)

// hashed is a password as the file has it.
type hashed struct {
	hash []byte
	cost int
}

// Basic is HTTP basic authentication (RFC 7617) by an htpasswd file. bcrypt is slow on purpose, so a password that was right once
// is remembered as a keyed hash, and so are the last wrong ones; the key lives as long as the process.
type Basic struct {
	hashes  map[string]hashed // by name
	most    int               // the highest cost
	decoys  map[int][]byte    // of nobody, by cost
	key     []byte
	compare func(hash, password []byte) error // bcrypt's
	logins  *Gate

	mu    sync.Mutex
	seen  map[string][]byte     // name → keyed hash of the right password
	wrong map[[32]byte]struct{} // keyed hashes of names with wrong passwords
}

// mostWrong bounds what is remembered of wrong logins: a program with an old password asks again and again.
const mostWrong = 1024

// verdict is what is known of a login without hashing.
type verdict int

const (
	unknown verdict = iota
	right
	refused
)

func (u *Basic) sum(parts ...string) [32]byte {
	mac := hmac.New(sha256.New, u.key)
	for _, p := range parts {
		fmt.Fprintf(mac, "%d:%s", len(p), p)
	}
	return [32]byte(mac.Sum(nil))
}

// recall says what is remembered of a login. It takes no time that tells anything.
func (u *Basic) recall(name, password string) verdict {
	sum, miss := u.sum(password), u.sum(name, password)
	u.mu.Lock()
	defer u.mu.Unlock()
	if seen := u.seen[name]; seen != nil && hmac.Equal(seen, sum[:]) {
		return right
	}
	if _, was := u.wrong[miss]; was {
		return refused
	}
	return unknown
}

// known checks a login with bcrypt. Whatever the name and its cost, a wrong one takes as much work as the highest cost
// in the file, so that its time tells neither which names there are nor which of them are hashed cheaply: from cost c
// the decoys of c, c+1, … add up to it, as each doubles the work.
func (u *Basic) known(name, password string) bool {
	h, ok := u.hashes[name]
	if !ok {
		h = hashed{u.decoys[u.most], u.most}
	}
	if u.compare(h.hash, []byte(password)) == nil && ok {
		sum := u.sum(password)
		u.mu.Lock()
		u.seen[name] = sum[:]
		u.mu.Unlock()
		return true
	}
	for c := h.cost; c < u.most; c++ {
		_ = u.compare(u.decoys[c], []byte(password)) // nobody's
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.wrong == nil || len(u.wrong) >= mostWrong {
		u.wrong = map[[32]byte]struct{}{}
	}
	u.wrong[u.sum(name, password)] = struct{}{}
	return false
}

// makeDecoys makes hashes of no password, of each cost up to the highest.
func (u *Basic) makeDecoys() {
	sum := u.sum("decoy")
	letters := strings.Map(func(r rune) rune {
		if r == '+' || r == '=' {
			return '.'
		}
		return r
	}, base64.StdEncoding.EncodeToString(append(sum[:], sum[:]...)))
	u.decoys = map[int][]byte{}
	for c := 4; c <= u.most; c++ { // bcrypt's lowest
		u.decoys[c] = fmt.Appendf(nil, "$2a$%02d$%s", c, letters[:53])
	}
}

// newLogins is the gate of bcrypt: it may have half of the processors, so that the other half answers those who are in.
func newLogins() *Gate { return NewGate(max(1, runtime.GOMAXPROCS(0)/2), 8, 32, 20*time.Second) }

// Refusal is an answer to who asks to be let in.
type Refusal struct {
	Status    int    // of HTTP
	Text      string // for people
	Challenge string // the header WWW-Authenticate (RFC 9110, section 11.6.1); "" for none
	Wait      int    // the header Retry-After, in seconds; 0 for none
}

func (e *Refusal) Error() string { return e.Text }

func unauthorized(text string) error {
	return &Refusal{Status: http.StatusUnauthorized, Text: text, Challenge: `Basic realm="Baremetal API"`}
}

// Authenticate checks a request's credentials; whoever is in the file may do everything. Its errors are *Refusal: 401 when they are
// missing or wrong, 400 when the header is malformed, 429 when too many others are being checked.
func (u *Basic) Authenticate(r *http.Request) (node.Identity, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return node.Identity{}, unauthorized("Authorization required")
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "basic") {
		return node.Identity{}, &Refusal{Status: http.StatusBadRequest, Text: "Unsupported authorization type: only Basic is served here"}
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token))
	name, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return node.Identity{}, &Refusal{Status: http.StatusBadRequest, Text: "The Authorization header is not base64 of name:password"}
	}
	if err := u.login(r.Context(), SourceOf(r), name, password); err != nil {
		return node.Identity{}, err
	}
	return node.Identity{User: name, System: true, Roles: []string{"admin"}}, nil
}

// login lets no more passwords be hashed at once than the gate allows; whoever was in before does not pass it.
func (u *Basic) login(ctx context.Context, source, name, password string) error {
	wrong := unauthorized("Incorrect username or password")
	switch u.recall(name, password) {
	case right:
		return nil
	case refused:
		return wrong
	}
	leave, ok := u.logins.Enter(ctx, source)
	if !ok {
		return &Refusal{Status: http.StatusTooManyRequests, Text: "Too many logins are being checked; try again in a moment", Wait: 1}
	}
	defer leave()
	if u.recall(name, password) == right || u.known(name, password) {
		return nil
	}
	return wrong
}
