package postgres

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"gotest.tools/v3/poll"
)

// Pooled returns the same database behind PgBouncer in transaction mode, where
// each transaction may be on another connection to the server. The test is
// skipped where PgBouncer is not installed. Parameters of connections that it
// does not know are ignored when quiet is true, and refused otherwise.
func (d Database) Pooled(t testing.TB, quiet bool) Database {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("reason: no connection pooler: apt-get install pgbouncer")
	}
	account, err := serverAccount()
	if err != nil {
		t.Fatalf("account for the pooler: %v", err)
	}
	folder, err := account.folder("lockstep-pgbouncer-")
	if err != nil {
		t.Fatalf("folder for the pooler: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if d.Port, err = d.startPooler(t, program, folder, quiet, account); err != nil {
		t.Fatalf("start of the pooler: %v", err)
	}
	return d
}

func (d Database) startPooler(t testing.TB, program, folder string, quiet bool, account account) (uint16, error) {
	t.Helper()
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	config := fmt.Sprintf(`[databases]
* = host=%s port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
server_tls_sslmode = disable
`, d.server.Socket, d.Port, port)
	if quiet {
		config += "ignore_startup_parameters = lock_timeout, statement_timeout, idle_in_transaction_session_timeout\n"
	}
	path := filepath.Join(folder, "pgbouncer.ini")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return 0, err
	}
	command := exec.Command(program, path)
	account.use(command)
	process, err := launch(command, filepath.Join(folder, "log"))
	if err != nil {
		return 0, err
	}
	t.Cleanup(process.stop)
	return port, awaitPort(t, process, port)
}

// awaitPort polls until somebody listens, or the process ends.
func awaitPort(t testing.TB, process *process, port uint16) error {
	t.Helper()
	var ended error
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		select {
		case <-process.done:
			ended = errors.New("it ended at once")
			return poll.Success()
		default:
		}
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), time.Second)
		if err != nil {
			return poll.Continue("not ready: %v", err)
		}
		_ = conn.Close()
		return poll.Success()
	}, poll.WithDelay(20*time.Millisecond), poll.WithTimeout(startTimeout))
	return ended
}
