package main

import (
	"fmt"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
)

func TestConfigNamesAllThatIsMissing(t *testing.T) {
	_, err := readConfig(getenv(map[string]string{"DB_PORT": "postgres", "DRAIN": "long"}))
	for _, says := range []string{
		"DB_HOST is required", "DB_USER is required", "DB_NAME is required", `DB_PORT is "postgres"`, `DRAIN is "long"`,
	} {
		assert.Check(t, cmp.ErrorContains(err, says))
	}
}

func TestConfigHasDefaults(t *testing.T) {
	c, err := readConfig(getenv(map[string]string{"DB_HOST": "h", "DB_USER": "u", "DB_NAME": "n"}))
	assert.NilError(t, err)
	assert.Equal(t, c.drain, 3*time.Second)
	assert.Equal(t, c.database.String(), "host='h' port='5432' user='u' dbname='n' sslmode='prefer' application_name='unity' connect_timeout='3'")
}

// D11: such a password breaks a URL, which then shows up in an error.
func TestOddValuesReachTheDatabaseAsTheyAre(t *testing.T) {
	const odd = `it's a \ "name" %41 =x`
	c, err := readConfig(getenv(map[string]string{"DB_HOST": "127.0.0.1", "DB_USER": odd, "DB_NAME": odd, "DB_PASSWORD": odd}))
	assert.NilError(t, err)
	pool, err := c.poolConfig()
	assert.NilError(t, err)
	assert.Equal(t, pool.ConnConfig.User, odd)
	assert.Equal(t, pool.ConnConfig.Database, odd)
	assert.Equal(t, pool.ConnConfig.Password, odd)
}

// D11.
func TestThePasswordIsInNoError(t *testing.T) {
	c, err := readConfig(getenv(map[string]string{
		"DB_HOST": "h", "DB_USER": "u", "DB_NAME": "n", "DB_PASSWORD": "hunter2", "DB_SSLMODE": "perhaps",
	}))
	assert.NilError(t, err)
	_, err = c.poolConfig()
	assert.ErrorContains(t, err, "perhaps")
	assert.Assert(t, !cmp.Contains(fmt.Sprintf("%+v", err), "hunter2")().Success())
}

func TestAnUnknownGenerationIsRefused(t *testing.T) {
	_, err := newBuild("3")
	assert.Error(t, err, `built as generation "3": there are 1 and 2`)
}
