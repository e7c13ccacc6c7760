//! What a repair asks of the rows: they hold what a damaged commit held.

pub(crate) const SESSIONS: &str = "SELECT sid, id, last_event, digest FROM hw_session ORDER BY sid";
pub(crate) const BID: &str = "SELECT bid FROM hw_blob WHERE substr(hash, 1, 5) = ?1 AND hash = ?2";
pub(crate) const LAST_HASH: &str = "SELECT hash FROM hw_blob ORDER BY bid DESC LIMIT 1";
pub(crate) const PAYLOADS: &str = "SELECT b.bid, b.hash, b.size, b.media, b.state,
     EXISTS (SELECT 1 FROM hw_blob w, json_each(w.parts) p WHERE w.state = 1 AND p.value = b.bid)
     FROM hw_blob b WHERE b.bid > ?1 AND b.bid < ?2 ORDER BY b.bid";
pub(crate) const KEYS: &str =
    "SELECT k.sid, k.key, k.first_event, k.events, k.digest FROM hw_batch_key k WHERE k.tx = ?1";
pub(crate) const TX_AT: &str = "SELECT at FROM hw_tx WHERE tx = ?1";
/// In the order of first appearance.
pub(crate) const DERIVATIONS: &str =
    "SELECT d.hash, d.kind, s.id, b.hash, t.id, d.target_ev, d.at FROM hw_derivation d JOIN hw_session s ON s.sid = d.source
     JOIN hw_session t ON t.sid = d.target JOIN hw_blob b ON b.bid = d.source_head ORDER BY d.tx, d.target, d.target_ev";
pub(crate) const ALIASES: &str = "SELECT a.name, s.id FROM hw_alias a JOIN hw_session s USING (sid) ORDER BY a.name";
pub(crate) const PINS: &str =
    "SELECT p.name, b.hash, p.head, p.version FROM hw_pin p LEFT JOIN hw_blob b USING (bid) ORDER BY p.name";
pub(crate) const FACTS: &str = "SELECT f.n, f.tag, b.hash FROM hw_fact f JOIN hw_blob b ON b.bid = f.payload WHERE f.n > ?1 AND f.n < ?2 ORDER BY f.n";
pub(crate) const LAST_FACT: &str = "SELECT coalesce(max(n), 0) FROM hw_fact";
pub(crate) const TITLES: &str =
    "SELECT s.id, b.hash FROM hw_session s JOIN hw_blob b ON b.bid = s.title_ref ORDER BY s.sid";
pub(crate) const HAS_DERIVATION: &str = "SELECT 1 FROM hw_derivation WHERE hash = ?1";
pub(crate) const HAS_ALIAS: &str = "SELECT 1 FROM hw_alias WHERE name = ?1";
pub(crate) const PIN_VERSION: &str = "SELECT version FROM hw_pin WHERE name = ?1";
pub(crate) const TITLE_OF: &str =
    "SELECT b.hash FROM hw_session s JOIN hw_blob b ON b.bid = s.title_ref WHERE s.id = ?1";
/// Display text that rows cache, by the payload it is of.
pub(crate) const TEXTS: &str = "SELECT title FROM hw_session WHERE title_ref = ?1 AND title IS NOT NULL
     UNION ALL SELECT summary_text FROM hw_turn WHERE summary = ?1 AND summary_text IS NOT NULL
     UNION ALL SELECT label_text FROM hw_invocation WHERE label = ?1 AND label_text IS NOT NULL LIMIT 1";
/// What a root repeats of the rows before it: session `?1`.
pub(crate) const LAST_TURN: &str = "SELECT t.n, b.hash FROM hw_turn t LEFT JOIN hw_blob b ON b.bid = t.final WHERE t.sid = ?1 ORDER BY t.ev DESC LIMIT 1";
pub(crate) const LAST_SNAPSHOT: &str = "SELECT x.n, b.hash FROM hw_snapshot x LEFT JOIN hw_blob b ON b.bid = x.vars WHERE x.sid = ?1 ORDER BY x.ev DESC LIMIT 1";
pub(crate) const HEAD_REFS: &str =
    "SELECT h.snapshot, b.hash, c.hash FROM hw_head h LEFT JOIN hw_blob b ON b.bid = h.vars
     LEFT JOIN hw_blob c ON c.bid = h.compaction WHERE h.hid = ?1";
pub(crate) const HASH: &str = "SELECT hash FROM hw_blob WHERE bid = ?1";
/// A compaction's transcript: session, first and last event of each run.
pub(crate) const TRANSCRIPT: &str = "SELECT s.id, json_extract(r.value, '$[1]'), json_extract(r.value, '$[2]')
     FROM hw_head h CROSS JOIN json_each(h.transcript) r CROSS JOIN hw_session s ON s.sid = json_extract(r.value, '$[0]')
     WHERE h.hid = ?1 ORDER BY r.key";
