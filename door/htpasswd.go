package door

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

// Costs of bcrypt: below goodCost a stolen file is tried out quickly; above mostCost one login takes seconds.
const (
	goodCost = 10
	mostCost = 16
)

// maxHTPasswd bounds the file.
const maxHTPasswd = 4 << 20

var bcryptForm = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

// ReadBasic reads an htpasswd file: "name:bcrypt" lines; "#" starts a comment. warnings are what an operator should
// know of a file that can be used. Neither they nor the error hold anything of a line but its number and name.
func ReadBasic(file string) (u *Basic, warnings []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the htpasswd file: %w", err)
	}
	switch {
	case len(text) > maxHTPasswd:
		return nil, nil, fmt.Errorf("%s is larger than the %d bytes that are read", file, maxHTPasswd)
	case bytes.HasPrefix(text, []byte{0xFF, 0xFE}), bytes.HasPrefix(text, []byte{0xFE, 0xFF}), bytes.IndexByte(text, 0) >= 0:
		return nil, nil, fmt.Errorf("%s line 1: the file is UTF-16 or binary; save it as plain UTF-8 text", file)
	}
	if rest, found := bytes.CutPrefix(text, []byte("\xEF\xBB\xBF")); found {
		text = rest
		warnings = append(warnings, fmt.Sprintf("%s line 1: a byte-order mark before the first name is passed over", file))
	}
	u = &Basic{
		hashes: map[string]hashed{}, seen: map[string][]byte{}, key: make([]byte, 32), logins: newLogins(),
		compare: bcrypt.CompareHashAndPassword,
	}
	_, _ = rand.Read(u.key) // crypto/rand never fails
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, h, err := readUser(line)
		if _, twice := u.hashes[name]; err == nil && twice {
			err = fmt.Errorf("the user %q has a line before; one of the two must go", name)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s line %d: %w", file, n, err)
		}
		if h.cost < goodCost {
			const low = "%s line %d: the hash of %q has a cost of %d, which is tried out quickly when the file is stolen; " +
				"`htpasswd -B -C %d` makes a better one"
			warnings = append(warnings, fmt.Sprintf(low, file, n, name, h.cost, goodCost))
		}
		u.hashes[name], u.most = h, max(u.most, h.cost)
	}
	if len(u.hashes) == 0 {
		return nil, nil, fmt.Errorf("%s names no user", file)
	}
	u.makeDecoys()
	return u, warnings, nil
}

func readUser(line string) (name string, h hashed, err error) {
	name, hash, ok := strings.Cut(line, ":")
	cost, costErr := bcrypt.Cost([]byte(hash))
	switch {
	case !utf8.ValidString(line):
		return "", h, fmt.Errorf("it is not UTF-8 text")
	case ok && name != "" && strings.HasPrefix(hash, "$2") && !bcryptForm.MatchString(hash):
		return "", h, fmt.Errorf("the hash of %q is not whole: a bcrypt hash has 60 characters, "+
			"of . / A-Z a-z 0-9 after the cost, and this one has %d",
			name, len(hash))
	case !ok || name == "" || costErr != nil:
		return "", h, fmt.Errorf("expected name:hash with a bcrypt hash, as `htpasswd -B` writes it")
	case cost > mostCost:
		return "", h, fmt.Errorf("the hash of %q has a cost of %d, with which a login takes too long; at most %d is taken", name, cost, mostCost)
	}
	return name, hashed{[]byte(hash), cost}, nil
}
