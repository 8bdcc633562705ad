package ipmi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
)

// authenticate uses the cipher suite asked for, or the one that worked last, or what the BMC
// offers. A wrong password is not tried again with another suite: BMCs count, and lock people out.
func (s *session) authenticate(ctx context.Context) error {
	if id := cmp.Or(s.wantSuite, s.slot.suite); id != 0 {
		err := s.handshake(ctx, id)
		if s.wantSuite != 0 || ReasonOf(err) != BadCipher {
			return err
		}
		s.slot.suite = 0 // new firmware has other suites
	}
	suites, offered, err := s.discover(ctx)
	if err != nil {
		return err
	}
	listed := func(id int) bool { return len(offered) == 0 || slices.Contains(offered, id) }
	if !slices.ContainsFunc(suites, listed) {
		err = s.fail(BadCipher, nil, "offers the cipher suites %v; this driver uses 17 or 3", offered)
	}
	for i, id := range suites {
		now := s.handshake(ctx, id)
		if now == nil {
			return nil
		}
		// Silence, or a no to what was not offered, tells less than what went before.
		why := ReasonOf(now)
		if err == nil || why == BadLogin || why == NoPrivilege || why == Busy || why == BadCipher && listed(id) {
			err = now
		}
		more := i+1 < len(suites)
		doubted := more && bool(s.doubtful) && listed(suites[i+1]) && s.doubt()
		if !more || why != BadCipher && !doubted {
			return err
		}
	}
	return err
}

// doubt reports whether a log-in that failed at its code is tried with the next cipher suite: the one at hand may be
// broken. Once for each user and password: BMCs count what fails.
func (s *session) doubt() bool {
	login := sha256.Sum256(fmt.Appendf(nil, "%q %q %x", s.user, s.password, s.kg))
	if !s.quirks.Has(suiteLies) || s.slot.doubted == login {
		return false
	}
	s.slot.doubted, s.doubtful = login, false
	return true
}

// discover asks what the BMC speaks, outside a session: IPMI 2.0 at all (spec table 22-15) and
// which of our cipher suites (table 22-17), the best first. Lists are wrong at times, so the suites that
// are not on it come last; a BMC that does not have one says so before it sees anything of the password.
func (s *session) discover(ctx context.Context) (try, offered []int, err error) {
	const thisChannel, wantPlus = 0x0E, 0x80
	caps, err := s.askOutside(ctx, "tell its capabilities", 0x38, thisChannel|wantPlus, s.privilege)
	if err != nil {
		if _, ok := refusal(err); !ok {
			return nil, nil, err
		}
	} else if len(caps) >= 4 && caps[1]&0x80 != 0 && caps[3]&0x02 == 0 {
		return nil, nil, s.fail(Unsupported, nil, "speaks IPMI 1.5 only; this driver needs IPMI 2.0")
	}
	records, err := s.suiteRecords(ctx)
	if err != nil {
		return nil, nil, err
	}
	offered = suiteIDs(records)
	try = []int{17, 3}
	if slices.Contains(offered, 3) && !slices.Contains(offered, 17) {
		slices.Reverse(try)
	}
	return try, offered, nil
}

// suiteRecords reads the list, sixteen bytes at a time. A BMC that does not have it, or always answers the same
// piece, has said all.
func (s *session) suiteRecords(ctx context.Context) (records []byte, err error) {
	const thisChannel, list = 0x0E, 0x80
	var before []byte
	for index := byte(0); index < 0x40; index++ {
		part, err := s.askOutside(ctx, "list its cipher suites", 0x54, thisChannel, payloadIPMI, list|index)
		if _, refused := refusal(err); err != nil && !refused {
			return nil, err
		}
		if err != nil || len(part) < 1 || bytes.Equal(part, before) {
			break
		}
		before = part
		records = append(records, part[1:]...)
		if len(part) < 17 {
			break
		}
	}
	return records, nil
}

// suiteIDs reads cipher suite records: C0h, id or C1h, id, three bytes of OEM; then algorithm
// bytes with the top bits 00, 01 or 10.
func suiteIDs(records []byte) (ids []int) {
	for i := 0; i+1 < len(records); i++ {
		switch records[i] {
		case 0xC0:
			ids = append(ids, int(records[i+1]))
			i++
		case 0xC1:
			i += 4
		}
	}
	return ids
}
