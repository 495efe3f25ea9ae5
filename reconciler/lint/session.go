package lint

import (
	"slices"
	"strings"
)

// sessionStatement looks at what changes the session or the transaction, and
// at what cannot be seen into.
func (r *run) sessionStatement(n *node) bool {
	switch {
	case n.VariableSetStmt != nil:
		r.set(n.VariableSetStmt)
	case n.TransactionStmt != nil:
		r.control(n.TransactionStmt)
	case n.SelectStmt != nil:
		r.with(n.SelectStmt.With)
		r.query(n.SelectStmt)
	case n.DoStmt != nil:
		r.opaque("A DO block")
	case n.CallStmt != nil:
		r.opaque("A procedure")
	default:
		return false
	}
	return true
}

func (r *run) opaque(what string) {
	r.report(ruleOpaque, "%s may do anything: what it locks, changes or reads cannot be seen from outside.", what)
}

func (r *run) set(s *variableSetStmt) {
	name := strings.ToLower(s.Name)
	value := ""
	if len(s.Args) > 0 && s.Args[0].Const != nil {
		value = constantText(s.Args[0].Const)
	}
	switch {
	case name == "search_path":
		r.setPath(s)
	case strings.HasSuffix(name, "_timeout"):
		r.timeout(name, value, s.Local, s.Kind == setValue)
	}
}

func constantText(c *constant) string {
	switch {
	case c.String != nil:
		return c.String.Value
	case c.Int != nil && c.Int.Value != 0:
		return "not zero"
	default:
		return "0"
	}
}

func (r *run) setPath(s *variableSetStmt) {
	var path []string
	for _, arg := range s.Args {
		if arg.Const != nil && arg.Const.String != nil {
			path = append(path, arg.Const.String.Value)
		}
	}
	if s.Kind != setValue || len(path) == 0 {
		path = r.options.SearchPath
	}
	r.world.path = path
	r.report(ruleSearchPath, "Names without a schema mean other tables from here on.")
}

// timeout reports a change of a timeout: whoever runs the migrations has set
// one already.
func (r *run) timeout(name, value string, local, given bool) {
	if given && slices.Contains([]string{"0", "0s", "0ms", "0min"}, strings.TrimSpace(value)) {
		r.report(ruleNoTimeout, "%s is switched off, so nothing bounds how long others wait behind this.", name).
			instead("-- leave it out: whoever runs the migration sets a bound")
		return
	}
	message := "%s is another one from here on."
	if !local {
		message = "%s is another one from here on, for the rest of the session."
	}
	r.report(ruleTimeout, message, name)
}

func (r *run) control(s *transactionStmt) {
	switch s.Type {
	case transactionSavepoint, transactionRelease, transactionRollbackTo:
		return
	case transactionBegin, transactionStart:
		if r.options.Separate {
			r.end()
			r.explicit = true
			r.begin()
			return
		}
	default:
		r.end()
		r.explicit = false
		r.begin()
		if r.options.Separate {
			return
		}
	}
	r.report(ruleTransaction, "The file begins or ends a transaction itself, which splits what whoever runs it takes for one step.").
		instead("-- take the statement out: a file is one transaction")
}

// query looks at what a SELECT calls, since it may do anything too.
func (r *run) query(s *selectStmt) {
	if s.Into != nil && s.Into.Relation != nil {
		r.world.create(s.Into.Relation, r.source.file.Applied)
	}
	for _, target := range s.Targets {
		walk(target, func(n *node) {
			if n.FuncCall != nil {
				r.called(n.FuncCall)
			}
		})
	}
}

func (r *run) called(f *funcCall) {
	names := texts(f.Name)
	name := functionName(names)
	switch {
	case name == "set_config" && len(f.Args) > 1 && f.Args[0].Const != nil && f.Args[0].Const.String != nil:
		setting := strings.ToLower(f.Args[0].Const.String.Value)
		if strings.HasSuffix(setting, "_timeout") && f.Args[1].Const != nil {
			r.timeout(setting, constantText(f.Args[1].Const), true, true)
		}
	case harmlessCall(name) || steady(name):
	default:
		r.opaque("The function " + quote(name))
	}
}

// harmlessCall tells whether a function of PostgreSQL only reads, or sets a sequence.
func harmlessCall(name string) bool {
	return slices.Contains([]string{
		"count", "sum", "min", "max", "avg", "bool_and", "bool_or", "array_agg", "string_agg", "json_agg", "jsonb_agg", "set_config",
		"setval", "nextval", "currval", "pg_get_serial_sequence", "to_regclass", "pg_size_pretty", "pg_relation_size",
		"pg_total_relation_size", "pg_table_size", "generate_series", "unnest", "exists", "row_number", "pg_notify",
	}, name)
}
