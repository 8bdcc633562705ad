package iscsi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/billet-metal/billet/boot"
	"github.com/billet-metal/billet/iscsi"
	"github.com/billet-metal/billet/node"
)

// protect makes the exported target ask for credentials, and prove its own.
func (w *world) protect(t *testing.T, c *iscsi.CHAP) {
	t.Helper()
	for _, args := range [][]string{
		{"--op", "new", "--user", c.User, "--password", c.Secret},
		{"--op", "bind", "--tid", "1", "--user", c.User},
		{"--op", "new", "--user", c.MutualUser, "--password", c.MutualSecret},
		{"--op", "bind", "--tid", "1", "--user", c.MutualUser, "--outgoing"},
	} {
		if err := w.admin(append([]string{"--mode", "account"}, args...)...); err != nil {
			t.Fatalf("tgtadm %v: %v", args[:2], err)
		}
	}
}

// calls is the ramdisk's pass_deploy_info, with what it adds.
func (w *world) calls(t *testing.T, more node.Document) error {
	t.Helper()
	r, err := w.Deploy.record(t.Context(), w.task)
	if err != nil {
		t.Fatal(err)
	}
	body := node.Document{"address": "192.0.2.50", "key": r.DeployKey(), "iqn": targetName(testUUID)}
	for k, v := range more {
		body[k] = v
	}
	return w.TakeCall(t.Context(), w.task, node.MachineCall{Method: "pass_deploy_info", Token: r.DeployToken(), Body: body})
}

// A ramdisk that says so is logged in to by CHAP, both ways; neither secret is kept in the plan or in a log.
func TestWritesByCHAP(t *testing.T) {
	w := newWorld(t, "deploy")
	if err := w.calls(t, node.Document{"auth_method": "CHAP"}); err != nil {
		t.Fatal(err)
	}
	w.task.Node.Plan.Steps[0].Step = "write_image"
	img := partitioned(2 << 20)
	w.withImage(t, img)
	file, _ := w.exported(t, 16<<20)
	chap := iscsi.DeploymentCHAP(testUUID, w.record.DeployKey(), w.record.DeployToken())
	w.protect(t, chap)
	var logs bytes.Buffer
	w.task.Log = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if _, err := w.writeImage(t.Context(), w.task); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got[:len(img)], img) {
		t.Errorf("the disk does not hold the image (%v)", err)
	}
	kept := logs.String()
	for k, v := range w.task.Node.Plan.Memo {
		kept += k + v + "\n"
	}
	if strings.Contains(kept, chap.Secret) || strings.Contains(kept, chap.MutualSecret) {
		t.Errorf("a secret is kept: %s", kept)
	}
}

// Whoever cannot prove to be the machine gets neither the image nor the config drive; and no target talks
// the conductor out of asking.
func TestCHAPRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		auth   string
		change func(c *iscsi.CHAP) *iscsi.CHAP // what the target has; nil: it asks for nothing
		says   string
	}{
		{"another key", "CHAP", func(c *iscsi.CHAP) *iscsi.CHAP { c.Secret = "another-secret-of-it"; return c }, "authentication failed"},
		{"an impostor", "CHAP", func(c *iscsi.CHAP) *iscsi.CHAP { c.MutualSecret = "another-secret-of-it"; return c },
			"it is not the target it should be"},
		{"asks for nothing", "CHAP", func(*iscsi.CHAP) *iscsi.CHAP { return nil }, "authentication failed"},
		{"was not announced", "", func(c *iscsi.CHAP) *iscsi.CHAP { return c }, "opening the disk the deploy ramdisk exports"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "write_image")
			r, err := w.Deploy.record(t.Context(), w.task)
			if err != nil {
				t.Fatal(err)
			}
			ramdiskNote.Edit(w.task, func(r *ramdisk) { r.Auth = tt.auth })
			w.withImage(t, partitioned(2<<20))
			file, _ := w.exported(t, 16<<20)
			if c := tt.change(iscsi.DeploymentCHAP(testUUID, r.DeployKey(), r.DeployToken())); c != nil {
				w.protect(t, c)
			}
			_, err = w.writeImage(t.Context(), w.task)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), r.DeployKey()) || strings.Contains(err.Error(), r.DeployToken())) {
				t.Errorf("a secret is in the error: %v", err)
			}
			if got, _ := os.ReadFile(file); !bytes.Equal(got, make([]byte, 16<<20)) {
				t.Error("something was written")
			}
		})
	}
}

func TestAuthMethod(t *testing.T) {
	for method, ok := range map[string]bool{"": true, "CHAP": true, "chap": false, "None": false, "KRB5": false} {
		w := newWorld(t, "deploy")
		err := w.calls(t, node.Document{"auth_method": method})
		if ok != (err == nil) || !ok && (node.KindOf(err) != node.Invalid || !strings.Contains(err.Error(), "CHAP is allowed")) {
			t.Errorf("%q: %v", method, err)
		}
		if got := ramdiskNote.Get(w.task).Auth; ok && got != method || !ok && got != "" {
			t.Errorf("%q: remembers %q", method, got)
		}
	}
}

// noRecords has lost its database, or has nothing.
type noRecords struct {
	boot.Records
	err error
}

func (n noRecords) RecordOf(ctx context.Context, _ string) (*boot.Record, error) { return nil, n.err }

func TestCredentialsEndWithTheRecord(t *testing.T) {
	lost := errors.New("the database is away")
	for _, err := range []error{nil, lost} {
		w := newWorld(t, "write_image")
		w.Records = noRecords{err: err}
		ramdiskNote.Edit(w.task, func(r *ramdisk) { r.Auth = "CHAP" })
		c, got := w.credentials(t.Context(), w.task)
		if c != nil || got == nil || err != nil && !errors.Is(got, lost) || err == nil && !strings.Contains(got.Error(),
			"the boot record has ended") {
			t.Errorf("%+v, %v", c, got)
		}
	}
}
