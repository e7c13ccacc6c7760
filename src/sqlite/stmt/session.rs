//! hw_session.

pub(crate) const ADD: &str =
    "INSERT INTO hw_session (id, kind, origin, cache_id, status, started_at, updated_at, base_up, base_from, basis,
       last_event, digest, i_message, i_turn, i_call, i_eval, i_snapshot, i_head, i_invocation, i_child)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, 1, ?7, 0, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
pub(crate) const BY_ID: &str =
    "SELECT sid, status, started_at, updated_at, ended_at, current, base_up, base_from, basis, last_event, digest, deep,
       i_message, i_turn, i_call, i_eval, i_snapshot, i_head, i_invocation, i_child
     FROM hw_session WHERE id = ?1";
pub(crate) const UPDATE: &str =
    "UPDATE hw_session SET status = ?2, updated_at = ?3, ended_at = ?4, current = ?5, base_up = ?6, base_from = ?7,
       basis = ?8, last_event = ?9, digest = ?10, deep = ?11
     WHERE sid = ?1";
pub(crate) const SET_TITLE: &str = "UPDATE hw_session SET title = ?2, title_ref = ?3 WHERE sid = ?1";
/// Every table that holds rows of a session, in an order that needs no foreign keys.
pub(crate) const REMOVE: [&str; 18] = [
    "DELETE FROM hw_event WHERE sid = ?1",
    "DELETE FROM hw_message WHERE sid = ?1",
    "DELETE FROM hw_inherited WHERE (kind, n, sid, ev) IN (SELECT kind, n, sid, ev FROM hw_version WHERE sid = ?1)",
    "DELETE FROM hw_inherited WHERE (kind, n, sid, ev) IN (SELECT 11, n, sid, ev FROM hw_eval WHERE sid = ?1)",
    "DELETE FROM hw_version WHERE sid = ?1",
    "DELETE FROM hw_turn WHERE sid = ?1",
    "DELETE FROM hw_call WHERE sid = ?1",
    "DELETE FROM hw_eval WHERE sid = ?1",
    "DELETE FROM hw_snapshot WHERE sid = ?1",
    "DELETE FROM hw_invocation WHERE sid = ?1",
    "DELETE FROM hw_ref WHERE sid = ?1",
    "DELETE FROM hw_span WHERE sid = ?1",
    "DELETE FROM hw_head WHERE sid = ?1",
    "DELETE FROM hw_batch_key WHERE sid = ?1",
    "DELETE FROM hw_derivation WHERE target = ?1",
    "DELETE FROM hw_alias WHERE sid = ?1",
    "DELETE FROM hw_lease WHERE sid = ?1",
    "DELETE FROM hw_session WHERE sid = ?1",
];
