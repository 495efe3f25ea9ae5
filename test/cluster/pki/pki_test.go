package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/test/cluster/pki"
)

func parse(t *testing.T, certificate []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(certificate)
	assert.Assert(t, block != nil)
	c, err := x509.ParseCertificate(block.Bytes)
	assert.NilError(t, err)
	return c
}

func TestServerCertificateHoldsForItsHostsOnly(t *testing.T) {
	now := time.Now()
	authority, err := pki.NewAuthority("test", now)
	assert.NilError(t, err)
	pair, err := authority.Server("api", "127.0.0.1", "kubernetes.default")
	assert.NilError(t, err)
	roots := x509.NewCertPool()
	assert.Assert(t, roots.AppendCertsFromPEM(authority.Pair().Certificate))
	certificate := parse(t, pair.Certificate)
	for host, holds := range map[string]bool{"127.0.0.1": true, "kubernetes.default": true, "10.0.0.1": false, "example.test": false} {
		_, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
		assert.Equal(t, err == nil, holds, "%s: %v", host, err)
	}
	_, err = certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	assert.ErrorContains(t, err, "incompatible key usage")
}

func TestClientCertificateNamesUserAndGroups(t *testing.T) {
	authority, err := pki.NewAuthority("test", time.Now())
	assert.NilError(t, err)
	pair, err := authority.Client("admin", "system:masters")
	assert.NilError(t, err)
	_, err = tls.X509KeyPair(pair.Certificate, pair.Key)
	assert.NilError(t, err)
	subject := parse(t, pair.Certificate).Subject
	assert.Equal(t, subject.CommonName, "admin")
	assert.DeepEqual(t, subject.Organization, []string{"system:masters"})
}

func TestCertificatesOfOneAuthorityAreNothingToAnother(t *testing.T) {
	one, err := pki.NewAuthority("test", time.Now())
	assert.NilError(t, err)
	other, err := pki.NewAuthority("test", time.Now())
	assert.NilError(t, err)
	pair, err := one.Client("admin")
	assert.NilError(t, err)
	roots := x509.NewCertPool()
	assert.Assert(t, roots.AppendCertsFromPEM(other.Pair().Certificate))
	_, err = parse(t, pair.Certificate).Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	assert.Assert(t, err != nil)
}

func TestCertificatesAllowForAClockThatIsLate(t *testing.T) {
	now := time.Now()
	authority, err := pki.NewAuthority("test", now)
	assert.NilError(t, err)
	certificate := parse(t, authority.Pair().Certificate)
	assert.Assert(t, certificate.NotBefore.Before(now.Add(-30*time.Minute)))
	assert.Assert(t, certificate.NotAfter.After(now.Add(300*24*time.Hour)))
	assert.Assert(t, certificate.IsCA)
}

func TestSigningKeyIsAPair(t *testing.T) {
	private, public, err := pki.SigningKey()
	assert.NilError(t, err)
	block, _ := pem.Decode(private)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	assert.NilError(t, err)
	block, _ = pem.Decode(public)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	assert.NilError(t, err)
	assert.Check(t, key.PublicKey.Equal(parsed))
}
