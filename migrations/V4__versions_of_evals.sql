-- An eval may have further versions (eval/put, 18): of one that was recorded as unfinished, its end came to be known. Hardly any has,
-- so they alone are noted, in hw_inherited under kind 11; the first version of each is still found by halving.

CREATE VIEW eval AS SELECT
  s.id AS session, r.event, r.id, r.turn_id, r.message_id, r.call_id, r.name, r.status, r.code_ref, r.result_ref,
  r.observation_ref, r.error_ref, r.extra_ref, r.started_at, r.ended_at
FROM hw_session s JOIN hw_eval_text r ON r.sid = s.sid
WHERE NOT EXISTS (SELECT 1 FROM hw_inherited l WHERE l.kind = 11 AND l.n = r.id AND l.sid = r.sid AND l.ev > r.event);

CREATE VIEW current_eval AS SELECT
  p.session, (SELECT id FROM hw_session WHERE sid = r.sid) AS source_session, p.ord AS span_order, r.event, r.id, r.turn_id,
  r.message_id, r.call_id, r.name, r.status, r.code_ref, r.result_ref, r.observation_ref, r.error_ref, r.extra_ref,
  r.started_at, r.ended_at
FROM hw_current_span p CROSS JOIN hw_eval_text r ON r.sid = p.source AND r.event BETWEEN p.span_from AND p.span_to
WHERE NOT EXISTS (SELECT 1 FROM hw_inherited l WHERE l.kind = 11 AND l.n = r.id AND
  CASE p.deep
    WHEN 0 THEN EXISTS (SELECT 1 FROM hw_span q
      WHERE q.sid = p.viewer AND q.source = l.sid AND l.ev BETWEEN q.span_from AND q.span_to
        AND (q.ord > p.ord OR (q.ord = p.ord AND l.ev > r.event)))
    ELSE EXISTS (
      WITH RECURSIVE up (hid) AS (
        SELECT p.current UNION ALL SELECT h.up FROM up CROSS JOIN hw_head h ON h.hid = up.hid WHERE h.up IS NOT NULL)
      SELECT 1 FROM up CROSS JOIN hw_head q ON q.hid = up.hid
      WHERE q.sid = l.sid AND l.ev BETWEEN q.span_from AND q.span_to
        AND (q.depth > p.ord OR (q.depth = p.ord AND l.ev > r.event))) END);

-- The greatest number of each kind that was ever given in a session, abandoned branches and inherited ones included.
-- Each is one seek.
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
