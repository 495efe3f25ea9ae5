package gitrepo

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// sshNamespace is what git signs in.
const sshNamespace = "git"

// verifyPGP checks a PGP signature. The signer is returned with the error too,
// as far as the signature tells.
func (k trusted) verifyPGP(payload, signature []byte, now time.Time) (Signer, error) {
	signer := claimedPGP(signature)
	block, err := armor.Decode(bytes.NewReader(signature))
	if err != nil {
		return signer, err
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	sig, entity, err := openpgp.VerifyDetachedSignature(k.pgp, bytes.NewReader(payload), block.Body, config)
	if entity != nil {
		signer = Signer{Kind: "PGP", ID: fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint)}
		if identity := entity.PrimaryIdentity(); identity != nil {
			signer.Name = identity.Name
		}
	}
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return signer, errUntrusted
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return signer, errors.New("that key has expired; extend it and put it into the Secret of the signers anew")
	case err != nil:
		return signer, err
	case sig.SigType != packet.SigTypeBinary:
		return signer, errors.New("it is not a signature over bytes")
	case !strongHash(sig.Hash):
		return signer, fmt.Errorf("it is made over %s, which is too weak", sig.Hash)
	}
	return signer, nil
}

// strongHash tells whether a signature over such a hash is accepted. The
// library checks hashes that are long broken.
func strongHash(hash crypto.Hash) bool {
	switch hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
		return true
	default:
		return false
	}
}

// claimedPGP reads who a signature says it is by.
func claimedPGP(signature []byte) Signer {
	block, err := armor.Decode(bytes.NewReader(signature))
	if err != nil {
		return Signer{}
	}
	p, err := packet.Read(block.Body)
	if err != nil {
		return Signer{}
	}
	sig, ok := p.(*packet.Signature)
	switch {
	case !ok:
		return Signer{}
	case len(sig.IssuerFingerprint) > 0:
		return Signer{Kind: "PGP", ID: fmt.Sprintf("%X", sig.IssuerFingerprint)}
	case sig.IssuerKeyId != nil:
		return Signer{Kind: "PGP", ID: fmt.Sprintf("%016X", *sig.IssuerKeyId)}
	default:
		return Signer{}
	}
}

// verifySSH checks an SSH signature. The signer is returned with the error
// too, as far as the signature tells.
func (k trusted) verifySSH(payload, signature []byte, now time.Time) (Signer, error) {
	sig, err := sshsig.Unarmor(signature)
	if err != nil {
		return Signer{}, err
	}
	signer := Signer{Kind: "SSH", ID: ssh.FingerprintSHA256(sig.PublicKey)}
	if sig.Signature.Format == ssh.KeyAlgoRSA || strings.HasPrefix(sig.Signature.Format, "ssh-dss") {
		return signer, fmt.Errorf("it is made with %s, which is too weak", sig.Signature.Format)
	}
	refusal := errUntrusted
	for _, candidate := range k.ssh {
		if !bytes.Equal(candidate.key.Marshal(), sig.PublicKey.Marshal()) {
			continue
		}
		if err := candidate.allows(sshNamespace, now); err != nil {
			refusal = err
			continue
		}
		signer.Name = candidate.principals
		return signer, sshsig.Verify(bytes.NewReader(payload), sig, candidate.key, sig.HashAlgorithm, sshNamespace)
	}
	return signer, refusal
}
