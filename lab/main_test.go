package lab

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// TestMain lets the test program stand for billet: the lab starts it as the supervisor of each
// machine, and a test starts it without rights.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "run-machine" && os.Args[1] != "may-i" {
		os.Exit(m.Run())
	}
	if os.Args[1] == "may-i" {
		fmt.Println(mayMakeNetworks())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	// run-machine --dir DIR --name LAB MACHINE
	l, err := Open(Lab{Dir: os.Args[3], Name: os.Args[5], Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err == nil {
		err = l.RunMachine(ctx, os.Args[6])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
