package iscsi

import (
	"errors"
	"fmt"
	"strings"
)

// Stages of a log-in.
const (
	stageSecurity    = 0
	stageOperational = 1
	stageFull        = 3
)

// maxLoginSteps bounds a negotiation with a target that never comes to its end.
const maxLoginSteps = 20

// LoginError is a target's refusal to let us in. Trying again with the same words is useless,
// unless Temporary says so.
type LoginError struct {
	Class, Detail byte
}

// Error names the refusal (RFC 7143 section 11.13.5).
func (e *LoginError) Error() string {
	why, known := map[[2]byte]string{
		{2, 0}: "a miscellaneous error of the initiator", {2, 1}: "authentication failed", {2, 2}: "this initiator may not use the target",
		{2, 3}: "there is no such target", {2, 4}: "the target has been removed", {2, 5}: "its protocol version is another",
		{2, 6}: "too many connections", {2, 7}: "a parameter is missing", {2, 8}: "it cannot take the connection into the session",
		{2, 9}: "it does not have this kind of session", {2, 10}: "the session does not exist", {2, 11}: "the request was out of place",
		{3, 0}: "it has an error of its own", {3, 1}: "the service is not available now", {3, 2}: "it is out of resources",
	}[[2]byte{e.Class, e.Detail}]
	if !known {
		why = fmt.Sprintf("status class %d, detail %d", e.Class, e.Detail)
	}
	return "the target refuses the log-in: " + why
}

// Temporary reports whether the target may well agree a little later.
func (e *LoginError) Temporary() bool { return e.Class == 3 }

// login is one log-in on a fresh connection.
type login struct {
	*conn
	opts  *Options
	isid  [6]byte
	tag   uint32
	stage byte
	chap  *chapLogin
}

// run leads the connection from its first byte to the full feature phase.
func (l *login) run() error {
	l.params = defaultParams()
	l.stage = stageSecurity
	say := l.greeting()
	sentOffer, proven := false, l.opts.CHAP == nil || l.opts.CHAP.MutualSecret == ""
	for range maxLoginSteps {
		// With CHAP the stage is not left before the target has agreed on the method.
		transit := l.stage == stageOperational || l.chap != nil && l.chap.done() || l.opts.CHAP == nil
		resp, keys, err := l.step(say, transit)
		if err != nil {
			return err
		}
		say = nil
		if l.stage == stageSecurity {
			if say, err = l.authenticate(keys); err != nil {
				return err
			}
			if l.chap.verified() {
				proven = true
			}
		} else if err := l.takeAll(keys); err != nil {
			return err
		}
		if resp.is(final) {
			if l.stage == stageSecurity && l.opts.CHAP != nil && (l.chap == nil || !l.chap.done()) {
				return errors.New("the target lets us in without the authentication asked for")
			}
			switch next := resp.bhs[1] & 3; next {
			case stageFull:
				if !proven {
					return errors.New("the target did not prove who it is, as mutual authentication asks")
				}
				l.digests = l.params.digests
				return nil
			case stageOperational:
				l.stage = stageOperational
			default:
				return fmt.Errorf("the target leads the log-in to stage %d, which there is not", next)
			}
		}
		if l.stage == stageOperational && !sentOffer {
			say, sentOffer = offer(l.opts.Digests), true
		}
	}
	return fmt.Errorf("the log-in did not end after %d steps", maxLoginSteps)
}

func (l *login) greeting() []pair {
	method := "None"
	if l.opts.CHAP != nil {
		method = "CHAP"
	}
	return []pair{
		{"InitiatorName", l.opts.Initiator}, {"TargetName", l.opts.Target}, {"SessionType", "Normal"}, {"AuthMethod", method},
	}
}

// authenticate answers what the target says in the security stage.
func (l *login) authenticate(keys map[string]string) ([]pair, error) {
	method, said := keys["AuthMethod"]
	switch {
	case said && l.opts.CHAP == nil && method != "None":
		return nil, fmt.Errorf("the target wants authentication by %.40q, but no name and secret for it are set", method)
	case said && l.opts.CHAP != nil && method != "CHAP":
		return nil, fmt.Errorf("the target answers AuthMethod=%.40q; CHAP was asked for", method)
	case said && l.opts.CHAP != nil:
		l.chap = &chapLogin{CHAP: l.opts.CHAP}
		return []pair{{"CHAP_A", chapMD5}}, nil
	case l.chap != nil && keys["CHAP_C"] != "":
		return l.chap.answerOnce(keys)
	case l.chap != nil && l.chap.done():
		return nil, l.chap.verify(keys)
	}
	return nil, nil
}

func (l *login) takeAll(keys map[string]string) error {
	for key, value := range keys {
		if value == "Reject" {
			return fmt.Errorf("the target rejects the value of %.63s", key)
		}
		if err := l.params.take(key, value); err != nil {
			return err
		}
	}
	return nil
}

// step sends one request and gathers the whole answer, which may come in pieces (the C bit).
func (l *login) step(say []pair, transit bool) (*pdu, map[string]string, error) {
	flags := l.stage << 2
	if transit {
		next := byte(stageOperational)
		if l.stage == stageOperational {
			next = stageFull
		}
		flags |= final | next
	}
	text, err := l.ask(flags, formatText(say))
	if err != nil {
		return nil, nil, err
	}
	all := text.data
	for text.is(0x40) { // more of it follows when asked for
		if text, err = l.ask(l.stage<<2, nil); err != nil {
			return nil, nil, err
		}
		if all = append(all, text.data...); len(all) > maxText {
			return nil, nil, errors.New("the target's negotiation text has no end")
		}
	}
	keys, err := parseText(all)
	return text, keys, err
}

func (l *login) ask(flags byte, data []byte) (*pdu, error) {
	req := &pdu{data: data}
	req.bhs[0], req.bhs[1] = opLogin|immediate, flags
	copy(req.bhs[8:14], l.isid[:])
	req.set(atTag, l.tag)
	req.set(atSN, l.cmdSN)
	req.set(atExpSN, l.expStatSN)
	if err := l.send(req); err != nil {
		return nil, err
	}
	resp, err := l.receive()
	switch {
	case err != nil:
		return nil, err
	case resp.op() != opLoginResp:
		return nil, fmt.Errorf("the target answers a log-in with operation 0x%02x: this is no iSCSI target", resp.op())
	case resp.bhs[36] == 1:
		keys, _ := parseText(resp.data)
		return nil, fmt.Errorf("the target redirects to %.100q; give that address instead", strings.TrimSpace(keys["TargetAddress"]))
	case resp.bhs[36] != 0:
		return nil, &LoginError{Class: resp.bhs[36], Detail: resp.bhs[37]}
	}
	// The first answer sets the status sequence; the number in it is the target's to choose.
	l.expStatSN = resp.u32(atSN) + 1
	l.expCmdSN, l.maxCmdSN = resp.u32(atExpSN), resp.u32(atMaxSN)
	return resp, nil
}
