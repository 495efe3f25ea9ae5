package images

import (
	_ "embed"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lockstep-gitops/lockstep/test/cluster/debian"
)

// postgresRoot is where Debian keeps the programs of PostgreSQL 15.
const postgresRoot = "/usr/lib/postgresql/15"

//go:embed postgres.sh
var postgresEntrypoint string

//go:embed redis.sh
var redisEntrypoint string

// smallPrograms make a shell in a container useful.
func smallPrograms() []string {
	return []string{
		"bash", "sh", "cat", "cp", "mv", "rm", "ls", "ln", "mkdir", "chmod", "sleep", "date", "env", "id",
		"head", "tail", "tr", "wc", "touch", "test", "grep", "sed", "stat", "timeout", "sha256sum", "du", "df",
	}
}

func never(string) bool { return false }

// PostgresNeeds are the packages of the database image.
func PostgresNeeds() []debian.Need {
	return append(shellNeeds(), debian.Need{Package: "postgresql-15", File: postgresRoot + "/bin/postgres"})
}

// Postgres is the database server with its tools. Its entry point understands
// the variables of the image that is in wide use, so that the same manifests
// serve with either.
func Postgres(ref string) (Description, error) {
	c := newCollector()
	for _, name := range []string{
		"postgres", "initdb", "pg_ctl", "psql", "pg_isready", "pg_dump", "pg_dumpall", "pg_restore",
		"pg_controldata", "createdb", "dropdb", "createuser", "vacuumdb", "pgbench", "pg_amcheck",
	} {
		c.add(filepath.Join(postgresRoot, "bin", name))
	}
	c.commands(smallPrograms()...)
	c.tree(postgresRoot+"/lib", func(path string) bool {
		// Compilation while a query runs would triple the image.
		return slices.Contains([]string{"bitcode", "pgxs"}, filepath.Base(path)) || strings.HasPrefix(filepath.Base(path), "llvmjit")
	})
	c.tree("/usr/share/postgresql/15", func(path string) bool { return filepath.Base(path) == "man" })
	c.tree("/usr/share/zoneinfo", func(path string) bool {
		return slices.Contains([]string{"right", "posix"}, filepath.Base(path))
	})
	c.tree("/usr/lib/locale/C.utf8", never)
	c.add("/etc/ssl/openssl.cnf")
	return finish(Description{
		Ref:        ref,
		Entrypoint: []string{"docker-entrypoint.sh"},
		Cmd:        []string{"postgres"},
		User:       "999:999",
		Env: []string{
			"PATH=" + postgresRoot + "/bin:/usr/local/bin:/usr/bin", "LANG=C.UTF-8",
			"PGDATA=/var/lib/postgresql/data", "HOME=/var/lib/postgresql",
		},
		Files: append(system("postgres", "/var/lib/postgresql", service),
			File{Path: "/usr/local/bin/docker-entrypoint.sh", Content: postgresEntrypoint, Mode: 0o755},
			File{Path: "/run/postgresql", Dir: true, Mode: 0o775, UID: service, GID: service},
			File{Path: "/var/lib/postgresql", Dir: true, Mode: 0o700, UID: service, GID: service},
			File{Path: "/var/lib/postgresql/data", Dir: true, Mode: 0o700, UID: service, GID: service},
		),
	}, c)
}

// RedisNeeds are the packages of the cache image.
func RedisNeeds() []debian.Need {
	return append(shellNeeds(),
		debian.Need{Package: "redis-server", File: "redis-server"},
		debian.Need{Package: "redis-tools", File: "redis-cli"})
}

// Redis is the cache server. As in the image that is in wide use, it answers
// other pods without a password.
func Redis(ref string) (Description, error) {
	c := newCollector()
	c.commands("redis-server", "redis-cli", "sh")
	return finish(Description{
		Ref:        ref,
		Entrypoint: []string{"docker-entrypoint.sh"},
		Cmd:        []string{"redis-server"},
		User:       "999:999",
		Env:        []string{"PATH=/usr/local/bin:/usr/bin", "LANG=C.UTF-8", "HOME=/data"},
		WorkingDir: "/data",
		Files: append(system("redis", "/data", service),
			File{Path: "/usr/local/bin/docker-entrypoint.sh", Content: redisEntrypoint, Mode: 0o755},
			File{Path: "/data", Dir: true, Mode: 0o755, UID: service, GID: service},
		),
	}, c)
}

// GitNeeds are the packages of the git server image.
func GitNeeds() []debian.Need {
	return append(shellNeeds(), debian.Need{Package: "git", File: "git"})
}

// Git is git with its HTTP backend behind the server program.
func Git(server, ref string) (Description, error) {
	const core = "/usr/lib/git-core"
	c := newCollector()
	c.commands("git", "sh", "cat", "env")
	c.add(core + "/git-http-backend")
	c.tree("/usr/share/git-core/templates", never)
	files := append(system("nobody", "/tmp", nobody),
		File{Path: "/usr/local/bin/gitserver", Source: server, Mode: 0o755},
		File{Path: "/srv/git", Dir: true, Mode: 0o755, UID: nobody, GID: nobody},
		File{Path: core + "/git", Link: "../../bin/git"},
	)
	// A client over ssh or a file path, and the backend, start these by name.
	for _, name := range []string{"git-upload-pack", "git-receive-pack", "git-upload-archive"} {
		files = append(files,
			File{Path: "/usr/bin/" + name, Link: "git"},
			File{Path: core + "/" + name, Link: "../../bin/git"})
	}
	return finish(Description{
		Ref:        ref,
		Entrypoint: []string{"/usr/local/bin/gitserver"},
		User:       "65534:65534",
		Env:        []string{"PATH=/usr/local/bin:/usr/bin", "LANG=C.UTF-8", "HOME=/tmp"},
		WorkingDir: "/srv/git",
		Files:      files,
	}, c)
}
