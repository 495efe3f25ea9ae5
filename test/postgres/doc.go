// Package postgres starts a real PostgreSQL server for tests.
//
// A test that wants a server of its own calls Start. A package with many such
// tests shares one:
//
//	var shared postgres.Shared
//
//	func TestMain(m *testing.M) {
//		code := m.Run()
//		shared.Stop()
//		os.Exit(code)
//	}
//
//	func TestSomething(t *testing.T) {
//		database := shared.Server(t).Database(t)
//		…
//	}
//
// The server listens on a free port of the loopback interface, where it asks
// for a password (SCRAM), and on a Unix socket, where the superuser needs none.
// It ends with the test binary, also when that is killed.
package postgres
