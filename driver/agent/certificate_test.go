package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// newCertificate makes one as an agent does: self-signed, EC P-384, no authority.
func newCertificate(t *testing.T, from time.Time) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"},
		NotBefore: from, NotAfter: from.Add(30 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, SignatureAlgorithm: x509.ECDSAWithSHA512,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func otherCertificate(t *testing.T) string {
	_, text := newCertificate(t, time.Now())
	return text
}

// TestClockOfTheMachine: a machine whose clock is years off is talked to all the same, since its
// certificate is known byte for byte.
func TestClockOfTheMachine(t *testing.T) {
	for name, from := range map[string]time.Time{
		"right": time.Now().Add(-time.Hour),
		"1970":  time.Unix(0, 0),
		"2099":  time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		t.Run(name, func(t *testing.T) {
			cert, text := newCertificate(t, from)
			a := newFakeAgent(t)
			a.server.TLS.Certificates = []tls.Certificate{cert}
			row := a.row()
			row.VerifyCA = text
			s, err := Client{Attempts: 1}.open(row)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.commands(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
