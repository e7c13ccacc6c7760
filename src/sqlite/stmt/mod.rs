//! Every statement that writes, named, a file for each group of tables.

pub(crate) mod blob;
pub(crate) mod event;
pub(crate) mod head;
pub(crate) mod meta;
pub(crate) mod name;
pub(crate) mod session;
