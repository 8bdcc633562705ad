//go:build !embed_agent

package main

// embeddedAgent is empty in a plain `go build`: the agent is then looked for beside billet, or built.
var embeddedAgent []byte
