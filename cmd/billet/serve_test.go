package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// The first task that fails ends all others; its error says which it was.
func TestGroupEndsWithTheFirstError(t *testing.T) {
	g, ended := newGroup(t.Context()), make(chan struct{})
	g.run("patient", func(ctx context.Context) error { <-ctx.Done(); close(ended); return ctx.Err() })
	g.run("TFTP", func(context.Context) error { return errors.New("no port") })
	if err := g.wait(); err == nil || err.Error() != "TFTP: no port" {
		t.Error(err)
	}
	<-ended
}

func TestGroupEndsInOrder(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := newGroup(ctx)
	l, err := listen("127.0.0.1:0", "listen")
	if err != nil {
		t.Fatal(err)
	}
	g.http(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }))
	resp, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	cancel()
	if err := g.wait(); err != nil {
		t.Errorf("an orderly end: %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener is still there")
	}
	failed := newGroup(t.Context())
	if err := failed.stop(errors.New("no interface")); err == nil || failed.ctx.Err() == nil {
		t.Errorf("stopped with %v", err)
	}
}

func TestListenNamesItsKey(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct{ address, want string }{
		{l.Addr().String(), "provision_port: " + l.Addr().String() + " is in use by another program (is billet serve running already?)"},
		{"192.0.2.1:0", "provision_port: listen tcp 192.0.2.1:0: bind: cannot assign requested address"},
	} {
		if _, err := listen(tt.address, "provision_port"); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.address, err, tt.want)
		}
	}
}

func TestLogFormatAndLevel(t *testing.T) {
	for _, tt := range []struct{ format, level, want string }{
		{"text", "info", `level=INFO msg="node deleted" node=n1`},
		{"json", "info", `"level":"INFO","msg":"node deleted","node":"n1"`},
		{"text", "warn", ""},
	} {
		var out bytes.Buffer
		newLog(&Config{LogFormat: tt.format, LogLevel: tt.level}, &out).Info("node deleted", "node", "n1")
		if got := out.String(); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}
