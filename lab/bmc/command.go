package bmc

import "context"

// Completion codes (spec table 5-2, and each command's own from 80h).
const (
	codeOK           = 0x00
	codeBusy         = 0xC0
	codeUnknown      = 0xC1
	codeTooShort     = 0xC7
	codeNotPresent   = 0xCB
	codeBadField     = 0xCC
	codeNoPrivilege  = 0xD4
	codeNotNow       = 0xD5
	codeUnspecified  = 0xFF
	codeNoParameter  = 0x80
	codeBadSession   = 0x87
	codeOverLimit    = 0x81
	codeSOLElsewhere = 0x80
	codeSOLInactive  = 0x80
	codeSOLType      = 0x81
)

// Network functions (spec table 5-1).
const (
	netChassis   = 0x00
	netApp       = 0x06
	netStorage   = 0x0A
	netTransport = 0x0C
)

// call is one request as a command sees it.
type call struct {
	session *session // nil outside a session
	inside  bool     // it comes from the machine's own system interface, which may do everything
	raw     []byte   // the whole message, which names it for retransmissions
	request
	// later, when a command sets it, runs in a goroutine of its own and gives the completion code;
	// what the command returned is then ignored.
	later func(ctx context.Context) byte
	// beside, when a command sets it, runs in a goroutine of its own until ctx ends.
	beside func(ctx context.Context)
}

// command is a row of the table: what it is, who may use it and how much data it needs.
type command struct {
	netFn, cmd byte
	min        Privilege // 0: also outside a session
	length     int
	run        func(*loop, *call) (byte, []byte)
}

// commands is everything this BMC can do. A command that is not here gets C1h, invalid command.
var commands = []command{
	{netChassis, 0x00, User, 0, chassisCapabilities},
	{netChassis, 0x01, User, 0, chassisStatus},
	{netChassis, 0x02, Operator, 1, chassisControl},
	{netChassis, 0x04, Operator, 0, fixed()},
	{netChassis, 0x07, User, 0, fixed(0, 0)},
	{netChassis, 0x08, Operator, 1, setBootOption},
	{netChassis, 0x09, Operator, 3, getBootOption},

	{netApp, 0x01, User, 0, deviceID},
	{netApp, 0x04, User, 0, fixed(0x55, 0)}, // self test passed
	{netApp, 0x08, User, 0, guid},
	{netApp, 0x37, 0, 0, guid},
	{netApp, 0x38, 0, 2, authCapabilities},
	{netApp, 0x3B, Callback, 1, setPrivilege},
	{netApp, 0x3C, Callback, 4, closeSession},
	{netApp, 0x3D, User, 1, sessionInfo},
	{netApp, 0x41, User, 2, fixed(0x02, byte(Administrator))}, // channel access: always available
	{netApp, 0x42, User, 1, channelInfo},
	{netApp, 0x44, Operator, 2, userAccess},
	{netApp, 0x46, Operator, 1, userName},
	{netApp, 0x48, User, 6, activatePayload},
	{netApp, 0x49, User, 6, deactivatePayload},
	{netApp, 0x4A, User, 1, payloadStatus},
	{netApp, 0x4B, User, 2, payloadInfo},
	{netApp, 0x4D, Operator, 2, fixed(0x02, 0, 0, 0)},            // user payload access: SOL
	{netApp, 0x4E, User, 1, fixed(0x03, 0, 0x3F, 0, 0, 0, 0, 0)}, // payloads: IPMI, SOL, session set-up
	{netApp, 0x4F, User, 2, fixed(0x10)},                         // payload version 1.0
	{netApp, 0x54, 0, 3, cipherSuites},

	{netStorage, 0x10, User, 1, fruInfo},
	{netStorage, 0x11, User, 4, readFRU},
	{netStorage, 0x20, User, 0, fixed(0x51, 1, 0, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x02)}, // SDR: one record
	{netStorage, 0x22, User, 0, fixed(1, 0)},
	{netStorage, 0x23, User, 6, readSDR},
	{netStorage, 0x40, User, 0, fixed(0x51, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x02)}, // SEL: empty
	{netStorage, 0x42, User, 0, fixed(1, 0)},
	{netStorage, 0x43, User, 6, notPresent},
	{netStorage, 0x48, User, 0, selTime},

	{netTransport, 0x02, Operator, 4, lanParameter},
	{netTransport, 0x22, Operator, 4, solParameter},
}

// execute runs the message's command and returns the answer; nil when there is none yet or the
// message is not for us.
func (l *loop) execute(ctx context.Context, c call, msg []byte) []byte {
	req, err := parseRequest(msg)
	if err != nil {
		return nil
	}
	c.request = req
	code, data := l.dispatch(&c)
	if c.beside != nil {
		l.work.Go(func() { c.beside(ctx) })
	}
	if c.later != nil {
		l.work.Go(func() {
			code := c.later(ctx)
			l.post(func() { l.answer(c.session, c.raw, req.response(code, nil)) })
		})
		return nil
	}
	return req.response(code, data)
}

func (l *loop) dispatch(c *call) (byte, []byte) {
	for _, cmd := range commands {
		if cmd.netFn != c.netFn || cmd.cmd != c.cmd {
			continue
		}
		switch {
		case c.inside && c.netFn == netApp && onlyInSessions[c.cmd]:
			return codeUnknown, nil
		case !c.inside && cmd.min > 0 && (c.session == nil || c.session.privilege < cmd.min):
			return codeNoPrivilege, nil
		case len(c.data) < cmd.length:
			return codeTooShort, nil
		case c.session != nil && c.netFn == netChassis && l.srv.takeBusy():
			return codeBusy, nil
		}
		return cmd.run(l, c)
	}
	return codeUnknown, nil
}

// fixed answers the same bytes always.
func fixed(data ...byte) func(*loop, *call) (byte, []byte) {
	return func(*loop, *call) (byte, []byte) { return codeOK, data }
}

func notPresent(*loop, *call) (byte, []byte) { return codeNotPresent, nil }
