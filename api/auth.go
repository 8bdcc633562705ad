package api

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// users are the people of an htpasswd file. bcrypt is slow on purpose, so a password that was right
// once is remembered as a keyed hash; the key lives as long as the process.
type users struct {
	hashes map[string][]byte // name → bcrypt
	decoy  []byte            // compared for unknown names, so that they take as long as known ones
	key    []byte

	mu   sync.Mutex
	seen map[string][]byte // name → keyed hash of the right password
}

// readUsers reads an htpasswd file: "name:bcrypt" lines; "#" starts a comment.
func readUsers(file string) (*users, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("opening the htpasswd file: %w", err)
	}
	defer f.Close()
	u := &users{hashes: map[string][]byte{}, seen: map[string][]byte{}, key: make([]byte, 32)}
	_, _ = rand.Read(u.key) // crypto/rand never fails
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		cost, err := bcrypt.Cost([]byte(hash))
		if !ok || name == "" || err != nil {
			return nil, fmt.Errorf("%s line %d: expected name:hash with a bcrypt hash, as `htpasswd -B` writes it", file, n)
		}
		u.hashes[name] = []byte(hash)
		if u.decoy == nil {
			u.decoy, _ = bcrypt.GenerateFromPassword(u.key, cost) // key and cost are valid
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the htpasswd file: %w", err)
	}
	if len(u.hashes) == 0 {
		return nil, fmt.Errorf("%s names no user", file)
	}
	return u, nil
}

func (u *users) known(name, password string) bool {
	mac := hmac.New(sha256.New, u.key)
	mac.Write([]byte(password))
	sum := mac.Sum(nil)
	u.mu.Lock()
	seen := u.seen[name]
	u.mu.Unlock()
	if seen != nil && hmac.Equal(seen, sum) {
		return true
	}
	hash, ok := u.hashes[name]
	if !ok {
		hash = u.decoy
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !ok {
		return false
	}
	u.mu.Lock()
	u.seen[name] = sum
	u.mu.Unlock()
	return true
}

// authenticate checks HTTP basic credentials (RFC 7617): 401 when they are missing or wrong, 400
// when the header is malformed.
func (a *API) authenticate(r *http.Request) error {
	if a.users == nil {
		return nil
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return &authError{http.StatusUnauthorized, "Authorization required"}
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "basic") {
		return &authError{http.StatusBadRequest, "Unsupported authorization type: only Basic is served here"}
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token))
	name, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return &authError{http.StatusBadRequest, "The Authorization header is not base64 of name:password"}
	}
	if !a.users.known(name, password) {
		return &authError{http.StatusUnauthorized, "Incorrect username or password"}
	}
	return nil
}
