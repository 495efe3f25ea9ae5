package debian

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
)

func TestMissingNamesEachPackageOnce(t *testing.T) {
	there := filepath.Join(t.TempDir(), "there")
	assert.NilError(t, os.WriteFile(there, nil, 0o600))
	missing := Missing([]Need{
		{"present", there},
		{"shell", "sh"},
		{"absent", "/no/such/file"},
		{"absent", "no-such-command"},
		{"other", "no-such-command-either"},
	})
	assert.DeepEqual(t, missing, []string{"absent", "other"})
}

func TestCommandsOfTheAdministratorAreFoundWithoutTheirPath(t *testing.T) {
	t.Setenv("PATH", "/usr/bin")
	assert.Equal(t, len(Missing([]Need{{"base", "chroot"}})), 0)
}

func TestNothingMissingIsNothingToDo(t *testing.T) {
	var log bytes.Buffer
	t.Setenv("PATH", "") // Nothing could be installed.
	assert.NilError(t, Ensure(t.Context(), []Need{{"base", "/bin/sh"}}, &log))
	assert.Equal(t, log.String(), "")
}

func TestWithoutAPackageManagerThePackagesAreNamed(t *testing.T) {
	t.Setenv("PATH", "")
	err := Ensure(t.Context(), []Need{{"absent", "/no/such/file"}}, &bytes.Buffer{})
	assert.ErrorContains(t, err, "install what Debian has in the packages absent")
}

func TestServicesAreForbiddenOnlyMeanwhile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy-rc.d")
	release, err := forbidServices(file)
	assert.NilError(t, err)
	exit, ok := errors.AsType[*exec.ExitError](exec.Command(file).Run())
	assert.Assert(t, ok)
	assert.Equal(t, exit.ExitCode(), 101)
	release()
	_, err = os.Stat(file)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestThePolicyOfTheMachineStays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy-rc.d")
	assert.NilError(t, os.WriteFile(file, []byte("#!/bin/sh\nexit 0\n"), 0o600))
	release, err := forbidServices(file)
	assert.NilError(t, err)
	release()
	text, err := os.ReadFile(file)
	assert.NilError(t, err)
	assert.Equal(t, string(text), "#!/bin/sh\nexit 0\n")
}
