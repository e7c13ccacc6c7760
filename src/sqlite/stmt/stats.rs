//! What a store holds and costs, from rows alone: no payload is read.

/// Payloads: how many, their bytes, their bytes in the log with frame headers, those of a pack once; then those in parts, erased, lost.
pub(crate) const PAYLOADS: &str = "SELECT count(*) FILTER (WHERE state <> 1), coalesce(sum(size) FILTER (WHERE state <> 1), 0),
     (SELECT coalesce(sum(stored + 24), 0) FROM (SELECT DISTINCT segment, offset, stored FROM hw_blob WHERE state = 0)), count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 2),
     count(*) FILTER (WHERE codec = 255) FROM hw_blob";
/// What each session names: its own events' payloads, each once, how often in all, and which only it names. A payload's part of
/// a pack is as large as its part of the bytes.
pub(crate) const SESSIONS: &str = "WITH named (sid, bid) AS MATERIALIZED (
       SELECT sid, content FROM hw_message UNION ALL SELECT sid, extra FROM hw_message WHERE extra IS NOT NULL
       UNION ALL SELECT sid, input FROM hw_turn WHERE input IS NOT NULL UNION ALL SELECT sid, final FROM hw_turn WHERE final IS NOT NULL
       UNION ALL SELECT sid, summary FROM hw_turn WHERE summary IS NOT NULL UNION ALL SELECT sid, error FROM hw_turn WHERE error IS NOT NULL
       UNION ALL SELECT sid, extra FROM hw_turn WHERE extra IS NOT NULL
       UNION ALL SELECT sid, input FROM hw_call WHERE input IS NOT NULL UNION ALL SELECT sid, request FROM hw_call WHERE request IS NOT NULL
       UNION ALL SELECT sid, response FROM hw_call WHERE response IS NOT NULL UNION ALL SELECT sid, result FROM hw_call WHERE result IS NOT NULL
       UNION ALL SELECT sid, error FROM hw_call WHERE error IS NOT NULL UNION ALL SELECT sid, extra FROM hw_call WHERE extra IS NOT NULL
       UNION ALL SELECT sid, code FROM hw_eval WHERE code IS NOT NULL UNION ALL SELECT sid, result FROM hw_eval WHERE result IS NOT NULL
       UNION ALL SELECT sid, observation FROM hw_eval WHERE observation IS NOT NULL UNION ALL SELECT sid, error FROM hw_eval WHERE error IS NOT NULL
       UNION ALL SELECT sid, extra FROM hw_eval WHERE extra IS NOT NULL
       UNION ALL SELECT sid, vars FROM hw_snapshot WHERE vars IS NOT NULL UNION ALL SELECT sid, extra FROM hw_snapshot WHERE extra IS NOT NULL
       UNION ALL SELECT sid, label FROM hw_invocation WHERE label IS NOT NULL UNION ALL SELECT sid, input FROM hw_invocation WHERE input IS NOT NULL
       UNION ALL SELECT sid, final FROM hw_invocation WHERE final IS NOT NULL UNION ALL SELECT sid, error FROM hw_invocation WHERE error IS NOT NULL
       UNION ALL SELECT sid, hid FROM hw_head UNION ALL SELECT sid, title_ref FROM hw_session WHERE title_ref IS NOT NULL
       UNION ALL SELECT sid, ref FROM hw_event WHERE ref IS NOT NULL AND (type > 18 OR type IN (2, 3))),
     parts (bid, whole) AS (SELECT p.value, w.bid FROM hw_blob w, json_each(w.parts) p WHERE w.state = 1),
     once (sid, bid, times) AS MATERIALIZED (SELECT sid, bid, count(*) FROM named GROUP BY sid, bid),
     holders (bid, many) AS MATERIALIZED (SELECT bid, count(*) FROM once GROUP BY bid),
     packs (segment, offset, size) AS MATERIALIZED (SELECT segment, offset, sum(size) FROM hw_blob WHERE skip IS NOT NULL GROUP BY 1, 2),
     cost (bid, size, stored) AS MATERIALIZED (SELECT b.bid, b.size, CASE b.state
       WHEN 0 THEN (b.stored + 24) * iif(p.size > 0, b.size, 1) / iif(p.size > 0, p.size, 1)
       WHEN 1 THEN (SELECT coalesce(sum(x.stored + 24), 0) FROM parts p JOIN hw_blob x ON x.bid = p.bid WHERE p.whole = b.bid) ELSE 0 END
       FROM hw_blob b LEFT JOIN packs p ON b.skip IS NOT NULL AND p.segment = b.segment AND p.offset = b.offset)
     SELECT s.id, s.last_event, coalesce(sum(o.times * c.size), 0), coalesce(sum(c.stored) FILTER (WHERE h.many = 1), 0),
       coalesce(sum(c.stored) FILTER (WHERE h.many > 1), 0)
     FROM hw_session s LEFT JOIN once o ON o.sid = s.sid LEFT JOIN holders h ON h.bid = o.bid LEFT JOIN cost c ON c.bid = o.bid
     GROUP BY s.sid ORDER BY 4 DESC, s.id";
pub(crate) const LEASES: &str = "SELECT s.id, l.holder, l.who, l.at FROM hw_lease l JOIN hw_session s USING (sid) WHERE l.holder <> '' ORDER BY s.id";
