package crypt

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// The specification's own vectors.
func TestVectors(t *testing.T) {
	for _, tt := range []struct{ password, hashed string }{
		{"Hello world!", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"},
		{"Hello world!",
			"$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."},
		{"Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"},
		{"Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"},
		{"we have a short salt string but not a short password",
			"$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0"},
	} {
		if err := Check(tt.hashed, tt.password); err != nil {
			t.Errorf("%s: %v", tt.hashed, err)
		}
		if err := Check(tt.hashed, tt.password+"x"); err == nil {
			t.Errorf("%s: a wrong password passes", tt.hashed)
		}
	}
}

func TestHash(t *testing.T) {
	one, two := Hash("secret"), Hash("secret")
	if one == two || !strings.HasPrefix(one, "$6$") || len(one) != len("$6$")+16+1+86 {
		t.Fatalf("%q and %q", one, two)
	}
	if err := Check(one, "secret"); err != nil {
		t.Error(err)
	}
	if err := Check(one, "Secret"); err == nil || errors.Is(err, ErrForm) {
		t.Errorf("wrong password: %v", err)
	}
}

// Debian's openssl is the peer: it must make the same hash of every length of password.
func TestAgainstOpenSSL(t *testing.T) {
	for _, kind := range []string{"-6", "-5"} {
		for _, n := range []int{1, 7, 15, 16, 31, 32, 63, 64, 65, 130} {
			password := strings.Repeat("pä55 ", n)[:n]
			cmd := exec.Command("openssl", "passwd", kind, "-salt", "billetsalt", "-stdin")
			cmd.Stdin = strings.NewReader(password + "\n")
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("openssl passwd (package openssl): %v", err)
			}
			if err := Check(strings.TrimSpace(string(out)), password); err != nil {
				t.Errorf("%s, %d bytes: %v", kind, n, err)
			}
		}
	}
}

func TestWhatIsNoHash(t *testing.T) {
	for _, hashed := range []string{"", "plain", "$", "$6$", "$6$salt", "$6$salt$", "$6$$hash", "$1$salt$hash", "$2b$10$abc",
		"$6$seventeen-letters$hash", "$6$a$b$c", "x$6$salt$hash"} {
		if Valid(hashed) {
			t.Errorf("%q is taken", hashed)
		}
		if err := Check(hashed, "plain"); !errors.Is(err, ErrForm) {
			t.Errorf("%q: %v", hashed, err)
		}
	}
	for _, rounds := range []string{"999", "1000000000", "x", "-5000"} {
		if err := Check("$6$rounds="+rounds+"$salt$hash", "plain"); err == nil {
			t.Errorf("%s rounds pass", rounds)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("$6$saltstring$svn8", "Hello world!")
	f.Add("$5$rounds=1000$s$x", "")
	f.Fuzz(func(t *testing.T, hashed, password string) {
		if len(password) > 64 || strings.Contains(hashed, "rounds=") {
			return
		}
		if Check(hashed, password) == nil && !Valid(hashed) {
			t.Error("a hash that is none passes")
		}
	})
}
