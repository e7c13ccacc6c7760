-- What people query. Columns are the keys of `stream` without namespace, `-` as `_`; `session` is the text id.
--
-- These views must open in SQLite 3.40: one that does not makes every query of the database fail there (see README.md).
-- A ref is looked up by a subquery, not a join, so that it costs nothing where its column is not asked for.
-- CROSS JOIN fixes the order of loops, so that rows come out in the order of span and event without a sort.

-- The numbers from 1 to the depth of the deepest head: what the current_* views count spans with. A table, because only a table
-- gives the planner an order it knows. A head's up is there before it, so there is no gap.
CREATE TABLE hw_ord (ord INTEGER PRIMARY KEY);
INSERT INTO hw_ord SELECT DISTINCT depth FROM hw_head;
CREATE TRIGGER hw_head_ord AFTER INSERT ON hw_head WHEN NOT EXISTS (SELECT 1 FROM hw_ord WHERE ord = NEW.depth) BEGIN
  INSERT INTO hw_ord VALUES (NEW.depth);
END;

-- A payload's hash as people write it.
CREATE VIEW hw_hash AS SELECT bid, 'b3:' || lower(hex(hash)) AS ref, 'head-' || lower(hex(hash)) AS head FROM hw_blob;

-- When an event happened. A time in a row is its distance from the session's start: see `packed` in V1__rows.sql.
CREATE VIEW hw_at AS SELECT sid, ev,
  replace(datetime(t / 1000000 - (t % 1000000 < 0), 'unixepoch'), ' ', 'T') || printf('.%06dZ', (t % 1000000 + 1000000) % 1000000) AS at
FROM (SELECT e.sid AS sid, e.ev AS ev, s.started_at + (e.at >> 1) * (1000 - 999 * (e.at & 1)) AS t
  FROM hw_event e CROSS JOIN hw_session s ON s.sid = e.sid);

CREATE VIEW session AS SELECT
  s.id AS session,
  s.kind AS kind,
  s.origin AS origin,
  s.title AS title,
  (SELECT ref FROM hw_hash WHERE bid = s.title_ref) AS title_ref,
  s.status AS status,
  s.cache_id AS cache_id,
  replace(datetime(s.started_at / 1000000 - (s.started_at % 1000000 < 0), 'unixepoch'), ' ', 'T')
    || printf('.%06dZ', (s.started_at % 1000000 + 1000000) % 1000000) AS started_at,
  replace(datetime(s.updated_at / 1000000 - (s.updated_at % 1000000 < 0), 'unixepoch'), ' ', 'T')
    || printf('.%06dZ', (s.updated_at % 1000000 + 1000000) % 1000000) AS updated_at,
  replace(datetime(s.ended_at / 1000000 - (s.ended_at % 1000000 < 0), 'unixepoch'), ' ', 'T')
    || printf('.%06dZ', (s.ended_at % 1000000 + 1000000) % 1000000) AS ended_at,
  (SELECT head FROM hw_hash WHERE bid = s.current) AS current_head,
  s.last_event AS last_event,
  (SELECT o.id FROM hw_derivation d JOIN hw_session o ON o.sid = d.source
    WHERE d.target = s.sid AND d.kind IN ('fork', 'attach') ORDER BY d.target_ev LIMIT 1) AS source_session,
  (SELECT b.head FROM hw_derivation d JOIN hw_hash b ON b.bid = d.source_head
    WHERE d.target = s.sid AND d.kind IN ('fork', 'attach') ORDER BY d.target_ev LIMIT 1) AS source_head
FROM hw_session s;

-- Types up to 18 are codes; an annotation's is a word from 64 on, or text, which compares as greater than any number.
CREATE VIEW hw_event_text AS SELECT
  e.sid AS sid,
  s.id AS session,
  e.ev AS id,
  CASE e.type
    WHEN 1 THEN 'session/started' WHEN 2 THEN 'session/status' WHEN 3 THEN 'session/error' WHEN 4 THEN 'session/restored'
    WHEN 5 THEN 'session/ref-updated' WHEN 6 THEN 'message/added' WHEN 7 THEN 'turn/started' WHEN 8 THEN 'turn/put'
    WHEN 9 THEN 'call/started' WHEN 10 THEN 'call/put' WHEN 11 THEN 'eval/added' WHEN 12 THEN 'snapshot/added'
    WHEN 13 THEN 'head/created' WHEN 14 THEN 'invocation/started' WHEN 15 THEN 'invocation/completed'
    WHEN 16 THEN 'invocation/failed'
    WHEN 17 THEN 'invocation/caller-head-recorded' WHEN 18 THEN 'eval/put'
    ELSE iif(typeof(e.type) = 'integer', (SELECT text FROM hw_word WHERE id = e.type), e.type) END AS type,
  (SELECT at FROM hw_at WHERE sid = e.sid AND ev = e.ev) AS at,
  CASE
    WHEN e.type <= 4 THEN 'session' WHEN e.type = 5 THEN 'ref' WHEN e.type = 6 THEN 'message' WHEN e.type <= 8 THEN 'turn'
    WHEN e.type <= 10 THEN 'call' WHEN e.type = 11 THEN 'eval' WHEN e.type = 12 THEN 'snapshot' WHEN e.type = 13 THEN 'head'
    WHEN e.type <= 17 THEN 'invocation' WHEN e.type = 18 THEN 'eval' ELSE 'annotation' END AS row_kind,
  CASE
    WHEN e.type <= 4 THEN s.id
    WHEN e.type = 5 THEN 'current-head'
    WHEN e.type <= 12 THEN CAST(e.n AS TEXT)
    WHEN e.type = 13 THEN (SELECT head FROM hw_hash WHERE bid = e.ref)
    WHEN e.type <= 17 THEN (SELECT id FROM hw_invocation WHERE sid = e.sid AND ev = e.ev)
    WHEN e.type = 18 THEN CAST(e.n AS TEXT)
    ELSE CAST(e.ev AS TEXT) END AS row_id,
  CASE
    WHEN e.type IN (2, 3) THEN e.status
    WHEN e.type IN (7, 8) THEN (SELECT status FROM hw_turn WHERE sid = e.sid AND ev = e.ev)
    WHEN e.type IN (9, 10) THEN (SELECT status FROM hw_call WHERE sid = e.sid AND ev = e.ev)
    WHEN e.type IN (11, 18) THEN (SELECT status FROM hw_eval WHERE sid = e.sid AND ev = e.ev)
    WHEN e.type BETWEEN 14 AND 17 THEN (SELECT status FROM hw_invocation WHERE sid = e.sid AND ev = e.ev) END AS status,
  CASE
    WHEN e.type = 6 THEN (SELECT turn FROM hw_message WHERE sid = e.sid AND ev = e.ev)
    WHEN e.type IN (7, 8) THEN e.n
    WHEN e.type IN (9, 10) THEN (SELECT turn FROM hw_call WHERE sid = e.sid AND ev = e.ev)
    WHEN e.type IN (11, 18) THEN (SELECT turn FROM hw_eval WHERE sid = e.sid AND ev = e.ev)
    WHEN e.type = 12 THEN (SELECT turn FROM hw_snapshot WHERE sid = e.sid AND ev = e.ev)
    WHEN e.type > 18 THEN e.n END AS turn_id,
  CASE
    WHEN e.type = 6 THEN e.n
    WHEN e.type IN (11, 18) THEN (SELECT message FROM hw_eval WHERE sid = e.sid AND ev = e.ev) END AS message_id,
  CASE
    WHEN e.type IN (9, 10) THEN (SELECT eval FROM hw_call WHERE sid = e.sid AND ev = e.ev)
    WHEN e.type IN (11, 18) THEN e.n
    WHEN e.type = 12 THEN (SELECT eval FROM hw_snapshot WHERE sid = e.sid AND ev = e.ev) END AS eval_id,
  CASE
    WHEN e.type = 6 THEN (SELECT call FROM hw_message WHERE sid = e.sid AND ev = e.ev)
    WHEN e.type IN (9, 10) THEN e.n
    WHEN e.type IN (11, 18) THEN (SELECT call FROM hw_eval WHERE sid = e.sid AND ev = e.ev)
    WHEN e.type BETWEEN 14 AND 17 THEN (SELECT call FROM hw_invocation WHERE sid = e.sid AND ev = e.ev) END AS call_id,
  CASE
    WHEN e.type = 4 THEN (SELECT snapshot FROM hw_head WHERE hid = e.ref)
    WHEN e.type = 12 THEN e.n END AS snapshot_id,
  CASE WHEN e.type IN (5, 13) THEN (SELECT head FROM hw_hash WHERE bid = e.ref) END AS head_id,
  CASE WHEN e.type BETWEEN 14 AND 17 THEN (SELECT id FROM hw_invocation WHERE sid = e.sid AND ev = e.ev) END AS invocation_id,
  CASE
    WHEN e.type = 1 THEN (SELECT o.id FROM hw_derivation d JOIN hw_session o ON o.sid = d.source
      WHERE d.target = e.sid AND d.kind IN ('fork', 'attach') ORDER BY d.target_ev LIMIT 1)
    WHEN e.type = 4 THEN (SELECT o.id FROM hw_head h JOIN hw_session o ON o.sid = h.sid
      WHERE h.hid = e.ref) END AS source_session_id,
  CASE
    WHEN e.type = 1 THEN (SELECT b.head FROM hw_derivation d JOIN hw_hash b ON b.bid = d.source_head
      WHERE d.target = e.sid AND d.kind IN ('fork', 'attach') ORDER BY d.target_ev LIMIT 1)
    WHEN e.type = 4 THEN (SELECT head FROM hw_hash WHERE bid = e.ref) END AS source_head_id,
  CASE
    WHEN e.type IN (2, 3) OR e.type > 18 THEN (SELECT ref FROM hw_hash WHERE bid = e.ref)
    WHEN e.type = 6 THEN (SELECT b.ref FROM hw_message t
      JOIN hw_hash b ON b.bid = t.content WHERE t.sid = e.sid AND t.ev = e.ev)
    WHEN e.type IN (7, 8) THEN (SELECT b.ref FROM hw_turn t
      JOIN hw_hash b ON b.bid = coalesce(t.final, t.error, t.input) WHERE t.sid = e.sid AND t.ev = e.ev)
    WHEN e.type IN (9, 10) THEN (SELECT b.ref FROM hw_call t
      JOIN hw_hash b ON b.bid = coalesce(t.response, t.result, t.error, t.request, t.input) WHERE t.sid = e.sid AND t.ev = e.ev)
    WHEN e.type IN (11, 18) THEN (SELECT b.ref FROM hw_eval t
      JOIN hw_hash b ON b.bid = coalesce(t.result, t.observation, t.error, t.code) WHERE t.sid = e.sid AND t.ev = e.ev)
    WHEN e.type = 12 THEN (SELECT b.ref FROM hw_snapshot t
      JOIN hw_hash b ON b.bid = t.vars WHERE t.sid = e.sid AND t.ev = e.ev)
    WHEN e.type = 13 THEN (SELECT ref FROM hw_hash WHERE bid = e.ref)
    WHEN e.type BETWEEN 14 AND 17 THEN (SELECT b.ref FROM hw_invocation t
      JOIN hw_hash b ON b.bid = coalesce(t.final, t.error, t.input) WHERE t.sid = e.sid AND t.ev = e.ev) END AS payload_ref
FROM hw_session s CROSS JOIN hw_event e ON e.sid = s.sid;

CREATE VIEW event AS SELECT
  session, id, type, at, row_kind, row_id, status, turn_id, message_id, eval_id, call_id, snapshot_id, head_id,
  invocation_id, source_session_id, source_head_id, payload_ref
FROM hw_event_text;

-- One row an event of the session's own log, never inherited; at_current_head: 1 where it lies in a span of the current head.
CREATE VIEW history_view AS SELECT
  session, id, type, at, row_kind, row_id, status, turn_id, message_id, eval_id, call_id, snapshot_id, head_id,
  invocation_id, source_session_id, source_head_id, payload_ref,
  coalesce((SELECT v.id <= p.span_to FROM hw_span p
    WHERE p.sid = v.sid AND p.source = v.sid AND p.span_from <= v.id ORDER BY p.span_from DESC LIMIT 1),
    (SELECT EXISTS (WITH RECURSIVE up (hid) AS (
        SELECT s.current UNION ALL SELECT h.up FROM up CROSS JOIN hw_head h ON h.hid = up.hid WHERE h.up IS NOT NULL
      )
      SELECT 1 FROM up CROSS JOIN hw_head p ON p.hid = up.hid WHERE p.sid = v.sid AND v.id BETWEEN p.span_from AND p.span_to)
    FROM hw_session s WHERE s.sid = v.sid AND s.deep = 1), 0) AS at_current_head
FROM hw_event_text v;

CREATE VIEW head AS SELECT
  s.id AS session,
  (SELECT head FROM hw_hash WHERE bid = h.hid) AS id,
  h.ev AS event,
  h.kind AS kind,
  (SELECT head FROM hw_hash WHERE bid = h.basis) AS basis,
  (SELECT head FROM hw_hash WHERE bid = h.up) AS up,
  h.span_from AS span_from,
  h.span_to AS span_to,
  h.depth AS depth,
  (SELECT head FROM hw_hash WHERE bid = h.compaction) AS compaction,
  h.ordinal AS ordinal,
  h.turn AS turn_id,
  (SELECT ref FROM hw_hash WHERE bid = h.final) AS final_ref,
  h.snapshot AS snapshot_id,
  (SELECT ref FROM hw_hash WHERE bid = h.vars) AS vars_ref,
  (SELECT at FROM hw_at WHERE sid = h.sid AND ev = h.ev) AS at,
  h.hid IS s.current AS current
FROM hw_session s CROSS JOIN hw_ref r ON r.sid = s.sid AND r.made = 1 CROSS JOIN hw_head h ON h.hid = r.hid;

-- The rows of each kind, whoever's they are, as the views below show them.

CREATE VIEW hw_message_text AS SELECT
  r.sid AS sid,
  r.ev AS event,
  r.n AS id,
  r.turn AS turn_id,
  r.call AS call_id,
  CASE r.role WHEN 1 THEN 'system' WHEN 2 THEN 'user' WHEN 3 THEN 'assistant' WHEN 4 THEN 'observation' WHEN 5 THEN 'tool'
    WHEN 6 THEN 'summary' ELSE r.role END AS role,
  r.chars AS chars,
  (SELECT ref FROM hw_hash WHERE bid = r.content) AS content_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.extra) AS extra_ref,
  (SELECT at FROM hw_at WHERE sid = r.sid AND ev = r.ev) AS at
FROM hw_message r;

CREATE VIEW hw_turn_text AS SELECT
  r.sid AS sid,
  r.ev AS event,
  r.n AS id,
  r.status AS status,
  (SELECT head FROM hw_hash WHERE bid = r.head_before) AS head_before,
  (SELECT x.head FROM hw_head h JOIN hw_hash x ON x.bid = h.hid
    WHERE h.sid = r.sid AND h.turn = r.n AND h.kind IN ('turn-final', 'turn-aborted') ORDER BY h.ev DESC LIMIT 1) AS head_after,
  (SELECT ref FROM hw_hash WHERE bid = r.input) AS input_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.final) AS final_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.summary) AS summary_ref,
  r.summary_text AS summary,
  (SELECT ref FROM hw_hash WHERE bid = r.error) AS error_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.extra) AS extra_ref,
  (SELECT replace(datetime(t / 1000000 - (t % 1000000 < 0), 'unixepoch'), ' ', 'T') || printf('.%06dZ', (t % 1000000 + 1000000) % 1000000)
    FROM (SELECT s.started_at + (r.started_at >> 1) * (1000 - 999 * (r.started_at & 1)) AS t FROM hw_session s WHERE s.sid = r.sid)) AS started_at,
  (SELECT replace(datetime(t / 1000000 - (t % 1000000 < 0), 'unixepoch'), ' ', 'T') || printf('.%06dZ', (t % 1000000 + 1000000) % 1000000)
    FROM (SELECT s.started_at + (r.ended_at >> 1) * (1000 - 999 * (r.ended_at & 1)) AS t FROM hw_session s WHERE s.sid = r.sid)) AS ended_at,
  r.inherited AS inherited
FROM hw_turn r;

CREATE VIEW hw_call_text AS SELECT
  r.sid AS sid,
  r.ev AS event,
  r.n AS id,
  r.turn AS turn_id,
  r.eval AS eval_id,
  CASE r.type WHEN 1 THEN 'root' WHEN 2 THEN 'leaf' WHEN 3 THEN 'leaf-batch-item' WHEN 4 THEN 'child' WHEN 5 THEN 'child-batch-item'
    WHEN 6 THEN 'attached-child' WHEN 7 THEN 'tool' ELSE r.type END AS type,
  r.status AS status,
  iif(typeof(r.provider) = 'integer', (SELECT text FROM hw_word WHERE id = r.provider), r.provider) AS provider,
  iif(typeof(r.model) = 'integer', (SELECT text FROM hw_word WHERE id = r.model), r.model) AS model,
  r.tokens_input AS tokens_input,
  r.tokens_output AS tokens_output,
  r.tokens_cached AS tokens_cached,
  r.tokens_reasoning AS tokens_reasoning,
  r.cost AS cost_nano_usd,
  r.batch AS batch_id,
  r.batch_index AS batch_index,
  r.child AS child_session,
  (SELECT ref FROM hw_hash WHERE bid = r.input) AS input_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.request) AS request_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.response) AS response_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.result) AS result_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.error) AS error_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.extra) AS extra_ref,
  (SELECT replace(datetime(t / 1000000 - (t % 1000000 < 0), 'unixepoch'), ' ', 'T') || printf('.%06dZ', (t % 1000000 + 1000000) % 1000000)
    FROM (SELECT s.started_at + (r.started_at >> 1) * (1000 - 999 * (r.started_at & 1)) AS t FROM hw_session s WHERE s.sid = r.sid)) AS started_at,
  (SELECT replace(datetime(t / 1000000 - (t % 1000000 < 0), 'unixepoch'), ' ', 'T') || printf('.%06dZ', (t % 1000000 + 1000000) % 1000000)
    FROM (SELECT s.started_at + (r.ended_at >> 1) * (1000 - 999 * (r.ended_at & 1)) AS t FROM hw_session s WHERE s.sid = r.sid)) AS ended_at,
  r.inherited AS inherited
FROM hw_call r;

CREATE VIEW hw_eval_text AS SELECT
  r.sid AS sid,
  r.ev AS event,
  r.n AS id,
  r.turn AS turn_id,
  r.message AS message_id,
  r.call AS call_id,
  iif(typeof(r.name) = 'integer', (SELECT text FROM hw_word WHERE id = r.name), r.name) AS name,
  r.status AS status,
  (SELECT ref FROM hw_hash WHERE bid = r.code) AS code_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.result) AS result_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.observation) AS observation_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.error) AS error_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.extra) AS extra_ref,
  (SELECT replace(datetime(t / 1000000 - (t % 1000000 < 0), 'unixepoch'), ' ', 'T') || printf('.%06dZ', (t % 1000000 + 1000000) % 1000000)
    FROM (SELECT s.started_at + (r.started_at >> 1) * (1000 - 999 * (r.started_at & 1)) AS t FROM hw_session s WHERE s.sid = r.sid)) AS started_at,
  (SELECT replace(datetime(t / 1000000 - (t % 1000000 < 0), 'unixepoch'), ' ', 'T') || printf('.%06dZ', (t % 1000000 + 1000000) % 1000000)
    FROM (SELECT s.started_at + (r.ended_at >> 1) * (1000 - 999 * (r.ended_at & 1)) AS t FROM hw_session s WHERE s.sid = r.sid)) AS ended_at
FROM hw_eval r;

CREATE VIEW hw_snapshot_text AS SELECT
  r.sid AS sid,
  r.ev AS event,
  r.n AS id,
  r.turn AS turn_id,
  r.eval AS eval_id,
  r.kind AS kind,
  (SELECT ref FROM hw_hash WHERE bid = r.vars) AS vars_ref,
  r.restorable AS restorable,
  r.unrestorable AS unrestorable,
  (SELECT ref FROM hw_hash WHERE bid = r.extra) AS extra_ref,
  (SELECT at FROM hw_at WHERE sid = r.sid AND ev = r.ev) AS at
FROM hw_snapshot r;

CREATE VIEW hw_invocation_text AS SELECT
  r.sid AS sid,
  r.ev AS event,
  r.n AS id,
  r.id AS invocation_id,
  r.type AS type,
  r.status AS status,
  r.call AS call_id,
  (SELECT ref FROM hw_hash WHERE bid = r.label) AS label_ref,
  r.label_text AS label,
  (SELECT ref FROM hw_hash WHERE bid = r.input) AS input_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.final) AS final_ref,
  (SELECT ref FROM hw_hash WHERE bid = r.error) AS error_ref,
  (SELECT head FROM hw_hash WHERE bid = r.caller_before) AS caller_head_before,
  (SELECT head FROM hw_hash WHERE bid = r.caller_after) AS caller_head_after,
  r.callee AS callee_session,
  (SELECT head FROM hw_hash WHERE bid = r.callee_before) AS callee_head_before,
  (SELECT head FROM hw_hash WHERE bid = r.callee_after) AS callee_head_after,
  r.child AS child,
  (SELECT replace(datetime(t / 1000000 - (t % 1000000 < 0), 'unixepoch'), ' ', 'T') || printf('.%06dZ', (t % 1000000 + 1000000) % 1000000)
    FROM (SELECT s.started_at + (r.started_at >> 1) * (1000 - 999 * (r.started_at & 1)) AS t FROM hw_session s WHERE s.sid = r.sid)) AS started_at,
  (SELECT replace(datetime(t / 1000000 - (t % 1000000 < 0), 'unixepoch'), ' ', 'T') || printf('.%06dZ', (t % 1000000 + 1000000) % 1000000)
    FROM (SELECT s.started_at + (r.ended_at >> 1) * (1000 - 999 * (r.ended_at & 1)) AS t FROM hw_session s WHERE s.sid = r.sid)) AS ended_at,
  r.inherited AS inherited
FROM hw_invocation r;

-- Rows of each session's own log, abandoned branches included, in their latest version there; `event` has every version.

CREATE VIEW message AS SELECT
  s.id AS session, r.event, r.id, r.turn_id, r.call_id, r.role, r.chars, r.content_ref, r.extra_ref, r.at
FROM hw_session s JOIN hw_message_text r ON r.sid = s.sid;

CREATE VIEW turn AS SELECT
  s.id AS session, r.event, r.id, r.status, r.head_before, r.head_after, r.input_ref, r.final_ref, r.summary_ref, r.summary,
  r.error_ref, r.extra_ref, r.started_at, r.ended_at, r.inherited
FROM hw_session s JOIN hw_turn_text r ON r.sid = s.sid
  LEFT JOIN hw_version l ON l.sid = r.sid AND l.kind = 7 AND l.n = r.id AND l.ev > r.event
WHERE l.ev IS NULL;

CREATE VIEW call AS SELECT
  s.id AS session, r.event, r.id, r.turn_id, r.eval_id, r.type, r.status, r.provider, r.model, r.tokens_input, r.tokens_output,
  r.tokens_cached, r.tokens_reasoning, r.cost_nano_usd, r.batch_id, r.batch_index, r.child_session, r.input_ref, r.request_ref,
  r.response_ref, r.result_ref, r.error_ref, r.extra_ref, r.started_at, r.ended_at, r.inherited
FROM hw_session s JOIN hw_call_text r ON r.sid = s.sid
  LEFT JOIN hw_version l ON l.sid = r.sid AND l.kind = 9 AND l.n = r.id AND l.ev > r.event
WHERE l.ev IS NULL;

CREATE VIEW snapshot AS SELECT
  s.id AS session, r.event, r.id, r.turn_id, r.eval_id, r.kind, r.vars_ref, r.restorable, r.unrestorable, r.extra_ref, r.at
FROM hw_session s JOIN hw_snapshot_text r ON r.sid = s.sid;

CREATE VIEW invocation AS SELECT
  s.id AS session, r.event, r.id, r.invocation_id, r.type, r.status, r.call_id, r.label_ref, r.label, r.input_ref, r.final_ref,
  r.error_ref, r.caller_head_before, r.caller_head_after, r.callee_session, r.callee_head_before, r.callee_head_after, r.child,
  r.started_at, r.ended_at, r.inherited
FROM hw_session s JOIN hw_invocation_text r ON r.sid = s.sid
  LEFT JOIN hw_version l ON l.sid = r.sid AND l.kind = 14 AND l.n = r.id AND l.ev > r.event
WHERE l.ev IS NULL;

-- Rows visible at session/current-head. `session` is whose head it is, `source_session` whose event wrote the row. Their order is
-- (span_order, event): a scan in that order, either way, sorts nothing. The spans are found by walking `up`, one walk for each: no
-- list is needed, and the newest rows come first at no cost. Do not put a UNION in here: see README.md.
-- A version gives way to a later one that is visible too: l, of its own session; f, a put of an inherited row by a fork.

CREATE VIEW hw_current_span AS SELECT
  s.sid AS viewer,
  s.id AS session,
  s.current AS current,
  s.deep AS deep,
  o.ord AS ord,
  p.sid AS source,
  p.span_from AS span_from,
  p.span_to AS span_to
FROM hw_session s
  CROSS JOIN hw_ord o ON o.ord <= (SELECT depth FROM hw_head WHERE hid = s.current)
  CROSS JOIN hw_head p ON p.hid = (
    WITH RECURSIVE up (hid, up, depth) AS (
      SELECT hid, up, depth FROM hw_head WHERE hid = s.current
      UNION ALL SELECT h.hid, h.up, h.depth FROM up CROSS JOIN hw_head h ON h.hid = up.up WHERE up.depth > o.ord)
    SELECT hid FROM up WHERE depth = o.ord);

CREATE VIEW current_message AS SELECT
  p.session, (SELECT id FROM hw_session WHERE sid = r.sid) AS source_session, p.ord AS span_order, r.event, r.id, r.turn_id,
  r.call_id, r.role, r.chars, r.content_ref, r.extra_ref, r.at,
  coalesce((SELECT p.ord > k.depth OR (p.ord = k.depth AND r.event > k.span_to)
      OR EXISTS (SELECT 1 FROM json_each(k.transcript) x WHERE json_extract(x.value, '$[0]') = r.sid
        AND r.event BETWEEN json_extract(x.value, '$[1]') AND json_extract(x.value, '$[2]'))
    FROM hw_head h CROSS JOIN hw_head k ON k.hid = h.compaction WHERE h.hid = p.current), 1) AS in_transcript
FROM hw_current_span p CROSS JOIN hw_message_text r ON r.sid = p.source AND r.event BETWEEN p.span_from AND p.span_to;

CREATE VIEW current_turn AS SELECT
  p.session, (SELECT id FROM hw_session WHERE sid = r.sid) AS source_session, p.ord AS span_order, r.event, r.id, r.status,
  r.head_before, r.head_after, r.input_ref, r.final_ref, r.summary_ref, r.summary, r.error_ref, r.extra_ref, r.started_at,
  r.ended_at, r.inherited
FROM hw_current_span p CROSS JOIN hw_turn_text r ON r.sid = p.source AND r.event BETWEEN p.span_from AND p.span_to
  LEFT JOIN hw_version l ON l.sid = r.sid AND l.kind = 7 AND l.n = r.id AND l.ev > r.event AND (l.ev <= p.span_to OR
    CASE p.deep
      WHEN 0 THEN EXISTS (SELECT 1 FROM hw_span q
        WHERE q.sid = p.viewer AND q.source = l.sid AND l.ev BETWEEN q.span_from AND q.span_to)
      ELSE EXISTS (
        WITH RECURSIVE up (hid) AS (
          SELECT p.current UNION ALL SELECT h.up FROM up CROSS JOIN hw_head h ON h.hid = up.hid WHERE h.up IS NOT NULL)
        SELECT 1 FROM up CROSS JOIN hw_head q ON q.hid = up.hid
        WHERE q.sid = l.sid AND l.ev BETWEEN q.span_from AND q.span_to) END)
  LEFT JOIN hw_inherited f ON f.kind = 7 AND f.n = CASE WHEN p.source <> p.viewer THEN r.id END AND f.sid <> r.sid AND
    CASE p.deep
      WHEN 0 THEN EXISTS (SELECT 1 FROM hw_span q
        WHERE q.sid = p.viewer AND q.source = f.sid AND f.ev BETWEEN q.span_from AND q.span_to AND q.ord > p.ord)
      ELSE EXISTS (
        WITH RECURSIVE up (hid) AS (
          SELECT p.current UNION ALL SELECT h.up FROM up CROSS JOIN hw_head h ON h.hid = up.hid WHERE h.up IS NOT NULL)
        SELECT 1 FROM up CROSS JOIN hw_head q ON q.hid = up.hid
        WHERE q.sid = f.sid AND f.ev BETWEEN q.span_from AND q.span_to AND q.depth > p.ord) END
WHERE l.ev IS NULL AND f.ev IS NULL;

CREATE VIEW current_call AS SELECT
  p.session, (SELECT id FROM hw_session WHERE sid = r.sid) AS source_session, p.ord AS span_order, r.event, r.id, r.turn_id,
  r.eval_id, r.type, r.status, r.provider, r.model, r.tokens_input, r.tokens_output, r.tokens_cached, r.tokens_reasoning,
  r.cost_nano_usd, r.batch_id, r.batch_index, r.child_session, r.input_ref, r.request_ref, r.response_ref, r.result_ref,
  r.error_ref, r.extra_ref, r.started_at, r.ended_at, r.inherited
FROM hw_current_span p CROSS JOIN hw_call_text r ON r.sid = p.source AND r.event BETWEEN p.span_from AND p.span_to
  LEFT JOIN hw_version l ON l.sid = r.sid AND l.kind = 9 AND l.n = r.id AND l.ev > r.event AND (l.ev <= p.span_to OR
    CASE p.deep
      WHEN 0 THEN EXISTS (SELECT 1 FROM hw_span q
        WHERE q.sid = p.viewer AND q.source = l.sid AND l.ev BETWEEN q.span_from AND q.span_to)
      ELSE EXISTS (
        WITH RECURSIVE up (hid) AS (
          SELECT p.current UNION ALL SELECT h.up FROM up CROSS JOIN hw_head h ON h.hid = up.hid WHERE h.up IS NOT NULL)
        SELECT 1 FROM up CROSS JOIN hw_head q ON q.hid = up.hid
        WHERE q.sid = l.sid AND l.ev BETWEEN q.span_from AND q.span_to) END)
  LEFT JOIN hw_inherited f ON f.kind = 9 AND f.n = CASE WHEN p.source <> p.viewer THEN r.id END AND f.sid <> r.sid AND
    CASE p.deep
      WHEN 0 THEN EXISTS (SELECT 1 FROM hw_span q
        WHERE q.sid = p.viewer AND q.source = f.sid AND f.ev BETWEEN q.span_from AND q.span_to AND q.ord > p.ord)
      ELSE EXISTS (
        WITH RECURSIVE up (hid) AS (
          SELECT p.current UNION ALL SELECT h.up FROM up CROSS JOIN hw_head h ON h.hid = up.hid WHERE h.up IS NOT NULL)
        SELECT 1 FROM up CROSS JOIN hw_head q ON q.hid = up.hid
        WHERE q.sid = f.sid AND f.ev BETWEEN q.span_from AND q.span_to AND q.depth > p.ord) END
WHERE l.ev IS NULL AND f.ev IS NULL;

CREATE VIEW current_snapshot AS SELECT
  p.session, (SELECT id FROM hw_session WHERE sid = r.sid) AS source_session, p.ord AS span_order, r.event, r.id, r.turn_id,
  r.eval_id, r.kind, r.vars_ref, r.restorable, r.unrestorable, r.extra_ref, r.at
FROM hw_current_span p CROSS JOIN hw_snapshot_text r ON r.sid = p.source AND r.event BETWEEN p.span_from AND p.span_to;

CREATE VIEW current_invocation AS SELECT
  p.session, (SELECT id FROM hw_session WHERE sid = r.sid) AS source_session, p.ord AS span_order, r.event, r.id,
  r.invocation_id, r.type, r.status, r.call_id, r.label_ref, r.label, r.input_ref, r.final_ref, r.error_ref,
  r.caller_head_before, r.caller_head_after, r.callee_session, r.callee_head_before, r.callee_head_after, r.child,
  r.started_at, r.ended_at, r.inherited
FROM hw_current_span p CROSS JOIN hw_invocation_text r ON r.sid = p.source AND r.event BETWEEN p.span_from AND p.span_to
  LEFT JOIN hw_version l ON l.sid = r.sid AND l.kind = 14 AND l.n = r.id AND l.ev > r.event AND (l.ev <= p.span_to OR
    CASE p.deep
      WHEN 0 THEN EXISTS (SELECT 1 FROM hw_span q
        WHERE q.sid = p.viewer AND q.source = l.sid AND l.ev BETWEEN q.span_from AND q.span_to)
      ELSE EXISTS (
        WITH RECURSIVE up (hid) AS (
          SELECT p.current UNION ALL SELECT h.up FROM up CROSS JOIN hw_head h ON h.hid = up.hid WHERE h.up IS NOT NULL)
        SELECT 1 FROM up CROSS JOIN hw_head q ON q.hid = up.hid
        WHERE q.sid = l.sid AND l.ev BETWEEN q.span_from AND q.span_to) END)
  LEFT JOIN hw_inherited f ON f.kind = 14 AND f.n = CASE WHEN p.source <> p.viewer THEN r.id END AND f.sid <> r.sid AND
    CASE p.deep
      WHEN 0 THEN EXISTS (SELECT 1 FROM hw_span q
        WHERE q.sid = p.viewer AND q.source = f.sid AND f.ev BETWEEN q.span_from AND q.span_to AND q.ord > p.ord)
      ELSE EXISTS (
        WITH RECURSIVE up (hid) AS (
          SELECT p.current UNION ALL SELECT h.up FROM up CROSS JOIN hw_head h ON h.hid = up.hid WHERE h.up IS NOT NULL)
        SELECT 1 FROM up CROSS JOIN hw_head q ON q.hid = up.hid
        WHERE q.sid = f.sid AND f.ev BETWEEN q.span_from AND q.span_to AND q.depth > p.ord) END
WHERE l.ev IS NULL AND f.ev IS NULL;

-- What a provider would see at session/current-head: the ranges of the nearest compaction head, in its order, and the messages
-- since; without a compaction head, every visible message.
CREATE VIEW current_transcript AS SELECT
  u.session, u.place AS transcript_position, (SELECT id FROM hw_session WHERE sid = u.sid) AS source_session,
  r.event, r.id, r.turn_id, r.call_id, r.role, r.chars, r.content_ref, r.extra_ref, r.at
FROM (
  SELECT *, row_number() OVER (PARTITION BY session ORDER BY part, ord, ev) AS place
  FROM (
    SELECT s.id AS session, 0 AS part, x.key AS ord, t.sid AS sid, t.ev AS ev
    FROM hw_session s CROSS JOIN hw_head h ON h.hid = s.current CROSS JOIN hw_head k ON k.hid = h.compaction
      CROSS JOIN json_each(k.transcript) x CROSS JOIN hw_message t ON t.sid = json_extract(x.value, '$[0]')
        AND t.ev BETWEEN json_extract(x.value, '$[1]') AND json_extract(x.value, '$[2]')
    UNION ALL
    SELECT p.session, 1, p.ord, t.sid, t.ev
    FROM hw_current_span p CROSS JOIN hw_head h ON h.hid = p.current LEFT JOIN hw_head k ON k.hid = h.compaction
      CROSS JOIN hw_message t ON t.sid = p.source
        AND t.ev BETWEEN CASE WHEN p.ord = k.depth THEN k.span_to + 1 ELSE p.span_from END AND p.span_to
    WHERE p.ord >= coalesce(k.depth, 0)
  )
) u CROSS JOIN hw_message_text r ON r.sid = u.sid AND r.event = u.ev;

CREATE VIEW derivation AS SELECT
  lower(hex(d.hash)) AS id,
  d.kind AS kind,
  (SELECT id FROM hw_session WHERE sid = d.source) AS source_session,
  (SELECT head FROM hw_hash WHERE bid = d.source_head) AS source_head,
  (SELECT id FROM hw_session WHERE sid = d.target) AS target_session,
  d.target_ev AS target_event,
  replace(datetime(d.at / 1000000 - (d.at % 1000000 < 0), 'unixepoch'), ' ', 'T')
    || printf('.%06dZ', (d.at % 1000000 + 1000000) % 1000000) AS at
FROM hw_derivation d;

CREATE VIEW alias AS SELECT
  a.name AS name,
  s.id AS session
FROM hw_alias a JOIN hw_session s ON s.sid = a.sid;

CREATE VIEW pin AS SELECT
  p.name AS name,
  CASE WHEN p.head THEN (SELECT head FROM hw_hash WHERE bid = p.bid) END AS head,
  CASE WHEN NOT p.head THEN (SELECT ref FROM hw_hash WHERE bid = p.bid) END AS payload_ref,
  p.version AS version
FROM hw_pin p WHERE p.bid <> 0;

CREATE VIEW fact AS SELECT
  f.n AS id,
  f.tag AS tag,
  (SELECT ref FROM hw_hash WHERE bid = f.payload) AS payload_ref,
  replace(datetime(f.at / 1000000 - (f.at % 1000000 < 0), 'unixepoch'), ' ', 'T')
    || printf('.%06dZ', (f.at % 1000000 + 1000000) % 1000000) AS at
FROM hw_fact f;

CREATE VIEW blob AS SELECT
  'b3:' || lower(hex(b.hash)) AS ref,
  b.size AS size,
  b.media AS media,
  CASE b.state WHEN 0 THEN 'present' WHEN 1 THEN 'in-parts' WHEN 2 THEN 'erased' END AS state,
  CASE b.codec WHEN 0 THEN 'raw' WHEN 1 THEN 'zstd' WHEN 2 THEN 'zstd-prose' WHEN 3 THEN 'zstd-lines' WHEN 4 THEN 'zstd-roots'
    WHEN 6 THEN 'pack'
    ELSE b.codec END AS codec,
  b.stored AS stored,
  b.segment AS segment,
  b."offset" AS "offset"
FROM hw_blob b;

CREATE VIEW tx AS SELECT
  t.tx AS tx,
  replace(datetime(t.at / 1000000 - (t.at % 1000000 < 0), 'unixepoch'), ' ', 'T')
    || printf('.%06dZ', (t.at % 1000000 + 1000000) % 1000000) AS at
FROM hw_tx t WHERE t.tx > 0;
