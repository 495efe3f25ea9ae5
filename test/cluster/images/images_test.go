package images_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/test/cluster/images"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	assert.NilError(t, os.WriteFile(path, []byte(text), mode))
}

// packer packs by copying the description, and counts how often.
func packer(t *testing.T, dir string) images.Packer {
	t.Helper()
	program := filepath.Join(dir, "image")
	write(t, program, "#!/bin/sh\ncat > \"$2\"\necho x >> "+dir+"/count\n", 0o755)
	return images.Packer{Program: program, Version: "1", Cache: filepath.Join(dir, "cache")}
}

func packed(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "count"))
	assert.NilError(t, err)
	return strings.Count(string(text), "x")
}

func TestImageIsPackedOnceForEachContent(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "app")
	write(t, program, "one", 0o755)
	p := packer(t, dir)
	first, err := p.Cached(t.Context(), images.Binary(program, "app", "example.test/app:1"))
	assert.NilError(t, err)
	again, err := p.Cached(t.Context(), images.Binary(program, "app", "example.test/app:1"))
	assert.NilError(t, err)
	assert.Equal(t, again, first)
	assert.Equal(t, packed(t, dir), 1)

	write(t, program, "two", 0o755)
	changed, err := p.Cached(t.Context(), images.Binary(program, "app", "example.test/app:1"))
	assert.NilError(t, err)
	assert.Assert(t, changed != first)
	p.Version = "2"
	newer, err := p.Cached(t.Context(), images.Binary(program, "app", "example.test/app:1"))
	assert.NilError(t, err)
	assert.Assert(t, newer != changed)
	assert.Equal(t, packed(t, dir), 3)
}

func TestMissingFileIsNamed(t *testing.T) {
	_, err := packer(t, t.TempDir()).Cached(t.Context(), images.Binary("/no/such/app", "app", "example.test/app:1"))
	assert.ErrorContains(t, err, "image example.test/app:1")
	assert.ErrorContains(t, err, "/no/such/app")
}

func TestPackerWordsReachTheCaller(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "image")
	write(t, program, "#!/bin/sh\necho the disk is full >&2\nexit 1\n", 0o755)
	err := images.Packer{Program: program}.Pack(t.Context(), images.Description{Ref: "example.test/app:1"}, filepath.Join(dir, "out"))
	assert.ErrorContains(t, err, "the disk is full")
}

func TestBinaryRunsAsNobodyWithoutAShell(t *testing.T) {
	d := images.Binary("/build/lockstep", "lockstep", "example.test/lockstep:1")
	assert.DeepEqual(t, d.Entrypoint, []string{"/lockstep"})
	assert.Equal(t, d.User, "65534:65534")
	for _, f := range d.Files {
		assert.Check(t, f.Source == "" || f.Path == "/lockstep", f.Path)
	}
}

// fakes puts programs in a folder that write their name and arguments to the
// file calls in it, and what they are given in a --pwfile.
func fakes(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		write(t, filepath.Join(dir, name), `#!/bin/bash
echo "`+name+` $*" >> `+dir+`/calls
for a in "$@"; do case "$a" in --pwfile=*) cat "${a#--pwfile=}" > `+dir+`/password ;; esac; done
`, 0o755)
	}
	return dir
}

func entrypoint(t *testing.T, script, dir string, environment []string, args ...string) (calls string, err error) {
	t.Helper()
	cmd := exec.Command(script, args...)
	cmd.Env = append(environment, "PATH="+dir+":/usr/bin:/bin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), err
	}
	text, err := os.ReadFile(filepath.Join(dir, "calls"))
	assert.NilError(t, err)
	return string(text), nil
}

func TestRedisEntrypoint(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no argument":     {nil, "redis-server --protected-mode no"},
		"options alone":   {[]string{"--appendonly", "yes"}, "redis-server --protected-mode no --appendonly yes"},
		"the server":      {[]string{"redis-server", "--save", ""}, "redis-server --protected-mode no --save "},
		"a file":          {[]string{"/etc/redis.conf"}, "redis-server /etc/redis.conf --protected-mode no"},
		"another program": {[]string{"redis-cli", "ping"}, "redis-cli ping"},
	} {
		t.Run(name, func(t *testing.T) {
			calls, err := entrypoint(t, "./redis.sh", fakes(t, "redis-server", "redis-cli"), nil, c.args...)
			assert.NilError(t, err)
			assert.Equal(t, calls, c.want+"\n")
		})
	}
}

func TestPostgresEntrypointMakesTheDatabaseOnce(t *testing.T) {
	dir := fakes(t, "initdb", "pg_ctl", "createdb", "postgres")
	data := filepath.Join(t.TempDir(), "data")
	environment := []string{"PGDATA=" + data, "POSTGRES_USER=unity", "POSTGRES_PASSWORD=hunter2", "POSTGRES_DB=homelab_db"}
	calls, err := entrypoint(t, "./postgres.sh", dir, environment, "postgres", "-c", "fsync=off")
	assert.NilError(t, err, calls)
	lines := strings.Split(strings.TrimSpace(calls), "\n")
	assert.Equal(t, len(lines), 5, calls)
	assert.Check(t, strings.HasPrefix(lines[0], "initdb --pgdata="+data+" --username=unity "), lines[0])
	assert.Check(t, strings.Contains(lines[0], "--auth-host=scram-sha-256"), lines[0])
	assert.Check(t, strings.HasSuffix(lines[2], "--username=unity --no-password homelab_db"), lines[2])
	assert.Check(t, strings.HasSuffix(lines[4], " -c fsync=off"), lines[4])
	assert.Check(t, !strings.Contains(calls, "hunter2"), "the password is on a command line")
	password, err := os.ReadFile(filepath.Join(dir, "password"))
	assert.NilError(t, err)
	assert.Equal(t, string(password), "hunter2\n")

	write(t, filepath.Join(data, "PG_VERSION"), "15\n", 0o600)
	again, err := entrypoint(t, "./postgres.sh", dir, environment)
	assert.NilError(t, err, again)
	assert.Equal(t, strings.Count(again, "initdb"), 1)
}

func TestPostgresEntrypointWantsAPassword(t *testing.T) {
	said, err := entrypoint(t, "./postgres.sh", fakes(t, "initdb", "postgres"), []string{"PGDATA=" + t.TempDir()})
	assert.ErrorContains(t, err, "exit status 1")
	assert.Check(t, strings.Contains(said, "POSTGRES_PASSWORD is empty"), said)
}

func TestPostgresEntrypointRunsOtherPrograms(t *testing.T) {
	calls, err := entrypoint(t, "./postgres.sh", fakes(t, "initdb", "pg_dump"), []string{"PGDATA=" + t.TempDir()}, "pg_dump", "-Fc")
	assert.NilError(t, err)
	assert.Equal(t, calls, "pg_dump -Fc\n")
}
