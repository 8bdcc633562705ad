package iscsi

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// CHAP is a name and secret for log-in by challenge (RFC 1994, MD5: the only algorithm every
// target has). The secret never crosses the wire.
type CHAP struct {
	User   string
	Secret string
	// MutualUser and MutualSecret, when set, are what the target must prove to know.
	MutualUser   string
	MutualSecret string
}

// DeploymentCHAP is how conductor and deploy ramdisk prove to each other who they are when they agree on
// CHAP: with the key and the token of the deployment, which both have and nobody else. The names have a word before
// the id: Linux's target takes a name that begins with 0b or 0x, as ids may, for an encoded one, and refuses it.
func DeploymentCHAP(id, key, token string) *CHAP {
	return &CHAP{User: "conductor-" + id, Secret: key, MutualUser: "ramdisk-" + id, MutualSecret: token}
}

// chapMD5 is the algorithm number of MD5.
const chapMD5 = "5"

// chapLogin is the state of one authentication.
type chapLogin struct {
	*CHAP
	id        byte
	challenge []byte
	answered  bool
	proven    bool
}

// done reports whether our answer has been given; a nil log-in has none.
func (c *chapLogin) done() bool { return c != nil && c.answered }

// verified reports whether the target has proven who it is.
func (c *chapLogin) verified() bool { return c != nil && c.proven }

// answerOnce takes one challenge: a second would let a target collect answers.
func (c *chapLogin) answerOnce(keys map[string]string) ([]pair, error) {
	if c.answered {
		return nil, errors.New("the target sends a second CHAP challenge")
	}
	c.answered = true
	return c.answer(keys)
}

// answer replies to the target's challenge, with one of our own for mutual authentication.
func (c *chapLogin) answer(keys map[string]string) ([]pair, error) {
	if keys["CHAP_A"] != chapMD5 {
		return nil, fmt.Errorf("the target wants CHAP algorithm %.20q; MD5 (5) is the one there is", keys["CHAP_A"])
	}
	id, err := strconv.ParseUint(keys["CHAP_I"], 0, 8)
	if err != nil {
		return nil, fmt.Errorf("the target's CHAP identifier is %.20q; 0 to 255 is allowed", keys["CHAP_I"])
	}
	challenge, err := parseBinary(keys["CHAP_C"])
	if err != nil {
		return nil, fmt.Errorf("the target's CHAP challenge: %w", err)
	}
	reply := []pair{{"CHAP_N", c.User}, {"CHAP_R", formatBinary(chapResponse(byte(id), c.Secret, challenge))}}
	if c.MutualUser == "" && c.MutualSecret == "" {
		return reply, nil
	}
	c.challenge = make([]byte, 16)
	rand.Read(c.challenge)
	var one [1]byte
	rand.Read(one[:])
	c.id = one[0]
	return append(reply, pair{"CHAP_I", strconv.Itoa(int(c.id))}, pair{"CHAP_C", formatBinary(c.challenge)}), nil
}

// verify holds the target's own answer against what it must know.
func (c *chapLogin) verify(keys map[string]string) error {
	if c.challenge == nil {
		return nil
	}
	got, err := parseBinary(keys["CHAP_R"])
	if err != nil {
		return fmt.Errorf("the target does not prove who it is: %w", err)
	}
	want := chapResponse(c.id, c.MutualSecret, c.challenge)
	named := c.MutualUser == "" || keys["CHAP_N"] == c.MutualUser
	if !named || subtle.ConstantTimeCompare(got, want) != 1 {
		return errors.New("the target's answer to the CHAP challenge is wrong: it is not the target it should be, or its secret is another")
	}
	c.proven = true
	return nil
}

func chapResponse(id byte, secret string, challenge []byte) []byte {
	h := md5.New()
	h.Write([]byte{id})
	h.Write([]byte(secret))
	h.Write(challenge)
	return h.Sum(nil)
}

// parseBinary reads a binary value: 0x and hexadecimal, or 0b and base64 (RFC 7143 section 6.1).
func parseBinary(s string) ([]byte, error) {
	if len(s) > 4096 || len(s) < 3 {
		return nil, fmt.Errorf("%d characters are no binary value", len(s))
	}
	switch strings.ToLower(s[:2]) {
	case "0x":
		digits := s[2:]
		if len(digits)%2 == 1 {
			digits = "0" + digits
		}
		return hex.DecodeString(digits)
	case "0b":
		return base64.StdEncoding.DecodeString(s[2:])
	}
	return nil, errors.New("a binary value starts with 0x or 0b")
}

func formatBinary(b []byte) string { return "0x" + hex.EncodeToString(b) }
