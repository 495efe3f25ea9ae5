package sops

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// marker is how every encrypted value starts.
const marker = "ENC[AES256_GCM,"

var valuePattern = regexp.MustCompile(`^ENC\[AES256_GCM,data:(.+),iv:(.+),tag:(.+),type:(.+)\]`)

// opener decrypts the values of one file, in their order.
type opener struct {
	key       []byte
	encrypted rule
	onlyThose bool
	digest    hash.Hash
	// revealed are the texts that were decrypted.
	revealed []string
}

func newOpener(m metadata, keys *Keys) (*opener, error) {
	encrypted, err := m.rule()
	if err != nil {
		return nil, err
	}
	key, err := keys.unlock(m)
	if err != nil {
		return nil, err
	}
	o := &opener{key: key, encrypted: encrypted, onlyThose: m.MACOnlyEncrypted, digest: sha512.New()}
	if o.onlyThose {
		// Such a digest starts with a prefix, so that it fits no file of the
		// other kind.
		prefix := sha256.Sum256([]byte("sops"))
		_, _ = o.digest.Write(prefix[:])
	}
	return o, nil
}

// leaf gives the plaintext of a value below some keys.
func (o *opener) leaf(value any, path []string) (any, error) {
	if value == nil {
		return nil, nil
	}
	encrypted := o.encrypted(path)
	if encrypted {
		text, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("%s: the value is not encrypted, although the rule of the file says so", strings.Join(path, "."))
		}
		var err error
		if value, err = o.open(text, strings.Join(path, ":")+":"); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(path, "."), err)
		}
	}
	if encrypted || !o.onlyThose {
		content, err := plainBytes(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(path, "."), err)
		}
		_, _ = o.digest.Write(content)
	}
	return value, nil
}

// open decrypts one value. What authenticates it is where it stands.
func (o *opener) open(text, where string) (any, error) {
	if text == "" {
		return "", nil
	}
	match := valuePattern.FindStringSubmatch(text)
	if match == nil {
		return nil, errors.New("the value is not encrypted, although the rule of the file says so")
	}
	var parts [3][]byte
	for i := range parts {
		var err error
		if parts[i], err = base64.StdEncoding.DecodeString(match[i+1]); err != nil {
			return nil, errors.New("the encrypted value is damaged")
		}
	}
	block, err := aes.NewCipher(o.key)
	if err != nil {
		return nil, errors.New("the data key is damaged")
	}
	nonce := parts[1]
	if len(nonce) == 0 {
		return nil, errors.New("the encrypted value is damaged")
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, len(nonce))
	if err != nil {
		return nil, errors.New("the encrypted value is damaged")
	}
	plain, err := gcm.Open(nil, nonce, append(parts[0], parts[2]...), []byte(where))
	if err != nil {
		return nil, errors.New("the value was changed or moved after it was encrypted")
	}
	o.revealed = append(o.revealed, string(plain))
	return typed(string(plain), match[4])
}

// typed restores the type of a value. Errors must not show the value.
func typed(plain, kind string) (any, error) {
	var value any
	var err error
	switch kind {
	case "str", "comment", "bytes":
		return plain, nil
	case "int":
		value, err = strconv.Atoi(plain)
	case "float":
		value, err = strconv.ParseFloat(plain, 64)
	case "bool":
		value, err = strconv.ParseBool(plain)
	case "time":
		var at time.Time
		err = at.UnmarshalText([]byte(plain))
		value = at
	default:
		return nil, errors.New("the encrypted value has an unknown type")
	}
	if err != nil {
		return nil, errors.New("the encrypted value is not of its type " + kind)
	}
	return value, nil
}

// plainBytes is what the digest is made of.
func plainBytes(value any) ([]byte, error) {
	switch value := value.(type) {
	case string:
		return []byte(value), nil
	case int:
		return []byte(strconv.Itoa(value)), nil
	case float64:
		return []byte(strconv.FormatFloat(value, 'f', -1, 64)), nil
	case bool:
		if value {
			return []byte("True"), nil
		}
		return []byte("False"), nil
	case time.Time:
		return value.MarshalText()
	}
	return nil, fmt.Errorf("a value of type %T is not supported", value)
}

// verify compares the digest over all values with the one of the stanza.
func (o *opener) verify(m metadata) error {
	modified, err := m.modified()
	if err != nil {
		return err
	}
	sum := fmt.Sprintf("%X", o.digest.Sum(nil))
	revealed := o.revealed
	want, err := o.open(m.MAC, modified)
	o.revealed = revealed
	if err != nil {
		return fmt.Errorf("sops.mac: %w", err)
	}
	if text, ok := want.(string); !ok || subtle.ConstantTimeCompare([]byte(text), []byte(sum)) != 1 {
		return errors.New("sops.mac does not fit: values were added, removed or changed after the file was encrypted")
	}
	return nil
}
