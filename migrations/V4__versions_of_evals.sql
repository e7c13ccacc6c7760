-- An eval may have further versions (eval/put, 18): of one that was recorded as unfinished, its end came to be known. Hardly any has,
-- so they alone are noted, in hw_inherited under kind 11; the first version of each is still found by halving.

DROP VIEW history_view;
DROP VIEW event;
DROP VIEW hw_event_text;
DROP VIEW eval;
DROP VIEW current_eval;
DROP VIEW high_water_counters;

-- Types up to 18 are codes; an annotation's is text, which compares as greater than any number.
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
    ELSE e.type END AS type,
  strftime('%Y-%m-%dT%H:%M:%S',
      ((s.started_at + e.at) - ((s.started_at + e.at) % 1000000 + 1000000) % 1000000) / 1000000, 'unixepoch')
    || printf('.%06dZ', ((s.started_at + e.at) % 1000000 + 1000000) % 1000000) AS at,
  CASE
    WHEN e.type <= 4 THEN 'session' WHEN e.type = 5 THEN 'ref' WHEN e.type = 6 THEN 'message' WHEN e.type <= 8 THEN 'turn'
    WHEN e.type <= 10 THEN 'call' WHEN e.type = 11 THEN 'eval' WHEN e.type = 12 THEN 'snapshot' WHEN e.type = 13 THEN 'head'
    WHEN e.type <= 17 THEN 'invocation' WHEN e.type = 18 THEN 'eval' ELSE 'annotation' END AS row_kind,
  CASE
    WHEN e.type <= 4 THEN s.id
    WHEN e.type = 5 THEN 'current-head'
    WHEN e.type <= 12 THEN CAST(e.n AS TEXT)
    WHEN e.type = 13 THEN (SELECT 'head-' || lower(hex(hash)) FROM hw_blob WHERE bid = e.ref)
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
  CASE WHEN e.type IN (5, 13) THEN (SELECT 'head-' || lower(hex(hash)) FROM hw_blob WHERE bid = e.ref) END AS head_id,
  CASE WHEN e.type BETWEEN 14 AND 17 THEN (SELECT id FROM hw_invocation WHERE sid = e.sid AND ev = e.ev) END AS invocation_id,
  CASE
    WHEN e.type = 1 THEN (SELECT o.id FROM hw_derivation d JOIN hw_session o ON o.sid = d.source
      WHERE d.target = e.sid AND d.kind IN ('fork', 'attach') ORDER BY d.target_ev LIMIT 1)
    WHEN e.type = 4 THEN (SELECT o.id FROM hw_head h JOIN hw_session o ON o.sid = h.sid
      WHERE h.hid = e.ref) END AS source_session_id,
  CASE
    WHEN e.type = 1 THEN (SELECT 'head-' || lower(hex(b.hash)) FROM hw_derivation d JOIN hw_blob b ON b.bid = d.source_head
      WHERE d.target = e.sid AND d.kind IN ('fork', 'attach') ORDER BY d.target_ev LIMIT 1)
    WHEN e.type = 4 THEN (SELECT 'head-' || lower(hex(hash)) FROM hw_blob WHERE bid = e.ref) END AS source_head_id,
  CASE
    WHEN e.type IN (2, 3) OR e.type > 18 THEN (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = e.ref)
    WHEN e.type = 6 THEN (SELECT 'b3:' || lower(hex(b.hash)) FROM hw_message t
      JOIN hw_blob b ON b.bid = t.content WHERE t.sid = e.sid AND t.ev = e.ev)
    WHEN e.type IN (7, 8) THEN (SELECT 'b3:' || lower(hex(b.hash)) FROM hw_turn t
      JOIN hw_blob b ON b.bid = coalesce(t.final, t.error, t.input) WHERE t.sid = e.sid AND t.ev = e.ev)
    WHEN e.type IN (9, 10) THEN (SELECT 'b3:' || lower(hex(b.hash)) FROM hw_call t
      JOIN hw_blob b ON b.bid = coalesce(t.response, t.result, t.error, t.request, t.input) WHERE t.sid = e.sid AND t.ev = e.ev)
    WHEN e.type IN (11, 18) THEN (SELECT 'b3:' || lower(hex(b.hash)) FROM hw_eval t
      JOIN hw_blob b ON b.bid = coalesce(t.result, t.observation, t.error, t.code) WHERE t.sid = e.sid AND t.ev = e.ev)
    WHEN e.type = 12 THEN (SELECT 'b3:' || lower(hex(b.hash)) FROM hw_snapshot t
      JOIN hw_blob b ON b.bid = t.vars WHERE t.sid = e.sid AND t.ev = e.ev)
    WHEN e.type = 13 THEN (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = e.ref)
    WHEN e.type BETWEEN 14 AND 17 THEN (SELECT 'b3:' || lower(hex(b.hash)) FROM hw_invocation t
      JOIN hw_blob b ON b.bid = coalesce(t.final, t.error, t.input) WHERE t.sid = e.sid AND t.ev = e.ev) END AS payload_ref
FROM hw_session s CROSS JOIN hw_event e ON e.sid = s.sid;

CREATE VIEW event AS SELECT
  session, id, type, at, row_kind, row_id, status, turn_id, message_id, eval_id, call_id, snapshot_id, head_id,
  invocation_id, source_session_id, source_head_id, payload_ref
FROM hw_event_text;

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

CREATE VIEW eval AS SELECT
  s.id AS session,
  r.ev AS event,
  r.n AS id,
  r.turn AS turn_id,
  r.message AS message_id,
  r.call AS call_id,
  r.name AS name,
  r.status AS status,
  (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = r.code) AS code_ref,
  (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = r.result) AS result_ref,
  (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = r.observation) AS observation_ref,
  (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = r.error) AS error_ref,
  (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = r.extra) AS extra_ref,
  strftime('%Y-%m-%dT%H:%M:%S', (r.started_at - (r.started_at % 1000000 + 1000000) % 1000000) / 1000000, 'unixepoch')
    || printf('.%06dZ', (r.started_at % 1000000 + 1000000) % 1000000) AS started_at,
  strftime('%Y-%m-%dT%H:%M:%S', (r.ended_at - (r.ended_at % 1000000 + 1000000) % 1000000) / 1000000, 'unixepoch')
    || printf('.%06dZ', (r.ended_at % 1000000 + 1000000) % 1000000) AS ended_at
FROM hw_session s JOIN hw_eval r ON r.sid = s.sid
WHERE NOT EXISTS (SELECT 1 FROM hw_inherited l WHERE l.kind = 11 AND l.n = r.n AND l.sid = r.sid AND l.ev > r.ev);

CREATE VIEW current_eval AS SELECT
  p.session AS session,
  (SELECT id FROM hw_session WHERE sid = r.sid) AS source_session,
  p.ord AS span_order,
  r.ev AS event,
  r.n AS id,
  r.turn AS turn_id,
  r.message AS message_id,
  r.call AS call_id,
  r.name AS name,
  r.status AS status,
  (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = r.code) AS code_ref,
  (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = r.result) AS result_ref,
  (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = r.observation) AS observation_ref,
  (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = r.error) AS error_ref,
  (SELECT 'b3:' || lower(hex(hash)) FROM hw_blob WHERE bid = r.extra) AS extra_ref,
  strftime('%Y-%m-%dT%H:%M:%S', (r.started_at - (r.started_at % 1000000 + 1000000) % 1000000) / 1000000, 'unixepoch')
    || printf('.%06dZ', (r.started_at % 1000000 + 1000000) % 1000000) AS started_at,
  strftime('%Y-%m-%dT%H:%M:%S', (r.ended_at - (r.ended_at % 1000000 + 1000000) % 1000000) / 1000000, 'unixepoch')
    || printf('.%06dZ', (r.ended_at % 1000000 + 1000000) % 1000000) AS ended_at
FROM hw_current_span p CROSS JOIN hw_eval r ON r.sid = p.source AND r.ev BETWEEN p.span_from AND p.span_to
WHERE NOT EXISTS (SELECT 1 FROM hw_inherited l WHERE l.kind = 11 AND l.n = r.n AND
  CASE p.deep
    WHEN 0 THEN EXISTS (SELECT 1 FROM hw_span q
      WHERE q.sid = p.viewer AND q.source = l.sid AND l.ev BETWEEN q.span_from AND q.span_to
        AND (q.ord > p.ord OR (q.ord = p.ord AND l.ev > r.ev)))
    ELSE EXISTS (
      WITH RECURSIVE up (hid) AS (
        SELECT p.current UNION ALL SELECT h.up FROM up CROSS JOIN hw_head h ON h.hid = up.hid WHERE h.up IS NOT NULL)
      SELECT 1 FROM up CROSS JOIN hw_head q ON q.hid = up.hid
      WHERE q.sid = l.sid AND l.ev BETWEEN q.span_from AND q.span_to
        AND (q.depth > p.ord OR (q.depth = p.ord AND l.ev > r.ev))) END);

CREATE VIEW high_water_counters AS SELECT
  s.id AS session,
  max(s.i_message, coalesce((SELECT n FROM hw_message WHERE sid = s.sid ORDER BY ev DESC LIMIT 1), 0)) AS message,
  max(s.i_turn, coalesce((SELECT max(n) FROM hw_version WHERE sid = s.sid AND kind = 7), 0)) AS turn,
  max(s.i_eval, coalesce((SELECT n FROM hw_eval t WHERE t.sid = s.sid AND NOT EXISTS (SELECT 1 FROM hw_inherited v
    WHERE v.kind = 11 AND v.n = t.n AND v.sid = t.sid AND v.ev = t.ev) ORDER BY t.ev DESC LIMIT 1), 0)) AS eval,
  max(s.i_call, coalesce((SELECT max(n) FROM hw_version WHERE sid = s.sid AND kind = 9), 0)) AS call,
  s.last_event AS event,
  max(s.i_snapshot, coalesce((SELECT n FROM hw_snapshot WHERE sid = s.sid ORDER BY ev DESC LIMIT 1), 0)) AS snapshot,
  max(s.i_head, coalesce((SELECT h.ordinal FROM hw_ref r CROSS JOIN hw_head h ON h.hid = r.hid
    WHERE r.sid = s.sid AND r.made = 1 ORDER BY r.ev DESC LIMIT 1), 0)) AS head,
  max(s.i_invocation, coalesce((SELECT max(n) FROM hw_version WHERE sid = s.sid AND kind = 14), 0)) AS invocation,
  max(s.i_child, coalesce((SELECT child FROM hw_invocation
    WHERE sid = s.sid AND child IS NOT NULL ORDER BY child DESC LIMIT 1), 0)) AS child
FROM hw_session s;
