package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/billet-metal/billet/store"
)

// Damage of a database is looked for by hand, beside the running service: whoever suspects it must not have to stop the
// service first, and the check must change nothing that a repair may need.

func dbCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "db", Short: "Look after the database"}
	cmd.AddCommand(dbCheckCommand())
	return cmd
}

func dbCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Args: cobra.NoArgs, Short: "Read every page and value of the database and say what is damaged",
		Long: "Read every page and value of the database and say what is damaged. " +
			"It changes nothing and may run beside billet serve. It takes the " +
			"configuration of billet serve, of which it needs data_dir, database and secret_key_file.",
	}
	addConfigFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := loadConfig(cmd.Flags(), os.Environ())
		if err != nil {
			return err
		}
		faults, err := store.Check(cmd.Context(), store.Config{URL: c.Database, DataDir: c.DataDir, KeyFile: c.SecretKeyFile, Host: c.Host})
		if err != nil {
			return err
		}
		return sayFaults(cmd.OutOrStdout(), faults)
	}
	return cmd
}

func sayFaults(out io.Writer, faults []string) error {
	if len(faults) == 0 {
		_, err := fmt.Fprintln(out, "The database is sound: every page and every value was read.")
		return err
	}
	for _, f := range faults {
		if _, err := fmt.Fprintln(out, f); err != nil {
			return err
		}
	}
	return errors.New("the database is damaged: put back a backup, or write anew the fields that are named")
}
