package agent

import (
	"encoding/json"
	"fmt"

	"github.com/billet-metal/billet/driver"
	"github.com/billet-metal/billet/wire"
)

// carriedOut checks that the agent carried out the step it was asked for.
func carriedOut(t *driver.Task, step string, c *wire.CommandResult) error {
	if c.Status == wire.VersionMismatch {
		return fmt.Errorf("the agent does not carry out %s: its hardware managers changed since it offered its steps", step)
	}
	if s := reported(c); s.Step != "" && s.Step != step {
		return fmt.Errorf("the agent was asked for %s but says it carried out %s", step, s.Step)
	}
	t.Logger().Info("the agent finished a step", "step", step)
	return nil
}

// reported is the step that a command's result says it carried out; zero when it does not say.
func reported(c *wire.CommandResult) wire.Step {
	var result struct {
		Deploy  *wire.Step `json:"deploy_step"`
		Clean   *wire.Step `json:"clean_step"`
		Service *wire.Step `json:"service_step"`
	}
	if json.Unmarshal(c.Result, &result) != nil {
		return wire.Step{}
	}
	for _, s := range []*wire.Step{result.Deploy, result.Clean, result.Service} {
		if s != nil {
			return *s
		}
	}
	return wire.Step{}
}

// says is the result of the agent's own step as a text, such as how each disk was erased; ""
// when it is not a text.
func says(c *wire.CommandResult) string {
	for _, r := range results(c) {
		var text string
		if json.Unmarshal(r, &text) == nil && text != "" {
			return redact(text)
		}
	}
	return redact(erasureOf(c).Says)
}

// results are what a command's result says the step returned.
func results(c *wire.CommandResult) []json.RawMessage {
	var result struct {
		Deploy  json.RawMessage `json:"deploy_result"`
		Clean   json.RawMessage `json:"clean_result"`
		Service json.RawMessage `json:"service_result"`
	}
	if json.Unmarshal(c.Result, &result) != nil {
		return nil
	}
	return []json.RawMessage{result.Deploy, result.Clean, result.Service}
}
