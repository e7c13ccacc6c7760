//! hw_head, hw_ref, hw_span, hw_derivation.

pub(crate) const ADD: &str =
    "INSERT INTO hw_head (hid, sid, ev, kind, basis, up, span_from, span_to, depth, compaction, ordinal, turn, final,
       snapshot, vars, transcript)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
pub(crate) const PLACE: &str = "SELECT sid, up, span_from, span_to, depth FROM hw_head WHERE hid = ?1";
pub(crate) const ADD_REF: &str = "INSERT INTO hw_ref (sid, ev, hid, made) VALUES (?1, ?2, ?3, ?4)";
pub(crate) const SPANS: &str = "SELECT ord, source, span_from, span_to FROM hw_span WHERE sid = ?1 ORDER BY ord";
pub(crate) const CUT_SPANS: &str = "DELETE FROM hw_span WHERE sid = ?1 AND ord >= ?2";
pub(crate) const ADD_SPAN: &str =
    "INSERT INTO hw_span (sid, ord, source, span_from, span_to) VALUES (?1, ?2, ?3, ?4, ?5)";
pub(crate) const EXTEND_SPAN: &str = "UPDATE hw_span SET span_to = ?3 WHERE sid = ?1 AND ord = ?2";
pub(crate) const ADD_DERIVATION: &str =
    "INSERT INTO hw_derivation (hash, kind, source, source_head, target, target_ev, at, tx)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
