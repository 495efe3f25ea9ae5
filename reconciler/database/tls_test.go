package database_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
	"github.com/lockstep-gitops/lockstep/test/postgres"
)

// authority signs certificates for tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	assert.NilError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	content, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	assert.NilError(t, err)
	certificate, err := x509.ParseCertificate(content)
	assert.NilError(t, err)
	return authority{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content})}
}

// server starts a server with a certificate for localhost.
func (a authority) server(t *testing.T, validUntil time.Time) postgres.Database {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	assert.NilError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: validUntil,
	}
	content, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	assert.NilError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	assert.NilError(t, err)
	server := postgres.Start(t, postgres.WithSetting("ssl", "on"),
		postgres.WithFile("server.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content})),
		postgres.WithFile("server.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})))
	return server.Database(t)
}

func TestTLSMeansWhatLibpqMeans(t *testing.T) {
	// D13.
	root, stranger := newAuthority(t), newAuthority(t)
	valid := root.server(t, time.Now().Add(time.Hour))
	expired := root.server(t, time.Now().Add(-time.Hour))
	for name, test := range map[string]struct {
		server    postgres.Database
		mode      string
		host      string
		root      []byte
		transport string
		message   string
		terminal  bool
	}{
		"disable is plain":                        {server: valid, mode: "disable", transport: "plain"},
		"allow is plain where that works":         {server: valid, mode: "allow", transport: "plain"},
		"prefer is TLS where there is TLS":        {server: valid, mode: "prefer", transport: `"TLS 1.3"`},
		"require takes any certificate":           {server: expired, mode: "require", transport: `"TLS 1.3"`},
		"require with a root checks it":           {server: valid, mode: "require", root: stranger.pem, message: "put the certificate of its authority into key sslrootcert", terminal: true},
		"verify-ca takes any host":                {server: valid, mode: "verify-ca", host: "127.0.0.1", root: root.pem, transport: `"TLS 1.3"`},
		"verify-ca wants its root":                {server: valid, mode: "verify-ca", root: stranger.pem, message: "put the certificate of its authority into key sslrootcert", terminal: true},
		"verify-ca wants a time that is right":    {server: expired, mode: "verify-ca", root: root.pem, message: "renew the certificate of the server"},
		"verify-full works for its host":          {server: valid, mode: "verify-full", root: root.pem, transport: `"TLS 1.3"`},
		"verify-full wants its host":              {server: valid, mode: "verify-full", host: "127.0.0.1", root: root.pem, message: "use a host name that the certificate is for", terminal: true},
		"verify-full without a root asks for one": {server: valid, mode: "verify-full", message: "put the certificate of its authority into key sslrootcert", terminal: true},
		"verify-full wants a time that is right":  {server: expired, mode: "verify-full", root: root.pem, message: "renew the certificate of the server"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runnerOn(test.server)
			r.SSLMode, r.Host = test.mode, "localhost"
			if test.host != "" {
				r.Host = test.host
			}
			secret := r.Secret()
			secret["sslrootcert"] = test.root
			r.options.Secret, r.options.Archive = secret, files{"1_a.up.sql": "SELECT 1"}.archive(t)
			_, err := database.State(t.Context(), secret, "")
			report := database.Migrate(t.Context(), r.options)
			if test.message == "" {
				assert.NilError(t, err)
				assert.Equal(t, database.ExitCode(report), database.ExitOK, report.Message)
				assert.Assert(t, strings.Contains(r.log.String(), "transport="+test.transport+" "), r.log.String())
				return
			}
			assert.ErrorContains(t, err, test.message)
			assert.Equal(t, reconciler.IsTerminal(err), test.terminal)
			assert.Equal(t, reconciler.ReasonOf(err, ""), "DatabaseTLS")
			assert.Assert(t, strings.Contains(report.Message, test.message), report.Message)
		})
	}
	t.Run("prefer is plain where there is no TLS", func(t *testing.T) {
		r := newRunner(t)
		r.SSLMode = "prefer"
		assert.Equal(t, r.migrate(t, files{"1_a.up.sql": "SELECT 1"}).Outcome, database.OutcomeSucceeded)
		assert.Assert(t, strings.Contains(r.log.String(), "transport=plain "))
	})
}
