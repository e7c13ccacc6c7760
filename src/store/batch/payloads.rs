//! The payloads of a batch: gathered first, then looked up at one read point and compressed, on several threads where
//! there are many.

use super::Batch;
use crate::blob::{self, Prepared, codec::Class};
use crate::journal::Lines;
use crate::model::canonical::canonicalize;
use crate::model::{Digest, Record};

/// Bytes gathered before they are looked up and compressed: bounds what a batch holds twice.
const GATHERED: usize = 4 << 20;

/// A payload that was put and not looked up yet.
struct Put {
    digest: Digest,
    bytes: Vec<u8>,
    media: Option<String>,
    class: Class,
}

/// The payloads of one batch.
#[derive(Default)]
pub(super) struct Payloads {
    put: Vec<Put>,
    put_bytes: usize,
    /// All that were put, each once.
    known: std::collections::HashSet<Digest>,
    /// Those that the store has not, in the order of their records.
    prepared: Vec<Prepared>,
    records: Lines,
    /// Compressed as an import's: see [`Batch::import`].
    dense: bool,
}

impl Payloads {
    pub(super) fn text_len(&self) -> usize {
        self.records.text_len()
    }

    /// The records, which come before the lines that name the payloads, and the payloads.
    pub(super) fn into_parts(self) -> (Lines, Vec<Prepared>) {
        (self.records, self.prepared)
    }
}

impl Batch<'_> {
    /// Adds a payload to the commit, unless the store has it, and returns its ref.
    pub fn put(&mut self, bytes: &[u8]) -> Digest {
        self.put_with(bytes, None, Class::Payload)
    }

    /// The same with a media type.
    pub fn put_media(&mut self, bytes: &[u8], media: &str) -> Digest {
        self.put_with(bytes, Some(media), Class::Payload)
    }

    /// Adds a JSON value: canonicalized, so that equal values are one payload. What cannot be canonicalized (duplicate
    /// keys, lone surrogates, extreme depth, no JSON at all) is kept as the bytes given.
    pub fn put_value(&mut self, json: &[u8]) -> Digest {
        match canonicalize(json) {
            Ok(canonical) => self.put_with(&canonical, Some("application/json"), Class::Payload),
            Err(_) => self.put_with(json, None, Class::Payload),
        }
    }

    /// Has the batch's payloads compressed as those of an import: better, and several small ones together.
    pub(crate) fn import(&mut self) {
        self.payloads.dense = true;
    }

    pub(in crate::store) fn put_root(&mut self, bytes: &[u8]) -> Digest {
        self.put_with(bytes, None, Class::Root)
    }

    fn put_with(&mut self, bytes: &[u8], media: Option<&str>, class: Class) -> Digest {
        let digest = Digest::of(bytes);
        if !self.payloads.known.insert(digest) {
            return digest;
        }
        let media = media.map(str::to_owned);
        if bytes.len() > blob::PART {
            if let Err(error) = self.put_large(digest, bytes, media) {
                self.failed.get_or_insert(error);
            }
            return digest;
        }
        let class = if self.payloads.dense && class == Class::Payload { Class::Dense } else { class };
        self.payloads.put_bytes += bytes.len();
        self.payloads.put.push(Put { digest, bytes: bytes.to_vec(), media, class });
        if self.payloads.put_bytes >= GATHERED {
            self.prepare_payloads();
        }
        digest
    }

    /// Commits the parts of a payload that is no single frame, and lists them.
    fn put_large(&mut self, hash: Digest, bytes: &[u8], media: Option<String>) -> Result<(), super::CommitError> {
        if !self.store.has_payload(&hash)? {
            let (size, parts) = (bytes.len() as u64, self.store.put_parts(bytes)?);
            self.payloads.records.push_record(Record::PayloadAdded { hash, size, media, parts: Some(parts) });
        }
        Ok(())
    }

    /// Looks up what was gathered and prepares what the store has not. A failure is the commit's.
    pub(super) fn prepare_payloads(&mut self) {
        let payloads = &mut self.payloads;
        payloads.put_bytes = 0;
        let mut put = std::mem::take(&mut payloads.put);
        let digests: Vec<Digest> = put.iter().map(|put| put.digest).collect();
        let there = match self.store.have_payloads(&digests) {
            Ok(there) => there,
            Err(error) => {
                self.failed.get_or_insert(error);
                return;
            }
        };
        let mut there = there.into_iter();
        put.retain(|_| there.next() != Some(true));
        if payloads.dense {
            // Neighbours share frames: small ones are to have no large one between them.
            put.sort_by_key(|put| put.bytes.len() >= blob::PACKED);
        }
        let sources: Vec<blob::Source<'_>> = put.iter().map(|put| (put.digest, &*put.bytes, put.class)).collect();
        let prepared = if payloads.dense { blob::prepare_dense(&sources) } else { blob::prepare(&sources) };
        for (mut prepared, put) in prepared.into_iter().zip(put) {
            prepared.media = put.media;
            let (hash, size, media) = (prepared.digest, prepared.size, prepared.media.clone());
            payloads.records.push_record(Record::PayloadAdded { hash, size, media, parts: None });
            payloads.prepared.push(prepared);
        }
    }
}
