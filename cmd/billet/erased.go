package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
)

// Whoever hands a machine on must be able to show how each of its disks was erased. The record is in driver_internal_info,
// which nobody reads; here it is a table.

// erasedStep is one entry of driver_internal_info/erased_disks: the last run of an erase step.
type erasedStep struct {
	step  string
	Flow  string `json:"flow"`
	At    string `json:"at"` // RFC 3339
	Disks []struct {
		Name, Serial, WWN, Method, Verified, Skipped, Error string
		Size                                                int64 // bytes
		Seconds                                             float64
		NotBy                                               []string `json:"not_by"`
	} `json:"disks"`
}

func nodeErased() *cobra.Command {
	return &cobra.Command{Use: "erased NODE", Short: "Show which disks were erased, how, and which were not", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var n struct {
				Info struct {
					Erased map[string]erasedStep `json:"erased_disks"`
				} `json:"driver_internal_info"`
			}
			if err := newClient(cmd).do(cmd.Context(), "GET", nodePath(args[0])+"?fields=driver_internal_info", nil, &n); err != nil {
				return err
			}
			return printErased(cmd.OutOrStdout(), n.Info.Erased)
		}}
}

// printErased prints the steps, the latest last, and what became of each disk.
func printErased(out io.Writer, erased map[string]erasedStep) error {
	if len(erased) == 0 {
		_, err := fmt.Fprintln(out, "no disk of this node was erased by an agent that tells how")
		return err
	}
	var steps []erasedStep
	for name, s := range erased {
		s.step = name
		steps = append(steps, s)
	}
	slices.SortFunc(steps, func(a, b erasedStep) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.step, b.step)) })
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tFLOW\tSTEP\tDISK\tSERIAL\tWWN\tBYTES\tSECONDS\tRESULT")
	for _, s := range steps {
		for _, d := range s.Disks {
			result := d.Method + ", " + d.Verified
			switch {
			case d.Error != "":
				result = "NOT ERASED: " + d.Error
			case d.Skipped != "":
				result = "left alone: " + d.Skipped
			}
			for _, why := range d.NotBy {
				result += "; not by " + why
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%.1f\t%s\n", plain(s.At), plain(s.Flow), plain(s.step), plain(d.Name), plain(d.Serial),
				plain(d.WWN), d.Size, d.Seconds, plain(result))
		}
	}
	return w.Flush()
}

// plain is a text of a machine for a terminal and a table: one line, no control characters, a dash for nothing.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text
}
