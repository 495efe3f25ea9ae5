package schema

// Versions of the server since which something is there.
const (
	version14 = 140000
)

// since gives an expression where the server knows it.
func since(server, version int, expression string) string {
	if server < version {
		return "NULL"
	}
	return expression
}

// queries are all reads, in an order that does not matter. Their number does
// not depend on the schema.
func queries(server int) []query {
	return []query{
		{"tables", tables(server)},
		{"columns", tableColumns(server)},
		{"constraints", constraints()},
		{"constraints of domains", domainConstraints()},
		{"indexes", indexes()},
		{"statistics", statistics()},
		{"policies", policies()},
		{"triggers", triggers()},
		{"rules", rules()},
		{"sequences", sequences()},
		{"views", views()},
		{"functions", functions()},
		{"types", types()},
		{"schemas", schemas()},
		{"extensions", extensions()},
		{"event triggers", eventTriggers()},
		{"default privileges", defaultPrivileges()},
		{"other objects", others()},
		{"other objects of the database", othersOfDatabase()},
	}
}

func tables(server int) string {
	return head(`'table'`, "pg_class", "c.oid", "0", "ARRAY[n.nspname, c.relname]", "''", "NULL") + `,
	CASE c.relkind WHEN 'p' THEN 'partitioned' WHEN 'f' THEN 'foreign' END AS form,
	CASE c.relpersistence WHEN 'u' THEN 'unlogged' END AS persistence,
	CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS "partition key",
	CASE WHEN c.relispartition THEN parents.names END AS "partition of",
	CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END AS bound,
	CASE WHEN parents.detached THEN 'detach pending' END AS state,
	CASE WHEN NOT c.relispartition THEN parents.names END AS inherits,
	CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END AS "of type",
	CASE WHEN c.relrowsecurity AND c.relforcerowsecurity THEN 'enabled, forced'
		WHEN c.relrowsecurity THEN 'enabled' WHEN c.relforcerowsecurity THEN 'disabled, forced' END AS "row security",
	CASE WHEN am.amname <> 'heap' THEN am.amname END AS "access method",
	CASE c.relreplident WHEN 'f' THEN 'full' WHEN 'n' THEN 'nothing' WHEN 'i' THEN
		'index ' || (SELECT ic.relname FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisreplident) END AS "replica identity",
	fs.srvname AS server,
	` + options("c.reloptions || ft.ftoptions") + ` AS options,
	(SELECT json_agg(a.attname ORDER BY a.attnum)::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS "order",
	` + owned("c.relacl", "c.relowner", aclRelation) + `
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_am am ON am.oid = c.relam
LEFT JOIN pg_foreign_table ft ON ft.ftrelid = c.oid
LEFT JOIN pg_foreign_server fs ON fs.oid = ft.ftserver
LEFT JOIN LATERAL (
	SELECT string_agg(pn.nspname || '.' || p.relname, ', ' ORDER BY h.inhseqno) AS names, bool_or(` + since(server, version14, "h.inhdetachpending") + `) AS detached
	FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
	WHERE h.inhrelid = c.oid
) parents ON true
WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND ` + inSchemas + ` AND ` + unextended("pg_class", "c.oid")
}

func tableColumns(server int) string {
	return head(`'column'`, "pg_class", "c.oid", "a.attnum", "ARRAY[n.nspname, c.relname, a.attname]", "''", "ARRAY[n.nspname, c.relname]") + `,
	format_type(a.atttypid, a.atttypmod) AS type,
	CASE WHEN a.attnotnull THEN 'NOT NULL' ELSE 'NULL' END AS nullability,
	CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS "default",
	CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) || CASE a.attgenerated WHEN 's' THEN ' STORED' ELSE '' END END AS generated,
	CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END AS identity,
	` + collation("a.attcollation", "t.typcollation") + ` AS collation,
	CASE WHEN a.attstorage <> t.typstorage THEN
		CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' WHEN 'x' THEN 'extended' END END AS storage,
	` + since(server, version14, `CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END`) + ` AS compression,
	` + options("a.attfdwoptions") + ` AS options,
	` + grantedColumn("a.attacl") + ` AS grants
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
	AND c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND ` + inSchemas + ` AND ` + unextended("pg_class", "c.oid")
}

// constraints leaves out those that a partition or a foreign key to a
// partitioned table has from its parent: their names depend on the order in
// which things were made. NOT NULL is a constraint since version 18.
func constraints() string {
	return head(`'constraint'`, "pg_constraint", "k.oid", "0", "ARRAY[n.nspname, c.relname, k.conname]", "''", "ARRAY[n.nspname, c.relname]") + `,
	regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '') AS definition,
	CASE WHEN NOT k.convalidated THEN 'NOT VALID' WHEN NOT i.indisvalid THEN 'INVALID' END AS state,
	` + options("ic.reloptions") + ` AS options
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x')
LEFT JOIN pg_class ic ON ic.oid = i.indexrelid
WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0
	AND c.relpersistence <> 't' AND ` + inSchemas + ` AND ` + unextended("pg_class", "c.oid")
}

func domainConstraints() string {
	return head(`'constraint'`, "pg_constraint", "k.oid", "0", "ARRAY[n.nspname, t.typname, k.conname]", "''", "ARRAY[n.nspname, t.typname]") + `,
	regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '') AS definition,
	CASE WHEN NOT k.convalidated THEN 'NOT VALID' END AS state
FROM pg_constraint k
JOIN pg_type t ON t.oid = k.contypid
JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE k.contype = 'c' AND ` + inSchemas + ` AND ` + unextended("pg_type", "t.oid")
}

func indexes() string {
	return head(`'index'`, "pg_class", "ic.oid", "0", "ARRAY[n.nspname, ic.relname]", "''", "ARRAY[n.nspname, c.relname]") + `,
	regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE UNIQUE INDEX', 'CREATE INDEX') AS definition,
	CASE WHEN i.indisunique THEN 'yes' END AS "unique",
	CASE WHEN NOT i.indisvalid THEN 'INVALID' WHEN NOT i.indisready THEN 'not ready' END AS state
FROM pg_index i
JOIN pg_class ic ON ic.oid = i.indexrelid
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND c.relpersistence <> 't'
	AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x') AND k.conrelid = i.indrelid)
	AND ` + inSchemas + ` AND ` + unextended("pg_class", "c.oid")
}

func statistics() string {
	return head(`'statistics'`, "pg_statistic_ext", "s.oid", "0", "ARRAY[n.nspname, s.stxname]", "''", "ARRAY[cn.nspname, c.relname]") + `,
	pg_get_statisticsobjdef(s.oid) AS definition,
	pg_get_userbyid(s.stxowner) AS owner
FROM pg_statistic_ext s
JOIN pg_namespace n ON n.oid = s.stxnamespace
JOIN pg_class c ON c.oid = s.stxrelid
JOIN pg_namespace cn ON cn.oid = c.relnamespace
WHERE ` + inSchemas + ` AND ` + unextended("pg_class", "c.oid")
}

func policies() string {
	return head(`'policy'`, "pg_policy", "p.oid", "0", "ARRAY[n.nspname, c.relname, p.polname]", "''", "ARRAY[n.nspname, c.relname]") + `,
	CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END AS command,
	CASE WHEN NOT p.polpermissive THEN 'restrictive' END AS form,
	(SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ' ORDER BY 1) FROM unnest(p.polroles) r) AS roles,
	pg_get_expr(p.polqual, p.polrelid) AS using,
	pg_get_expr(p.polwithcheck, p.polrelid) AS "with check"
FROM pg_policy p
JOIN pg_class c ON c.oid = p.polrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE ` + inSchemas + ` AND ` + unextended("pg_class", "c.oid")
}
