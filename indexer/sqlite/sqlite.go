// Package sqlite keeps documents and records in one SQLite file, index.db, and
// searches it. It is the embedded store: no server, nothing to set up, and what is
// acknowledged is there after a kill -9.
//
// It folds nothing and decides nothing about what a caller may see: indexer and
// searchapi/policy do. Its invariants: documents, the inverted table and records
// change in one transaction; ghosts and tombstones have no row that a search reads.
//
// Writes are committed with synchronous=NORMAL: a killed process loses nothing that
// was acknowledged, but a power cut may take the last commits. The embedded broker,
// which holds the offsets committed after them, does not sync its files either, so
// syncing here alone would promise nothing. Config.Sync is for a broker that does.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"modernc.org/sqlite"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/sqlite/compile"
	"github.com/fresnel-search/fresnel/searchapi/view"
)

// ErrClosed says that the store was closed.
var ErrClosed = errors.New("store is closed")

// Config says where the store is and what it may use.
type Config struct {
	// Path is the file; relative to the data folder if it is not absolute.
	Path string `yaml:"path"`
	// Sync waits for the disk at each commit, so that a power cut loses nothing.
	Sync bool `yaml:"sync"`
	// Readers is the number of searches that run at once.
	Readers int `yaml:"readers"`
	// CacheMB is the page cache of each connection: of the writer, and a quarter of
	// it for each reader.
	CacheMB int `yaml:"cache_mb"`
	// SearchTimeout bounds a search that does not say how long it may take; those of
	// the search API always do.
	SearchTimeout time.Duration `yaml:"-"`
}

// DefaultConfig suits one machine of any size.
func DefaultConfig() Config {
	return Config{Path: "index.db", Readers: 4, CacheMB: 32, SearchTimeout: 10 * time.Second}
}

// Validate joins everything that is wrong, each with its key.
func (c Config) Validate() error {
	var errs []error
	if c.Path == "" {
		errs = append(errs, errors.New("path: required"))
	}
	if c.Readers < 1 || c.Readers > 256 {
		errs = append(errs, errors.New("readers: must be from 1 to 256"))
	}
	if c.CacheMB < 1 || c.CacheMB > 64<<10 {
		errs = append(errs, errors.New("cache_mb: must be from 1 to 65536"))
	}
	if c.SearchTimeout <= 0 {
		errs = append(errs, errors.New("search_timeout: must be above 0"))
	}
	return errors.Join(errs...)
}

// In returns the configuration with Path inside of a data folder.
func (c Config) In(dir string) Config {
	if !filepath.IsAbs(c.Path) {
		c.Path = filepath.Join(dir, c.Path)
	}
	return c
}

// Store is an open store. All its methods are safe for concurrent use.
type Store struct {
	cfg     Config
	log     *slog.Logger
	schema  *compile.Schema
	view    *view.View
	readers *sql.DB
	load    *sql.Stmt // of readers
	writer  *writer

	mu     sync.RWMutex // held for reading while a reader's method runs
	closed bool
}

// Open opens the store, creating it where there is none. Documents whose type is
// indexed differently from when they were written are indexed again first. A nil
// log discards.
func Open(cfg Config, cat *catalog.Catalog, log *slog.Logger) (*Store, error) {
	return OpenTypes(cfg, cat.Types(), log)
}

// OpenTypes is Open with the types of a catalogue.
func OpenTypes(cfg Config, types []*catalog.Type, log *slog.Logger) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Store{cfg: cfg, log: log, view: view.New(types)}
	ctx := context.Background() // opening is not interrupted: it may be half a migration
	w, err := openWriter(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg.Path, err)
	}
	s.writer = w
	if s.schema, err = compile.NewSchema(types, w.intern); err == nil {
		s.readers, err = pool(cfg, "query_only(1)", max(1, cfg.CacheMB/4))
	}
	if err == nil {
		s.readers.SetMaxOpenConns(cfg.Readers)
		s.readers.SetMaxIdleConns(cfg.Readers)
		err = s.reindex(ctx)
	}
	if err == nil {
		s.load, err = s.readers.PrepareContext(ctx, loadSQL)
	}
	if err == nil {
		err = w.prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", cfg.Path, err), s.shut())
	}
	go w.run()
	return s, nil
}

// pool opens connections to the file. It waits for nobody but other processes:
// readers never block the writer, nor it them.
func pool(cfg Config, pragma string, cacheMB int) (*sql.DB, error) {
	sync := "NORMAL"
	if cfg.Sync {
		sync = "FULL"
	}
	path := url.URL{Path: filepath.ToSlash(cfg.Path)}
	dsn := "file:" + path.EscapedPath() + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(" + sync + ")&_pragma=cache_size(-" + strconv.Itoa(cacheMB<<10) + ")" +
		"&_pragma=temp_store(2)&_pragma=journal_size_limit(67108864)&_pragma=wal_autocheckpoint(4000)&_pragma=" + pragma
	conn, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(conn), nil
}

// Close waits for what runs and refuses what comes later with ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.writer.stop()
	return s.shut()
}

func (s *Store) shut() error {
	var errs []error
	if s.load != nil {
		errs = append(errs, s.load.Close())
	}
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	return errors.Join(errs...)
}

// reading keeps the store open until the function returned is called.
func (s *Store) reading() (done func(), err error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return nil, ErrClosed
	}
	return s.mu.RUnlock, nil
}

// Ping reports whether the store answers.
func (s *Store) Ping(ctx context.Context) error {
	done, err := s.reading()
	if err != nil {
		return err
	}
	defer done()
	var one int
	return s.readers.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// reindex indexes the documents of types whose shape has changed.
func (s *Store) reindex(ctx context.Context) error {
	for _, typ := range s.schema.Types() {
		shape := s.schema.Shape(typ)
		var was string
		err := s.writer.conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE name=?", "shape:"+typ).Scan(&was)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if was == shape {
			continue
		}
		n, err := s.indexAgain(ctx, typ)
		if err != nil {
			return fmt.Errorf("index documents of %s again: %w", typ, err)
		}
		if n > 0 {
			s.log.Info("documents indexed again", "resource_type", typ, "count", n)
		}
		if err := s.writer.setMeta(ctx, "shape:"+typ, shape); err != nil {
			return err
		}
	}
	return nil
}
