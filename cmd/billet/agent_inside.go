//go:build embed_agent

package main

import _ "embed"

// embeddedAgent is the deploy ramdisk's agent; `make build` puts it there.
//
//go:embed billet-agent
var embeddedAgent []byte
