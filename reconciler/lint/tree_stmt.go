package lint

// Statements of the parse tree; see tree.go.

type insertStmt struct {
	Relation *rangeVar   `pb:"1"`
	Source   *node       `pb:"3"`
	With     *withClause `pb:"6"`
}

type deleteStmt struct {
	Relation *rangeVar   `pb:"1"`
	Where    *node       `pb:"3"`
	With     *withClause `pb:"5"`
}

type updateStmt struct {
	Relation *rangeVar   `pb:"1"`
	Where    *node       `pb:"3"`
	With     *withClause `pb:"6"`
}

type mergeStmt struct {
	Relation *rangeVar   `pb:"1"`
	With     *withClause `pb:"6"`
}

type selectStmt struct {
	Into    *intoClause `pb:"2"`
	Targets []*node     `pb:"3"`
	From    []*node     `pb:"4"`
	With    *withClause `pb:"16"`
}

type intoClause struct {
	Relation *rangeVar `pb:"1"`
}

type withClause struct {
	CTEs []*node `pb:"1"`
}

type commonTableExpr struct {
	Query *node `pb:"4"`
}

type createSchemaStmt struct {
	Name     string  `pb:"1"`
	Elements []*node `pb:"3"`
}

type alterTableStmt struct {
	Relation *rangeVar  `pb:"1"`
	Commands []*node    `pb:"2"`
	Type     objectType `pb:"3"`
}

type alterTableCmd struct {
	Type     alterType `pb:"1"`
	Name     string    `pb:"2"`
	Def      *node     `pb:"5"`
	Behavior int       `pb:"6"`
}

type alterDomainStmt struct {
	// Subtype is a letter: O and N for NOT NULL, C for a constraint.
	Subtype string  `pb:"1"`
	Name    []*node `pb:"2"`
	Def     *node   `pb:"4"`
}

type grantStmt struct {
	Grant      bool       `pb:"1"`
	Object     objectType `pb:"3"`
	Objects    []*node    `pb:"4"`
	Privileges []*node    `pb:"5"`
}

type objectWithArgs struct {
	Name []*node `pb:"1"`
}

type copyStmt struct {
	Relation *rangeVar `pb:"1"`
	From     bool      `pb:"4"`
	Program  bool      `pb:"5"`
	File     string    `pb:"6"`
}

type variableSetStmt struct {
	Kind  int     `pb:"1"`
	Name  string  `pb:"2"`
	Args  []*node `pb:"3"`
	Local bool    `pb:"4"`
}

type createStmt struct {
	Relation    *rangeVar `pb:"1"`
	Elements    []*node   `pb:"2"`
	Parents     []*node   `pb:"3"`
	PartitionOf *empty    `pb:"4"`
	PartitionBy *empty    `pb:"5"`
	Constraints []*node   `pb:"7"`
	IfNotExists bool      `pb:"12"`
}

type columnDef struct {
	Name        string    `pb:"1"`
	Type        *typeName `pb:"2"`
	Default     *node     `pb:"10"`
	Constraints []*node   `pb:"17"`
}

type constraintNode struct {
	Type           constraintType `pb:"1"`
	Name           string         `pb:"2"`
	SkipValidation bool           `pb:"5"`
	Expr           *node          `pb:"8"`
	GeneratedWhen  string         `pb:"10"`
	Keys           []*node        `pb:"13"`
	Index          string         `pb:"17"`
	Parent         *rangeVar      `pb:"22"`
	ForeignKeys    []*node        `pb:"23"`
}

type indexElem struct {
	Name string `pb:"1"`
}

type defElem struct {
	Name string `pb:"2"`
	Arg  *node  `pb:"3"`
}

type partitionCmd struct {
	Name       *rangeVar `pb:"1"`
	Concurrent bool      `pb:"3"`
}

type createPolicyStmt struct {
	Table      *rangeVar `pb:"2"`
	Permissive bool      `pb:"4"`
}

type alterPolicyStmt struct {
	Table *rangeVar `pb:"2"`
}

type createTrigStmt struct {
	Relation *rangeVar `pb:"4"`
	Parent   *rangeVar `pb:"15"`
}

type dropStmt struct {
	Objects    []*node    `pb:"1"`
	Type       objectType `pb:"2"`
	Behavior   int        `pb:"3"`
	Concurrent bool       `pb:"5"`
}

type truncateStmt struct {
	Relations []*node `pb:"1"`
	Behavior  int     `pb:"3"`
}

type indexStmt struct {
	Name        string    `pb:"1"`
	Relation    *rangeVar `pb:"2"`
	Columns     []*node   `pb:"5"`
	Unique      bool      `pb:"15"`
	Concurrent  bool      `pb:"22"`
	IfNotExists bool      `pb:"23"`
}

type createFunction struct {
	Procedure bool    `pb:"1"`
	Replace   bool    `pb:"2"`
	Name      []*node `pb:"3"`
}

type renameStmt struct {
	Type         objectType `pb:"1"`
	RelationType objectType `pb:"2"`
	Relation     *rangeVar  `pb:"3"`
	Object       *node      `pb:"4"`
	Subname      string     `pb:"5"`
	NewName      string     `pb:"6"`
}

type alterObjectSchema struct {
	Type      objectType `pb:"1"`
	Relation  *rangeVar  `pb:"2"`
	Object    *node      `pb:"3"`
	NewSchema string     `pb:"4"`
}

type alterOwnerStmt struct {
	Type   objectType `pb:"1"`
	Object *node      `pb:"3"`
}

type ruleStmt struct {
	Relation *rangeVar `pb:"1"`
}

type transactionStmt struct {
	Type transactionType `pb:"1"`
}

type alterEnumStmt struct {
	Name     []*node `pb:"1"`
	OldValue string  `pb:"2"`
	NewValue string  `pb:"3"`
}

type viewStmt struct {
	View    *rangeVar `pb:"1"`
	Replace bool      `pb:"4"`
}

type clusterStmt struct {
	Relation *rangeVar `pb:"1"`
}

type vacuumStmt struct {
	Options   []*node `pb:"1"`
	Relations []*node `pb:"2"`
	// Vacuum is false for ANALYZE.
	Vacuum bool `pb:"3"`
}

type vacuumRelation struct {
	Relation *rangeVar `pb:"1"`
}

type createTableAs struct {
	Query *node       `pb:"1"`
	Into  *intoClause `pb:"2"`
	Type  objectType  `pb:"3"`
}

type refreshMatView struct {
	Concurrent bool      `pb:"1"`
	SkipData   bool      `pb:"2"`
	Relation   *rangeVar `pb:"3"`
}

type lockStmt struct {
	Relations []*node `pb:"1"`
	// Mode counts from 1, ACCESS SHARE, to 8, ACCESS EXCLUSIVE.
	Mode int `pb:"2"`
}

type reindexStmt struct {
	Type     int       `pb:"1"`
	Relation *rangeVar `pb:"2"`
	Name     string    `pb:"3"`
	Options  []*node   `pb:"4"`
}
