package postgres_test

import (
	"context"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/test/postgres"
)

func connect(ctx context.Context, database postgres.Database) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("sslmode=" + database.SSLMode)
	if err != nil {
		return nil, err
	}
	config.Host, config.Port, config.Database = database.Host, database.Port, database.Name
	config.User, config.Password = database.User, database.Password
	return pgx.ConnectConfig(ctx, config)
}

func TestServer(t *testing.T) {
	server := postgres.Start(t, postgres.WithSetting("work_mem", "5MB"), postgres.WithFile("extra", []byte("x")))
	database := server.Database(t)

	t.Run("the role owns its database and may create tables", func(t *testing.T) {
		conn, err := connect(t.Context(), database)
		assert.NilError(t, err)
		defer func() { _ = conn.Close(t.Context()) }()
		_, err = conn.Exec(t.Context(), "CREATE TABLE a (id int)")
		assert.NilError(t, err)
		var memory string
		assert.NilError(t, conn.QueryRow(t.Context(), "SHOW work_mem").Scan(&memory))
		assert.Equal(t, memory, "5MB")
	})
	t.Run("the loopback port wants the password", func(t *testing.T) {
		wrong := database
		wrong.Password = "wrong"
		_, err := connect(t.Context(), wrong)
		assert.ErrorContains(t, err, "28P01")
	})
	t.Run("an odd password works", func(t *testing.T) {
		database.SetPassword(t, `%@:/ '"\`)
		conn, err := connect(t.Context(), database)
		assert.NilError(t, err)
		assert.NilError(t, conn.Close(t.Context()))
	})
	t.Run("the superuser needs none on the socket", func(t *testing.T) {
		var super bool
		err := database.Connect(t).QueryRow(t.Context(), "SELECT usesuper FROM pg_user WHERE usename = current_user").Scan(&super)
		assert.NilError(t, err)
		assert.Assert(t, super)
	})
	t.Run("a file is there for the server", func(t *testing.T) {
		content, err := os.ReadFile(server.Folder + "/data/extra")
		assert.NilError(t, err)
		assert.Equal(t, string(content), "x")
	})
}

func TestDatabasesAreApart(t *testing.T) {
	var shared postgres.Shared
	t.Cleanup(shared.Stop)
	one := shared.Server(t).Database(t)
	two := shared.Server(t).Database(t)
	assert.Equal(t, one.Port, two.Port)
	_, err := one.Connect(t).Exec(t.Context(), "CREATE TABLE a (id int)")
	assert.NilError(t, err)
	_, err = two.Connect(t).Exec(t.Context(), "SELECT FROM a")
	assert.ErrorContains(t, err, "42P01")
}
