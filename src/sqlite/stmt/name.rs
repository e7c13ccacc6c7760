//! hw_alias, hw_pin, hw_fact.

pub(crate) const ALIAS: &str = "SELECT sid FROM hw_alias WHERE name = ?1";
pub(crate) const ADD_ALIAS: &str = "INSERT INTO hw_alias (name, sid) VALUES (?1, ?2)";
/// A pin that was taken away keeps its row, with bid 0: its versions go on.
pub(crate) const PIN: &str = "SELECT version, bid FROM hw_pin WHERE name = ?1";
pub(crate) const SET_PIN: &str = "INSERT INTO hw_pin (name, bid, head, version) VALUES (?1, ?2, ?3, ?4)
     ON CONFLICT (name) DO UPDATE SET bid = ?2, head = ?3, version = ?4";
pub(crate) const LAST_FACT: &str = "SELECT coalesce(max(n), 0) FROM hw_fact";
pub(crate) const ADD_FACT: &str = "INSERT INTO hw_fact (n, tag, payload, at) VALUES (?1, ?2, ?3, ?4)";
