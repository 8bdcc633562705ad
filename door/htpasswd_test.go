package door

import (
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func TestBadHTPasswdFiles(t *testing.T) {
	hash := hashOf(t, "secret", 4)
	whole := "ada:" + hash
	for _, tt := range []struct{ text, want string }{
		{"", " names no user"},
		{"# nobody\n", " names no user"},
		{"ada\n", " line 1: expected name:hash with a bcrypt hash, as `htpasswd -B` writes it"},
		{"\nada:{SHA}c2VjcmV0\n", " line 2: expected name:hash with a bcrypt hash, as `htpasswd -B` writes it"},
		{":$2y$05$abc\n", " line 1: expected name:hash with a bcrypt hash, as `htpasswd -B` writes it"},
		{whole + "\n" + "eve:" + hash[:59] + "\n",
			` line 2: the hash of "eve" is not whole: a bcrypt hash has 60 characters, of . / A-Z a-z 0-9 after the cost, and this one has 59`},
		{"eve:" + hash[:20], ` line 1: the hash of "eve" is not whole: a bcrypt hash has 60 characters, ` +
			`of . / A-Z a-z 0-9 after the cost, and this one has 20`},
		{whole + "x\n", ` line 1: the hash of "ada" is not whole: a bcrypt hash has 60 characters, ` +
			`of . / A-Z a-z 0-9 after the cost, and this one has 61`},
		{whole + "\n" + whole + "\n", ` line 2: the user "ada" has a line before; one of the two must go`},
		{"eve:" + strings.Replace(hash, "$04$", "$20$", 1),
			` line 1: the hash of "eve" has a cost of 20, with which a login takes too long; at most 16 is taken`},
		{"\xff\xfea\x00", " line 1: the file is UTF-16 or binary; save it as plain UTF-8 text"},
		{whole + "\n\xe9ve:" + hash + "\n", " line 2: it is not UTF-8 text"},
	} {
		file := writeHTPasswd(t, tt.text)
		_, _, err := ReadBasic(file)
		if err == nil || strings.TrimPrefix(err.Error(), file) != tt.want {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
	}
}

func hashOf(t *testing.T, password string, cost int) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// What is odd in a file that can be used is said at start, by line and name, without a hash; and it is used.
func TestOddHTPasswdFiles(t *testing.T) {
	hash := hashOf(t, "open sesame", 4)
	file := writeHTPasswd(t, "\xef\xbb\xbfada:"+hash+"\r\n# "+hash+"\r\nbob:"+hashOf(t, "x", 10)+"\r\n")
	u, warnings, err := ReadBasic(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.login(t.Context(), "127.0.0.1", "ada", "open sesame"); err != nil {
		t.Error(err)
	}
	log := strings.Join(warnings, "\n")
	for _, want := range []string{"line 1: a byte-order mark", `line 1: the hash of "ada" has a cost of 4`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	if strings.Contains(log, hash) || strings.Contains(log, "bob") {
		t.Errorf("the log has too much:\n%s", log)
	}
}
