package lint

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	pg "github.com/wasilibs/go-pgquery/parser"
)

// instance is PostgreSQL's parser. There is one in a process: the module that
// runs it keeps a pool, and each member of it costs a second and 260 MB to
// make.
type instance struct {
	mu sync.Mutex
	// broken is why the parser cannot be used any more: after a crash its
	// memory is in no known state, and the module has no way to make a new one.
	broken error
}

var shared instance //nolint:gochecknoglobals // It guards a pool that is global in another module.

// syntaxError is what PostgreSQL's parser has to say about a text.
type syntaxError struct {
	message string
	// position is a character of the text, counted from 1; 0 is none.
	position int
}

func (e *syntaxError) Error() string { return e.message }

// errBroken says that the parser has crashed before.
var errBroken = errors.New("the SQL parser has crashed before in this process; start it anew")

// tokens divides a text into tokens; comments are among them.
func (p *instance) tokens(sql string) ([]token, error) {
	data, err := p.call(sql, pg.ScanToProtobuf)
	if err != nil {
		return nil, err
	}
	var out scanResult
	if err := read(data, &out); err != nil {
		return nil, err
	}
	return out.Tokens, nil
}

// tree parses a text.
func (p *instance) tree(sql string) ([]rawStmt, error) {
	data, err := p.call(sql, pg.ParseToProtobuf)
	if err != nil {
		return nil, err
	}
	var out parseResult
	if err := read(data, &out); err != nil {
		return nil, err
	}
	if out.Version/10000 != parserMajor {
		return nil, fmt.Errorf("parser of PostgreSQL %d: this program reads trees of %d", out.Version/10000, parserMajor)
	}
	return out.Stmts, nil
}

// call runs a function of the parser. It crashes by a panic.
func (p *instance) call(sql string, function func(string) ([]byte, error)) (out []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return nil, p.broken
	}
	defer func() {
		if crash := recover(); crash != nil {
			p.broken = errBroken
			out, err = nil, fmt.Errorf("crash of the SQL parser: %.100v", crash)
		}
	}()
	out, err = function(sql)
	if syntax, ok := errors.AsType[*pg.Error](err); ok {
		return nil, &syntaxError{message: syntax.Message, position: syntax.Cursorpos}
	}
	return out, err
}

func read(data []byte, into any) error {
	d := decoder{fields: map[reflect.Type]map[int]int{}}
	if err := d.decode(data, reflect.ValueOf(into).Elem()); err != nil {
		return fmt.Errorf("tree of the SQL parser: %w", err)
	}
	return nil
}

type scanResult struct {
	Version int     `pb:"1"`
	Tokens  []token `pb:"2"`
}

// token is a token of SQL: the bytes from Start to End.
type token struct {
	Start int `pb:"1"`
	End   int `pb:"2"`
	Type  int `pb:"4"`
}

// Types of tokens. Those of one character are the character.
const (
	tokenLineComment  = 275
	tokenBlockComment = 276
)

func (t token) comment() bool { return t.Type == tokenLineComment || t.Type == tokenBlockComment }

// maxChain is how many tokens may stand in one another. The parser's stack is
// a small one without a guard: measured, an expression of three thousand
// tokens breaks it, and it then runs forever. Real migrations stay below two hundred.
const maxChain = 1000

// chain is an upper bound of how deep the tree of a text can be: the tokens
// since the last comma, on each level of parentheses around the deepest place.
func chain(tokens []token) int {
	levels := []int{0}
	total, deepest := 0, 0
	for _, t := range tokens {
		last := len(levels) - 1
		switch {
		case t.comment():
			continue
		case t.Type == ',' || t.Type == ';':
			total -= levels[last]
			levels[last] = 0
			continue
		case (t.Type == ')' || t.Type == ']') && last > 0:
			total -= levels[last]
			levels = levels[:last]
			last--
		}
		levels[last]++
		total++
		deepest = max(deepest, total)
		if t.Type == '(' || t.Type == '[' {
			levels = append(levels, 0)
		}
	}
	return deepest
}
