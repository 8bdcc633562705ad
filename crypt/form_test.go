package crypt

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const (
	hash6 = "svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1" // of "Hello world!" and "saltstring"
	hash5 = "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
)

// TestForm: a hash that was cut, or belongs to the other function, lets nobody in; it is refused
// before a machine is booted into its rescue system with it.
func TestForm(t *testing.T) {
	tests := []struct {
		name, hashed string
		valid        bool
	}{
		{"SHA-512", "$6$saltstring$" + hash6, true},
		{"SHA-256", "$5$saltstring$" + hash5, true},
		{"with rounds", "$6$rounds=1000$saltstring$" + hash6, true},
		{"as many as are allowed", "$5$rounds=500000$saltstring$" + hash5, true},
		{"a salt of one letter", "$6$s$" + hash6, true},
		{"a salt with everything that may be in one", "$6$!/.=+~`'\"#$" + hash6, true},
		{"cut by one", "$6$saltstring$" + hash6[1:], false},
		{"cut to a prefix", "$6$saltstring$svn8", false},
		{"too long", "$6$saltstring$" + hash6 + "1", false},
		{"SHA-256's under SHA-512's name", "$6$saltstring$" + hash5, false},
		{"SHA-512's under SHA-256's name", "$5$saltstring$" + hash6, false},
		{"a letter that is none", "$6$saltstring$" + hash6[:85] + "_", false},
		{"a line end", "$6$saltstring$" + hash6 + "\n", false},
		{"a second line", "$6$saltstring$" + hash6[:79] + "\nroot::", false},
		{"a field of /etc/shadow", "$6$salt:0$" + hash6, false},
		{"a line end in the salt", "$6$salt\nx$" + hash6, false},
		{"a blank in the salt", "$6$sa lt$" + hash6, false},
		{"a salt that is no ASCII", "$6$sält$" + hash6, false},
		{"a salt of 17", "$6$12345678901234567$" + hash6, false},
		{"locked", "!$6$saltstring$" + hash6, false},
		{"yescrypt", "$y$j9T$saltstring$" + hash5, false},
		{"no rounds", "$6$rounds=$saltstring$" + hash6, false},
		{"rounds twice", "$6$rounds=1000$rounds=1000$saltstring$" + hash6, false},
		{"rounds without a salt", "$6$rounds=1000$" + hash6, false},
		{"rounds below", "$6$rounds=999$saltstring$" + hash6, false},
		{"rounds that would take a day", "$6$rounds=500001$saltstring$" + hash6, false},
		{"rounds that are no number", "$6$rounds=5e3$saltstring$" + hash6, false},
		{"rounds below nothing", "$6$rounds=-5000$saltstring$" + hash6, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Valid(tt.hashed); got != tt.valid {
				t.Errorf("%q is valid: %v", tt.hashed, got)
			}
			err := Check(tt.hashed, "another password")
			if err == nil {
				t.Error("any password passes")
			}
			if errors.Is(err, errWrong) != tt.valid {
				t.Errorf("checked: %v", err)
			}
			if err != nil && strings.Contains(err.Error(), hash6[:10]) {
				t.Errorf("the hash is in the error: %v", err)
			}
		})
	}
}

// TestEveryBitCounts: no other password, salt or hash passes for one that differs by a letter.
func TestEveryBitCounts(t *testing.T) {
	const password = "Hello world!"
	good := "$5$rounds=1000$abcdefgh$" + schemes[1].digest(password, "abcdefgh", 1000)
	if err := Check(good, password); err != nil {
		t.Fatal(err)
	}
	for i := range len(password) {
		other := []byte(password)
		other[i] ^= 1
		if Check(good, string(other)) == nil {
			t.Errorf("%q passes", other)
		}
	}
	for i := strings.Index(good, "abcdefgh"); i < len(good); i++ {
		if good[i] == '$' {
			continue
		}
		other := []byte(good)
		other[i] = alphabet[(strings.IndexByte(alphabet, good[i])+1)%64]
		if Check(string(other), password) == nil {
			t.Errorf("%s passes", other)
		}
	}
	for _, other := range []string{"", password + "\x00", password[:11], " " + password, strings.ToUpper(password)} {
		if Check(good, other) == nil {
			t.Errorf("%q passes", other)
		}
	}
}

// TestLongPasswords: a password beyond 1024 bytes is wrong, at once; one of 1024 is checked.
func TestLongPasswords(t *testing.T) {
	long := strings.Repeat("x", maxKey)
	hashed := "$6$rounds=1000$salt$" + schemes[0].digest(long, "salt", 1000)
	if err := Check(hashed, long); err != nil {
		t.Errorf("%d bytes: %v", maxKey, err)
	}
	began := time.Now()
	if err := Check(hashed, strings.Repeat("x", 10_000_000)); !errors.Is(err, errWrong) {
		t.Errorf("ten million bytes: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("ten million bytes took %s", took)
	}
}

// TestSalts: two hashes of one password tell nobody that it is one, and every salt can stand in
// /etc/shadow.
func TestSalts(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		hashed := Hash("secret")
		salt := strings.Split(hashed, "$")[2]
		if seen[salt] || !saltShape(salt) || strings.Trim(salt, alphabet) != "" || !Valid(hashed) {
			t.Errorf("%q", hashed)
		}
		seen[salt] = true
	}
}

// TestRoundsAgainstOpenSSL: hashes with rounds, and salts of every length, are those of openssl.
func TestRoundsAgainstOpenSSL(t *testing.T) {
	for i, kind := range []string{"-6", "-5"} {
		for n := 1; n <= maxSalt; n += 3 {
			salt := "rounds=1234$" + "abcdefghijklmnop"[:n]
			cmd := exec.CommandContext(t.Context(), "openssl", "passwd", kind, "-salt", salt, "-stdin")
			cmd.Stdin = strings.NewReader("pässwörd\n")
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("openssl passwd (package openssl): %v", err)
			}
			want := "$" + schemes[i].id + "$" + salt + "$" + schemes[i].digest("pässwörd", "abcdefghijklmnop"[:n], 1234)
			if got := strings.TrimSpace(string(out)); got != want {
				t.Errorf("openssl says %s, we %s", got, want)
			}
		}
	}
}

// FuzzForm: what passes for a hash fits on one line of /etc/shadow and names its scheme.
func FuzzForm(f *testing.F) {
	f.Add("$6$saltstring$" + hash6)
	f.Add("$5$rounds=1000$s$" + hash5)
	f.Add("$6$$$$" + hash6)
	f.Fuzz(func(t *testing.T, hashed string) {
		if !Valid(hashed) {
			return
		}
		if strings.ContainsAny(hashed, "\n:\x00 ") || !strings.HasPrefix(hashed, "$5$") && !strings.HasPrefix(hashed, "$6$") ||
			len(hashed) > 130 {
			t.Errorf("%q is valid", hashed)
		}
	})
}
