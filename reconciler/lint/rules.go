package lint

// Rule is a rule that statements are held against.
type Rule struct {
	// ID is the name in findings and comments.
	ID string `json:"id"`
	// Level is that of its findings where nothing lowers it.
	Level Level `json:"level"`
	// Summary is one sentence on what it finds.
	Summary string `json:"summary"`

	// bySize rules are about how long a lock is held: a table that is new,
	// empty or small makes their findings notes.
	bySize bool
	// breaking is the lowest level of findings that break running code.
	breaking Level
}

// Names of rules.
const (
	ruleAddColumn           = "add-column"
	ruleAddColumnRewrite    = "add-column-rewrite"
	ruleAddColumnNotNull    = "add-column-not-null"
	ruleAddColumnConstraint = "add-column-constraint"
	ruleDropColumn          = "drop-column"
	ruleAlterType           = "alter-type"
	ruleAlterTypeRewrite    = "alter-type-rewrite"
	ruleSetNotNull          = "set-not-null"
	ruleDropNotNull         = "drop-not-null"
	ruleSetDefault          = "set-default"
	ruleDropDefault         = "drop-default"
	ruleSetExpression       = "set-expression"
	ruleRename              = "rename"
	ruleAddForeignKey       = "add-foreign-key"
	ruleAddCheck            = "add-check"
	ruleAddUnique           = "add-unique"
	ruleAddPrimaryKey       = "add-primary-key"
	ruleAddExclusion        = "add-exclusion"
	ruleNotValid            = "add-not-valid"
	ruleUsingIndex          = "add-using-index"
	ruleValidate            = "validate-constraint"
	ruleValidateSame        = "validate-in-same-transaction"
	ruleDropConstraint      = "drop-constraint"
	ruleCreateIndex         = "create-index"
	ruleConcurrently        = "create-index-concurrently"
	ruleConcurrentlyExists  = "concurrently-if-not-exists"
	ruleInTransaction       = "not-in-transaction"
	ruleDropIndex           = "drop-index"
	ruleReindex             = "reindex"
	ruleSetLogged           = "set-logged"
	ruleSetTablespace       = "set-tablespace"
	ruleSetAccessMethod     = "set-access-method"
	ruleCluster             = "cluster"
	ruleVacuumFull          = "vacuum-full"
	ruleTruncate            = "truncate"
	ruleLockTable           = "lock-table"
	ruleMassUpdate          = "mass-update"
	ruleMassDelete          = "mass-delete"
	ruleManyRows            = "many-rows"
	ruleWorkUnderLock       = "work-under-lock"
	ruleSeveralTables       = "several-tables-locked"
	ruleDropTable           = "drop-table"
	ruleDropObject          = "drop-object"
	ruleDropCascade         = "drop-cascade"
	ruleEnumAddValue        = "enum-add-value"
	ruleEnumValueUsed       = "enum-value-used"
	ruleEnumRenameValue     = "enum-rename-value"
	ruleTrigger             = "trigger"
	ruleDisableTrigger      = "disable-trigger"
	ruleRowSecurity         = "row-level-security"
	rulePolicy              = "policy"
	ruleRewriteRule         = "rewrite-rule"
	ruleAttachPartition     = "attach-partition"
	ruleDetachPartition     = "detach-partition"
	ruleRefresh             = "refresh-materialized-view"
	ruleDomain              = "alter-domain"
	ruleReplace             = "replace-object"
	ruleRevoke              = "revoke"
	ruleOwner               = "change-owner"
	ruleOpaque              = "opaque"
	ruleTimeout             = "timeout-changed"
	ruleNoTimeout           = "timeout-removed"
	ruleSearchPath          = "search-path-changed"
	ruleTransaction         = "transaction-control"
	rulePsql                = "psql-command"
	ruleCopy                = "copy-from"
	ruleSyntax              = "syntax"
	ruleTooDeep             = "too-deep"
	ruleTooLarge            = "too-large"
	ruleBriefLock           = "brief-lock"
	ruleAllowUnknown        = "allow-unknown-rule"
	ruleAllowNoReason       = "allow-without-reason"
	ruleAllowUnused         = "allow-unused"
)

// Rules returns all rules.
func Rules() []Rule {
	rules := columnRules()
	rules = append(rules, constraintRules()...)
	rules = append(rules, tableRules()...)
	rules = append(rules, objectRules()...)
	return append(rules, fileRules()...)
}

func columnRules() []Rule {
	return []Rule{
		{ID: ruleAddColumn, Level: Note, Summary: "A column is added without touching a row."},
		{ID: ruleAddColumnRewrite, Level: Block, bySize: true, Summary: "A new column has a value of its own in each row, so the table is rewritten."},
		{ID: ruleAddColumnNotNull, Level: Block, breaking: Warn, Summary: "A new column must not be null and has no default."},
		{ID: ruleAddColumnConstraint, Level: Block, bySize: true, Summary: "A new column has a constraint that is checked, or an index that is built, under the lock."},
		{ID: ruleDropColumn, Level: Warn, breaking: Warn, Summary: "A column is dropped."},
		{ID: ruleAlterType, Level: Note, breaking: Warn, Summary: "The type of a column changes without touching a row."},
		{ID: ruleAlterTypeRewrite, Level: Block, bySize: true, breaking: Warn, Summary: "The type of a column changes, and the table and its indexes are rewritten."},
		{ID: ruleSetNotNull, Level: Block, bySize: true, breaking: Warn, Summary: "All rows are read under the lock to see that a column is never null."},
		{ID: ruleDropNotNull, Level: Note, Summary: "A column may be null from now on."},
		{ID: ruleSetDefault, Level: Note, Summary: "The default of a column changes."},
		{ID: ruleDropDefault, Level: Warn, breaking: Warn, Summary: "A column loses its default."},
		{ID: ruleSetExpression, Level: Block, bySize: true, Summary: "The expression of a generated column changes, and the table is rewritten."},
		{ID: ruleRename, Level: Block, breaking: Block, Summary: "A table, column, view or schema gets another name or schema."},
	}
}

func constraintRules() []Rule {
	return []Rule{
		{ID: ruleAddForeignKey, Level: Block, bySize: true, breaking: Warn, Summary: "All rows are checked against a foreign key while nobody may write to either table."},
		{ID: ruleAddCheck, Level: Block, bySize: true, breaking: Warn, Summary: "All rows are checked under the lock."},
		{ID: ruleAddUnique, Level: Block, bySize: true, breaking: Warn, Summary: "The index of a unique constraint is built under the lock."},
		{ID: ruleAddPrimaryKey, Level: Block, bySize: true, breaking: Warn, Summary: "The index of a primary key is built under the lock."},
		{ID: ruleAddExclusion, Level: Block, bySize: true, breaking: Warn, Summary: "The index of an exclusion constraint is built under the lock."},
		{ID: ruleNotValid, Level: Note, Summary: "A constraint is added that old rows are not checked against."},
		{ID: ruleUsingIndex, Level: Note, Summary: "A constraint is made of an index that exists."},
		{ID: ruleValidate, Level: Note, Summary: "All rows are checked against a constraint, beside reads and writes."},
		{ID: ruleValidateSame, Level: Block, bySize: true, Summary: "A constraint is validated in the transaction that added it, so the lock of the first is held meanwhile."},
		{ID: ruleDropConstraint, Level: Note, breaking: Warn, Summary: "A constraint is dropped."},
		{ID: ruleCreateIndex, Level: Block, bySize: true, Summary: "An index is built while nobody may write."},
		{ID: ruleConcurrently, Level: Note, Summary: "An index is built or dropped beside reads and writes."},
		{ID: ruleConcurrentlyExists, Level: Warn, Summary: "IF NOT EXISTS takes an invalid index for a good one."},
		{ID: ruleInTransaction, Level: Block, Summary: "A statement is in a transaction in which it cannot run."},
		{ID: ruleDropIndex, Level: Warn, bySize: true, Summary: "An index is dropped under a lock on its table."},
		{ID: ruleReindex, Level: Block, bySize: true, Summary: "An index is rebuilt while nobody may write."},
	}
}

func tableRules() []Rule {
	return []Rule{
		{ID: ruleSetLogged, Level: Block, bySize: true, Summary: "A table becomes logged or unlogged and is rewritten."},
		{ID: ruleSetTablespace, Level: Block, bySize: true, Summary: "A table is copied to another tablespace."},
		{ID: ruleSetAccessMethod, Level: Block, bySize: true, Summary: "A table is rewritten by another access method."},
		{ID: ruleCluster, Level: Block, bySize: true, Summary: "A table is rewritten in the order of an index."},
		{ID: ruleVacuumFull, Level: Block, bySize: true, Summary: "A table is rewritten to give space back."},
		{ID: ruleTruncate, Level: Block, Summary: "All rows of a table are taken away."},
		{ID: ruleLockTable, Level: Block, bySize: true, Summary: "A table is locked by name."},
		{ID: ruleMassUpdate, Level: Block, bySize: true, Summary: "All rows of a table are changed in one transaction."},
		{ID: ruleMassDelete, Level: Block, Summary: "All rows of a table are deleted in one transaction."},
		{ID: ruleManyRows, Level: Note, Summary: "Nobody can tell from the text how many rows a statement changes."},
		{ID: ruleWorkUnderLock, Level: Warn, bySize: true, Summary: "Rows are read or changed while a lock of an earlier statement keeps others waiting."},
		{ID: ruleSeveralTables, Level: Warn, Summary: "One transaction takes strong locks on several tables."},
		{ID: ruleDropTable, Level: Warn, breaking: Warn, Summary: "A table is dropped."},
		{ID: ruleAttachPartition, Level: Warn, bySize: true, Summary: "A table becomes a partition, and its rows are read under its lock."},
		{ID: ruleDetachPartition, Level: Warn, breaking: Warn, Summary: "A partition is detached."},
		{ID: ruleTrigger, Level: Note, Summary: "A trigger is created, enabled or dropped."},
		{ID: ruleDisableTrigger, Level: Warn, Summary: "A trigger is disabled."},
		{ID: ruleRowSecurity, Level: Warn, breaking: Warn, Summary: "Row-level security of a table is switched."},
		{ID: rulePolicy, Level: Note, breaking: Warn, Summary: "A policy of row-level security changes."},
		{ID: ruleRewriteRule, Level: Warn, breaking: Warn, Summary: "A rule changes what statements on a table do."},
		{ID: ruleBriefLock, Level: Note, Summary: "A lock is taken for a moment."},
	}
}

func objectRules() []Rule {
	return []Rule{
		{ID: ruleDropObject, Level: Warn, breaking: Warn, Summary: "A view, sequence, type, function or other object is dropped."},
		{ID: ruleDropCascade, Level: Block, breaking: Warn, Summary: "CASCADE drops what the statement does not name."},
		{ID: ruleEnumAddValue, Level: Note, Summary: "An enum gets a value that code of before does not know."},
		{ID: ruleEnumValueUsed, Level: Block, Summary: "A new value of an enum is used in the transaction that adds it."},
		{ID: ruleEnumRenameValue, Level: Block, breaking: Block, Summary: "A value of an enum gets another name."},
		{ID: ruleRefresh, Level: Block, bySize: true, Summary: "A materialized view cannot be read while it is refreshed."},
		{ID: ruleDomain, Level: Block, breaking: Warn, Summary: "All tables that use a domain are checked under their locks."},
		{ID: ruleReplace, Level: Note, Summary: "A view or function is replaced under running code."},
		{ID: ruleRevoke, Level: Warn, breaking: Warn, Summary: "A privilege is taken away."},
		{ID: ruleOwner, Level: Warn, breaking: Warn, Summary: "An object gets another owner."},
	}
}

func fileRules() []Rule {
	return []Rule{
		{ID: ruleOpaque, Level: Note, Summary: "What a statement does cannot be seen from outside."},
		{ID: ruleTimeout, Level: Note, Summary: "A timeout is changed in the file."},
		{ID: ruleNoTimeout, Level: Warn, Summary: "A timeout is switched off in the file."},
		{ID: ruleSearchPath, Level: Note, Summary: "The search path is changed in the file."},
		{ID: ruleTransaction, Level: Warn, Summary: "The file begins or ends a transaction."},
		{ID: rulePsql, Level: Block, Summary: "A command is for psql and not for the server."},
		{ID: ruleCopy, Level: Block, Summary: "COPY reads what is not there."},
		{ID: ruleSyntax, Level: Block, Summary: "PostgreSQL's parser refuses the file."},
		{ID: ruleTooDeep, Level: Warn, Summary: "An expression is too deep for the parser."},
		{ID: ruleTooLarge, Level: Warn, Summary: "A file is too large to be checked."},
		{ID: ruleAllowUnknown, Level: Warn, Summary: "A comment allows a rule that does not exist."},
		{ID: ruleAllowNoReason, Level: Warn, Summary: "A comment allows a rule and gives no reason."},
		{ID: ruleAllowUnused, Level: Note, Summary: "A comment allows what is not found."},
	}
}

func rulesByID() map[string]Rule {
	byID := map[string]Rule{}
	for _, rule := range Rules() {
		byID[rule.ID] = rule
	}
	return byID
}
