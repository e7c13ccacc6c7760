//! What a check asks of the rows: each statement gives the names of what is wrong, and nothing where all is well.
//!
//! Numbers of kinds and types are the codes of `row.rs`.

pub(crate) const SCHEMA: &str = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
pub(crate) const INTEGRITY: &str = "PRAGMA integrity_check(20)";
pub(crate) const IS_WHOLE: &str = "PRAGMA integrity_check(1)";
/// How many sessions, events, heads, payloads.
pub(crate) const COUNTS: &str = "SELECT (SELECT count(*) FROM hw_session), (SELECT count(*) FROM hw_event),
    (SELECT count(*) FROM hw_head), (SELECT count(*) FROM hw_blob)";

/// The last row says where the rows stand; before the first commit there is a row 0.
pub(crate) const COMMIT_COUNT: &str = "SELECT 'commit ' || m.tx FROM (SELECT coalesce(max(tx), 0) AS tx FROM hw_tx) m
     WHERE m.tx <> (SELECT count(*) FROM hw_tx WHERE tx > 0)
        OR (SELECT count(*) FROM hw_tx WHERE digest IS NOT NULL) > 1
        OR (m.tx > 0 AND NOT EXISTS (SELECT 1 FROM hw_tx t WHERE t.tx = m.tx AND t.digest IS NOT NULL))";
pub(crate) const CURRENT_HEAD: &str = "SELECT s.id FROM hw_session s LEFT JOIN hw_head h ON h.hid = s.current
     WHERE (s.current IS NOT NULL AND (h.hid IS NULL OR h.sid <> s.sid))
       OR s.current IS NOT (SELECT r.hid FROM hw_ref r WHERE r.sid = s.sid AND r.made = 0 ORDER BY r.ev DESC LIMIT 1)";
pub(crate) const LAST_EVENT: &str = "SELECT s.id FROM hw_session s
     WHERE s.last_event <> (SELECT coalesce(max(e.ev), 0) FROM hw_event e WHERE e.sid = s.sid)
        OR s.last_event <> (SELECT count(*) FROM hw_event e WHERE e.sid = s.sid)";
pub(crate) const EVENT_ROW: &str =
    "SELECT 'event ' || e.ev || ' of ' || s.id FROM hw_event e JOIN hw_session s USING (sid) WHERE CASE e.type
         WHEN 5 THEN NOT EXISTS (SELECT 1 FROM hw_ref r WHERE r.sid = e.sid AND r.made = 0 AND r.ev = e.ev)
         WHEN 6 THEN NOT EXISTS (SELECT 1 FROM hw_message r WHERE r.sid = e.sid AND r.ev = e.ev)
         WHEN 7 THEN NOT EXISTS (SELECT 1 FROM hw_turn r WHERE r.sid = e.sid AND r.ev = e.ev)
         WHEN 8 THEN NOT EXISTS (SELECT 1 FROM hw_turn r WHERE r.sid = e.sid AND r.ev = e.ev)
         WHEN 9 THEN NOT EXISTS (SELECT 1 FROM hw_call r WHERE r.sid = e.sid AND r.ev = e.ev)
         WHEN 10 THEN NOT EXISTS (SELECT 1 FROM hw_call r WHERE r.sid = e.sid AND r.ev = e.ev)
         WHEN 11 THEN NOT EXISTS (SELECT 1 FROM hw_eval r WHERE r.sid = e.sid AND r.ev = e.ev)
         WHEN 12 THEN NOT EXISTS (SELECT 1 FROM hw_snapshot r WHERE r.sid = e.sid AND r.ev = e.ev)
         WHEN 13 THEN NOT EXISTS (SELECT 1 FROM hw_head r WHERE r.hid = e.ref AND r.sid = e.sid AND r.ev = e.ev)
         WHEN 14 THEN NOT EXISTS (SELECT 1 FROM hw_invocation r WHERE r.sid = e.sid AND r.ev = e.ev)
         WHEN 15 THEN NOT EXISTS (SELECT 1 FROM hw_invocation r WHERE r.sid = e.sid AND r.ev = e.ev)
         WHEN 16 THEN NOT EXISTS (SELECT 1 FROM hw_invocation r WHERE r.sid = e.sid AND r.ev = e.ev)
         WHEN 17 THEN NOT EXISTS (SELECT 1 FROM hw_invocation r WHERE r.sid = e.sid AND r.ev = e.ev)
         WHEN 18 THEN NOT EXISTS (SELECT 1 FROM hw_eval r WHERE r.sid = e.sid AND r.ev = e.ev)
         ELSE 0 END
     UNION ALL SELECT 'row of event ' || r.ev || ' of session ' || r.sid FROM (
         SELECT sid, ev, 5 AS low, 5 AS high FROM hw_ref WHERE made = 0 UNION ALL SELECT sid, ev, 6, 6 FROM hw_message
         UNION ALL SELECT sid, ev, 7, 8 FROM hw_turn UNION ALL SELECT sid, ev, 9, 10 FROM hw_call
         UNION ALL SELECT sid, ev, 11, 11 FROM hw_eval UNION ALL SELECT sid, ev, 12, 12 FROM hw_snapshot
         UNION ALL SELECT sid, ev, 14, 17 FROM hw_invocation) r
       WHERE NOT EXISTS (SELECT 1 FROM hw_event e WHERE e.sid = r.sid AND e.ev = r.ev 
         AND (e.type BETWEEN r.low AND r.high OR (r.low = 11 AND e.type = 18)))";
pub(crate) const CACHE_ID: &str = "SELECT id FROM hw_session
     WHERE cache_id = '' OR cache_id GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'";

macro_rules! heads {
    ($rest:literal) => {
        concat!(
            "SELECT coalesce('head-' || (SELECT lower(hex(b.hash)) FROM hw_blob b WHERE b.bid = h.hid), 'head number ' || h.hid) ",
            "FROM hw_head h ",
            $rest
        )
    };
}
pub(crate) const HEAD_SESSION: &str = heads!(
    "LEFT JOIN hw_session s USING (sid) LEFT JOIN hw_event e ON e.sid = h.sid AND e.ev = h.ev AND e.type = 13 AND e.ref = h.hid
     WHERE s.sid IS NULL OR e.ev IS NULL"
);
pub(crate) const HEAD_BASIS: &str =
    heads!("LEFT JOIN hw_head b ON b.hid = h.basis WHERE h.basis IS NOT NULL AND b.hid IS NULL");
pub(crate) const HEAD_UP: &str = heads!(
    "LEFT JOIN hw_head u ON u.hid = h.up WHERE (h.up IS NULL AND h.depth <> 1)
       OR (h.up IS NOT NULL AND (u.hid IS NULL OR u.depth <> h.depth - 1))"
);
pub(crate) const HEAD_COMPACTION: &str = heads!(
    "LEFT JOIN hw_head c ON c.hid = h.compaction
     WHERE h.compaction IS NOT NULL AND (c.hid IS NULL OR c.kind <> 'compaction')"
);
pub(crate) const HEAD_SPAN: &str = heads!("WHERE h.span_to <> h.ev - 1 OR h.span_from > h.span_to OR h.span_from < 1");
/// Numbers of snapshots have no index of their own: SQLite makes one over what it has materialized.
pub(crate) const HEAD_SNAPSHOT: &str = concat!(
    "WITH x AS MATERIALIZED (SELECT sid, n, ev, vars FROM hw_snapshot) ",
    heads!(
        "JOIN hw_session s USING (sid) LEFT JOIN x ON x.sid = h.sid AND x.n = h.snapshot
     WHERE (h.snapshot IS NULL AND h.vars IS NOT NULL)
        OR (h.snapshot > s.i_snapshot AND (x.ev IS NULL OR x.ev > h.span_to OR x.vars IS NOT h.vars))
        OR (h.vars IS NOT NULL AND NOT EXISTS (SELECT 1 FROM hw_blob b WHERE b.bid = h.vars))"
    )
);
pub(crate) const HEAD_FINAL: &str =
    heads!("LEFT JOIN hw_blob f ON f.bid = h.final WHERE h.final IS NOT NULL AND f.bid IS NULL");
pub(crate) const TABLED_SPANS: &str = "SELECT s.id FROM hw_session s JOIN hw_head h ON h.hid = s.current
     WHERE s.deep = 0 AND (
       NOT EXISTS (SELECT 1 FROM hw_span p WHERE p.sid = s.sid AND p.ord = h.depth AND p.source = h.sid
         AND p.span_from = h.span_from AND p.span_to = h.span_to)
       OR h.depth <> (SELECT count(*) FROM hw_span p WHERE p.sid = s.sid))";
pub(crate) const DERIVATION_END: &str = "SELECT 'b3:' || lower(hex(d.hash)) FROM hw_derivation d
     LEFT JOIN hw_session t ON t.sid = d.target LEFT JOIN hw_head h ON h.hid = d.source_head AND h.sid = d.source
     LEFT JOIN hw_event e ON e.sid = d.target AND e.ev = d.target_ev
       AND e.type = CASE d.kind WHEN 'restore' THEN 4 ELSE 1 END
     WHERE t.sid IS NULL OR h.hid IS NULL OR e.ev IS NULL";
pub(crate) const ATTACH_SOURCE: &str = "SELECT s.id FROM hw_head h JOIN hw_session s USING (sid)
     WHERE h.kind = 'genesis' AND h.up IS NOT NULL AND NOT EXISTS (SELECT 1 FROM hw_derivation d
       WHERE d.target = h.sid AND d.target_ev = 1 AND d.source_head = h.up AND d.kind IN ('fork', 'attach'))";

macro_rules! invocations {
    ($rest:literal) => {
        concat!("SELECT i.id || ' of ' || s.id FROM hw_invocation i JOIN hw_session s USING (sid) ", $rest)
    };
}
pub(crate) const INVOCATION_END: &str = invocations!(
    "WHERE (i.callee_before IS NOT NULL AND i.callee IS NOT NULL AND NOT EXISTS (SELECT 1 FROM hw_session c WHERE c.id = i.callee))
        OR (i.caller_before IS NOT NULL AND NOT EXISTS (SELECT 1 FROM hw_head h WHERE h.hid = i.caller_before))
        OR (i.caller_after IS NOT NULL AND NOT EXISTS (SELECT 1 FROM hw_head h WHERE h.hid = i.caller_after))
        OR (i.callee_before IS NOT NULL AND NOT EXISTS (SELECT 1 FROM hw_head h WHERE h.hid = i.callee_before))
        OR (i.callee_after IS NOT NULL AND NOT EXISTS (SELECT 1 FROM hw_head h WHERE h.hid = i.callee_after))"
);
pub(crate) const INVOCATION_TYPE: &str = invocations!(
    "WHERE i.type = '' OR length(CAST(i.type AS BLOB)) > 64
        OR i.type GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'"
);
pub(crate) const INVOCATION_CALL: &str = invocations!(
    "WHERE i.call > s.i_call AND NOT EXISTS (SELECT 1 FROM hw_version v WHERE v.sid = i.sid AND v.kind = 9 AND v.n = i.call)"
);
/// Types 4 to 6 are those of children.
pub(crate) const CALL_CHILD: &str =
    "SELECT 'call ' || c.n || ' of ' || s.id FROM hw_call c JOIN hw_session s USING (sid)
     WHERE c.child IS NOT NULL AND c.type IN (4, 5, 6) AND c.status IN ('ok', 'final')
       AND NOT EXISTS (SELECT 1 FROM hw_session k WHERE k.id = c.child)
       AND NOT EXISTS (SELECT 1 FROM hw_invocation i WHERE i.callee = c.child)";
pub(crate) const ALIAS_TARGET: &str =
    "SELECT a.name FROM hw_alias a LEFT JOIN hw_session s USING (sid) WHERE s.sid IS NULL";
pub(crate) const PIN_TARGET: &str = "SELECT p.name FROM hw_pin p LEFT JOIN hw_blob b USING (bid)
     LEFT JOIN hw_head h ON h.hid = p.bid WHERE p.bid <> 0 AND (b.bid IS NULL OR (p.head = 1 AND h.hid IS NULL))";
pub(crate) const FACT_PAYLOAD: &str =
    "SELECT 'fact ' || f.n FROM hw_fact f LEFT JOIN hw_blob b ON b.bid = f.payload WHERE b.bid IS NULL";
/// Leases are not in the log: nothing else would tell.
pub(crate) const LEASE_ROW: &str =
    "SELECT coalesce(s.id, 'session ' || l.sid) FROM hw_lease l LEFT JOIN hw_session s USING (sid)
     WHERE s.sid IS NULL OR typeof(l.fence) <> 'integer' OR l.fence < 0 OR l.fence = 9223372036854775807
        OR typeof(l.holder) <> 'text' OR typeof(l.who) <> 'text' OR typeof(l.at) <> 'integer'";
pub(crate) const PAYLOAD_PLACE: &str = "SELECT 'b3:' || lower(hex(b.hash)) FROM hw_blob b
     LEFT JOIN (SELECT segment, offset FROM hw_tx ORDER BY tx DESC LIMIT 1) m
     WHERE CASE b.state
       WHEN 0 THEN b.segment IS NULL OR b.offset IS NULL OR m.segment IS NULL
         OR b.segment > m.segment OR (b.segment = m.segment AND b.offset + 24 + b.stored > m.offset)
       WHEN 1 THEN CASE WHEN json_valid(b.parts) THEN json_array_length(b.parts) = 0
         OR EXISTS (SELECT 1 FROM json_each(b.parts) p LEFT JOIN hw_blob x ON x.bid = p.value WHERE x.bid IS NULL) ELSE 1 END
       ELSE b.segment IS NOT NULL END";
