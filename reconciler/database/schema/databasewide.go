package schema

import "strings"

func schemas() string {
	return head(`'schema'`, "pg_namespace", "n.oid", "0", "ARRAY[n.nspname]", "''", "NULL") + `,
	` + owned("n.nspacl", "n.nspowner", aclSchema) + `
FROM pg_namespace n
WHERE ` + inSchemas + ` AND ` + unextended("pg_namespace", "n.oid")
}

// extensions have no owner here: a dump does not keep it.
func extensions() string {
	return head(`'extension'`, "pg_extension", "e.oid", "0", "ARRAY[e.extname]", "''", "NULL") + `,
	e.extversion AS version,
	n.nspname AS schema
FROM pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE ` + anySchema
}

func eventTriggers() string {
	return head(`'event trigger'`, "pg_event_trigger", "g.oid", "0", "ARRAY[g.evtname]", "''", "NULL") + `,
	g.evtevent AS event,
	g.evtfoid::regprocedure::text AS function,
	(SELECT string_agg(tag, ', ' ORDER BY tag COLLATE "C") FROM unnest(g.evttags) tag) AS tags,
	` + enabled("g.evtenabled") + `,
	pg_get_userbyid(g.evtowner) AS owner
FROM pg_event_trigger g
WHERE ` + anySchema + ` AND ` + unextended("pg_event_trigger", "g.oid")
}

func defaultPrivileges() string {
	return head(`'default privileges'`, "pg_default_acl", "d.oid", "0", "ARRAY[]", `'of ' || quote_ident(pg_get_userbyid(d.defaclrole)) || ' for ' ||
		CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' ELSE 'schemas' END ||
		coalesce(' in ' || quote_ident(n.nspname), '')`, "NULL") + `,
	` + strings.Replace(grantedColumn("d.defaclacl"), "CASE WHEN d.defaclacl IS NOT NULL", "CASE WHEN true", 1) + ` AS grants
FROM pg_default_acl d
LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
WHERE d.defaclnamespace = 0 OR ` + inSchemas
}

// others are objects in schemas whose existence alone is read.
func others() string {
	var parts []string
	for _, class := range []struct{ name, column, where string }{
		{"pg_operator", "oprnamespace", "true"},
		{"pg_opclass", "opcnamespace", "true"},
		{"pg_opfamily", "opfnamespace", "true"},
		{"pg_collation", "collnamespace", "true"},
		{"pg_conversion", "connamespace", "true"},
		{"pg_ts_config", "cfgnamespace", "true"},
		{"pg_ts_dict", "dictnamespace", "true"},
		{"pg_ts_parser", "prsnamespace", "true"},
		{"pg_ts_template", "tmplnamespace", "true"},
		// Array types come with their elements.
		{"pg_type", "typnamespace", "o.typtype IN ('b', 'p') AND o.typcategory <> 'A'"},
	} {
		parts = append(parts, other(class.name)+`
FROM `+class.name+` o
JOIN pg_namespace n ON n.oid = o.`+class.column+`
CROSS JOIN LATERAL pg_identify_object('`+class.name+`'::regclass, o.oid, 0) i
WHERE `+class.where+` AND `+inSchemas+` AND `+standalone(class.name))
	}
	return strings.Join(parts, "\nUNION ALL\n")
}

// othersOfDatabase are objects of no schema whose existence alone is read.
// Numbers below 16384 are those that initdb gives.
func othersOfDatabase() string {
	var parts []string
	for _, class := range []string{"pg_cast", "pg_foreign_data_wrapper", "pg_foreign_server", "pg_publication", "pg_language", "pg_am", "pg_transform"} {
		parts = append(parts, other(class)+`
FROM `+class+` o
CROSS JOIN LATERAL pg_identify_object('`+class+`'::regclass, o.oid, 0) i
WHERE o.oid >= 16384 AND `+anySchema+` AND `+standalone(class))
	}
	return strings.Join(parts, "\nUNION ALL\n")
}

func other(class string) string {
	return head(`'other'`, class, "o.oid", "0", "ARRAY[]", "i.type || ' ' || i.identity", "NULL")
}

// standalone leaves out what belongs to an extension, and what PostgreSQL made
// as part of something else, such as the cast of a range type.
func standalone(class string) string {
	return unextended(class, "o.oid") + ` AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = '` + class + `'::regclass AND i.objid = o.oid AND i.deptype = 'i')`
}
