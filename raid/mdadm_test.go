package raid

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// recorder is a Tool whose mdadm only takes down how it was called.
type recorder struct {
	calls []string
	fail  error
}

func (r *recorder) tool() Tool {
	return Tool{Run: func(ctx context.Context, args ...string) (string, error) {
		if _, ok := ctx.Deadline(); !ok {
			return "", errors.New("called without a deadline")
		}
		r.calls = append(r.calls, strings.Join(args, " "))
		return "mdadm: all  is\nlost", r.fail
	}}
}

func TestTool(t *testing.T) {
	r := &recorder{}
	parts := []string{"/dev/sda3", "/dev/sdb3"}
	for _, do := range []func() error{
		func() error {
			return r.tool().Create(t.Context(), Made{Node: "/dev/md0", Name: "root", UUID: "u", Level: "1", Members: parts})
		},
		func() error {
			return r.tool().Create(t.Context(), Made{Node: "/dev/md1", Name: "1", UUID: "v", Level: "0", Members: append(parts, "/dev/sdc3")})
		},
		func() error { return r.tool().Assemble(t.Context(), "/dev/md0", "u", parts) },
		func() error { return r.tool().Stop(t.Context(), "/dev/md0") },
	} {
		if err := do(); err != nil {
			t.Error(err)
		}
	}
	want := "--create /dev/md0 --run --metadata=1.0 --level=1 --raid-devices=2 --name=root --homehost=any --uuid=u --bitmap=internal " +
		`/dev/sda3 /dev/sdb3
--create /dev/md1 --run --metadata=1.0 --level=0 --raid-devices=3 --name=1 --homehost=any --uuid=v /dev/sda3 /dev/sdb3 /dev/sdc3
--assemble /dev/md0 --run --config=none --homehost=any --uuid=u /dev/sda3 /dev/sdb3
--stop /dev/md0`
	if got := strings.Join(r.calls, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	r.fail = errors.New("exit status 1")
	for want, err := range map[string]error{
		"making the array root (RAID 1) of /dev/sda3 and /dev/sdb3: mdadm: exit status 1: mdadm: all is lost": r.tool().Create(t.Context(),
			Made{Node: "/dev/md0", Name: "root", Level: "1", Members: parts}),
		"starting the array u of /dev/sda3 and /dev/sdb3: mdadm: exit status 1: mdadm: all is lost": r.tool().Assemble(t.Context(), "/dev/md0",
			"u", parts),
		"stopping the array /dev/md0: mdadm: exit status 1: mdadm: all is lost": r.tool().Stop(t.Context(), "/dev/md0"),
	} {
		if err == nil || err.Error() != want || !errors.Is(err, r.fail) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
