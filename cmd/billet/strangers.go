package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// A machine that nobody enrolled gets no answer and no node to look under. Here its MAC address can be found, which is most
// often the one that was mistyped.

// nodeStrangers prints who was seen on the provisioning network and belongs to no node.
func nodeStrangers() *cobra.Command {
	return &cobra.Command{Use: "strangers", Short: "Show who asks on the provisioning network and belongs to no node", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer struct {
				Strangers []bootEvent `json:"strangers"`
			}
			if err := newClient(cmd).do(cmd.Context(), "GET", "/billet/v1/strangers", nil, &answer); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if len(answer.Strangers) == 0 {
				_, err := fmt.Fprintln(out, "no unknown machine was seen in the last week")
				return err
			}
			for _, e := range answer.Strangers {
				if _, err := fmt.Fprintf(out, "%s  %-17s  %-5s %s\n", e.At.Format(time.DateTime), e.MAC, e.Service, e.What); err != nil {
					return err
				}
			}
			return nil
		}}
}
