package tracking

import "strings"

// Tool is a migration tool.
type Tool string

// Tools whose tables are known, by the names that a Release uses.
const (
	// GolangMigrate keeps one row: a version and whether it is dirty.
	GolangMigrate Tool = "golang-migrate"
	// Alembic keeps one row for each head of its graph of revisions.
	Alembic Tool = "alembic"
	// Django keeps a row for each migration of each app.
	Django Tool = "django"
	// Flyway keeps a row for each migration, also for a failed one.
	Flyway Tool = "flyway"
	// Rails keeps the set of versions that ran.
	Rails Tool = "rails"
	// Goose keeps a row for each migration; older ones also for each undone.
	Goose Tool = "goose"
	// Prisma keeps a row for each attempt.
	Prisma Tool = "prisma"
	// Liquibase keeps a row for each changeset, and a lock in another table.
	Liquibase Tool = "liquibase"
	// Atlas keeps a row for each file, with how many of its statements ran.
	Atlas Tool = "atlas"
)

// Names that tables have unless their users chose others.
const (
	railsMetadata = "ar_internal_metadata"
	atlasSchema   = "atlas_schema_revisions"
)

// kind is a group of column types that tools use for the same thing.
type kind string

const (
	whole   kind = "whole"
	boolean kind = "boolean"
	text    kind = "text"
	moment  kind = "moment"
	anyKind kind = "any"
)

// kindOf puts a type, as format_type spells it without a length, into its group.
func kindOf(name string) kind {
	switch name {
	case "smallint", "integer", "bigint":
		return whole
	case "boolean":
		return boolean
	case "text", "character varying", "character":
		return text
	case "timestamp without time zone", "timestamp with time zone":
		return moment
	}
	return anyKind
}

// signature is what the table of a tool looks like.
type signature struct {
	tool Tool
	// table is its usual name.
	table string
	// columns are always there; optional ones depend on the tool's version.
	// There are no others.
	columns, optional map[string]kind
	// named means that the columns alone prove nothing.
	named bool
}

// signatures are the tables of all tools. Sources of the columns: the source
// code of each tool at the version in the comment.
func signatures() []signature {
	return []signature{
		// v4.20.1, database/pgx/v5, ensureVersionTable.
		{tool: GolangMigrate, table: "schema_migrations", columns: map[string]kind{"version": whole, "dirty": boolean}},
		// 1.8.1 to 1.19.1, runtime/migration.py.
		{tool: Alembic, table: "alembic_version", columns: map[string]kind{"version_num": text}},
		// db/migrations/recorder.py.
		{tool: Django, table: "django_migrations", columns: map[string]kind{"id": whole, "app": text, "name": text, "applied": moment}},
		// 13.0.0, PostgreSQLDatabase.getRawCreateScript.
		{tool: Flyway, table: "flyway_schema_history", columns: map[string]kind{
			"installed_rank": whole, "version": text, "description": text, "type": text, "script": text, "checksum": whole,
			"installed_by": text, "installed_on": moment, "execution_time": whole, "success": boolean,
		}},
		// active_record/schema_migration.rb. One column of text is hardly a mark.
		{tool: Rails, table: "schema_migrations", columns: map[string]kind{"version": text}, named: true},
		// v3.27.3, internal/dialects/postgres.go.
		{tool: Goose, table: "goose_db_version", columns: map[string]kind{"id": whole, "version_id": whole, "is_applied": boolean, "tstamp": moment}},
		// schema-engine, flavour/postgres.rs.
		{tool: Prisma, table: "_prisma_migrations", columns: map[string]kind{
			"id": text, "checksum": text, "finished_at": moment, "migration_name": text, "logs": text,
			"rolled_back_at": moment, "started_at": moment, "applied_steps_count": whole,
		}},
		// CreateDatabaseChangeLogTableGenerator.
		{tool: Liquibase, table: "databasechangelog", columns: map[string]kind{
			"id": text, "author": text, "filename": text, "dateexecuted": moment, "orderexecuted": whole, "exectype": text, "md5sum": text,
		}, optional: map[string]kind{
			"description": text, "comments": text, "tag": text, "liquibase": text, "contexts": text, "labels": text,
			"deployment_id": text, "execution_milliseconds": anyKind,
		}},
		// cmd/atlas/internal/migrate/ent/schema/revision.go.
		{tool: Atlas, table: atlasSchema, columns: map[string]kind{
			"version": text, "description": text, "type": whole, "applied": whole, "total": whole, "executed_at": moment,
			"execution_time": whole, "hash": text, "operator_version": text,
		}, optional: map[string]kind{"error": text, "error_stmt": text, "partial_hashes": anyKind}},
	}
}

// lockSignature is Liquibase's other table, of
// CreateDatabaseChangeLogLockTableGenerator.
func lockSignature() signature {
	return signature{tool: Liquibase, table: "databasechangeloglock", columns: map[string]kind{
		"id": whole, "locked": boolean, "lockgranted": moment, "lockedby": text,
	}}
}

// matches tells whether a table looks like that of the tool.
func (s signature) matches(columns []column) bool {
	missing := len(s.columns)
	for _, c := range columns {
		name := strings.ToLower(c.name)
		want, required := s.columns[name]
		if required {
			missing--
		} else if want, required = s.optional[name]; !required {
			return false
		}
		if want != anyKind && want != kindOf(c.kind) {
			return false
		}
	}
	return missing == 0
}
