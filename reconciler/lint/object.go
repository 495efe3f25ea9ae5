package lint

import (
	"slices"
	"strings"
)

// objectStatement looks at what is no table and no index.
func (r *run) objectStatement(n *node) bool {
	switch {
	case n.DropStmt != nil:
		r.drop(n.DropStmt)
	case n.AlterEnumStmt != nil:
		r.alterEnum(n.AlterEnumStmt)
	case n.AlterDomainStmt != nil:
		r.alterDomain(n.AlterDomainStmt)
	case n.ViewStmt != nil:
		if n.ViewStmt.Replace {
			r.report(ruleReplace, "The view %s is replaced, if it is there; code of before reads the new one.", n.ViewStmt.View.text())
		}
	case n.CreateFunction != nil:
		if n.CreateFunction.Replace {
			r.report(ruleReplace, "The function %s is replaced, if it is there; code of before calls the new one.", rangeOf(texts(n.CreateFunction.Name)).text())
		}
	case n.GrantStmt != nil:
		r.grant(n.GrantStmt)
	case n.AlterOwnerStmt != nil:
		name := objectName(n.AlterOwnerStmt.Object)
		r.report(ruleOwner, "The %s %s gets another owner.", n.AlterOwnerStmt.Type.noun(), name).
			breaks("rights that the role of the code of before had as owner of %s", name)
	case n.AlterTableMoveAll != nil:
		r.report(ruleSetTablespace, "All tables of a tablespace are copied to another, each while nobody may use it.").work(RewriteTable)
	case n.Kind == kindDropOwned:
		r.report(ruleDropCascade, "DROP OWNED drops everything that a role owns, named nowhere.").breaks("whatever the role owned")
	default:
		return r.tablePart(n)
	}
	return true
}

// tablePart looks at what belongs to a table: triggers, policies, rules.
func (r *run) tablePart(n *node) bool {
	switch {
	case n.CreateTrigStmt != nil:
		r.createTrigger(n.CreateTrigStmt)
	case n.CreatePolicyStmt != nil:
		r.createPolicy(n.CreatePolicyStmt)
	case n.AlterPolicyStmt != nil:
		named := n.AlterPolicyStmt.Table
		r.report(rulePolicy, "A policy of %s changes, and with it what rows roles see.", named.text()).
			on(r.world.table(named), named, AccessExclusive).
			breaks("the old policy of %s, if the new one lets roles see or write fewer rows", named.text())
	case n.RuleStmt != nil:
		named := n.RuleStmt.Relation
		r.report(ruleRewriteRule, "A rule changes what statements on %s do, also those of running code; reads and writes wait for a moment.", named.text()).
			on(r.world.table(named), named, AccessExclusive).
			breaks("statements on %s that do something else from now on", named.text())
	default:
		return false
	}
	return true
}

func (r *run) createTrigger(s *createTrigStmt) {
	f := r.report(ruleTrigger, "A trigger of %s runs for everybody's writes from now on; writes wait for a moment.", s.Relation.text()).
		on(r.world.table(s.Relation), s.Relation, ShareRowExclusive)
	if s.Parent != nil {
		f.also(r.world.table(s.Parent), s.Parent.text(), ShareRowExclusive)
	}
}

func (r *run) createPolicy(s *createPolicyStmt) {
	f := r.report(rulePolicy, "A policy of %s decides what rows roles see, once row-level security is on; reads and writes wait for a moment.", s.Table.text()).
		on(r.world.table(s.Table), s.Table, AccessExclusive)
	if !s.Permissive {
		f.breaks("rows of %s that the restrictive policy hides or refuses", s.Table.text())
	}
}

func (r *run) alterEnum(s *alterEnumStmt) {
	name := rangeOf(texts(s.Name)).text()
	if s.OldValue != "" {
		r.report(ruleEnumRenameValue, "The value %s of %s is called %s from now on.", literal(s.OldValue), name, literal(s.NewValue)).
			breaks("the value %s of the enum %s", literal(s.OldValue), name).
			instead(
				"ALTER TYPE "+name+" ADD VALUE "+literal(s.NewValue),
				"-- let code read both, write the new one, and change old rows in batches")
		return
	}
	r.world.enums[s.NewValue] = name
	r.report(ruleEnumAddValue, "Code of before does not know the value %s of %s, if it meets it in a row.", literal(s.NewValue), name)
}

// usesNewEnumValue reports a value that is used in the transaction that adds
// it, which PostgreSQL refuses (55P04).
func (r *run) usesNewEnumValue(s *statement) {
	if !r.tx.together || s.AlterEnumStmt != nil {
		return
	}
	text := r.source.file.SQL[s.start:s.end]
	for value, name := range r.world.enums {
		if strings.Contains(text, literal(value)) {
			r.report(ruleEnumValueUsed, "The value %s is used in the transaction that adds it to %s, which PostgreSQL refuses if it is that of the enum.", literal(value), name).
				instead("-- put ALTER TYPE … ADD VALUE into a file of its own, before this one")
			return
		}
	}
}

// literal writes a text as SQL.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func (r *run) alterDomain(s *alterDomainStmt) {
	name := rangeOf(texts(s.Name)).text()
	adds := s.Subtype == "O" || s.Subtype == "C"
	if !adds || s.Def != nil && s.Def.Constraint != nil && s.Def.Constraint.SkipValidation {
		return
	}
	f := r.report(ruleDomain, "All tables with columns of the domain %s are read while nobody may write to them.", name).work(Scan)
	f.breaks("values that the domain %s refuses from now on", name)
	f.instead("-- ALTER DOMAIN … ADD CONSTRAINT … CHECK (…) NOT VALID, then VALIDATE CONSTRAINT in a transaction of its own")
}

func (r *run) grant(s *grantStmt) {
	if s.Grant {
		return
	}
	var names []string
	for _, object := range s.Objects {
		if object.RangeVar != nil {
			names = append(names, object.RangeVar.text())
		} else {
			names = append(names, objectName(object))
		}
	}
	slices.Sort(names)
	r.report(ruleRevoke, "A privilege on %s is taken away.", some(names)).
		breaks("a privilege on %s", some(names))
}
