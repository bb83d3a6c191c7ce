-- Documents, whole. The columns after readers are opaque to SQL.
CREATE TABLE docs(
  doc INTEGER PRIMARY KEY,
  type TEXT NOT NULL,
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  lineage TEXT NOT NULL,
  revision INTEGER NOT NULL,
  tenant_revision INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  owner TEXT NOT NULL,
  changed INTEGER NOT NULL,
  fields TEXT NOT NULL,
  readers TEXT NOT NULL,
  parents TEXT NOT NULL,
  state BLOB NOT NULL,
  outbox BLOB,
  deleted_at INTEGER, -- of a tombstone: when it was written last, by our clock
  UNIQUE(type, id)
) STRICT;
CREATE INDEX docs_deleted ON docs(deleted_at) WHERE deleted_at IS NOT NULL;

-- What searches see: neither ghosts nor tombstones.
CREATE TABLE live(doc INTEGER PRIMARY KEY, type TEXT NOT NULL, keys BLOB NOT NULL) STRICT;
CREATE INDEX live_type ON live(type);

-- The inverted table of live documents; elem is 0 for the document itself.
CREATE TABLE terms(
  field INTEGER NOT NULL,
  value NOT NULL,
  doc INTEGER NOT NULL,
  elem INTEGER NOT NULL,
  pos INTEGER NOT NULL,
  PRIMARY KEY(field, value, doc, elem, pos)
) WITHOUT ROWID;

-- The numbers in terms.field.
CREATE TABLE fields(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  hidden INTEGER NOT NULL,
  UNIQUE(name, kind, hidden)
) STRICT;

-- Children by parent, ghosts among them, tombstones not.
CREATE TABLE children(
  parent_type TEXT NOT NULL,
  parent_id TEXT NOT NULL,
  type TEXT NOT NULL,
  id TEXT NOT NULL,
  PRIMARY KEY(parent_type, parent_id, type, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE records(
  tbl TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  version INTEGER NOT NULL,
  UNIQUE(tbl, key)
) STRICT;

CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
