//! Rows: the only floor that knows SQL.
//!
//! This floor promises that one function makes rows from commits ([`apply`]), so that live commits, adoption and
//! rebuild give the same rows, and that rows read back as the values they were made from. Transactions, locks and
//! the log belong to the floor above.

pub(crate) mod apply;
pub(crate) mod doubt;
pub(crate) mod fault;
pub(crate) mod migrate;
pub(crate) mod open;
pub(crate) mod read;
pub(crate) mod reader;
pub(crate) mod row;
pub(crate) mod session_row;
pub(crate) mod spans;
pub(crate) mod stmt;
