package lint

// The parts of PostgreSQL's parse tree that rules look at. Names and numbers
// of fields are those of libpg_query's protobuf schema, which has others for
// each major release: parse refuses a tree that is not of parserMajor.

// parserMajor is the PostgreSQL release whose grammar the parser has.
const parserMajor = 17

type parseResult struct {
	Version int       `pb:"1"`
	Stmts   []rawStmt `pb:"2"`
}

type rawStmt struct {
	Stmt *node `pb:"1"`
	// Location and Length are bytes of the text; a length of 0 means to the end.
	Location int `pb:"2"`
	Length   int `pb:"3"`
}

// node is one of many kinds; Kind is the number of the one that it is.
type node struct {
	Kind int `pb:"kind"`

	RangeVar          *rangeVar          `pb:"2"`
	BoolExpr          *boolExpr          `pb:"19"`
	SubLink           *subLink           `pb:"20"`
	CaseExpr          *caseExpr          `pb:"30"`
	RowExpr           *listExpr2         `pb:"34"`
	CoalesceExpr      *listExpr4         `pb:"36"`
	MinMaxExpr        *listExpr6         `pb:"37"`
	SQLValueFunction  *empty             `pb:"38"`
	NullTest          *nullTest          `pb:"50"`
	TypeName          *typeName          `pb:"65"`
	ColumnRef         *columnRef         `pb:"66"`
	AExpr             *aExpr             `pb:"68"`
	TypeCast          *typeCast          `pb:"69"`
	CaseWhen          *caseWhen          `pb:"31"`
	CollateClause     *argument          `pb:"70"`
	FuncCall          *funcCall          `pb:"72"`
	ArrayExpr         *listExpr1         `pb:"76"`
	ResTarget         *resTarget         `pb:"77"`
	ColumnDef         *columnDef         `pb:"86"`
	IndexElem         *indexElem         `pb:"88"`
	DefElem           *defElem           `pb:"89"`
	PartitionCmd      *partitionCmd      `pb:"97"`
	CTE               *commonTableExpr   `pb:"112"`
	InsertStmt        *insertStmt        `pb:"132"`
	DeleteStmt        *deleteStmt        `pb:"133"`
	UpdateStmt        *updateStmt        `pb:"134"`
	MergeStmt         *mergeStmt         `pb:"135"`
	SelectStmt        *selectStmt        `pb:"136"`
	CreateSchemaStmt  *createSchemaStmt  `pb:"140"`
	AlterTableStmt    *alterTableStmt    `pb:"141"`
	AlterTableCmd     *alterTableCmd     `pb:"143"`
	AlterDomainStmt   *alterDomainStmt   `pb:"145"`
	GrantStmt         *grantStmt         `pb:"146"`
	ObjectWithArgs    *objectWithArgs    `pb:"147"`
	CopyStmt          *copyStmt          `pb:"151"`
	VariableSetStmt   *variableSetStmt   `pb:"152"`
	CreateStmt        *createStmt        `pb:"154"`
	Constraint        *constraintNode    `pb:"155"`
	AlterTableMoveAll *empty             `pb:"159"`
	CreatePolicyStmt  *createPolicyStmt  `pb:"172"`
	AlterPolicyStmt   *alterPolicyStmt   `pb:"173"`
	CreateTrigStmt    *createTrigStmt    `pb:"175"`
	DropStmt          *dropStmt          `pb:"191"`
	TruncateStmt      *truncateStmt      `pb:"192"`
	IndexStmt         *indexStmt         `pb:"198"`
	CreateFunction    *createFunction    `pb:"202"`
	DoStmt            *empty             `pb:"205"`
	CallStmt          *empty             `pb:"207"`
	RenameStmt        *renameStmt        `pb:"209"`
	AlterObjectSchema *alterObjectSchema `pb:"211"`
	AlterOwnerStmt    *alterOwnerStmt    `pb:"212"`
	RuleStmt          *ruleStmt          `pb:"215"`
	TransactionStmt   *transactionStmt   `pb:"219"`
	AlterEnumStmt     *alterEnumStmt     `pb:"223"`
	ViewStmt          *viewStmt          `pb:"224"`
	ClusterStmt       *clusterStmt       `pb:"232"`
	VacuumStmt        *vacuumStmt        `pb:"233"`
	VacuumRelation    *vacuumRelation    `pb:"234"`
	CreateTableAs     *createTableAs     `pb:"236"`
	RefreshMatView    *refreshMatView    `pb:"237"`
	LockStmt          *lockStmt          `pb:"240"`
	ReindexStmt       *reindexStmt       `pb:"242"`
	Integer           *integer           `pb:"260"`
	Boolean           *empty             `pb:"262"`
	String            *stringNode        `pb:"263"`
	List              *list              `pb:"265"`
	Const             *constant          `pb:"268"`
}

// Kinds of nodes of which nothing but the kind is asked.
const (
	kindAlterDefaultPrivileges = 150
	kindCreateTablespace       = 156
	kindDropTablespace         = 157
	kindCreateDatabase         = 226
	kindDropDatabase           = 230
	kindAlterSystem            = 231
	kindDropOwned              = 249
)

type empty struct{}

type integer struct {
	Value int `pb:"1"`
}

type stringNode struct {
	Value string `pb:"1"`
}

type list struct {
	Items []*node `pb:"1"`
}

type constant struct {
	Int    *integer    `pb:"1"`
	Float  *stringNode `pb:"2"`
	Bool   *boolNode   `pb:"3"`
	String *stringNode `pb:"4"`
	IsNull bool        `pb:"10"`
}

type boolNode struct {
	Value bool `pb:"1"`
}

type rangeVar struct {
	Schema      string `pb:"2"`
	Name        string `pb:"3"`
	Inherited   bool   `pb:"4"`
	Persistence string `pb:"5"`
}

type typeName struct {
	Names       []*node `pb:"1"`
	SetOf       bool    `pb:"3"`
	Mods        []*node `pb:"5"`
	ArrayBounds []*node `pb:"7"`
}

// Expressions. Those with nothing but arguments share a type for each number
// that the list of arguments has.
type (
	listExpr1 struct {
		Args []*node `pb:"1"`
	}
	listExpr2 struct {
		Args []*node `pb:"2"`
	}
	listExpr4 struct {
		Args []*node `pb:"4"`
	}
	listExpr6 struct {
		Args []*node `pb:"6"`
	}
	argument struct {
		Arg *node `pb:"1"`
	}
	boolExpr struct {
		Op   int     `pb:"2"`
		Args []*node `pb:"3"`
	}
	subLink struct {
		Select *node `pb:"6"`
	}
	caseExpr struct {
		Arg     *node   `pb:"4"`
		Args    []*node `pb:"5"`
		Default *node   `pb:"6"`
	}
	caseWhen struct {
		Condition *node `pb:"2"`
		Result    *node `pb:"3"`
	}
	nullTest struct {
		Arg  *node `pb:"2"`
		Test int   `pb:"3"`
	}
	columnRef struct {
		Fields []*node `pb:"1"`
	}
	aExpr struct {
		Name  []*node `pb:"2"`
		Left  *node   `pb:"3"`
		Right *node   `pb:"4"`
	}
	typeCast struct {
		Arg  *node     `pb:"1"`
		Type *typeName `pb:"2"`
	}
	funcCall struct {
		Name []*node `pb:"1"`
		Args []*node `pb:"2"`
	}
	resTarget struct {
		Name  string `pb:"1"`
		Value *node  `pb:"3"`
	}
)

const (
	boolAnd   = 1
	isNotNull = 2
)
