//! Anchors: a small file, kept elsewhere, by which a store that was rolled back or rewritten as a whole is told.
//!
//! All that a store holds agrees with itself after such a change; only something outside of it can tell.

use std::path::Path;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::check::codes;
use super::check::{Findings, Looked, head};
use crate::model::{Digest, EventNumber, HeadId, SessionId, Timestamp, Tx};
use crate::sqlite::spans;
use crate::store::Store;
use crate::store::error::ReadError;
use crate::store::level::Meta;

/// A head as an anchor holds it: equal digests, equal history up to that event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchoredHead {
    /// The head.
    pub head: HeadId,
    /// Whose head.
    pub session: SessionId,
    /// Its boundary: the last event it is sealed over.
    pub event: EventNumber,
    /// The session's digest at the boundary.
    pub digest: Digest,
}

/// What a store was when the anchor was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// When.
    pub at: Timestamp,
    /// The last commit.
    pub tx: Tx,
    /// Its digest, which covers every commit before it.
    pub digest: Digest,
    /// The head asked for, then those from which its branches left. Each id covers the heads it was built on.
    pub heads: Vec<AnchoredHead>,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct First {
    anchor: u32,
    at: Timestamp,
    tx: Tx,
    digest: Digest,
    /// How many lines follow.
    heads: u64,
}

/// The form that is written.
const VERSION: u32 = 1;

/// A text that is no anchor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadAnchor {
    /// A line that is not of the form.
    #[error("line {line} is none of an anchor's")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A newer version wrote it.
    #[error("the anchor has form {0}, this version knows 1")]
    Newer(u32),
    /// Lines are missing, or there are more than there were.
    #[error("the anchor says that it has {said} heads, and has {found}")]
    Heads {
        /// What its first line says.
        said: u64,
        /// How many lines follow that.
        found: u64,
    },
    /// There is no line.
    #[error("the anchor is empty")]
    Empty,
}

impl Anchor {
    /// Takes an anchor of `store` at `head`.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] if there is no such head, [`ReadError::Damaged`] if a root is not what its id says.
    pub fn take(store: &Store, head: &HeadId) -> Result<Anchor, ReadError> {
        let database = |error: rusqlite::Error| ReadError::Database(Box::new(error));
        let mut heads = Vec::new();
        let mut next = Some(*head);
        while let Some(head) = next {
            let root = store.root_of(&head)?;
            heads.push(AnchoredHead { head, session: root.session, event: root.span.1, digest: root.digest });
            next = root.up;
        }
        // After the heads: whatever was read of them is in this commit or before it.
        let meta = store.inner.read(|conn| Meta::read(conn).map_err(database))?;
        Ok(Anchor { at: store.inner.clock.now(), tx: meta.tx, digest: meta.digest, heads })
    }

    /// The anchor as JSON lines: the store, then a line for each head.
    ///
    /// # Errors
    ///
    /// None in practice: plain values are written into memory.
    pub fn to_lines(&self) -> Result<String, serde_json::Error> {
        let first =
            First { anchor: VERSION, at: self.at, tx: self.tx, digest: self.digest, heads: self.heads.len() as u64 };
        let mut text = serde_json::to_string(&first)?;
        text.push('\n');
        for head in &self.heads {
            text.push_str(&serde_json::to_string(head)?);
            text.push('\n');
        }
        Ok(text)
    }

    /// Reads what [`Anchor::to_lines`] wrote. Members that this version does not know are left alone.
    ///
    /// # Errors
    ///
    /// [`BadAnchor`].
    pub fn from_lines(text: &str) -> Result<Anchor, BadAnchor> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (_, first) = lines.next().ok_or(BadAnchor::Empty)?;
        let First { anchor, at, tx, digest, heads: said } =
            serde_json::from_str(first).map_err(|source| BadAnchor::Line { line: 1, source })?;
        if anchor != VERSION {
            return Err(BadAnchor::Newer(anchor));
        }
        let heads = lines
            .map(|(at, line)| serde_json::from_str(line).map_err(|source| BadAnchor::Line { line: at + 1, source }));
        let heads = heads.collect::<Result<Vec<_>, _>>()?;
        match heads.len() as u64 {
            found if found == said => Ok(Anchor { at, tx, digest, heads }),
            found => Err(BadAnchor::Heads { said, found }),
        }
    }
}

/// Compares a store with an anchor that was taken of it: goes through its log once.
pub(super) fn compare(
    conn: &Connection,
    blobs: &Path,
    meta: &Meta,
    anchor: &Anchor,
    found: &mut Findings,
) -> Result<(), Looked> {
    if meta.tx < anchor.tx {
        let place = format!("the store ends at commit {}, the anchor was taken at {}", meta.tx, anchor.tx);
        found.issue(codes::ANCHOR_BEHIND, place);
    }
    let mut claims = head::Claims::new();
    for head in &anchor.heads {
        let row = crate::sqlite::apply::find_blob(conn, head.head.digest())?;
        let is_there = row.map(|row| spans::place(conn, row.bid)).transpose()?.flatten().is_some();
        if is_there {
            claims.entry(head.session.clone()).or_default().push((head.event.0, head.digest, head.head));
        } else {
            found.issue(codes::ANCHOR_HEAD, format!("{} of {}", head.head, head.session));
        }
    }
    let mut digest = None;
    let unmet = head::unmet(blobs, meta, claims, found, |commit| {
        if commit.commit.head.tx == anchor.tx {
            digest = Some(commit.commit.digest());
        }
    });
    for (boundary, head) in unmet {
        found.issue(codes::ANCHOR_HEAD, format!("{head}: other events up to {boundary}"));
    }
    if meta.tx >= anchor.tx && anchor.tx.0 > 0 && digest != Some(anchor.digest) {
        found.issue(codes::ANCHOR_STORE, format!("commit {} is another one", anchor.tx));
    }
    found.count("commits", meta.tx.0);
    found.count("heads", anchor.heads.len() as u64);
    Ok(())
}
