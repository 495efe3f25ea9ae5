package gitrepo_test

import (
	"os"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// S9, G18: what is refused before anything is sent. What stands before the @
// is never repeated.
func TestURLs(t *testing.T) {
	for name, test := range map[string]struct{ url, text string }{
		"a user and a password (G18)":          {"https://canary:canary@git.invalid/app.git", "holds a user or a password; put them in a Secret"},
		"a user alone":                         {"https://canary@git.invalid/app.git", "holds a user or a password"},
		"a password for ssh":                   {"ssh://git:canary@git.invalid/app.git", "holds a password; put an SSH key in a Secret under identity"},
		"a password with a stray percent":      {"https://git:canary%zz@git.invalid/app.git", "holds a character that must be escaped"},
		"a password with a space":              {"https://git:can ary@git.invalid/app.git", "is not a URL"},
		"a port that is none":                  {"https://git.invalid:canary/app.git", "is not a URL"},
		"a file":                               {"file:///etc", "only https and ssh are spoken"},
		"git's own protocol":                   {"git://git.invalid/app.git", "only https and ssh are spoken"},
		"a command":                            {"ext::sh -c touch% /tmp/x", ""},
		"an option":                            {"--upload-pack=/bin/sh", "only https and ssh are spoken"},
		"a path":                               {"/srv/app.git", "only https and ssh are spoken"},
		"the short form of ssh":                {"git@git.invalid:app.git", "write https://host/path or ssh://git@host/path"},
		"no host":                              {"https:///app.git", "names no host"},
		"no path":                              {"https://git.invalid/", "names no repository; write https://git.invalid/path"},
		"a question mark":                      {"https://git.invalid/app.git?x=canary", "holds a ? or a #"},
		"a hash":                               {"https://git.invalid/app.git#canary", "holds a ? or a #"},
		"a line break":                         {"https://git.invalid/app.git\ncanary", "is not a URL"},
		"an escaped line break":                {"https://git.invalid/app%0acanary", "names no repository"},
		"an option in place of a host":         {"ssh://-oProxyCommand=canary/app.git", "names no host"},
		"an option in place of a user":         {"ssh://-oProxyCommand=canary@git.invalid/app.git", "the user is not one"},
		"nothing":                              {"", "only https and ssh are spoken"},
		"https in another case and a password": {"HTTPS://x:canary@git.invalid/app.git", "holds a user or a password"},
	} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t)
			_, err := tipOf(t.Context(), store, reconciler.Repository{URL: test.url, Reference: reconciler.Reference{Branch: "main"}})
			isFailure(t, err, gitrepo.ReasonURLInvalid, test.text)
			assert.Assert(t, reconciler.IsTerminal(err))
			assert.Assert(t, strings.HasPrefix(err.Error(), "spec.source.url: "))
			assert.Assert(t, !strings.Contains(err.Error(), "canary"), "%s", err)
		})
	}
}

// G18, S11: no secret is written to disk or into an error, whatever fails.
func TestNoSecretIsShown(t *testing.T) {
	const canary = "canary/p%ss w0rd"
	identity := t.TempDir() + "/key"
	gitrepotest.KeyPair(t, identity, "ed25519", "")
	private, err := os.ReadFile(identity)
	assert.NilError(t, err)
	server := gitrepotest.New(t, gitrepotest.WithBasicAuth("ada", canary))
	origin := server.Repo(t, "app.git")
	origin.Commit("main", map[string]string{"file": "one"})
	dir := t.TempDir()
	store := newStore(t, func(o *gitrepo.Options) { o.Dir = dir })
	poll(t, store, login(origin, "ada", canary))

	var errs []error
	echo := func(status int) gitrepotest.Misbehaviour {
		// A server may repeat what it was sent, as it is or decoded.
		authorization := server.Requests()[0].Authorization
		return gitrepotest.Status(status, authorization+" canary%2Fp%25ss+w0rd canary%2Fp%25ss%20w0rd "+canary)
	}
	for _, how := range []gitrepotest.Misbehaviour{echo(401), echo(403), echo(404), echo(429), echo(500), echo(200), gitrepotest.CutAfter(0), gitrepotest.Redirect("http://ada:x@localhost:1")} {
		server.Misbehave(how)
		_, err := tipOf(t.Context(), store, login(origin, "ada", canary))
		errs = append(errs, err)
		_, err = store.FetchTree(t.Context(), login(origin, "ada", canary), reconciler.Tip{Commit: strings.Repeat("a", 40)})
		errs = append(errs, err)
	}
	bearer := at(origin, "main")
	bearer.Credentials = reconciler.Secret{"bearerToken": []byte(canary)}
	server.Misbehave(gitrepotest.Status(500, "Bearer "+canary))
	_, err = tipOf(t.Context(), store, bearer)
	errs = append(errs, err)
	for _, secret := range []reconciler.Secret{
		{"identity": private, "known_hosts": []byte("nonsense")},
		{"identity": private[:100], "known_hosts": []byte("x")},
		{"identity": private, "known_hosts": []byte("git.invalid " + string(private))},
	} {
		_, err := tipOf(t.Context(), store, reconciler.Repository{URL: "ssh://git.invalid/app.git", Reference: reconciler.Reference{Branch: "main"}, Credentials: secret})
		errs = append(errs, err)
	}
	for _, err := range errs {
		assert.Assert(t, err != nil)
		hidden(t, err.Error(), private)
	}
	for _, path := range files(t, dir) {
		data, err := os.ReadFile(path)
		assert.NilError(t, err)
		hidden(t, path+string(data), private)
	}
}

func hidden(t *testing.T, text string, private []byte) {
	t.Helper()
	lines := strings.Split(string(private), "\n")
	for _, secret := range []string{"canary", "Y2FuYXJ5", "YWRhOmNhbmFyeS9wJXNzIHcwcmQ", lines[1], lines[2], "PRIVATE"} {
		assert.Assert(t, !strings.Contains(text, secret), "%q shows %q", text, secret)
	}
}
