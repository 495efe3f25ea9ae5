package sops_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render/sops"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	assert.NilError(t, err)
	return content
}

func keys(t testing.TB, names ...string) *sops.Keys {
	t.Helper()
	secret := reconciler.Secret{}
	for _, name := range names {
		secret[name] = read(t, name)
	}
	keys, err := sops.NewKeys(secret)
	assert.NilError(t, err)
	return keys
}

// The files were encrypted, and decrypted again for comparison, by sops 3.13.3.
func TestOpenEqualsSops(t *testing.T) {
	all := keys(t, "key.agekey", "key.asc", "key.ssh")
	names, err := filepath.Glob("testdata/*.dec*")
	assert.NilError(t, err)
	assert.Equal(t, len(names), 11)
	for _, name := range names {
		name = filepath.Base(name)
		t.Run(name, func(t *testing.T) {
			encrypted := strings.Replace(name, ".dec", ".enc", 1)
			opened, err := sops.Open(encrypted, read(t, encrypted), all)
			assert.NilError(t, err)
			assert.Equal(t, string(opened.Content), string(read(t, name)))
			assert.Assert(t, len(opened.Revealed) > 0)
		})
	}
}

// Each kind of key opens what was encrypted for it, and nothing else.
func TestEachKindOfKey(t *testing.T) {
	files := map[string]string{"key.agekey": "secret.enc.yaml", "key.asc": "pgp.enc.yaml", "key.ssh": "ssh.enc.yaml"}
	for key := range files {
		for other, file := range files {
			_, err := sops.Open(file, read(t, file), keys(t, key))
			if key == other {
				assert.NilError(t, err, file)
				continue
			}
			assert.ErrorContains(t, err, "decrypt "+file+": none of the keys opens it; it was encrypted for ")
		}
	}
}

// Whatever is changed after encryption is found, and no error shows a value.
func TestTamperedFilesAreRefused(t *testing.T) {
	secret, all := string(read(t, "secret.enc.yaml")), string(read(t, "all.enc.yaml"))
	line := func(text, start string) string {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimSpace(line), start) {
				return line
			}
		}
		t.Fatalf("no line starts with %s", start)
		return ""
	}
	value := func(text, start string) string { return strings.SplitN(line(text, start), ": ", 2)[1] }
	cases := map[string]struct{ content, want string }{
		"a plain value changed":        {strings.Replace(secret, "name: db", "name: other", 1), "sops.mac does not fit"},
		"a plain value added":          {strings.Replace(secret, "metadata:", "metadata:\n    namespace: x", 1), "sops.mac does not fit"},
		"an encrypted value gone":      {strings.Replace(secret, line(secret, "number:"), "", 1), "sops.mac does not fit"},
		"two values exchanged":         {strings.Replace(secret, value(secret, "number:"), value(secret, "password:"), 1), "stringData.number: the value was changed or moved"},
		"a value replaced by plain":    {strings.Replace(secret, value(secret, "number:"), "hello\n", 1), "stringData.number: the value is not encrypted"},
		"a value replaced by a number": {strings.Replace(secret, value(secret, "number:"), "1\n", 1), "stringData.number: the value is not encrypted"},
		"a damaged value":              {strings.ReplaceAll(secret, ",data:", ",data:A"), "damaged"},
		"a digest of another file":     {strings.Replace(secret, value(secret, "mac:"), value(all, "mac:"), 1), "sops.mac: "},
		"another time":                 {strings.Replace(secret, value(secret, "lastmodified:"), "\"2020-01-01T00:00:00Z\"\n", 1), "sops.mac: "},
		"no time":                      {strings.Replace(secret, value(secret, "lastmodified:"), "soon\n", 1), "sops.lastmodified is not a time"},
		"a bad pattern":                {strings.Replace(secret, value(secret, "encrypted_regex:"), "'('\n", 1), "sops.encrypted_regex is not a regular expression"},
		"a malformed stanza":           {strings.Replace(secret, "    age:\n", "    pgp: x\n    agee:\n", 1), "the sops stanza is malformed"},
		"aliases":                      {strings.Replace(secret, "name: db", "name: &x db\n    generateName: *x", 1), "aliases are not supported"},
		"not YAML":                     {secret + "\n{", "not YAML"},
		"a list":                       {"- a\n---\n" + secret, "a document is not a mapping"},
		"key groups":                   {strings.Replace(secret, "sops:\n", "sops:\n    key_groups: [{}]\n", 1), "Shamir"},
		"rules by comment":             {string(read(t, "comment.enc.yaml")), "choosing values by their comments is not supported"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := sops.Open("x.yaml", []byte(c.content), keys(t, "key.agekey"))
			assert.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, "decrypt x.yaml: ")
			for _, secret := range []string{"correct horse", "first line", "0123"} {
				assert.Assert(t, !strings.Contains(err.Error(), secret), err.Error())
			}
		})
	}
}

func TestOtherFilesStayAsTheyAre(t *testing.T) {
	for name, content := range map[string]string{
		"plain.yaml":   "a: b\n",
		"mention.yaml": "# see sops and ENC[AES256_GCM,\na: b\n",
		"mention.json": `{"a": "sops ENC[AES256_GCM,"}`,
		"mention.env":  "A=sops ENC[AES256_GCM,\n",
		"README.md":    "sops writes ENC[AES256_GCM,...",
		"list.json":    `["sops", "ENC[AES256_GCM,"]`,
	} {
		opened, err := sops.Open(name, []byte(content), keys(t, "key.agekey"))
		if name == "list.json" {
			assert.ErrorContains(t, err, "not a JSON object")
			continue
		}
		assert.NilError(t, err, name)
		assert.Equal(t, string(opened.Content), content)
	}
}

func TestLargeFilesAreRefused(t *testing.T) {
	content := append(read(t, "secret.enc.yaml"), bytes.Repeat([]byte("#"), sops.MaxSize)...)
	_, err := sops.Open("x.yaml", content, keys(t, "key.agekey"))
	assert.ErrorContains(t, err, "encrypted files may have up to 1048576")
}

func TestKeysAreReadAndHidden(t *testing.T) {
	cases := map[string]struct {
		secret reconciler.Secret
		want   string
	}{
		"nothing":            {reconciler.Secret{}, "the Secret holds no key"},
		"something else":     {reconciler.Secret{"a": []byte("hunter2")}, "key a of the Secret: neither an age identity"},
		"a damaged identity": {reconciler.Secret{"a": []byte("AGE-SECRET-KEY-1HUNTER2")}, "key a of the Secret: not an age identity"},
		"a damaged SSH key":  {reconciler.Secret{"a": []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2")}, "key a of the Secret: not an SSH key"},
		"a damaged PGP key":  {reconciler.Secret{"a": []byte("-----BEGIN PGP PRIVATE KEY BLOCK-----\nhunter2")}, "key a of the Secret: not an armored PGP"},
	}
	for name, c := range cases {
		_, err := sops.NewKeys(c.secret)
		assert.ErrorContains(t, err, c.want, name)
		assert.Assert(t, !strings.Contains(err.Error(), "hunter2"), name)
		assert.Assert(t, !strings.Contains(err.Error(), "HUNTER2"), name)
	}
	one, two := keys(t, "key.agekey"), keys(t, "key.agekey", "key.asc")
	assert.Assert(t, one.Fingerprint() != two.Fingerprint())
	for _, text := range []string{fmt.Sprint(one), fmt.Sprintf("%+v", one), fmt.Sprintf("%#v", one)} {
		assert.Equal(t, text, "[redacted]")
	}
}

func FuzzOpen(f *testing.F) {
	names, err := filepath.Glob("testdata/*.enc*")
	assert.NilError(f, err)
	for _, name := range names {
		f.Add(filepath.Base(name), read(f, filepath.Base(name)))
	}
	all := keys(f, "key.agekey")
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		opened, err := sops.Open(name, content, all)
		if err == nil && len(opened.Revealed) == 0 && sops.Encrypted(content) && !bytes.Equal(opened.Content, content) {
			t.Errorf("content changed although nothing was decrypted")
		}
	})
}
