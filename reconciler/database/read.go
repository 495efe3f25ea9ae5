package database

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/golang-migrate/migrate/v4/source"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Sizes beyond which a folder of migrations is refused.
const (
	maxFile   = 4 << 20
	maxFolder = 16 << 20
)

// reasonMigrations is the reason of a folder that cannot be used as it is.
const reasonMigrations = "MigrationsInvalid"

// lfsHeader is how a file begins that git-lfs has put elsewhere.
const lfsHeader = "version https://git-lfs.github.com/spec/"

// file is one migration file.
type file struct {
	name       string
	version    uint64
	title      string
	up         bool
	content    []byte
	statements []statement
}

// folder is a folder of migration files, checked.
type folder struct {
	// files in the order of their names.
	files []file
	// versions of the files that go up, ascending.
	versions []uint64
}

// Read reads a folder of migration files with the names that golang-migrate
// uses: N_title.up.sql and N_title.down.sql. It is strict where golang-migrate
// is silent: a .sql file with another name, a version that is there twice or
// goes only down, a link, a transaction of the file's own are refused, all at
// once, with their names. Such errors are terminal.
//
// A file may be 4 MiB, all files together 16 MiB.
func Read(tree reconciler.Tree, path string) (reconciler.MigrationSet, error) {
	folder, err := readFolder(tree, path)
	if err != nil {
		return reconciler.MigrationSet{}, err
	}
	archive, err := pack(folder.files)
	if err != nil {
		return reconciler.MigrationSet{}, fmt.Errorf("archive of %s: %w", path, err)
	}
	return reconciler.MigrationSet{Digest: folder.digest(), Versions: folder.versions, Archive: archive}, nil
}

// digest is the sha256 over the names and contents, each preceded by its length.
func (f folder) digest() string {
	sum := sha256.New()
	for _, file := range f.files {
		for _, part := range [][]byte{[]byte(file.name), file.content} {
			sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			sum.Write(part)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// latest is the newest version.
func (f folder) latest() uint64 { return f.versions[len(f.versions)-1] }

// upFile returns the file that goes up to a version.
func (f folder) upFile(version uint64) (file, bool) {
	i := slices.IndexFunc(f.files, func(file file) bool { return file.up && file.version == version })
	if i < 0 {
		return file{}, false
	}
	return f.files[i], true
}

func readFolder(fsys fs.FS, name string) (folder, error) {
	name = path.Clean(name)
	entries, err := readEntries(fsys, name)
	if err != nil {
		return folder{}, err
	}
	var out folder
	var errs []error
	size := 0
	for _, entry := range entries {
		file, err := readFile(fsys, name, entry)
		size += len(file.content)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", path.Join(name, entry.Name()), err))
		case size > maxFolder:
			return folder{}, reconciler.Terminalf(reasonMigrations, "folder %s holds more than %d MiB of SQL: move data out of the migrations", name, maxFolder>>20)
		case file.name != "":
			out.files = append(out.files, file)
		}
	}
	if len(errs) == 0 {
		errs = append(errs, out.index(name))
	}
	if err := errors.Join(errs...); err != nil {
		return folder{}, terminalUnlessIO(err)
	}
	return out, nil
}

func readEntries(fsys fs.FS, name string) ([]fs.DirEntry, error) {
	info, err := fs.Stat(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, reconciler.Terminalf(reasonMigrations, "folder %s is not in this commit: correct spec.databases[].migrations.path or add it", name)
	case errors.Is(err, fs.ErrInvalid):
		return nil, reconciler.Terminalf(reasonMigrations, "folder %s: %w", name, err)
	case err == nil && !info.IsDir():
		return nil, reconciler.Terminalf(reasonMigrations, "%s is no folder: correct spec.databases[].migrations.path", name)
	case err != nil:
		return nil, fmt.Errorf("folder %s: %w", name, err)
	}
	return fs.ReadDir(fsys, name)
}

// terminalUnlessIO keeps an error of the store below what it is: reading
// again may help there, whatever else is wrong with the folder.
func terminalUnlessIO(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	return reconciler.Terminal(reasonMigrations, err)
}

// readFile reads one entry of the folder. It returns an empty file for what
// is no migration and does not look like one.
func readFile(fsys fs.FS, folder string, entry fs.DirEntry) (file, error) {
	parsed, err := source.Parse(entry.Name())
	named := err == nil
	isSQL := strings.EqualFold(path.Ext(entry.Name()), ".sql")
	switch {
	case entry.IsDir() || !named && !isSQL:
		return file{}, nil
	case !named:
		return file{}, errors.New("golang-migrate would pass over it in silence: name it N_title.up.sql or N_title.down.sql, or move it elsewhere")
	case path.Ext(entry.Name()) != ".sql":
		return file{}, errors.New("golang-migrate would run it as a migration: let its name end in .sql, or move it elsewhere")
	case !entry.Type().IsRegular():
		return file{}, errors.New("it is a link or something else that is no file: put the file itself there")
	case strings.ContainsFunc(entry.Name(), func(r rune) bool { return r < ' ' || r == '\\' }):
		return file{}, errors.New("its name holds a backslash or a control character: rename it")
	case parsed.Version > math.MaxInt64:
		return file{}, fmt.Errorf("version %d is over %d, the largest that the version table can hold", parsed.Version, int64(math.MaxInt64))
	}
	content, err := readContent(fsys, path.Join(folder, entry.Name()))
	if err != nil {
		return file{}, err
	}
	out := file{
		name: entry.Name(), version: uint64(parsed.Version), title: parsed.Identifier,
		up: parsed.Direction == source.Up, content: content,
	}
	if !out.up {
		return out, nil
	}
	if out.statements, err = splitStatements(string(content)); err != nil {
		return out, err
	}
	return out, lint(out.statements)
}

func readContent(fsys fs.FS, name string) ([]byte, error) {
	opened, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	content, err := io.ReadAll(io.LimitReader(opened, maxFile+1))
	switch {
	case err != nil:
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	case len(content) > maxFile:
		return nil, fmt.Errorf("it is over %d MiB: move data out of the migrations", maxFile>>20)
	case bytes.HasPrefix(content, []byte(lfsHeader)):
		return nil, errors.New("it is a pointer of git-lfs: take the folder out of git-lfs")
	case bytes.HasPrefix(content, []byte("\xef\xbb\xbf")):
		return nil, errors.New("it begins with a byte order mark, which PostgreSQL refuses: save it without")
	case !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0:
		return nil, errors.New("it is no UTF-8 text: save it as such")
	}
	return content, nil
}

// index collects the versions and refuses what cannot be put in order.
func (f *folder) index(name string) error {
	var errs []error
	up, down := map[uint64]string{}, map[uint64]string{}
	for _, file := range f.files {
		names := down
		if file.up {
			names = up
		}
		if other, ok := names[file.version]; ok {
			errs = append(errs, fmt.Errorf("%s: version %d is already that of %s: give one of them another number", path.Join(name, file.name), file.version, other))
			continue
		}
		names[file.version] = file.name
		if file.up {
			f.versions = append(f.versions, file.version)
		}
	}
	for _, file := range f.files {
		if up[file.version] == "" {
			errs = append(errs, fmt.Errorf("%s: version %d has no file that goes up: add it, or remove this one", path.Join(name, file.name), file.version))
		}
	}
	if len(f.files) == 0 {
		errs = append(errs, fmt.Errorf("folder %s holds no migrations: add files named N_title.up.sql, or take migrations out of the Release", name))
	}
	slices.Sort(f.versions)
	return errors.Join(errs...)
}

// UpFile is a migration that goes up.
type UpFile struct {
	Name    string
	Version uint64
	SQL     []byte
}

// UpFiles reads the files of a folder that go up, by ascending version, under
// the rules of Read.
func UpFiles(fsys fs.FS, name string) ([]UpFile, error) {
	folder, err := readFolder(fsys, name)
	if err != nil {
		return nil, err
	}
	files := make([]UpFile, 0, len(folder.versions))
	for _, version := range folder.versions {
		if file, ok := folder.upFile(version); ok {
			files = append(files, UpFile{Name: file.name, Version: version, SQL: file.content})
		}
	}
	return files, nil
}
