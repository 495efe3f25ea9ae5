package sops

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

// metadata is the stanza that SOPS keeps in a file, as far as it is needed.
type metadata struct {
	Age []struct {
		Recipient string `yaml:"recipient" json:"recipient"`
		Enc       string `yaml:"enc" json:"enc"`
	} `yaml:"age" json:"age"`
	PGP []struct {
		Fingerprint string `yaml:"fp" json:"fp"`
		Enc         string `yaml:"enc" json:"enc"`
	} `yaml:"pgp" json:"pgp"`
	KeyGroups               []any  `yaml:"key_groups" json:"key_groups"`
	LastModified            string `yaml:"lastmodified" json:"lastmodified"`
	MAC                     string `yaml:"mac" json:"mac"`
	UnencryptedSuffix       string `yaml:"unencrypted_suffix" json:"unencrypted_suffix"`
	EncryptedSuffix         string `yaml:"encrypted_suffix" json:"encrypted_suffix"`
	UnencryptedRegex        string `yaml:"unencrypted_regex" json:"unencrypted_regex"`
	EncryptedRegex          string `yaml:"encrypted_regex" json:"encrypted_regex"`
	UnencryptedCommentRegex string `yaml:"unencrypted_comment_regex" json:"unencrypted_comment_regex"`
	EncryptedCommentRegex   string `yaml:"encrypted_comment_regex" json:"encrypted_comment_regex"`
	MACOnlyEncrypted        bool   `yaml:"mac_only_encrypted" json:"mac_only_encrypted"`
}

func (m metadata) recipients() []string {
	var all []string
	for _, r := range m.Age {
		all = append(all, r.Recipient)
	}
	for _, r := range m.PGP {
		all = append(all, r.Fingerprint)
	}
	return all
}

// modified is the time by which the digest is authenticated.
func (m metadata) modified() (string, error) {
	at, err := time.Parse(time.RFC3339, m.LastModified)
	if err != nil {
		return "", errors.New("sops.lastmodified is not a time")
	}
	return at.Format(time.RFC3339), nil
}

// rule tells whether the values below some keys are encrypted.
type rule func(path []string) bool

// rule is the one of the file. There is one at most.
func (m metadata) rule() (rule, error) {
	if m.UnencryptedCommentRegex != "" || m.EncryptedCommentRegex != "" {
		return nil, errors.New("choosing values by their comments is not supported: use encrypted_regex")
	}
	switch {
	case m.EncryptedRegex != "":
		return byPattern("encrypted_regex", m.EncryptedRegex, true)
	case m.UnencryptedRegex != "":
		return byPattern("unencrypted_regex", m.UnencryptedRegex, false)
	case m.EncryptedSuffix != "":
		return bySuffix(m.EncryptedSuffix, true), nil
	case m.UnencryptedSuffix != "":
		return bySuffix(m.UnencryptedSuffix, false), nil
	}
	return bySuffix("_unencrypted", false), nil
}

func byPattern(field, text string, encrypted bool) (rule, error) {
	pattern, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("sops.%s is not a regular expression", field)
	}
	return anyKey(pattern.MatchString, encrypted), nil
}

func bySuffix(suffix string, encrypted bool) rule {
	return anyKey(func(key string) bool { return strings.HasSuffix(key, suffix) }, encrypted)
}

func anyKey(match func(string) bool, encrypted bool) rule {
	return func(path []string) bool { return slices.ContainsFunc(path, match) == encrypted }
}

func pgpBlock(enc string) (io.Reader, error) {
	block, err := armor.Decode(strings.NewReader(enc))
	if err != nil {
		return nil, err
	}
	return block.Body, nil
}
