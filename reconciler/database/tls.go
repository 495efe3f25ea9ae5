package database

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path"
)

// tlsConfigs returns the ways to connect that a mode allows, in order, with
// the meaning that libpq gives the modes:
//
//	disable      plain only
//	allow        plain, then TLS
//	prefer       TLS, then plain
//	require      TLS; the certificate is checked only when there is a root
//	verify-ca    TLS, and the certificate must be signed by a root
//	verify-full  the same, and it must be for the host
//
// Roots are in PEM; without any, those of the system are used. A host name
// that is a path is a Unix socket, where there is no TLS.
func tlsConfigs(mode, host string, rootPEM []byte) ([]*tls.Config, error) {
	roots, err := parseRoots(rootPEM)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: roots}
	if net.ParseIP(host) != nil && mode != "verify-full" {
		config.ServerName = ""
	}
	configs := []*tls.Config{config}
	switch mode {
	case "verify-full":
	case "verify-ca":
		verifyChainOnly(config)
	case "require":
		config.InsecureSkipVerify = true
		if roots != nil {
			verifyChainOnly(config)
		}
	case "prefer":
		config.InsecureSkipVerify = true
		configs = []*tls.Config{config, nil}
	case "allow":
		config.InsecureSkipVerify = true
		configs = []*tls.Config{nil, config}
	case "disable":
		configs = []*tls.Config{nil}
	default:
		return nil, errors.New("key sslmode must be disable, allow, prefer, require, verify-ca or verify-full")
	}
	if path.IsAbs(host) {
		configs = []*tls.Config{nil}
	}
	return configs, nil
}

func parseRoots(content []byte) (*x509.CertPool, error) {
	if len(content) == 0 {
		return nil, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(content) {
		return nil, errors.New("key sslrootcert holds no certificate in PEM form")
	}
	return roots, nil
}

// verifyChainOnly checks the certificate but not whom it is for. The standard
// library knows only both or neither, so its own check is switched off and
// done again here.
func verifyChainOnly(config *tls.Config) {
	roots := config.RootCAs
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, certificate := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(certificate)
		}
		if _, err := state.PeerCertificates[0].Verify(options); err != nil {
			return fmt.Errorf("certificate of the server: %w", err)
		}
		return nil
	}
}
