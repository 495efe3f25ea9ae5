package database

import (
	"context"
	"errors"
	"io"

	migratedb "github.com/golang-migrate/migrate/v4/database"
)

// driver is what golang-migrate runs on. It is registered nowhere: a URL, the
// only thing that a registered driver is given, would hold the password.
//
// For each file golang-migrate says "dirty at N", hands over the file, and
// says "clean at N". The first is only noted here: the row is written together
// with the file, in one transaction, see session.apply.
type driver struct {
	// ctx stands here because the interface passes none (golang-migrate#14).
	ctx     context.Context
	session *session
	files   folder
	// done is called after each file that was applied.
	done func(file)

	pending int
	written bool
}

var _ migratedb.Driver = (*driver)(nil)

var errNotHere = errors.New("not supported: this driver is for one run of lockstep migrate")

// Open is for registered drivers.
func (d *driver) Open(string) (migratedb.Driver, error) { return nil, errNotHere }

// Close leaves the session to the one who opened it.
func (d *driver) Close() error { return nil }

// Lock checks that the lock is held: it is taken before the first look at the
// version table, so that what was judged is still true when files run.
func (d *driver) Lock() error {
	if !d.session.locked {
		return migratedb.ErrNotLocked
	}
	return nil
}

// Unlock leaves the lock to the one who took it.
func (d *driver) Unlock() error { return nil }

// Drop refuses: it would empty the schema.
func (d *driver) Drop() error { return errNotHere }

// Version reads the version table.
func (d *driver) Version() (int, bool, error) {
	found, err := readVersion(d.ctx, d.session.conn, d.session.table)
	if err != nil {
		return 0, false, d.session.settings.explainSQL("version table", err)
	}
	if !found.known {
		return migratedb.NilVersion, false, nil
	}
	return int(found.number), found.dirty, nil
}

// SetVersion notes which file comes next, or that it has ended.
func (d *driver) SetVersion(number int, dirty bool) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	if dirty {
		d.pending, d.written = number, false
		return nil
	}
	if d.written {
		return nil
	}
	return errors.New("golang-migrate recorded a version without running its file")
}

// Run applies the file of the version that was noted.
func (d *driver) Run(content io.Reader) error {
	// The content was read and checked before; golang-migrate has it from the
	// same archive.
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	file, ok := d.files.upFile(uint64(d.pending))
	if !ok {
		return errors.New("golang-migrate asked for a file that is not in the archive")
	}
	if err := d.session.apply(d.ctx, file); err != nil {
		return err
	}
	d.written = true
	d.done(file)
	return d.session.reset(d.ctx)
}
