package main

import "github.com/spf13/cobra"

func (f *labFlags) image() *cobra.Command { return &cobra.Command{Use: "image", Hidden: true} }
