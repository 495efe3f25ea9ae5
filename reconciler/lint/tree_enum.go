package lint

// Enumerations of the parse tree; see tree.go. Only values that rules ask for.

type alterType int

const (
	alterAddColumn          alterType = 1
	alterColumnDefault      alterType = 3
	alterDropNotNull        alterType = 5
	alterSetNotNull         alterType = 6
	alterSetExpression      alterType = 7
	alterDropExpression     alterType = 8
	alterSetStatistics      alterType = 10
	alterSetOptions         alterType = 11
	alterResetOptions       alterType = 12
	alterDropColumn         alterType = 15
	alterAddConstraint      alterType = 18
	alterValidateConstraint alterType = 22
	alterDropConstraint     alterType = 24
	alterColumnType         alterType = 26
	alterChangeOwner        alterType = 28
	alterClusterOn          alterType = 29
	alterDropCluster        alterType = 30
	alterSetLogged          alterType = 31
	alterSetUnlogged        alterType = 32
	alterSetAccessMethod    alterType = 34
	alterSetTablespace      alterType = 35
	alterSetRelOptions      alterType = 36
	alterResetRelOptions    alterType = 37
	alterEnableTrigger      alterType = 39
	alterEnableAlways       alterType = 40
	alterEnableReplica      alterType = 41
	alterDisableTrigger     alterType = 42
	alterEnableTriggers     alterType = 43
	alterDisableTriggers    alterType = 44
	alterEnableUser         alterType = 45
	alterDisableUser        alterType = 46
	alterEnableRowSecurity  alterType = 56
	alterDisableRowSecurity alterType = 57
	alterForceRowSecurity   alterType = 58
	alterNoForceRowSecurity alterType = 59
	alterAttachPartition    alterType = 61
	alterDetachPartition    alterType = 62
	alterDetachFinalize     alterType = 63
	alterAddIdentity        alterType = 64
	alterDropIdentity       alterType = 66
)

type constraintType int

const (
	constraintNull      constraintType = 1
	constraintNotNull   constraintType = 2
	constraintDefault   constraintType = 3
	constraintIdentity  constraintType = 4
	constraintGenerated constraintType = 5
	constraintCheck     constraintType = 6
	constraintPrimary   constraintType = 7
	constraintUnique    constraintType = 8
	constraintExclusion constraintType = 9
	constraintForeign   constraintType = 10
)

type objectType int

const (
	objectAttribute        objectType = 5
	objectColumn           objectType = 7
	objectDatabase         objectType = 10
	objectDomain           objectType = 13
	objectForeignTable     objectType = 19
	objectFunction         objectType = 20
	objectIndex            objectType = 21
	objectMatView          objectType = 24
	objectPolicy           objectType = 29
	objectProcedure        objectType = 30
	objectRole             objectType = 33
	objectRoutine          objectType = 35
	objectRule             objectType = 36
	objectSchema           objectType = 37
	objectSequence         objectType = 38
	objectTableConstraint  objectType = 41
	objectTable            objectType = 42
	objectTrigger          objectType = 45
	objectType_            objectType = 50 //nolint:revive // It is the type of objects that are types.
	objectView             objectType = 52
	objectDomainConstraint objectType = 14
	objectExtension        objectType = 16
	objectAggregate        objectType = 2
)

// noun names a kind of object.
func (t objectType) noun() string {
	nouns := map[objectType]string{
		objectTable:        "table",
		objectForeignTable: "foreign table",
		objectView:         "view",
		objectMatView:      "materialized view",
		objectIndex:        "index",
		objectSequence:     "sequence",
		objectFunction:     "function",
		objectProcedure:    "procedure",
		objectRoutine:      "routine",
		objectAggregate:    "aggregate",
		objectType_:        "type",
		objectDomain:       "domain",
		objectSchema:       "schema",
		objectExtension:    "extension",
		objectDatabase:     "database",
		objectRole:         "role",
	}
	if noun := nouns[t]; noun != "" {
		return noun
	}
	return "object"
}

type transactionType int

const (
	transactionBegin      transactionType = 1
	transactionStart      transactionType = 2
	transactionCommit     transactionType = 3
	transactionRollback   transactionType = 4
	transactionSavepoint  transactionType = 5
	transactionRelease    transactionType = 6
	transactionRollbackTo transactionType = 7
)

// dropCascade is the behavior of DROP … CASCADE and TRUNCATE … CASCADE.
const dropCascade = 2

// Kinds of REINDEX.
const (
	reindexIndex = 1
	reindexTable = 2
)

// Kinds of SET.
const (
	setValue   = 1
	setDefault = 2
	setReset   = 5
)
