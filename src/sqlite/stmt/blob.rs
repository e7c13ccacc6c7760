//! hw_blob.

pub(crate) const FIND: &str = "SELECT bid, size, segment, offset, stored, state, codec, skip FROM hw_blob WHERE substr(hash, 1, 5) = ?1 AND hash = ?2";
pub(crate) const ADD: &str =
    "INSERT INTO hw_blob (hash, size, segment, offset, stored, codec, media, state, parts, skip)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
pub(crate) const ERASE: &str =
    "UPDATE hw_blob SET state = 2, segment = NULL, offset = NULL, skip = NULL, stored = 0 WHERE bid = ?1";
/// A payload that was erased or lost is there again.
pub(crate) const PLACE_AGAIN: &str = "UPDATE hw_blob SET segment = ?2, offset = ?3, stored = ?4, codec = ?5, state = ?6, parts = ?7, skip = ?8 WHERE bid = ?1";
pub(crate) const PARTS: &str =
    "SELECT b.hash FROM hw_blob w CROSS JOIN json_each(w.parts) p CROSS JOIN hw_blob b ON b.bid = p.value
     WHERE w.bid = ?1 ORDER BY p.key";
