package gitrepo_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

func TestHTTPSCredentials(t *testing.T) {
	ca, cert, key := clientCertificate(t)
	for name, test := range map[string]struct {
		options      []gitrepotest.Option
		secret       map[string]string
		reason, text string
	}{
		"basic authentication":           {[]gitrepotest.Option{gitrepotest.WithTLS(), gitrepotest.WithBasicAuth("ada", "pass word")}, map[string]string{"username": "ada\n", "password": "pass word\n"}, "", ""},
		"a token without a user":         {[]gitrepotest.Option{gitrepotest.WithTLS(), gitrepotest.WithBasicAuth("git", "token")}, map[string]string{"password": "token"}, "", ""},
		"a bearer token":                 {[]gitrepotest.Option{gitrepotest.WithTLS(), gitrepotest.WithBearer("token")}, map[string]string{"bearerToken": "token\n"}, "", ""},
		"a client certificate":           {[]gitrepotest.Option{gitrepotest.WithClientCA(ca)}, map[string]string{"tls.crt": cert, "tls.key": key}, "", ""},
		"only a CA":                      {[]gitrepotest.Option{gitrepotest.WithTLS()}, nil, "", ""},
		"a wrong bearer token":           {[]gitrepotest.Option{gitrepotest.WithTLS(), gitrepotest.WithBearer("token")}, map[string]string{"bearerToken": "other"}, gitrepo.ReasonAuthenticationFailed, "status 401"},
		"no client certificate":          {[]gitrepotest.Option{gitrepotest.WithClientCA(ca)}, nil, gitrepo.ReasonUnreachable, "certificate required"},
		"another CA":                     {[]gitrepotest.Option{gitrepotest.WithTLS()}, map[string]string{"ca.crt": string(ca)}, gitrepo.ReasonCertificateInvalid, "put the certificate of its issuer under ca.crt"},
		"no CA at all (S9)":              {[]gitrepotest.Option{gitrepotest.WithTLS()}, map[string]string{"ca.crt": "", "password": "x"}, gitrepo.ReasonCertificateInvalid, "put the certificate of its issuer under ca.crt"},
		"a CA that is none":              {[]gitrepotest.Option{gitrepotest.WithTLS()}, map[string]string{"ca.crt": "canary"}, gitrepo.ReasonCredentialsInvalid, "the key ca.crt holds no PEM certificate"},
		"a certificate without its key":  {[]gitrepotest.Option{gitrepotest.WithTLS()}, map[string]string{"tls.crt": cert}, gitrepo.ReasonCredentialsInvalid, "has only one of the keys tls.crt and tls.key"},
		"a certificate with another key": {[]gitrepotest.Option{gitrepotest.WithTLS()}, map[string]string{"tls.crt": cert, "tls.key": "canary"}, gitrepo.ReasonCredentialsInvalid, "do not hold a certificate and its key"},
		"a user without a password":      {[]gitrepotest.Option{gitrepotest.WithTLS()}, map[string]string{"username": "canary"}, gitrepo.ReasonCredentialsInvalid, "has the key username without password"},
		"two ways at once":               {[]gitrepotest.Option{gitrepotest.WithTLS()}, map[string]string{"password": "canary", "bearerToken": "canary"}, gitrepo.ReasonCredentialsInvalid, "has both password and bearerToken: keep one"},
		"a password of two lines":        {[]gitrepotest.Option{gitrepotest.WithTLS()}, map[string]string{"password": "canary\r\nX: y"}, gitrepo.ReasonCredentialsInvalid, "the key password holds a line break"},
		"a colon in the user":            {[]gitrepotest.Option{gitrepotest.WithTLS()}, map[string]string{"username": "ca:nary", "password": "canary"}, gitrepo.ReasonCredentialsInvalid, "the key username holds a colon"},
	} {
		t.Run(name, func(t *testing.T) {
			server := gitrepotest.New(t, test.options...)
			origin := server.Repo(t, "app.git")
			want := origin.Commit("main", map[string]string{"file": "one"})
			repo := at(origin, "main")
			repo.Credentials = reconciler.Secret{"ca.crt": server.CA()}
			for key, value := range test.secret {
				repo.Credentials[key] = []byte(value)
			}
			tip, err := tipOf(t.Context(), newStore(t), repo)
			if test.reason != "" {
				isFailure(t, err, test.reason, test.text)
				assert.Assert(t, !strings.Contains(err.Error(), "canary"))
				assert.Equal(t, reconciler.IsTerminal(err), test.reason == gitrepo.ReasonCredentialsInvalid)
				return
			}
			assert.NilError(t, err)
			assert.Equal(t, tip, want)
		})
	}
}

func TestSecretWithoutUsefulKeys(t *testing.T) {
	_, err := tipOf(t.Context(), newStore(t), reconciler.Repository{URL: "https://git.invalid/app.git", Reference: reconciler.Reference{Branch: "main"}, Credentials: reconciler.Secret{"token": []byte("canary")}})
	isFailure(t, err, gitrepo.ReasonCredentialsInvalid, "has none of the keys username and password, bearerToken, ca.crt, tls.crt and tls.key")
}

// S9: TLS below 1.2 is not spoken.
func TestOldTLSIsRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} // That is the point.
	server.StartTLS()
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	_, err := tipOf(t.Context(), newStore(t), reconciler.Repository{URL: server.URL + "/app.git", Reference: reconciler.Reference{Branch: "main"}, Credentials: reconciler.Secret{"ca.crt": ca}})
	isFailure(t, err, gitrepo.ReasonUnreachable, "protocol version not supported")
}

// clientCertificate makes a CA and a certificate of it.
func clientCertificate(t *testing.T) (ca []byte, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	assert.NilError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lockstep"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	assert.NilError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	assert.NilError(t, err)
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return ca, string(ca), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}
