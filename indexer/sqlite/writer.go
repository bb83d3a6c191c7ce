package sqlite

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/fresnel-search/fresnel/indexer/sqlite/compile"
)

//go:embed schema.sql
var schemaSQL string

// layout is the version of schema.sql.
const layout = 1

// most is how many calls one commit carries.
const most = 64

// writer is the one connection that writes. Calls wait in a queue; those that came
// while a commit ran share the next one.
type writer struct {
	db   *sql.DB
	conn *sql.Conn
	// seq is the last version given, doc the last document's number.
	seq, doc int64
	stmts    statements

	jobs chan *job
	done chan struct{}
	mu   sync.RWMutex // held for reading while a job is queued
	over bool
}

// job is one caller's part of a transaction: all of it is stored or nothing. It may be
// run twice, the first time in vain.
type job struct {
	run  func(ctx context.Context, w *writer) error
	err  error
	done chan struct{}
}

func openWriter(ctx context.Context, cfg Config) (*writer, error) {
	if err := os.MkdirAll(filepath.Dir(cfg.Path), 0o750); err != nil {
		return nil, err
	}
	if err := touch(cfg.Path); err != nil {
		return nil, err
	}
	db, err := pool(cfg, "foreign_keys(0)", cfg.CacheMB)
	if err != nil {
		return nil, err
	}
	w := &writer{db: db, jobs: make(chan *job), done: make(chan struct{})}
	if w.conn, err = db.Conn(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := w.create(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// touch makes the file if there is none, for its owner only: SQLite would let everybody
// read it. The files that SQLite makes beside it get its mode.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// create brings the file to the layout and reads the counters.
func (w *writer) create(ctx context.Context) error {
	var have int
	if err := w.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	switch have {
	case layout:
	case 0:
		script := fmt.Sprintf("BEGIN IMMEDIATE;\n%s\nPRAGMA user_version=%d;\nCOMMIT", schemaSQL, layout)
		if _, err := w.conn.ExecContext(ctx, script); err != nil {
			return err
		}
	default:
		return fmt.Errorf("the file has layout %d, this version knows up to %d", have, layout)
	}
	return w.conn.QueryRowContext(ctx, `SELECT
		coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name='seq'), 0),
		coalesce((SELECT max(doc) FROM docs), 0)`).Scan(&w.seq, &w.doc)
}

// intern gives a key of the inverted table its number.
func (w *writer) intern(k compile.Key) (id int64, err error) {
	ctx := context.Background()
	find := func() error {
		return w.conn.QueryRowContext(ctx, "SELECT id FROM fields WHERE name=? AND kind=? AND hidden=?",
			k.Name, string(k.Kind), k.Hidden).Scan(&id)
	}
	if err := find(); !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	if _, err := w.conn.ExecContext(ctx, "INSERT INTO fields(name,kind,hidden) VALUES(?,?,?)",
		k.Name, string(k.Kind), k.Hidden); err != nil {
		return 0, err
	}
	return id, find()
}

func (w *writer) setMeta(ctx context.Context, name, value string) error {
	_, err := w.conn.ExecContext(ctx, "INSERT INTO meta(name,value) VALUES(?,?) "+
		"ON CONFLICT(name) DO UPDATE SET value=excluded.value", name, value)
	return err
}

// next is the next version: never one that any document or record had before.
func (w *writer) next() int64 {
	w.seq++
	return w.seq
}

// do runs a job in the next transaction and returns when that is committed. If ctx
// ends first, the job still runs whole or not at all.
func (w *writer) do(ctx context.Context, run func(ctx context.Context, w *writer) error) error {
	j := &job{run: run, done: make(chan struct{})}
	if err := w.queue(ctx, j); err != nil {
		return err
	}
	<-j.done
	return j.err
}

func (w *writer) queue(ctx context.Context, j *job) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.over {
		return ErrClosed
	}
	select {
	case w.jobs <- j:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop ends run after what is queued.
func (w *writer) stop() {
	w.mu.Lock()
	w.over = true
	close(w.jobs)
	w.mu.Unlock()
	<-w.done
}

func (w *writer) close() error {
	return errors.Join(w.stmts.close(), w.conn.Close(), w.db.Close())
}

func (w *writer) run() {
	defer close(w.done)
	for j := range w.jobs {
		jobs := w.more([]*job{j})
		if err := w.commit(context.Background(), jobs); err != nil {
			for _, j := range jobs {
				j.err = errors.Join(j.err, err)
			}
		}
		for _, j := range jobs {
			close(j.done)
		}
	}
}

// more takes those that wait already.
func (w *writer) more(jobs []*job) []*job {
	for len(jobs) < most {
		select {
		case j, ok := <-w.jobs:
			if !ok {
				return jobs
			}
			jobs = append(jobs, j)
		default:
			return jobs
		}
	}
	return jobs
}

// commit runs the jobs in one transaction. If one of them fails, each gets a
// transaction of its own, so that it leaves no trace and the others go on: jobs must
// bear being run again. A savepoint for each would spare that, and would make SQLite
// copy every page before its first change. The error is for all jobs.
func (w *writer) commit(ctx context.Context, jobs []*job) error {
	failed, err := w.transaction(ctx, jobs)
	if !failed || len(jobs) == 1 {
		return err
	}
	for _, j := range jobs {
		if _, err := w.transaction(ctx, []*job{j}); err != nil {
			return err
		}
	}
	return nil
}

// transaction runs jobs until one fails, and then undoes them all; the job has its
// error. The error returned is not a job's.
func (w *writer) transaction(ctx context.Context, jobs []*job) (failed bool, err error) {
	if err := exec(ctx, "begin", w.stmts.begin); err != nil {
		return false, err
	}
	for _, j := range jobs {
		if j.err = j.run(ctx, w); j.err != nil {
			return true, exec(ctx, "rollback", w.stmts.rollback)
		}
	}
	if _, err = w.stmts.seq.ExecContext(ctx, w.seq); err == nil {
		err = exec(ctx, "commit", w.stmts.commit)
	}
	if err != nil {
		return false, errors.Join(err, exec(ctx, "rollback", w.stmts.rollback))
	}
	return false, nil
}

func exec(ctx context.Context, name string, stmt *sql.Stmt) error {
	if _, err := stmt.ExecContext(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
