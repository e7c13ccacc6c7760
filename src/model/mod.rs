//! The model: sessions, events, heads and their one JSON form. No I/O, no SQL.
//!
//! This floor promises that equal values have equal bytes ([`canonical`], [`digest`]) and that a value that
//! exists is well formed: ids parse in one place, text has its limits. Whether a reference points to
//! something is left to the floors above.

pub mod canonical;
pub mod digest;
pub mod edn;
pub mod event;
pub mod fold;
pub mod head;
pub mod id;
pub mod line;
pub mod lineage;
pub mod record;
pub mod session;
pub mod span;
pub mod text;
pub mod time;
pub mod turn;

pub use digest::{Digest, HeadId};
pub use event::{Annotation, Body, Event};
pub use fold::{Entry, View};
pub use head::{HeadKind, Refs, Root, TranscriptRange};
pub use id::{
    CallNumber, EvalNumber, EventNumber, InvocationNumber, MessageNumber, SessionId, SnapshotNumber, TurnNumber, Tx,
};
pub use lineage::{Derivation, DerivationKind, Fact, Invocation, Pin, PinTarget};
pub use record::Record;
pub use session::{Counters, Restored, SessionError, SessionStarted, SessionStatus};
pub use span::Span;
pub use text::{Role, Status};
pub use time::Timestamp;
pub use turn::{Call, CallType, Eval, Message, Snapshot, Turn};
