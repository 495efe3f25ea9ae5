package schema

import "strings"

// The queries are put together from fragments. All names in them are found in
// pg_catalog, which is the only schema of the search_path.

// Letters by which acldefault knows the kinds of objects.
const (
	aclRelation = "r"
	aclSequence = "s"
	aclFunction = "f"
	aclSchema   = "n"
	aclType     = "T"
)

// inSchemas restricts to the schemas of the options. Temporary tables are in
// schemas of PostgreSQL's own.
const inSchemas = `(cardinality($1::text[]) = 0 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' OR n.nspname = ANY ($1::text[]))`

// anySchema uses the parameter of a query that is not restricted by it.
const anySchema = `cardinality($1::text[]) >= 0`

// head is the header of a row: the kind as an expression, the catalogue and
// the alias of its row, the column number, and three expressions.
func head(kind, class, object, column, path, suffix, table string) string {
	return "SELECT " + kind + ", '" + class + "'::regclass::oid, " + object + ", " + column + "::int4, " +
		path + "::text[], " + suffix + "::text, " + table + "::text[]"
}

// unextended leaves out what belongs to an extension.
func unextended(class, object string) string {
	return `NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = '` + class + `'::regclass AND x.objid = ` + object + ` AND x.deptype = 'e')`
}

// owned are the fields of the owner and the privileges. The kind is one of the
// letters above.
func owned(acl, owner, kind string) string {
	return `pg_get_userbyid(` + owner + `) AS owner, ` + granted(acl, owner, kind) + ` AS grants`
}

// granted spells an access list without who granted, which a restore changes,
// and without what an owner has by default, which follows the owner and grew
// by MAINTAIN in version 17.
func granted(acl, owner, kind string) string {
	usual := "NULL"
	switch kind {
	case aclFunction:
		usual = "'PUBLIC: EXECUTE'"
	case aclType:
		usual = "'PUBLIC: USAGE'"
	}
	return strings.NewReplacer("ACL", acl, "OWNER", owner, "KIND", kind, "USUAL", usual).Replace(`CASE WHEN ACL IS NULL THEN USUAL ELSE (
	WITH held AS (
		SELECT a.grantee, string_agg(DISTINCT a.privilege_type || CASE WHEN a.is_grantable AND a.grantee <> OWNER THEN '*' ELSE '' END, ', ') AS what
		FROM aclexplode(ACL) a GROUP BY 1
	)
	SELECT string_agg(g.who || ': ' || g.what, '; ' ORDER BY g.who COLLATE "C") FROM (
		SELECT CASE WHEN h.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(h.grantee)) END AS who, h.what FROM held h WHERE h.grantee <> OWNER
		UNION ALL
		SELECT '(owner)', coalesce(h.what, 'none')
		FROM (SELECT string_agg(DISTINCT a.privilege_type, ', ') AS what FROM aclexplode(acldefault('KIND', OWNER)) a WHERE a.grantee = OWNER) d
		LEFT JOIN held h ON h.grantee = OWNER
		WHERE h.what IS DISTINCT FROM d.what
	) g
) END`)
}

// grantedColumn spells the access list of a column, of which nobody has
// anything by default.
func grantedColumn(acl string) string {
	return strings.ReplaceAll(`CASE WHEN ACL IS NOT NULL THEN (
	SELECT string_agg(g.who || ': ' || g.what, '; ' ORDER BY g.who COLLATE "C") FROM (
		SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who,
			string_agg(DISTINCT a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END, ', ') AS what
		FROM aclexplode(ACL) a GROUP BY 1
	) g
) END`, "ACL", acl)
}

// collation names a collation that is not the usual one of the type.
func collation(used, usual string) string {
	return `CASE WHEN ` + used + ` <> ` + usual + ` THEN
	(SELECT quote_ident(cn.nspname) || '.' || quote_ident(co.collname) FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = ` + used + `)
END`
}

// enabled spells when a trigger or a rule fires.
func enabled(column string) string {
	return `CASE ` + column + ` WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica only' WHEN 'A' THEN 'always' END AS "fires"`
}

// options spells storage parameters in a stable order.
func options(column string) string {
	return `(SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(` + column + `) o)`
}
