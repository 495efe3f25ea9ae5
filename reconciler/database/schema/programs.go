package schema

// triggers leaves out those that foreign keys are made of, and those that a
// partition has from its parent.
func triggers() string {
	return head(`'trigger'`, "pg_trigger", "g.oid", "0", "ARRAY[n.nspname, c.relname, g.tgname]", "''", "ARRAY[n.nspname, c.relname]") + `,
	pg_get_triggerdef(g.oid) AS definition,
	` + enabled("g.tgenabled") + `
FROM pg_trigger g
JOIN pg_class c ON c.oid = g.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT g.tgisinternal AND g.tgparentid = 0 AND c.relpersistence <> 't'
	AND ` + inSchemas + ` AND ` + unextended("pg_class", "c.oid") + ` AND ` + unextended("pg_trigger", "g.oid")
}

func rules() string {
	return head(`'rule'`, "pg_rewrite", "r.oid", "0", "ARRAY[n.nspname, c.relname, r.rulename]", "''", "ARRAY[n.nspname, c.relname]") + `,
	pg_get_ruledef(r.oid) AS definition,
	` + enabled("r.ev_enabled") + `
FROM pg_rewrite r
JOIN pg_class c ON c.oid = r.ev_class
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.rulename <> '_RETURN' AND c.relpersistence <> 't' AND ` + inSchemas + ` AND ` + unextended("pg_class", "c.oid")
}

// sequences says nothing of the owner where a column owns the sequence:
// PostgreSQL then keeps it that of the table.
func sequences() string {
	return head(`'sequence'`, "pg_class", "c.oid", "0", "ARRAY[n.nspname, c.relname]", "''", "CASE WHEN t.oid IS NOT NULL THEN ARRAY[tn.nspname, t.relname] END") + `,
	format_type(s.seqtypid, NULL) AS type,
	s.seqstart::text AS start, s.seqincrement::text AS increment, s.seqmin::text AS minimum, s.seqmax::text AS maximum,
	CASE WHEN s.seqcache <> 1 THEN s.seqcache::text END AS cache,
	CASE WHEN s.seqcycle THEN 'yes' END AS cycle,
	CASE c.relpersistence WHEN 'u' THEN 'unlogged' END AS persistence,
	CASE WHEN t.oid IS NOT NULL THEN quote_ident(tn.nspname) || '.' || quote_ident(t.relname) || '.' || quote_ident(a.attname) END AS "owned by",
	CASE WHEN t.oid IS NULL THEN pg_get_userbyid(c.relowner) END AS owner,
	` + granted("c.relacl", "c.relowner", aclSequence) + ` AS grants
FROM pg_sequence s
JOIN pg_class c ON c.oid = s.seqrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
	AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN pg_class t ON t.oid = d.refobjid
LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE c.relpersistence <> 't' AND ` + inSchemas + ` AND ` + unextended("pg_class", "c.oid")
}

func views() string {
	return head(`CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END`, "pg_class", "c.oid", "0", "ARRAY[n.nspname, c.relname]", "''", "NULL") + `,
	pg_get_viewdef(c.oid) AS definition,
	CASE WHEN c.relkind = 'm' AND NOT c.relispopulated THEN 'not populated' END AS state,
	` + options("c.reloptions") + ` AS options,
	(SELECT string_agg(quote_ident(a.attname) || ' ' || pg_get_expr(d.adbin, d.adrelid), ', ' ORDER BY a.attnum)
		FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = c.oid) AS "default",
	concat_ws('; ', ` + granted("c.relacl", "c.relowner", aclRelation) + `,
		(SELECT string_agg('column ' || quote_ident(a.attname) || ': ' || ` + grantedColumn("a.attacl") + `, '; ' ORDER BY a.attnum)
			FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL)) AS grants,
	pg_get_userbyid(c.relowner) AS owner
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND c.relpersistence <> 't' AND ` + inSchemas + ` AND ` + unextended("pg_class", "c.oid")
}

// functions have a definition that a snapshot keeps the digest of. PostgreSQL
// does not spell that of an aggregate, so it is put together from its parts.
func functions() string {
	return head(`CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END`, "pg_proc", "p.oid", "0",
		"ARRAY[n.nspname, p.proname]", "'(' || pg_get_function_identity_arguments(p.oid) || ')'", "NULL") + `,
	CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) ELSE concat_ws(' ',
		pg_get_function_result(p.oid), p.proparallel, a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
		a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn, a.aggfinalextra, a.aggmfinalextra, a.aggfinalmodify, a.aggmfinalmodify,
		a.aggsortop::regoperator, format_type(a.aggtranstype, NULL), a.aggtransspace, quote_nullable(a.agginitval), quote_nullable(a.aggminitval)) END AS definition,
	` + owned("p.proacl", "p.proowner", aclFunction) + `
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
WHERE ` + inSchemas + ` AND ` + unextended("pg_proc", "p.oid") + `
	AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')`
}

func types() string {
	return head(`CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite type' ELSE 'range type' END`, "pg_type", "t.oid", "0",
		"ARRAY[n.nspname, t.typname]", "''", "NULL") + `,
	CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) WHEN 'r' THEN format_type(r.rngsubtype, NULL) END AS type,
	CASE WHEN t.typtype = 'd' THEN CASE WHEN t.typnotnull THEN 'NOT NULL' ELSE 'NULL' END END AS nullability,
	CASE WHEN t.typtype = 'd' THEN coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault) END AS "default",
	CASE WHEN t.typtype = 'd' THEN ` + collation("t.typcollation", "b.typcollation") + ` END AS collation,
	(SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels,
	(SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
		FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS attributes,
	` + owned("t.typacl", "t.typowner", aclType) + `
FROM pg_type t
JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_type b ON b.oid = t.typbasetype
LEFT JOIN pg_range r ON r.rngtypid = t.oid
LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c') AND ` + inSchemas + ` AND ` + unextended("pg_type", "t.oid")
}
