//! Every statement that answers a question, a file for each topic. The reader holds a transaction open around them, so
//! that several statements see one point of the store.

pub(crate) mod blob;
pub(crate) mod cause;
pub(crate) mod event;
pub(crate) mod head;
pub(crate) mod lineage;
pub(crate) mod named;
pub(crate) mod names;
pub(crate) mod rows;
pub(crate) mod session;
