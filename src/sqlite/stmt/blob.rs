//! hw_blob.

pub(crate) const FIND: &str =
    "SELECT bid, size, segment, offset, stored, state FROM hw_blob WHERE substr(hash, 1, 5) = ?1 AND hash = ?2";
pub(crate) const ADD: &str = "INSERT INTO hw_blob (hash, size, segment, offset, stored, codec, media, state, parts)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
pub(crate) const ERASE: &str = "UPDATE hw_blob SET state = 2, segment = NULL, offset = NULL, stored = 0 WHERE bid = ?1";
