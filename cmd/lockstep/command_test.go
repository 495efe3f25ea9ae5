package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
	"github.com/lockstep-gitops/lockstep/test/postgres"
)

// TestMain lets the test binary stand in for ours as a child that renders.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == render.ChildArgument {
		os.Exit(render.ChildMain(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

func TestACommandLineThatIsWrongNamesWhatIs(t *testing.T) { // P12
	good := []string{"run", "--namespace=n", "--migrate-image=i"}
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"an unknown flag":           {append(good, "--nope"), "--nope"},
		"no namespace":              {[]string{"run", "--migrate-image=i"}, "--namespace is required"},
		"no image for migrations":   {[]string{"run", "--namespace=n"}, "--migrate-image is required"},
		"no workers":                {append(good, "--workers=0"), "--workers is 0: use a number from 1 to 1000"},
		"a log format":              {append(good, "--log-format=xml"), `--log-format is "xml": use json or text`},
		"a log level":               {append(good, "--log-level=loud"), `--log-level is "loud"`},
		"a duration of a migration": {[]string{"migrate", "--lock-timeout=1x"}, "--lock-timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			assert.Equal(t, execute(t.Context(), test.args, io.Discard, &stderr), 2)
			assert.Check(t, cmp.Contains(stderr.String(), test.says))
			assert.Check(t, cmp.Contains(stderr.String(), "--help"))
		})
	}
}

func TestVersion(t *testing.T) {
	var stdout bytes.Buffer
	assert.Equal(t, execute(t.Context(), []string{"version"}, &stdout, io.Discard), 0)
	assert.Assert(t, strings.HasPrefix(stdout.String(), "lockstep dev (go1."), stdout.String())
}

// migrate runs the command as a Job does, on files in folders.
func migrate(t *testing.T, secret map[string][]byte, sql string) (code int, report reconciler.MigrationReport, stderr string) {
	t.Helper()
	set, err := database.Read(fstest.MapFS{"m/000001_first.up.sql": {Data: []byte(sql)}}, "m")
	assert.NilError(t, err)
	dir := t.TempDir()
	write := func(name string, content []byte) {
		assert.NilError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		assert.NilError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	write("archive/archive.000", set.Archive)
	write("report", nil)
	for key, value := range secret {
		write("credentials/"+key, value)
	}
	var errors bytes.Buffer
	code = execute(t.Context(), []string{
		"migrate", "--archive", filepath.Join(dir, "archive"), "--credentials", filepath.Join(dir, "credentials"), "--report", filepath.Join(dir, "report"),
	}, io.Discard, &errors)
	text, err := os.ReadFile(filepath.Join(dir, "report"))
	assert.NilError(t, err)
	assert.NilError(t, json.Unmarshal(text, &report))
	return code, report, errors.String()
}

func TestMigrateLeavesAReportAndAnExitCode(t *testing.T) {
	db := postgres.Start(t).Database(t)

	code, report, _ := migrate(t, db.Secret(), "CREATE TABLE (")
	assert.Equal(t, code, 1)
	assert.Equal(t, report.File, "000001_first.up.sql")
	assert.Equal(t, report.Line, int32(1))
	assert.Equal(t, report.SQLState, "42601")
	assert.Equal(t, report.Dirty, false)

	code, report, _ = migrate(t, db.Secret(), "CREATE TABLE a (b int);")
	assert.Equal(t, code, 0)
	assert.Equal(t, report.Outcome, "succeeded")
	assert.Equal(t, report.VersionAfter, "1")

	wrong := db.Secret()
	wrong["password"] = []byte("canary-%zz@:/")
	code, report, stderr := migrate(t, wrong, "CREATE TABLE a (b int);")
	assert.Equal(t, code, 1)
	assert.Equal(t, report.SQLState, "28P01")
	assert.Check(t, !strings.Contains(stderr+report.Message, "canary"), "the password came out (I9)")
}

// The daemon as a process: alive at once, ready when the API has answered,
// and stopped with exit code 0, its Lease given away.
func TestTheDaemonStartsAnswersAndStops(t *testing.T) {
	controlplane.InstallCRD(t)
	namespace := controlplane.Namespace(t)
	metrics, health := freeAddress(t), freeAddress(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	var log safeBuffer
	go func() {
		ended <- execute(ctx, []string{
			"run", "--kubeconfig", os.Getenv("LOCKSTEP_TEST_KUBECONFIG"), "--namespace", namespace, "--identity", "one",
			"--migrate-image", "none", "--store", t.TempDir(), "--metrics-address", metrics, "--health-address", health,
		}, io.Discard, &log)
	}()
	poll.WaitOn(t, answers("http://"+health+"/healthz", "ok"), poll.WithTimeout(time.Minute))
	poll.WaitOn(t, answers("http://"+health+"/readyz", "ok"), poll.WithTimeout(time.Minute))
	poll.WaitOn(t, answers("http://"+metrics+"/metrics", "process_resident_memory_bytes"), poll.WithTimeout(time.Minute))
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if strings.Contains(log.String(), `"msg":"leading"`) {
			return poll.Success()
		}
		return poll.Continue("not leading yet")
	}, poll.WithTimeout(time.Minute))

	stop()

	assert.Equal(t, <-ended, 0, log.String())
	lease, err := controlplane.Client(t).CoordinationV1().Leases(namespace).Get(t.Context(), "lockstep", getOptions())
	assert.NilError(t, err)
	assert.Equal(t, *lease.Spec.HolderIdentity, "", "the Lease was kept (P3)")
}

func answers(url, wanted string) poll.Check {
	return func(poll.LogT) poll.Result {
		answer, err := http.Get(url)
		if err != nil {
			return poll.Continue("%s: %v", url, err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), wanted) {
			return poll.Continue("%s: status %d", url, answer.StatusCode)
		}
		return poll.Success()
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	assert.NilError(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
