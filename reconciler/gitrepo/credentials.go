package gitrepo

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Keys of the Secret that spec.source.secretRef names.
const (
	// KeyUsername and KeyPassword are for basic authentication over https. A
	// token is a password; KeyUsername is "git" when only KeyPassword is there.
	KeyUsername = "username"
	// KeyPassword also opens an encrypted KeyIdentity.
	KeyPassword = "password"
	// KeyBearerToken is sent as a bearer token over https.
	KeyBearerToken = "bearerToken"
	// KeyCA holds PEM certificates that are trusted instead of the system's.
	KeyCA = "ca.crt"
	// KeyTLSCert and KeyTLSKey are a client certificate and its key, in PEM.
	KeyTLSCert = "tls.crt"
	// KeyTLSKey belongs to KeyTLSCert.
	KeyTLSKey = "tls.key"
	// KeyIdentity is a private SSH key, in PEM.
	KeyIdentity = "identity"
	// KeyKnownHosts holds the keys of SSH servers, in the format of OpenSSH.
	KeyKnownHosts = "known_hosts"
)

// credentials are the data of a Secret after their shape was checked.
type credentials struct {
	username, password, bearer string
	basic                      bool

	roots  *x509.CertPool
	client *tls.Certificate

	identity, passphrase, knownHosts []byte
}

func malformed(format string, args ...any) error {
	return reconciler.Terminalf(ReasonCredentialsInvalid, "the Secret of spec.source.secretRef: "+format, args...)
}

// readCredentials checks the shape of credentials. It says which key is wrong
// and never what it holds.
func readCredentials(addr address, secret reconciler.Secret) (credentials, error) {
	if addr.scheme == "ssh" {
		return readSSH(secret)
	}
	c := credentials{}
	if secret == nil {
		return c, nil
	}
	if err := c.readLogin(secret); err != nil {
		return c, err
	}
	if err := c.readTLS(secret); err != nil {
		return c, err
	}
	if !c.basic && c.bearer == "" && c.roots == nil && c.client == nil {
		return c, malformed("has none of the keys %s and %s, %s, %s, %s and %s", KeyUsername, KeyPassword, KeyBearerToken, KeyCA, KeyTLSCert, KeyTLSKey)
	}
	return c, nil
}

func readSSH(secret reconciler.Secret) (credentials, error) {
	c := credentials{identity: secret[KeyIdentity], passphrase: []byte(line(secret, KeyPassword)), knownHosts: secret[KeyKnownHosts]}
	switch {
	case secret == nil:
		return c, reconciler.Terminalf(ReasonCredentialsInvalid, "an ssh URL needs spec.source.secretRef: a Secret with the keys %s and %s", KeyIdentity, KeyKnownHosts)
	case len(bytes.TrimSpace(c.identity)) == 0:
		return c, malformed("has no key %s: put the private SSH key there", KeyIdentity)
	case len(bytes.TrimSpace(c.knownHosts)) == 0:
		return c, malformed("has no key %s: put the lines of `ssh-keyscan HOST` there, after you compared them with what the owner of the server says", KeyKnownHosts)
	}
	return c, nil
}

func (c *credentials) readLogin(secret reconciler.Secret) error {
	_, user := secret[KeyUsername]
	_, password := secret[KeyPassword]
	c.username, c.password, c.bearer = line(secret, KeyUsername), line(secret, KeyPassword), line(secret, KeyBearerToken)
	c.basic = password
	for _, key := range []string{KeyUsername, KeyPassword, KeyBearerToken} {
		if strings.ContainsFunc(line(secret, key), isControl) {
			return malformed("the key %s holds a line break or a control character", key)
		}
	}
	switch {
	case user && !password:
		return malformed("has the key %s without %s", KeyUsername, KeyPassword)
	case password && c.bearer != "":
		return malformed("has both %s and %s: keep one", KeyPassword, KeyBearerToken)
	case strings.Contains(c.username, ":"):
		return malformed("the key %s holds a colon, which basic authentication cannot carry", KeyUsername)
	}
	if c.basic && c.username == "" {
		c.username = "git"
	}
	return nil
}

func (c *credentials) readTLS(secret reconciler.Secret) error {
	if pem := secret[KeyCA]; len(pem) > 0 {
		c.roots = x509.NewCertPool()
		if !c.roots.AppendCertsFromPEM(pem) {
			return malformed("the key %s holds no PEM certificate", KeyCA)
		}
	}
	cert, key := secret[KeyTLSCert], secret[KeyTLSKey]
	if len(cert) == 0 && len(key) == 0 {
		return nil
	}
	if len(cert) == 0 || len(key) == 0 {
		return malformed("has only one of the keys %s and %s", KeyTLSCert, KeyTLSKey)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return malformed("the keys %s and %s do not hold a certificate and its key", KeyTLSCert, KeyTLSKey)
	}
	c.client = &pair
	return nil
}

// line is a value without the line break that files end with.
func line(secret reconciler.Secret, key string) string {
	return strings.TrimRight(string(secret[key]), "\r\n")
}

// auth is what go-git adds to each request.
func (c credentials) auth() transport.AuthMethod {
	switch {
	case c.bearer != "":
		return &githttp.TokenAuth{Token: c.bearer}
	case c.basic:
		return &githttp.BasicAuth{Username: c.username, Password: c.password}
	default:
		return nil
	}
}

func (c credentials) empty() bool {
	return !c.basic && c.bearer == "" && c.client == nil && len(c.identity) == 0
}

// secrets are the values that must not appear in any text, longest first.
func (c credentials) secrets() []string {
	var all []string
	for _, value := range []string{c.password, c.bearer, string(c.passphrase)} {
		if value == "" {
			continue
		}
		all = append(all, value, url.QueryEscape(value), url.PathEscape(value), base64.StdEncoding.EncodeToString([]byte(value)))
	}
	if c.basic {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(c.username+":"+c.password)))
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(all)
}

// fingerprint tells repositories and credentials apart. It is keyed, so that
// the name of a folder on disk cannot be used to try out passwords.
func fingerprint(key []byte, addr address, secret reconciler.Secret) string {
	mac := hmac.New(sha256.New, key)
	add := func(part []byte) {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(part)))
		mac.Write(part)
	}
	add([]byte(addr.String()))
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		add([]byte(name))
		add(secret[name])
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
