//! What each kind of store record writes.

use rusqlite::{OptionalExtension, params};

use super::{ApplyError, BlobPlace, FramePlace, IN_PARTS, PRESENT, Step, find_blob, missing};
use crate::blob::codec::Codec;
use crate::model::{Digest, HeadId, Record};
use crate::sqlite::stmt;

impl Step<'_> {
    /// Applies one store record.
    pub(super) fn record(&mut self, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::PayloadAdded { hash, size, media, parts: None } => {
                let place = self.places.next().copied();
                self.add_blob(hash, *size, media.as_deref(), place, None)?;
            }
            Record::PayloadPart { hash, size } => {
                let place = self.places.next().copied();
                self.add_blob(hash, *size, None, place, None)?;
            }
            Record::PayloadAdded { hash, size, media, parts: Some(parts) } => {
                let bids = parts.iter().map(|part| self.blob(part)).collect::<Result<Vec<i64>, _>>()?;
                self.add_blob(hash, *size, media.as_deref(), None, Some(&bids))?;
            }
            Record::AliasSet { name, session } => {
                let sid = self.sid(session)?;
                let held: Option<i64> =
                    self.conn.prepare_cached(stmt::name::ALIAS)?.query_row([name.as_str()], |r| r.get(0)).optional()?;
                match held {
                    Some(held) if held == sid => {}
                    Some(_) => return Err(ApplyError::Conflict(format!("alias {name} points to another session"))),
                    None => {
                        self.conn.prepare_cached(stmt::name::ADD_ALIAS)?.execute(params![name.as_str(), sid])?;
                    }
                }
            }
            Record::PinSet { name, target, head, version } => {
                let bid = match target {
                    Some(target) if *head => self.head(&HeadId(*target))?,
                    Some(target) => self.blob(target)?,
                    None => 0,
                };
                let held: Option<u64> =
                    self.conn.prepare_cached(stmt::name::PIN)?.query_row([name.as_str()], |r| r.get(0)).optional()?;
                if held.unwrap_or(0) + 1 != *version {
                    return Err(ApplyError::Conflict(format!("pin {name} has version {}", held.unwrap_or(0))));
                }
                self.conn.prepare_cached(stmt::name::SET_PIN)?.execute(params![name.as_str(), bid, head, version])?;
            }
            Record::FactAdded { fact, tag, payload } => {
                let last: u64 = self.conn.prepare_cached(stmt::name::LAST_FACT)?.query_row([], |r| r.get(0))?;
                if last + 1 != *fact {
                    return Err(ApplyError::Conflict(format!("the last fact is {last}")));
                }
                let payload = self.blob(payload)?;
                self.conn.prepare_cached(stmt::name::ADD_FACT)?.execute(params![
                    fact,
                    tag,
                    payload,
                    self.head.at.micros()
                ])?;
            }
            Record::DerivationAdded(d) => {
                let (source, target) = (self.sid(&d.source_session)?, self.sid(&d.target_session)?);
                let head = self.head(&d.source_head)?;
                self.conn.prepare_cached(stmt::head::ADD_DERIVATION)?.execute(params![
                    d.id.0.as_slice(),
                    d.kind.as_str(),
                    source,
                    head,
                    target,
                    d.target_event.0,
                    d.at.micros(),
                    self.head.tx.0
                ])?;
            }
            Record::SessionTitled { session, title } => {
                let sid = self.sid(session)?;
                let text = self.display(title)?;
                let title = self.opt(title)?;
                self.conn.prepare_cached(stmt::session::SET_TITLE)?.execute(params![sid, text, title])?;
            }
            Record::SessionRemoved { session } => {
                let sid = self.sid(session)?;
                for statement in stmt::session::REMOVE {
                    self.conn.prepare_cached(statement)?.execute([sid])?;
                }
            }
            Record::PayloadErased { hash } => {
                let bid = self.blob(hash)?;
                self.conn.prepare_cached(stmt::blob::ERASE)?.execute([bid])?;
                self.fresh.remove(hash);
            }
            Record::GcDone { .. } | Record::RepairDone { .. } => {}
        }
        Ok(())
    }

    /// Adds a payload's row; none is made when the payload is there already. One that was erased or lost is given its
    /// new place, and gives its row's number as a new one does.
    fn add_blob(
        &mut self,
        hash: &Digest,
        size: u64,
        media: Option<&str>,
        place: Option<FramePlace>,
        parts: Option<&[i64]>,
    ) -> Result<(), ApplyError> {
        let found = find_blob(self.conn, hash)?;
        // The frame of a payload that is lost may stand where it was; what takes its place must be more than that.
        let lost_again = place.is_some_and(|place| place.codec == Codec::LOST.0);
        if found.is_some_and(|found| found.holds_bytes() || lost_again) {
            return Ok(());
        }
        let state = if parts.is_some() { IN_PARTS } else { PRESENT };
        if parts.is_none() && place.is_none() {
            return Err(missing("the frame of payload", hash));
        }
        let (segment, offset) = (place.map(|p| p.at.segment), place.map(|p| p.at.offset));
        let (stored, codec) = (place.map_or(0, |p| p.stored), place.map_or(0, |p| p.codec));
        let (at, skip) = (place.map(|p| p.at), place.and_then(|p| p.skip));
        let parts = parts.map(|bids| serde_json::json!(bids).to_string());
        if let Some(found) = found {
            self.conn
                .prepare_cached(stmt::blob::PLACE_AGAIN)?
                .execute(params![found.bid, segment, offset, stored, codec, state, parts, skip])?;
            self.fresh.insert(*hash, BlobPlace { at, stored, codec, skip, state, ..found });
            return Ok(());
        }
        self.conn.prepare_cached(stmt::blob::ADD)?.execute(params![
            hash.0.as_slice(),
            size,
            segment,
            offset,
            stored,
            codec,
            media,
            state,
            parts,
            skip
        ])?;
        let bid = self.conn.last_insert_rowid();
        self.fresh.insert(*hash, BlobPlace { bid, size, at, stored, codec, skip, state });
        Ok(())
    }
}
