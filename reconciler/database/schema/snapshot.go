package schema

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// format is the number of the canonical form. Snapshots of another form are
// never equal.
const format = 1

// Kind is what an object of a schema is.
type Kind string

// Kinds of objects.
const (
	// KindSchema is a schema.
	KindSchema Kind = "schema"
	// KindExtension is an extension. What belongs to it is left out.
	KindExtension Kind = "extension"
	// KindTable is a table, also a partitioned or foreign one, or a partition.
	KindTable Kind = "table"
	// KindColumn is a column of a table.
	KindColumn Kind = "column"
	// KindConstraint is a constraint of a table or a domain. NOT NULL is a
	// field of the column, and the index of a constraint is part of it.
	KindConstraint Kind = "constraint"
	// KindIndex is an index that belongs to no constraint.
	KindIndex Kind = "index"
	// KindSequence is a sequence, without its value.
	KindSequence Kind = "sequence"
	// KindView is a view.
	KindView Kind = "view"
	// KindMaterializedView is a materialized view.
	KindMaterializedView Kind = "materialized view"
	// KindFunction is a function, also a window function.
	KindFunction Kind = "function"
	// KindProcedure is a procedure.
	KindProcedure Kind = "procedure"
	// KindAggregate is an aggregate function.
	KindAggregate Kind = "aggregate"
	// KindTrigger is a trigger of a table or a view.
	KindTrigger Kind = "trigger"
	// KindRule is a rewrite rule, other than the one that makes a view.
	KindRule Kind = "rule"
	// KindPolicy is a policy of row security.
	KindPolicy Kind = "policy"
	// KindStatistics is an object of extended statistics.
	KindStatistics Kind = "statistics"
	// KindEnum is an enumerated type.
	KindEnum Kind = "enum"
	// KindDomain is a domain.
	KindDomain Kind = "domain"
	// KindComposite is a composite type that is no table.
	KindComposite Kind = "composite type"
	// KindRange is a range type.
	KindRange Kind = "range type"
	// KindEventTrigger is an event trigger of the database.
	KindEventTrigger Kind = "event trigger"
	// KindDefaultPrivileges is what will be granted on objects to come.
	KindDefaultPrivileges Kind = "default privileges"
	// KindOther is an object of a rarer kind: an operator, a cast, a
	// collation, a publication, a foreign server, a base type. Only that it
	// exists is read.
	KindOther Kind = "other"
)

// Field is a property of an object. What is as it is by default has no field.
type Field string

// Fields of objects.
const (
	// FieldType is the type of a column, a sequence or a domain.
	FieldType Field = "type"
	// FieldNullability is NULL or NOT NULL.
	FieldNullability Field = "nullability"
	// FieldDefault is the expression of a default.
	FieldDefault Field = "default"
	// FieldState is what is unfinished about an object: INVALID, NOT VALID,
	// not ready, not populated. What is sound has no such field.
	FieldState Field = "state"
	// FieldOrder is the order of the columns of a table, as a JSON list.
	FieldOrder Field = "order"
	// FieldDefinition is the definition as PostgreSQL spells it, or for a
	// function its sha256 in hexadecimal.
	FieldDefinition Field = "definition"
	// FieldOwner is the role that owns the object.
	FieldOwner Field = "owner"
	// FieldGrants is who may do what, as ROLE: PRIVILEGE, …; a star stands
	// for the option to grant on. What an owner may do by default is left out.
	FieldGrants Field = "grants"
	// FieldComment is the comment, where Options.Comments asks for it.
	FieldComment Field = "comment"
)

// Object is one object of a schema.
type Object struct {
	Kind Kind `json:"kind"`
	// Name is the full name, quoted where it must be: public.users.tenant_id.
	Name string `json:"name"`
	// Table is the full name of the table, view or domain that the object is
	// part of, and goes with.
	Table string `json:"table,omitempty"`
	// Fields are its properties by their names.
	Fields map[Field]string `json:"fields,omitempty"`
}

func (o Object) compare(other Object) int {
	return cmp.Or(cmp.Compare(o.Kind, other.Kind), cmp.Compare(o.Name, other.Name))
}

// Snapshot is the schema of a database at one time. Its JSON is stable: equal
// schemas give equal bytes, apart from Server.
type Snapshot struct {
	// Format is the number of the canonical form.
	Format int `json:"format"`
	// Server is the version of the server as a number, such as 150018. It
	// is not part of the digest; but two major versions may spell the same
	// definition differently.
	Server int `json:"server"`
	// Objects are sorted by kind and name.
	Objects []Object `json:"objects"`
}

// Aspect is a part of a snapshot that may be left out of a comparison.
type Aspect string

// Aspects.
const (
	// Owners are the owners of all objects.
	Owners Aspect = "owners"
	// Grants are all privileges, also those of objects to come.
	Grants Aspect = "grants"
	// ColumnOrder is the physical order of columns. It matters to an INSERT
	// without a list of columns, and to nothing else.
	ColumnOrder Aspect = "order of columns"
	// Comments are the comments.
	Comments Aspect = "comments"
)

// Without returns the snapshot without some of its aspects.
func (s Snapshot) Without(aspects ...Aspect) Snapshot {
	dropped := map[Field]bool{}
	for _, aspect := range aspects {
		dropped[map[Aspect]Field{Owners: FieldOwner, Grants: FieldGrants, ColumnOrder: FieldOrder, Comments: FieldComment}[aspect]] = true
	}
	out := s
	out.Objects = make([]Object, 0, len(s.Objects))
	for _, object := range s.Objects {
		if object.Kind == KindDefaultPrivileges && dropped[FieldGrants] {
			continue
		}
		object.Fields = maps.Clone(object.Fields)
		maps.DeleteFunc(object.Fields, func(f Field, _ string) bool { return dropped[f] })
		out.Objects = append(out.Objects, object)
	}
	return out
}

// Digest is the sha256 of the canonical form, in hexadecimal. Leave out with
// Without what must not matter to it.
func (s Snapshot) Digest() (string, error) {
	s.Server = 0
	content, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("digest of the schema: %w", err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}

// Object finds an object by its kind and full name.
func (s Snapshot) Object(kind Kind, name string) (Object, bool) {
	i, found := slices.BinarySearchFunc(s.Objects, Object{Kind: kind, Name: name}, Object.compare)
	if !found {
		return Object{}, false
	}
	return s.Objects[i], true
}

// Unfinished returns what a migration began and did not end: INVALID indexes,
// constraints that are NOT VALID, materialized views without rows.
func (s Snapshot) Unfinished() []Object {
	var out []Object
	for _, object := range s.Objects {
		if object.Fields[FieldState] != "" {
			out = append(out, object)
		}
	}
	return out
}
