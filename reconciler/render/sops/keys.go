package sops

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Keys open encrypted files. It prints as a placeholder.
type Keys struct {
	identities  []age.Identity
	keyring     openpgp.EntityList
	fingerprint string
}

// NewKeys reads private keys from a Secret: age identities, OpenSSH keys that
// age can use, and armored PGP keys without passphrase. The names of the
// entries do not matter. Its errors name the entry, never its content.
func NewKeys(secret reconciler.Secret) (*Keys, error) {
	keys := &Keys{}
	digest := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		if err := keys.add(secret[name]); err != nil {
			return nil, fmt.Errorf("key %s of the Secret: %w", name, err)
		}
		_, _ = digest.Write(secret[name])
	}
	if len(keys.identities)+len(keys.keyring) == 0 {
		return nil, errors.New("the Secret holds no key: store an age identity or a PGP private key in it")
	}
	keys.fingerprint = hex.EncodeToString(digest.Sum(nil))
	return keys, nil
}

func (k *Keys) add(content []byte) error {
	text := string(content)
	switch {
	case strings.Contains(text, "AGE-SECRET-KEY-"):
		identities, err := age.ParseIdentities(bytes.NewReader(content))
		if err != nil {
			return errors.New("not an age identity")
		}
		k.identities = append(k.identities, identities...)
	case strings.Contains(text, "BEGIN OPENSSH PRIVATE KEY"):
		identity, err := agessh.ParseIdentity(content)
		if err != nil {
			return errors.New("not an SSH key that age can use: it takes ed25519 and RSA without passphrase")
		}
		k.identities = append(k.identities, identity)
	case strings.Contains(text, "BEGIN PGP PRIVATE KEY BLOCK"):
		return k.addPGP(content)
	default:
		return errors.New("neither an age identity, nor an SSH key, nor an armored PGP private key")
	}
	return nil
}

func (k *Keys) addPGP(content []byte) error {
	entities, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(content))
	if err != nil {
		return errors.New("not an armored PGP private key")
	}
	for _, entity := range entities {
		if entity.PrivateKey == nil || entity.PrivateKey.Encrypted {
			return errors.New("the PGP key has a passphrase or no private part: export it without")
		}
	}
	k.keyring = append(k.keyring, entities...)
	return nil
}

// Fingerprint differs for different keys. It says nothing about them.
func (k *Keys) Fingerprint() string { return k.fingerprint }

// String hides the keys from fmt.
func (*Keys) String() string { return "[redacted]" }

// GoString hides the keys from %#v.
func (*Keys) GoString() string { return "[redacted]" }

// maxDataKey bounds what is read of a decrypted data key; it has 32 bytes.
const maxDataKey = 64

// unlock finds the data key of a file.
func (k *Keys) unlock(m metadata) ([]byte, error) {
	if len(m.KeyGroups) > 0 {
		return nil, errors.New("key groups with Shamir's secret sharing are not supported: encrypt for one group")
	}
	for _, recipient := range m.Age {
		if key, err := k.unlockAge(recipient.Enc); err == nil {
			return key, nil
		}
	}
	for _, recipient := range m.PGP {
		if key, err := k.unlockPGP(recipient.Enc); err == nil {
			return key, nil
		}
	}
	if recipients := m.recipients(); len(recipients) > 0 {
		return nil, fmt.Errorf("none of the keys opens it; it was encrypted for %s", strings.Join(recipients, ", "))
	}
	return nil, errors.New("it was encrypted for no age or PGP key; other key services are not supported")
}

func (k *Keys) unlockAge(enc string) ([]byte, error) {
	if len(k.identities) == 0 {
		return nil, errors.New("no age identity")
	}
	plain, err := age.Decrypt(armor.NewReader(strings.NewReader(enc)), k.identities...)
	if err != nil {
		return nil, err
	}
	return readKey(plain)
}

func (k *Keys) unlockPGP(enc string) ([]byte, error) {
	block, err := pgpBlock(enc)
	if err != nil {
		return nil, err
	}
	message, err := openpgp.ReadMessage(block, k.keyring, nil, nil)
	if err != nil {
		return nil, err
	}
	return readKey(message.UnverifiedBody)
}

func readKey(plain io.Reader) ([]byte, error) {
	key, err := io.ReadAll(io.LimitReader(plain, maxDataKey))
	if err == nil && len(key) != 32 {
		return nil, errors.New("data key of a wrong length")
	}
	return key, err
}
