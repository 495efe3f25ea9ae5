package gitrepo

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// trusted are the keys that may sign.
type trusted struct {
	pgp openpgp.EntityList
	ssh []sshKey
}

// sshKey is a line of allowed_signers.
type sshKey struct {
	key           ssh.PublicKey
	principals    string
	after, before time.Time
	// namespaces are patterns, none for all.
	namespaces []string
}

const beginKey = "-----BEGIN PGP PUBLIC KEY BLOCK-----"

// readKeys reads the keys of a Secret. A value that cannot be read is an
// error that names it: a key left out silently would be found out much later.
func readKeys(secret reconciler.Secret) (trusted, error) {
	keys := trusted{}
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		if err := keys.read(secret[name]); err != nil {
			return trusted{}, reconciler.Terminalf(ReasonCredentialsInvalid, "the Secret of the signers: key %s: %w", name, err)
		}
	}
	if len(keys.pgp) == 0 && len(keys.ssh) == 0 {
		return trusted{}, reconciler.Terminalf(ReasonCredentialsInvalid, "the Secret of the signers holds no key; put armored PGP public keys or lines of allowed_signers there")
	}
	return keys, nil
}

func (k *trusted) read(value []byte) error {
	if bytes.Contains(value, []byte("PRIVATE KEY")) {
		return errors.New("holds a private key; put the public one there")
	}
	if !bytes.Contains(value, []byte(beginKey)) {
		return k.readSSH(value)
	}
	// ReadArmoredKeyRing stops after the first block.
	for _, block := range bytes.Split(value, []byte(beginKey))[1:] {
		entities, err := openpgp.ReadArmoredKeyRing(strings.NewReader(beginKey + string(block)))
		if err != nil {
			return fmt.Errorf("is no armored PGP key: %s", shorten(err.Error()))
		}
		k.pgp = append(k.pgp, entities...)
	}
	return nil
}

func (k *trusted) readSSH(value []byte) error {
	for i, text := range strings.Split(string(value), "\n") {
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		key, err := readSigner(text)
		if err != nil {
			return fmt.Errorf("line %d %w", i+1, err)
		}
		k.ssh = append(k.ssh, key)
	}
	return nil
}

// readSigner reads a line of allowed_signers, or of authorized_keys, which is
// the same without principals.
func readSigner(text string) (sshKey, error) {
	words := splitQuoted(text)
	at := slices.IndexFunc(words, isKeyType)
	if at < 0 || at+1 >= len(words) {
		return sshKey{}, errors.New("is neither an SSH public key nor a line of allowed_signers")
	}
	blob, err := base64.StdEncoding.DecodeString(words[at+1])
	if err != nil {
		return sshKey{}, errors.New("has a key that is not base64")
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil || key.Type() != words[at] {
		return sshKey{}, fmt.Errorf("has no key of the type %s", words[at])
	}
	signer := sshKey{key: key}
	if at > 0 {
		signer.principals = words[0]
		err = signer.readOptions(strings.Join(words[1:at], ","))
	}
	return signer, err
}

func isKeyType(word string) bool {
	return strings.HasPrefix(word, "ssh-") || strings.HasPrefix(word, "ecdsa-sha2-") || strings.HasPrefix(word, "sk-")
}

// splitQuoted splits at spaces that are not inside of double quotes.
func splitQuoted(text string) []string {
	quoted := false
	return strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t')
	})
}

func (k *sshKey) readOptions(options string) error {
	quoted := false
	for _, option := range strings.FieldsFunc(options, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && r == ','
	}) {
		name, value, _ := strings.Cut(option, "=")
		value = strings.Trim(value, `"`)
		var err error
		switch strings.ToLower(name) {
		case "namespaces":
			k.namespaces = strings.Split(value, ",")
		case "valid-after":
			k.after, err = readTime(value)
		case "valid-before":
			k.before, err = readTime(value)
		default:
			return fmt.Errorf("has the option %q, which is not understood", shorten(name))
		}
		if err != nil {
			return fmt.Errorf("has %s=%q, which is no time like 20261231 or 20261231235959Z", name, shorten(value))
		}
	}
	return nil
}

// readTime reads a time of allowed_signers. One without a Z is taken for UTC
// as well: the zone of this process means nothing to who wrote the line.
func readTime(value string) (time.Time, error) {
	value = strings.TrimSuffix(value, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if at, err := time.Parse(layout, value); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errors.New("no time")
}

// allows tells whether the key may sign in a namespace at a time.
func (k *sshKey) allows(namespace string, now time.Time) error {
	switch {
	case !k.after.IsZero() && now.Before(k.after):
		return fmt.Errorf("that key is trusted only after %s", k.after.Format(time.RFC3339))
	case !k.before.IsZero() && now.After(k.before):
		return fmt.Errorf("that key was trusted only before %s", k.before.Format(time.RFC3339))
	case len(k.namespaces) > 0 && !slices.ContainsFunc(k.namespaces, func(pattern string) bool {
		matched, err := path.Match(pattern, namespace)
		return err == nil && matched
	}):
		return fmt.Errorf("that key is trusted for %s and not for %s", strings.Join(k.namespaces, " "), namespace)
	}
	return nil
}
