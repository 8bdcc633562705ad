package node

import (
	"encoding/json"
	"strconv"
	"time"
)

// Quiet is what a flow knows of a machine that says nothing, and what was reported of it: each thing once, also by
// the process that goes on after this one. It is forgotten when the step ends.
type Quiet struct {
	Suspected Suspected `json:"suspected,omitzero"`
	Silence   Silence   `json:"silence,omitzero"`
	Lost      string    `json:"lost,omitempty"`     // where the step lost its machine first, for people
	OffSince  time.Time `json:"off_since,omitzero"` // since when the BMC says that the machine is off
	Paused    int       `json:"paused,omitempty"`   // 1 + the index of the step whose pause for maintenance was reported; 0: none
}

// Suspected is what was reported of a quiet machine.
type Suspected struct {
	Since time.Time `json:"since,omitzero"`  // the last sign of life then; zero when there was none
	Phase string    `json:"phase,omitempty"` // "" when it is not suspected, or no more
	Told  []string  `json:"told,omitempty"`  // "<step> <phase>" that are in the history already
}

// Silence is since when a working agent answers no polls, until when it may, and why the last was not answered.
type Silence struct {
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	Why   string    `json:"why,omitempty"`
}

// UnmarshalJSON reads a plan. Earlier versions kept in the memo what Quiet holds.
func (p *Plan) UnmarshalJSON(b []byte) error {
	type plain Plan // without this method
	if err := json.Unmarshal(b, (*plain)(p)); err != nil {
		return err
	}
	p.takeQuiet()
	return nil
}

// takeQuiet moves it out of the memo. What cannot be read was not told.
func (p *Plan) takeQuiet() {
	for key, read := range map[string]func(old string){
		"conductor.suspect": func(old string) { _ = json.Unmarshal([]byte(old), &p.Quiet.Suspected) },
		"conductor.silent":  func(old string) { _ = json.Unmarshal([]byte(old), &p.Quiet.Silence) },
		"conductor.lost":    func(old string) { p.Quiet.Lost = old },
		"conductor.off":     func(old string) { p.Quiet.OffSince, _ = time.Parse(time.RFC3339Nano, old) },
		"conductor.paused": func(old string) {
			if i, err := strconv.Atoi(old); err == nil {
				p.Quiet.Paused = i + 1
			}
		},
	} {
		if old, ok := p.Memo[key]; ok {
			read(old)
			delete(p.Memo, key)
		}
	}
}
