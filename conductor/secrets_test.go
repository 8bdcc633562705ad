package conductor

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/billet-metal/billet/configdrive"
	"github.com/billet-metal/billet/diagnosis"
	"github.com/billet-metal/billet/node"
)

const userData = "#cloud-config\nchpasswd:\n  list: |\n    root:toor-toor-9\npassword: drive-pass\n" +
	"write_files:\n- content: c2VjcmV0LWZpbGU=\n"

// nodeWithDrive is a node whose config drive has user data and a password in its meta data.
func nodeWithDrive(t *testing.T) *node.Node {
	t.Helper()
	n := &node.Node{UUID: uuid1, DriverInfo: node.Document{"ipmi_password": "bmc-secret-1"}}
	drive, err := configdrive.Build(node.ConfigDriveParts{UserData: userData, MetaData: node.Document{"admin_pass": "meta-secret-1"}}, n)
	if err != nil {
		t.Fatal(err)
	}
	n.ConfigDrive = drive
	return n
}

// What an agent quotes of a node's secrets is in no text that is kept: the config drive, its user data, a line of them or a
// password in one, and passwords, as they are or in another encoding.
func TestAnAgentsQuotesAreHidden(t *testing.T) {
	n := nodeWithDrive(t)
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, quote := range []string{
		n.ConfigDrive, userData, fmt.Sprintf("%q", userData), b64(userData), "root:toor-toor-9", "drive-pass", "password: drive-pass",
		"c2VjcmV0LWZpbGU=", "meta-secret-1", "bmc-secret-1", b64("bmc-secret-1"), b64("admin:bmc-secret-1"), "bmc%2dsecret-1 bmc-secret-1",
	} {
		got := scrub(n, "writing the config drive failed: '"+quote+"' is not what the disk takes")
		for _, secret := range []string{
			"toor-toor-9", "drive-pass", "c2VjcmV0LWZpbGU", "meta-secret-1", "bmc-secret-1", b64("bmc-secret-1")[:12],
			b64(userData)[:40], n.ConfigDrive[:40],
		} {
			if strings.Contains(got, secret) {
				t.Errorf("of %.60q is left %.200s", quote, got)
			}
		}
		if !strings.HasPrefix(got, "writing the config drive failed: '") || !strings.HasSuffix(got, "' is not what the disk takes") {
			t.Errorf("of %.60q is left %.200s", quote, got)
		}
	}
}

// A log about a node has none of its secrets, however they get there.
func TestALogAboutANodeHasNoSecrets(t *testing.T) {
	n := nodeWithDrive(t)
	var out bytes.Buffer
	log := logFor(slog.New(slog.NewTextHandler(&out, nil)), n)
	log.Warn("it says bmc-secret-1", "error", errors.New("drive-pass is wrong"), "lines", []string{"a", "root:toor-toor-9"}, "count", 7)
	log.With("said", "meta-secret-1").WithGroup("g").Info("x", slog.Group("h", "text", "bmc-secret-1"), "error", error(nil))
	for _, secret := range []string{"bmc-secret-1", "drive-pass", "toor-toor-9", "meta-secret-1"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s is in the log:\n%s", secret, &out)
		}
	}
	for _, want := range []string{"node=" + uuid1, "count=7", `error="****** is wrong"`, "said=******", "g.h.text=******"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not in the log:\n%s", want, &out)
		}
	}
}

// The words of a failing agent are kept without secrets everywhere: last_error, history, evidence, progress, log.
func TestAFailureKeepsNoSecrets(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.enroll("test", node.DeployWait)
		drive := nodeWithDrive(t).ConfigDrive
		w.edit(func(n *node.Node) {
			n.ConfigDrive, n.Agent = drive, node.Agent{Token: "agent-token-1"}
			n.Plan = &node.Plan{Flow: node.FlowDeploy, Steps: []node.PlannedStep{{Interface: node.Deploy, Step: "write"}}, StartedAt: node.Now()}
		})
		var log bytes.Buffer
		w.cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c := New(w.cfg)
		long := strings.Repeat("x", diagnosis.LineLimit-6) + " drive-pass"
		err := c.AgentLines(t.Context(), n.UUID, "agent-token-1", []node.Line{{Text: "wrote root:toor-toor-9"}, {Text: long},
			{Text: base64.StdEncoding.EncodeToString([]byte(userData))}})
		if err != nil {
			t.Fatal(err)
		}
		err = c.AgentProgress(t.Context(), n.UUID, "agent-token-1",
			node.Progress{Step: "write", Detail: "writing drive-pass", Disks: []node.DiskProgress{{What: "bmc drive-pass"}}})
		if err != nil {
			t.Fatal(err)
		}
		c.note(t.Context(), w.node(), "deploy", errorSeverity,
			"the agent says drive-pass, "+base64.StdEncoding.EncodeToString([]byte("hunter2-secret")))
		lines, err := w.store.Lines(t.Context(), n.UUID, node.AgentLog)
		if err != nil {
			t.Fatal(err)
		}
		progress, err := w.store.Progress(t.Context(), n.UUID)
		if err != nil {
			t.Fatal(err)
		}
		kept := fmt.Sprintf("%+v %+v %v %s", lines, progress, w.events(), &log)
		for _, secret := range []string{
			"toor-toor-9", "drive-pass", "drive-", "hunter2-secret", base64.StdEncoding.EncodeToString([]byte("hunter2-secret")),
			base64.StdEncoding.EncodeToString([]byte(userData))[:40],
		} {
			if strings.Contains(kept, secret) {
				t.Errorf("%s is kept:\n%s", secret, kept)
			}
		}
		if !strings.Contains(kept, "the agent says "+node.Mask) || !strings.Contains(kept, "writing "+node.Mask) {
			t.Errorf("kept is\n%s", kept)
		}
	})
}
