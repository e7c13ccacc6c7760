//! Heads: immutable named states of a session, and their roots.

use serde::{Deserialize, Serialize};

use super::digest::{Digest, HeadId};
use super::id::{EventNumber, SessionId, SnapshotNumber, TurnNumber};
use super::session::Counters;

/// Why a head was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// The first head of a session.
    Genesis,
    /// The end of a turn.
    TurnFinal,
    /// The transcript was compacted.
    Compaction,
    /// What a dead turn had built; never the current head unless named.
    TurnAborted,
}

impl HeadKind {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            HeadKind::Genesis => "genesis",
            HeadKind::TurnFinal => "turn-final",
            HeadKind::Compaction => "compaction",
            HeadKind::TurnAborted => "turn-aborted",
        }
    }

    /// The kind of that word.
    pub fn from_word(text: &str) -> Option<HeadKind> {
        [HeadKind::Genesis, HeadKind::TurnFinal, HeadKind::Compaction, HeadKind::TurnAborted]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// The canonical JSON of a head; its digest is the head's id. Fields and keys are in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The head this one was built on.
    pub basis: Option<HeadId>,
    /// The nearest compaction head before this one.
    pub compaction: Option<HeadId>,
    /// The session's counters at the boundary; `head` counts this one.
    pub counters: Counters,
    /// The session's digest at the boundary.
    pub digest: Digest,
    /// Why it was sealed.
    pub kind: HeadKind,
    /// What a resume needs at once.
    pub refs: Refs,
    /// Whose head it is.
    pub session: SessionId,
    /// Its own run of events, first and last; the last is the boundary.
    pub span: (EventNumber, EventNumber),
    /// Of a compaction head: what a provider would see.
    pub transcript: Option<Vec<TranscriptRange>>,
    /// The turn it ends.
    pub turn: Option<TurnNumber>,
    /// The head at which its branch left.
    pub up: Option<HeadId>,
    /// The version of this form.
    pub version: u32,
}

/// The payloads and the snapshot of a root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refs {
    /// The turn's final value.
    #[serde(rename = "final")]
    pub final_value: Option<Digest>,
    /// The latest snapshot visible.
    pub snapshot: Option<SnapshotNumber>,
    /// That snapshot's variables.
    pub vars: Option<Digest>,
}

/// The messages among a run of events of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptRange {
    /// The first event.
    pub from: EventNumber,
    /// Whose events.
    pub session: SessionId,
    /// The last event.
    pub to: EventNumber,
}

impl Root {
    /// The version of the form that is written.
    pub const VERSION: u32 = 1;

    /// The canonical bytes.
    pub fn bytes(&self) -> Vec<u8> {
        // A struct of plain fields cannot fail to serialize; an empty root would never parse back.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The head's id.
    pub fn id(&self) -> HeadId {
        HeadId(Digest::of(&self.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Root {
        Root {
            basis: Some(HeadId(Digest::of(b"basis"))),
            compaction: None,
            counters: Counters { event: 40, head: 2, message: 6, turn: 1, ..Counters::default() },
            digest: Digest::of(b"d"),
            kind: HeadKind::TurnFinal,
            refs: Refs { final_value: Some(Digest::of(b"4")), snapshot: Some(SnapshotNumber(1)), vars: None },
            session: "demo".parse().unwrap(),
            span: (EventNumber(1), EventNumber(40)),
            transcript: Some(vec![TranscriptRange {
                from: EventNumber(3),
                session: "demo".parse().unwrap(),
                to: EventNumber(3),
            }]),
            turn: Some(TurnNumber(1)),
            up: None,
            version: 1,
        }
    }

    #[test]
    fn a_root_is_written_as_canonical_json() {
        let bytes = root().bytes();
        assert_eq!(super::super::canonical::canonicalize(&bytes).unwrap(), bytes);
        assert_eq!(serde_json::from_slice::<Root>(&bytes).unwrap(), root());
    }

    #[test]
    fn the_golden_root_keeps_its_id() {
        // Changing this breaks every head ever sealed: it needs a new `version`.
        assert_eq!(root().id().to_string(), "head-1e984dda31d9623470425c0b0b8b40b2ec3e7fccb1079a8341320470faa1aef2");
    }
}
