package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// statements are the writer's prepared statements.
type statements struct {
	seq *sql.Stmt

	begin, rollback, commit *sql.Stmt

	find, insert, update, remove *sql.Stmt
	insertLive, removeLive       *sql.Stmt
	insertChild, removeChild     *sql.Stmt
	removeTerm                   *sql.Stmt
	terms                        []termInsert // from many rows at once to one

	readRecord, putRecord, dropRecord *sql.Stmt
}

// termInsert inserts n rows of the inverted table.
type termInsert struct {
	n    int
	stmt *sql.Stmt
}

// prepare prepares the statements; the tables are there.
func (w *writer) prepare(ctx context.Context) error {
	s := &w.stmts
	for _, p := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&s.seq, "INSERT INTO meta(name,value) VALUES('seq',?) ON CONFLICT(name) DO UPDATE SET value=excluded.value"},
		{&s.begin, "BEGIN IMMEDIATE"},
		{&s.rollback, "ROLLBACK"},
		{&s.commit, "COMMIT"},
		{&s.find, "SELECT doc,version,deleted,revision,fields,readers,parents FROM docs WHERE type=? AND id=?"},
		{&s.insert, "INSERT INTO docs(version,lineage,revision,tenant_revision,deleted,owner,changed,fields,readers," +
			"parents,state,outbox,deleted_at,doc,type,id) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"},
		{&s.update, "UPDATE docs SET version=?,lineage=?,revision=?,tenant_revision=?,deleted=?,owner=?,changed=?,fields=?," +
			"readers=?,parents=?,state=?,outbox=?,deleted_at=? WHERE doc=?"},
		{&s.remove, "DELETE FROM docs WHERE doc=?"},
		{&s.insertLive, "INSERT INTO live(doc,type,keys) VALUES(?,?,?) ON CONFLICT(doc) DO UPDATE SET keys=excluded.keys"},
		{&s.removeLive, "DELETE FROM live WHERE doc=?"},
		{&s.insertChild, "INSERT OR IGNORE INTO children(parent_type,parent_id,type,id) VALUES(?,?,?,?)"},
		{&s.removeChild, "DELETE FROM children WHERE parent_type=? AND parent_id=? AND type=? AND id=?"},
		{&s.removeTerm, "DELETE FROM terms WHERE field=? AND value=? AND doc=? AND elem=? AND pos=?"},
		{&s.readRecord, "SELECT version FROM records WHERE tbl=? AND key=?"},
		{&s.putRecord, "INSERT INTO records(tbl,key,value,version) VALUES(?,?,?,?) " +
			"ON CONFLICT(tbl,key) DO UPDATE SET value=excluded.value,version=excluded.version"},
		{&s.dropRecord, "DELETE FROM records WHERE tbl=? AND key=?"},
	} {
		stmt, err := w.conn.PrepareContext(ctx, p.sql)
		if err != nil {
			return err
		}
		*p.to = stmt
	}
	for _, n := range []int{200, 20, 1} {
		values := strings.TrimSuffix(strings.Repeat("(?,?,?,?,?),", n), ",")
		stmt, err := w.conn.PrepareContext(ctx, "INSERT OR IGNORE INTO terms(field,value,doc,elem,pos) VALUES "+values)
		if err != nil {
			return err
		}
		s.terms = append(s.terms, termInsert{n, stmt})
	}
	return nil
}

func (s *statements) close() error {
	var errs []error
	for _, stmt := range []*sql.Stmt{
		s.seq, s.begin, s.rollback, s.commit, s.find, s.insert, s.update, s.remove, s.insertLive, s.removeLive, s.insertChild, s.removeChild,
		s.removeTerm, s.readRecord, s.putRecord, s.dropRecord,
	} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	for _, t := range s.terms {
		errs = append(errs, t.stmt.Close())
	}
	return errors.Join(errs...)
}
