package postgres

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// programsVariable names the folder of the server's programs for those who do
// not have them where Debian puts them.
const programsVariable = "LOCKSTEP_POSTGRES_BIN"

// Programs returns the folder with initdb, postgres and pg_dump. Without an
// installed server the test is skipped, or fails where CI is set, since a
// build must not pass for want of a package.
func Programs(t testing.TB) string {
	t.Helper()
	folder, err := findPrograms()
	switch {
	case err == nil:
		return folder
	case os.Getenv("CI") != "":
		t.Fatalf("%s", err)
	default:
		t.Skipf("reason: %s", err)
	}
	return ""
}

func findPrograms() (string, error) {
	if folder := os.Getenv(programsVariable); folder != "" {
		if !hasServer(folder) {
			return "", fmt.Errorf("%s=%s holds no programs initdb and postgres", programsVariable, folder)
		}
		return folder, nil
	}
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	folders = slices.DeleteFunc(folders, func(folder string) bool { return !hasServer(folder) })
	if len(folders) == 0 {
		return "", errors.New("no PostgreSQL server: apt-get install postgresql, or set " + programsVariable + " to the folder that holds initdb")
	}
	return slices.MaxFunc(folders, func(a, b string) int { return majorOf(a) - majorOf(b) }), nil
}

func hasServer(folder string) bool {
	for _, program := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(folder, program)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// majorOf reads the version out of /usr/lib/postgresql/15/bin.
func majorOf(folder string) int {
	major, err := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
	if err != nil {
		return 0
	}
	return major
}
