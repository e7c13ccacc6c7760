//! One head, proven by hash.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::Connection;

use super::codes;
use super::{CheckError, Findings, Looked, log};
use crate::blob;
use crate::journal::{ReplayError, Replayed};
use crate::model::line::Item;
use crate::model::{Digest, HeadId, Root, SessionId};
use crate::segment::{Readers, SegmentReader};
use crate::sqlite::apply::{self, BlobPlace, find_blob};
use crate::store::error::{chain, is_refusal};
use crate::store::level::Meta;

/// Session, boundary and digest that each root on the way claims.
pub(in crate::care) type Claims = HashMap<SessionId, Vec<(u64, Digest, HeadId)>>;

/// Proves one head: its root and those above it by hash, the events in its spans by the digest chain, its payloads.
pub(super) fn prove(
    conn: &Connection,
    blobs: &Path,
    meta: &Meta,
    head: &HeadId,
    found: &mut Findings,
) -> Result<(), Looked> {
    let readers = Readers::new(blobs);
    let mut claims = Claims::new();
    let mut next = Some(*head);
    while let Some(head) = next.take() {
        let Some(place) = find_blob(conn, head.digest())? else {
            if claims.is_empty() {
                return Err(Looked::Check(CheckError::NoHead(head)));
            }
            found.issue(codes::HEAD_UP, head.to_string());
            break;
        };
        let root = root_bytes(conn, &readers, head.digest(), &place)?
            .and_then(|bytes| serde_json::from_slice::<Root>(&bytes).map_err(|error| error.to_string()));
        match root {
            Ok(root) => {
                found.count("roots", 1);
                for payload in [root.refs.final_value, root.refs.vars].into_iter().flatten() {
                    payload_of(conn, &readers, &payload, found)?;
                }
                claims.entry(root.session).or_default().push((root.span.1.0, root.digest, head));
                next = root.up;
            }
            Err(why) => found.issue(codes::HEAD_ROOT, format!("{head}: {why}")),
        }
    }
    for (boundary, head) in unmet(blobs, meta, claims, found, |_| {}) {
        found.issue(codes::HEAD_DIGEST, format!("{head}: the events up to {boundary}"));
    }
    Ok(())
}

/// A payload that a root names.
fn payload_of(conn: &Connection, readers: &Readers, digest: &Digest, found: &mut Findings) -> Result<(), Looked> {
    match find_blob(conn, digest)? {
        None => found.issue(codes::HEAD_FINAL, digest.to_string()),
        Some(place) if place.state == apply::ERASED => found.count("payloads-erased", 1),
        Some(place) => match root_bytes(conn, readers, digest, &place)? {
            Ok(_) => found.count("payloads-read", 1),
            Err(why) => found.issue(codes::PAYLOAD_DAMAGED, format!("{digest}: {why}")),
        },
    }
    Ok(())
}

fn root_bytes(
    conn: &Connection,
    readers: &Readers,
    digest: &Digest,
    place: &BlobPlace,
) -> Result<Result<Vec<u8>, String>, Looked> {
    let frame = |digest: &Digest, place: &BlobPlace| {
        let Some(place) = place.place() else { return Ok(Err("it has no place in the log".to_owned())) };
        match blob::read(readers, &place, digest) {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(error) if is_refusal(&error) => Err(Looked::Check(CheckError::Io {
                what: "the store cannot be read".to_owned(),
                source: Box::new(error),
            })),
            Err(error) => Ok(Err(chain(&error))),
        }
    };
    if place.state != apply::IN_PARTS {
        return frame(digest, place);
    }
    let mut bytes = Vec::new();
    for part in apply::parts(conn, place.bid)? {
        let Some(place) = find_blob(conn, &part)? else { return Ok(Err(format!("part {part} is missing"))) };
        match frame(&part, &place)? {
            Ok(part) => bytes.extend(part),
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err("its parts are not those it was made of".to_owned()) })
}

/// Goes through the log up to the rows' end; what of `claims` no session's chain of events meets.
pub(in crate::care) fn unmet(
    blobs: &Path,
    meta: &Meta,
    mut claims: Claims,
    found: &mut Findings,
    mut each: impl FnMut(&Replayed),
) -> Vec<(u64, HeadId)> {
    let mut chains: HashMap<SessionId, (u64, Digest)> = HashMap::new();
    for number in 1..=meta.end.segment {
        let until = match number == meta.end.segment {
            true => Some(meta.end.offset),
            false => match SegmentReader::open(blobs, number + 1) {
                Ok(reader) => Some(reader.header().predecessor_end.offset),
                Err(error) if is_refusal(&error) => {
                    found.unread(codes::SEGMENT_DAMAGED, chain(&error), error);
                    break;
                }
                Err(_) => None,
            },
        };
        let walked = log::replay_segment(blobs, number, until, |commit: Replayed| {
            each(&commit);
            for line in &commit.commit.lines {
                let Item::Event(event) = &line.item else { continue };
                let Some(wanted) = claims.get_mut(&event.session) else { continue };
                let (number, chain) = chains.entry(event.session.clone()).or_insert((0, Digest::ZERO));
                (*number, *chain) = (event.number.0, chain.chain(line.digest));
                found.count("events", 1);
                wanted.retain(|(boundary, digest, _)| boundary != number || digest != chain);
            }
            Ok::<(), ReplayError>(())
        });
        match walked {
            Ok(_) => {}
            Err(error @ ReplayError::Segment(_)) => found.unread(codes::SEGMENT_DAMAGED, chain(&error), error),
            Err(error) => found.unread(codes::FRAME_DAMAGED, chain(&error), error),
        }
    }
    claims.into_values().flatten().map(|(boundary, _, head)| (boundary, head)).collect()
}
