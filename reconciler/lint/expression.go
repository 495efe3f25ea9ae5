package lint

import "slices"

// texts are the strings of a list of names.
func texts(nodes []*node) []string {
	var out []string
	for _, n := range nodes {
		if n.String != nil {
			out = append(out, n.String.Value)
		}
	}
	return out
}

// rangeOf makes the name of a table of a list of names.
func rangeOf(names []string) *rangeVar {
	switch len(names) {
	case 0:
		return &rangeVar{}
	case 1:
		return &rangeVar{Name: names[0]}
	default:
		return &rangeVar{Schema: names[len(names)-2], Name: names[len(names)-1]}
	}
}

// parseExpression parses an SQL expression; nil when it is none.
func parseExpression(sql string) *node {
	if sql == "" || len(sql) > maxBytes {
		return nil
	}
	text := "SELECT " + sql
	tokens, err := shared.tokens(text)
	if err != nil || chain(tokens) > maxChain {
		return nil
	}
	tree, err := shared.tree(text)
	if err != nil || len(tree) != 1 || tree[0].Stmt == nil {
		return nil
	}
	query := tree[0].Stmt.SelectStmt
	if query == nil || len(query.Targets) != 1 || query.Targets[0].ResTarget == nil {
		return nil
	}
	return query.Targets[0].ResTarget.Value
}

// notNullColumns are the columns that cannot be null where the expression of
// a check is true.
func notNullColumns(expression *node) []string {
	switch {
	case expression == nil:
		return nil
	case expression.NullTest != nil && expression.NullTest.Test == isNotNull:
		if name := columnName(expression.NullTest.Arg); name != "" {
			return []string{name}
		}
	case expression.BoolExpr != nil && expression.BoolExpr.Op == boolAnd:
		var out []string
		for _, part := range expression.BoolExpr.Args {
			out = append(out, notNullColumns(part)...)
		}
		return out
	}
	return nil
}

func columnName(n *node) string {
	if n == nil || n.ColumnRef == nil {
		return ""
	}
	names := texts(n.ColumnRef.Fields)
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1]
}

// columnsOf are all columns that an expression names.
func columnsOf(n *node) []string {
	var out []string
	walk(n, func(n *node) {
		if name := columnName(n); name != "" {
			out = append(out, name)
		}
	})
	return out
}

// walk visits the nodes of an expression that are known here.
func walk(n *node, visit func(*node)) {
	if n == nil {
		return
	}
	visit(n)
	for _, child := range children(n) {
		walk(child, visit)
	}
}

func children(n *node) []*node {
	switch {
	case n.BoolExpr != nil:
		return n.BoolExpr.Args
	case n.CaseExpr != nil:
		return append([]*node{n.CaseExpr.Arg, n.CaseExpr.Default}, n.CaseExpr.Args...)
	case n.CaseWhen != nil:
		return []*node{n.CaseWhen.Condition, n.CaseWhen.Result}
	case n.RowExpr != nil:
		return n.RowExpr.Args
	case n.CoalesceExpr != nil:
		return n.CoalesceExpr.Args
	case n.MinMaxExpr != nil:
		return n.MinMaxExpr.Args
	case n.ArrayExpr != nil:
		return n.ArrayExpr.Args
	case n.NullTest != nil:
		return []*node{n.NullTest.Arg}
	case n.AExpr != nil:
		return []*node{n.AExpr.Left, n.AExpr.Right}
	case n.TypeCast != nil:
		return []*node{n.TypeCast.Arg}
	case n.CollateClause != nil:
		return []*node{n.CollateClause.Arg}
	case n.FuncCall != nil:
		return n.FuncCall.Args
	case n.List != nil:
		return n.List.Items
	case n.ResTarget != nil:
		return []*node{n.ResTarget.Value}
	default:
		return nil
	}
}

// unstable names the first thing in a default that may be another for each
// row, and is empty when all rows get the same.
func unstable(n *node) string {
	found := ""
	walk(n, func(n *node) {
		switch {
		case found != "":
		case n.FuncCall != nil:
			if names := texts(n.FuncCall.Name); len(names) == 0 || !steady(names[len(names)-1]) {
				found = functionName(names) + "()"
			}
		case !transparent(n):
			found = "an expression"
		}
	})
	return found
}

// transparent tells whether a node itself, without those below it, gives the
// same for all rows.
func transparent(n *node) bool {
	return n.Const != nil || n.SQLValueFunction != nil || n.ArrayExpr != nil || n.FuncCall != nil ||
		n.RowExpr != nil || n.String != nil || n.List != nil || len(children(n)) > 0
}

func functionName(names []string) string {
	if len(names) == 0 {
		return "a function"
	}
	return names[len(names)-1]
}

// steady tells whether a function gives the same for all rows of a statement.
// A function that nobody knows is taken for volatile, as PostgreSQL does for
// functions that do not say.
func steady(function string) bool {
	return slices.Contains([]string{
		"now", "transaction_timestamp", "statement_timestamp", "current_setting", "current_database", "current_schema",
		"version", "pg_backend_pid", "txid_current", "pg_current_xact_id", "timezone", "date_trunc", "date_part", "extract",
		"to_char", "to_date", "to_timestamp", "to_number", "make_date", "make_time", "make_timestamp", "make_timestamptz",
		"make_interval", "justify_days", "justify_hours", "age",
		"lower", "upper", "btrim", "ltrim", "rtrim", "concat", "concat_ws", "substring", "substr", "replace", "repeat",
		"length", "md5", "sha256", "encode", "decode", "format", "left", "right", "lpad", "rpad", "quote_literal",
		"abs", "ceil", "floor", "round", "trunc", "power", "sqrt", "mod", "coalesce",
		"to_json", "to_jsonb", "json_build_object", "jsonb_build_object", "json_build_array", "jsonb_build_array",
		"jsonb_object", "json_object", "array_fill", "string_to_array", "array_append", "array_cat", "to_tsvector",
		"int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange", "point", "uuid_nil",
	}, function)
}
