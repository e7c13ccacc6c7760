//! Roots and large payloads that the walk over the log could not prove on its way: those that stand elsewhere than in the
//! commit which names them, and those kept in parts. A second walk finds their frames.

use std::collections::HashMap;
use std::path::Path;

use super::codes;
use super::{Findings, log};
use crate::blob::{self, BlobError, Place};
use crate::journal::{ReplayError, Replayed};
use crate::model::line::Item;
use crate::model::{Digest, HeadId, Record, Root};
use crate::segment::Readers;
use crate::store::error::{chain, is_refusal};

/// A head whose root was not in its own commit, and what the log says of its boundary.
pub(super) struct Unproven {
    pub(super) head: HeadId,
    pub(super) boundary: u64,
    pub(super) digest: Digest,
}

/// Whether `root` says what the log says.
pub(super) fn holds(root: &Root, boundary: u64, digest: Digest) -> bool {
    root.digest == digest && root.span.1.0 == boundary
}

/// What is left to be proven.
#[derive(Default)]
pub(super) struct Later {
    pub(super) heads: Vec<Unproven>,
    /// Large payloads: size and parts.
    pub(super) parts: HashMap<Digest, (u64, Vec<Digest>)>,
    /// Payloads that were lost and put again: where they are read now.
    pub(super) again: HashMap<Digest, Place>,
}

impl Later {
    /// Goes through the log once more, up to where `segments` end, if anything is left.
    pub(super) fn prove(self, blobs: &Path, segments: &[(u64, Option<u64>)], found: &mut Findings) {
        let mut places: HashMap<Digest, Option<Place>> = HashMap::new();
        places.extend(self.parts.values().flat_map(|(_, parts)| parts).map(|part| (*part, None)));
        places.extend(self.heads.iter().map(|head| (head.head.0, None)));
        if places.is_empty() {
            return;
        }
        for (digest, again) in &self.again {
            if let Some(place) = places.get_mut(digest) {
                *place = Some(*again);
            }
        }
        for (number, until) in segments {
            // What cannot be read was told by the first walk, but for what the system refuses now.
            let walked = log::replay_segment(blobs, *number, *until, |commit: Replayed| {
                let mut frames = commit.payloads.iter();
                for line in &commit.commit.lines {
                    if let Item::Record(
                        Record::PayloadAdded { hash, size, parts: None, .. } | Record::PayloadPart { hash, size },
                    ) = &line.item
                        && let Some(frame) = frames.next()
                        && let Some(place) = places.get_mut(hash)
                        && place.is_none()
                    {
                        *place = Some(frame.place(*size));
                    }
                }
                Ok::<(), ReplayError>(())
            });
            if let Err(error) = walked
                && is_refusal(&error)
            {
                return found.unread(codes::FRAME_DAMAGED, chain(&error), error);
            }
        }
        let places: HashMap<Digest, Place> =
            places.into_iter().filter_map(|(digest, place)| place.map(|place| (digest, place))).collect();
        let readers = Readers::new(blobs);
        for (digest, (size, parts)) in &self.parts {
            match whole(&readers, &places, parts) {
                Ok((hash, len)) if hash == *digest && len == *size => found.count("payloads-in-parts", 1),
                Ok(_) => found.issue(codes::PAYLOAD_PARTS, digest.to_string()),
                // Told where the part stands.
                Err(Why::Part(error)) if is_refusal(&error) => {
                    return found.unread(codes::PAYLOAD_PARTS, chain(&error), error);
                }
                Err(Why::Part(_)) => {}
                Err(Why::Missing(part)) => {
                    found.issue(codes::PAYLOAD_PARTS, format!("{digest}: part {part} is not in the log"));
                }
            }
        }
        for Unproven { head, boundary, digest } in self.heads {
            let bytes = match self.parts.get(head.digest()) {
                Some((_, parts)) => joined(&readers, &places, parts),
                None => joined(&readers, &places, &[head.0]),
            };
            let bytes = match bytes {
                Err(Why::Part(error)) if is_refusal(&error) => {
                    return found.unread(codes::HEAD_ROOT, chain(&error), error);
                }
                bytes => bytes.ok(),
            };
            let root = bytes.filter(|bytes| Digest::of(bytes) == head.0);
            let root = root.and_then(|bytes| serde_json::from_slice::<Root>(&bytes).ok());
            if !root.is_some_and(|root| holds(&root, boundary, digest)) {
                found.issue(codes::HEAD_ROOT, head.to_string());
            }
        }
    }
}

enum Why {
    Missing(Digest),
    Part(BlobError),
}

fn whole(readers: &Readers, places: &HashMap<Digest, Place>, parts: &[Digest]) -> Result<(Digest, u64), Why> {
    let (mut hasher, mut len) = (blake3::Hasher::new(), 0);
    for part in parts {
        let place = places.get(part).ok_or(Why::Missing(*part))?;
        let bytes = blob::read(readers, place, part).map_err(Why::Part)?;
        hasher.update(&bytes);
        len += bytes.len() as u64;
    }
    Ok((Digest(*hasher.finalize().as_bytes()), len))
}

fn joined(readers: &Readers, places: &HashMap<Digest, Place>, parts: &[Digest]) -> Result<Vec<u8>, Why> {
    let mut bytes = Vec::new();
    for part in parts {
        let place = places.get(part).ok_or(Why::Missing(*part))?;
        bytes.extend(blob::read(readers, place, part).map_err(Why::Part)?);
    }
    Ok(bytes)
}
