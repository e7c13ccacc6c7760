-- Storage tables. People query the views of V2; these names and columns are headwater's own.
--
-- sid, bid and hid are local integers, given in order of first appearance, so that a rebuild from the log gives the same ones.
-- A head's hid is the bid of its root payload. Times are microseconds since 1970, UTC; those called *packed* are the distance from the
-- session's start: in milliseconds, times two, where those are whole, else in microseconds, times two, plus one.
-- A column whose set of values is open but mostly small holds an integer code for the known ones and text for the rest; a *word* is the
-- number of a row of hw_word, or the text itself where it has none there.

-- A commit writes each page it touches, so the b-trees are few: a number is looked up along the events where it grows with them, and
-- what has versions shares one table of them.

-- The commits applied. The last row says where these rows stand too: on a page that every commit writes anyway.
CREATE TABLE hw_tx (
  tx      INTEGER PRIMARY KEY,        -- from 1, without gap; 0 where the rows know of a log without commits
  at      INTEGER NOT NULL,
  -- of the last row alone, null in all others
  digest  BLOB,                       -- its digest: the chain of the journal
  segment INTEGER,                    -- where the log ends, as these rows know it
  offset  INTEGER
);

CREATE TABLE hw_session (
  sid        INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  kind       TEXT NOT NULL,
  origin     TEXT,
  cache_id   TEXT,
  status     TEXT NOT NULL,
  title      TEXT,                    -- display text, a cache of title_ref's payload
  title_ref  INTEGER,
  started_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  ended_at   INTEGER,
  current    INTEGER,                 -- session/current-head, a hid
  base_up    INTEGER,                 -- the working branch: the head at which it left,
  base_from  INTEGER NOT NULL,        -- its first event,
  basis      INTEGER,                 -- and the head the next one is built on
  last_event INTEGER NOT NULL,
  digest     BLOB NOT NULL,           -- d(last_event)
  deep       INTEGER NOT NULL DEFAULT 0, -- 1: the current head has too many spans to be tabled
  -- counters inherited from the source head of a fork or attach
  i_message INTEGER NOT NULL DEFAULT 0, i_turn INTEGER NOT NULL DEFAULT 0, i_call INTEGER NOT NULL DEFAULT 0,
  i_eval INTEGER NOT NULL DEFAULT 0, i_snapshot INTEGER NOT NULL DEFAULT 0, i_head INTEGER NOT NULL DEFAULT 0,
  i_invocation INTEGER NOT NULL DEFAULT 0, i_child INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE hw_blob (
  bid     INTEGER PRIMARY KEY,
  hash    BLOB NOT NULL,              -- BLAKE3 of the uncompressed bytes
  size    INTEGER NOT NULL,           -- uncompressed
  segment INTEGER,                    -- where its frame begins; null for a payload kept in parts, or erased
  offset  INTEGER,
  stored  INTEGER NOT NULL,           -- bytes of the frame's body, also where it holds several
  codec   INTEGER NOT NULL,
  skip    INTEGER,                    -- where it begins in the bytes of a frame that holds several; null where the frame is its own
  media   TEXT,
  state   INTEGER NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)), -- present, in parts, erased
  parts   TEXT                        -- of one in parts: their bids, in order, a JSON array
);
-- Five bytes tell a million payloads apart, and the rest is compared in the row.
CREATE INDEX hw_blob_prefix ON hw_blob (substr(hash, 1, 5));

CREATE TABLE hw_batch_key (
  sid INTEGER NOT NULL, key TEXT NOT NULL,
  tx INTEGER NOT NULL, first_event INTEGER NOT NULL, events INTEGER NOT NULL,
  digest BLOB NOT NULL,               -- of what the caller gave, to tell a retry from other content under the same key
  PRIMARY KEY (sid, key)
) WITHOUT ROWID;

CREATE TABLE hw_event (
  sid INTEGER NOT NULL, ev INTEGER NOT NULL,
  type   NOT NULL,                    -- code, or an annotation's word
  at     INTEGER NOT NULL,            -- packed
  n      INTEGER,                     -- the row's number where it has one; an annotation's turn, a restored head's snapshot, a status' end
  ref    INTEGER,                     -- bid of an annotation's or error's payload; hid of head/created, ref-updated, restored
  status TEXT,                        -- of session/started, session/status and session/error
  PRIMARY KEY (sid, ev)
) WITHOUT ROWID;

-- Numbers of messages, evals and snapshots grow with the events: one is found by halving, without an index.
CREATE TABLE hw_message (
  sid INTEGER NOT NULL, ev INTEGER NOT NULL, n INTEGER NOT NULL,
  role NOT NULL, content INTEGER NOT NULL, chars INTEGER NOT NULL,
  turn INTEGER, call INTEGER, extra INTEGER,
  PRIMARY KEY (sid, ev)
) WITHOUT ROWID;

-- turn, call and invocation have versions: started, then put. inherited = 1: a version, written by a fork, of a row of its source.
CREATE TABLE hw_version (
  sid INTEGER NOT NULL,
  kind INTEGER NOT NULL CHECK (kind IN (7, 9, 14)), -- the code of the event that starts one: turn, call, invocation
  n INTEGER NOT NULL, ev INTEGER NOT NULL,
  PRIMARY KEY (sid, kind, n, ev)
) WITHOUT ROWID;
-- The inherited ones, by number: who looks at a source's row asks whether a fork wrote it anew.
CREATE TABLE hw_inherited (
  kind INTEGER NOT NULL, n INTEGER NOT NULL, sid INTEGER NOT NULL, ev INTEGER NOT NULL,
  PRIMARY KEY (kind, n, sid, ev)
) WITHOUT ROWID;

CREATE TABLE hw_turn (
  sid INTEGER NOT NULL, ev INTEGER NOT NULL, n INTEGER NOT NULL,
  status TEXT NOT NULL, head_before INTEGER, input INTEGER, final INTEGER, summary INTEGER, summary_text TEXT,
  started_at INTEGER, ended_at INTEGER, -- packed, here and below
  error INTEGER, extra INTEGER,
  inherited INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (sid, ev)
) WITHOUT ROWID;

CREATE TABLE hw_call (
  sid INTEGER NOT NULL, ev INTEGER NOT NULL, n INTEGER NOT NULL,
  type NOT NULL, status TEXT NOT NULL, turn INTEGER, eval INTEGER,
  input INTEGER, request INTEGER, response INTEGER, result INTEGER, error INTEGER,
  provider, model,                    -- words
  tokens_input INTEGER, tokens_output INTEGER, tokens_cached INTEGER, tokens_reasoning INTEGER,
  cost INTEGER,                       -- nano-USD
  batch TEXT, batch_index INTEGER, child TEXT,
  started_at INTEGER, ended_at INTEGER, extra INTEGER,
  inherited INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (sid, ev)
) WITHOUT ROWID;

CREATE TABLE hw_eval (
  sid INTEGER NOT NULL, ev INTEGER NOT NULL, n INTEGER NOT NULL,
  name,                               -- a word
  status TEXT NOT NULL, turn INTEGER, message INTEGER, call INTEGER,
  code INTEGER, result INTEGER, observation INTEGER, error INTEGER,
  started_at INTEGER, ended_at INTEGER, extra INTEGER,
  PRIMARY KEY (sid, ev)
) WITHOUT ROWID;

CREATE TABLE hw_snapshot (
  sid INTEGER NOT NULL, ev INTEGER NOT NULL, n INTEGER NOT NULL,
  kind TEXT NOT NULL, vars INTEGER, restorable INTEGER NOT NULL, unrestorable INTEGER NOT NULL,
  turn INTEGER, eval INTEGER, extra INTEGER,
  PRIMARY KEY (sid, ev)
) WITHOUT ROWID;

CREATE TABLE hw_invocation (
  sid INTEGER NOT NULL, ev INTEGER NOT NULL, n INTEGER NOT NULL,
  id TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL, call INTEGER,
  label INTEGER, label_text TEXT, input INTEGER, final INTEGER, error INTEGER,
  caller_before INTEGER, caller_after INTEGER,
  callee TEXT, callee_before INTEGER, callee_after INTEGER,
  child INTEGER,                      -- ordinal among the caller's children
  started_at INTEGER, ended_at INTEGER,
  inherited INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (sid, ev)
) WITHOUT ROWID;
CREATE INDEX hw_invocation_callee ON hw_invocation (callee) WHERE callee IS NOT NULL;
CREATE INDEX hw_invocation_child ON hw_invocation (sid, child) WHERE child IS NOT NULL;

CREATE TABLE hw_head (
  hid INTEGER PRIMARY KEY,
  sid INTEGER NOT NULL, ev INTEGER NOT NULL,     -- the head/created event
  kind TEXT NOT NULL CHECK (kind IN ('genesis', 'turn-final', 'compaction', 'turn-aborted')),
  basis INTEGER, up INTEGER,
  span_from INTEGER NOT NULL, span_to INTEGER NOT NULL,
  depth INTEGER NOT NULL,             -- number of spans, its own included
  compaction INTEGER,                 -- the nearest compaction head, itself included
  ordinal INTEGER NOT NULL,
  turn INTEGER, final INTEGER, snapshot INTEGER, vars INTEGER,
  transcript TEXT                     -- of a compaction head: what a provider would see, in its order: [[sid, from, to], ...]
);
CREATE INDEX hw_head_turn ON hw_head (sid, turn);

-- The events that name a head of their session: head/created (made = 1), and session/ref-updated, which makes it current.
CREATE TABLE hw_ref (
  sid INTEGER NOT NULL, made INTEGER NOT NULL, ev INTEGER NOT NULL, hid INTEGER NOT NULL,
  PRIMARY KEY (sid, made, ev)
) WITHOUT ROWID;

-- The spans of current heads. Every column is NOT NULL: a nullable one makes SQLite 3.40 sort everything.
CREATE TABLE hw_span (
  sid INTEGER NOT NULL, ord INTEGER NOT NULL, -- from 1; the last is the head's depth
  source INTEGER NOT NULL, span_from INTEGER NOT NULL, span_to INTEGER NOT NULL,
  PRIMARY KEY (sid, source, span_from, ord) -- asked for by event; those of one session are 64 at most
) WITHOUT ROWID;

CREATE TABLE hw_derivation (
  target INTEGER NOT NULL, target_ev INTEGER NOT NULL,
  hash BLOB NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('fork', 'attach', 'restore')),
  source INTEGER NOT NULL, source_head INTEGER NOT NULL, at INTEGER NOT NULL,
  tx INTEGER NOT NULL,                -- whose commit recorded it: the order of first appearance
  PRIMARY KEY (target, target_ev, hash)
) WITHOUT ROWID;
CREATE INDEX hw_derivation_source ON hw_derivation (source, kind, source_head);

CREATE TABLE hw_alias (name TEXT PRIMARY KEY, sid INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE hw_pin (
  name TEXT PRIMARY KEY,
  bid  INTEGER NOT NULL,              -- 0 once it was taken away: its versions go on
  head INTEGER NOT NULL, version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE hw_fact (n INTEGER PRIMARY KEY, tag TEXT NOT NULL, payload INTEGER NOT NULL, at INTEGER NOT NULL);

-- Not in the log: a lease means nothing once its holder is gone.
CREATE TABLE hw_lease (sid INTEGER PRIMARY KEY, holder TEXT NOT NULL, fence INTEGER NOT NULL, who TEXT NOT NULL, at INTEGER NOT NULL);
