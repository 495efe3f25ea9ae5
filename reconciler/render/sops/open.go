package sops

import (
	"bytes"
	"fmt"
	"path"
)

// MaxSize is how large an encrypted file may be, in bytes. Kubernetes stores
// no Secret that is larger.
const MaxSize = 1 << 20

// Opened is the content of a file.
type Opened struct {
	// Content is the plaintext, laid out as `sops decrypt` does.
	Content []byte
	// Revealed are the values that were decrypted, for redaction.
	Revealed []string
}

// Encrypted tells whether a file may have been encrypted with SOPS. It is
// cheap, and says so of some files that were not.
func Encrypted(content []byte) bool {
	return bytes.Contains(content, []byte(marker)) && bytes.Contains(content, []byte("sops"))
}

// Open decrypts a file and checks its digest. A file without a stanza of SOPS
// is returned as it is. The format follows from the name: .yaml, .yml, .json
// and .env; any other is taken for a binary file in SOPS' envelope.
func Open(name string, content []byte, keys *Keys) (Opened, error) {
	if !Encrypted(content) {
		return Opened{Content: content}, nil
	}
	if len(content) > MaxSize {
		return Opened{}, fmt.Errorf("%s has %d bytes; encrypted files may have up to %d", name, len(content), MaxSize)
	}
	open := openBinary
	switch path.Ext(name) {
	case ".yaml", ".yml":
		open = openYAML
	case ".json":
		open = openJSON
	case ".env":
		open = openEnv
	}
	opened, err := open(content, keys)
	if err != nil {
		return Opened{}, fmt.Errorf("decrypt %s: %w", name, err)
	}
	return opened, nil
}
