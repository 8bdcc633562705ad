// Command billet is the whole product in one binary: `billet serve` and the operator's commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the build (-ldflags "-X main.version=…").
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := rootCommand().ExecuteContext(ctx)
	if err == nil {
		return
	}
	fmt.Fprintf(terminal{os.Stderr}, "billet: %s\n", shown(err.Error()))
	if exit, ok := errors.AsType[exitError](err); ok {
		os.Exit(exit.code)
	}
	os.Exit(1)
}

// exitError is an error with an exit status of its own.
type exitError struct {
	code int
	msg  string
}

func (e exitError) Error() string { return e.msg }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "billet",
		Short:         "Bare-metal provisioning in one binary, speaking the OpenStack Bare Metal API",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serveCommand(), nodeCommand(), serverCommand(), ramdiskCommand(), labCommand(), imageCommand(), configCommand(),
		dbCommand(), openstackCommand())
	explainArguments(root)
	return root
}

// explainArguments makes every command that is given the wrong arguments say which it takes.
func explainArguments(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fmt.Errorf("%w; usage: %s", err, cmd.UseLine())
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		explainArguments(c)
	}
}
