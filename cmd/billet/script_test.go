package main

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The real binary, driven by scripts as a person would drive it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"billet": main, "billet-clock": func() { hostClock = setClock(); main() }})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Setenv("LISTEN", l.Addr().String())
			e.Setenv("BILLET_API", "http://"+l.Addr().String())
			return l.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"answers": answers},
	})
}

// answers waits until the service answers.
func answers(ts *testscript.TestScript, _ bool, _ []string) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		resp, err := http.Get(ts.Getenv("BILLET_API") + "/")
		if err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the service does not answer: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
