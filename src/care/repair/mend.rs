//! The log put together again: commits in order, each tried on rows of its own; what a gap held is asked of the witness.

use std::collections::HashMap;

use rusqlite::Connection;

use super::gap;
use super::salvage::{Found, Place, Sources};
use super::witness::Witness;
use super::{RepairError, Report, root};
use crate::blob::codec::Codec;
use crate::journal::{BatchKey, Commit, Line, Lines, TxHeader, takes_frame};
use crate::model::line::Item;
use crate::model::{Body, Digest, Event, HeadId, Record, SessionId, Timestamp, Tx};
use crate::segment::Position;
use crate::sqlite::apply::{Applier, ApplyError, BlobPlace, Fetch, FramePlace};
use crate::sqlite::fault;
use crate::sqlite::session_row::SessionRow;
use crate::store::error::chain;

/// One commit of the mended log.
pub(super) enum Step {
    /// As it stands.
    Keep(Place, Tx),
    /// The same lines, after another commit than before.
    Again(Place, TxHeader),
    /// Lines put together anew.
    Anew(TxHeader, Lines),
}

/// A gap of more commits than this is no gap but a number gone wild.
const WILDEST: u64 = 10_000_000;

pub(super) struct Mender<'a> {
    pub(super) sources: &'a Sources,
    pub(super) witness: Option<&'a Witness>,
    /// Rows of what is mended so far.
    pub(super) conn: Connection,
    pub(super) applier: Applier,
    pub(super) last: Tx,
    pub(super) digest: Digest,
    at: Timestamp,
    /// Payloads made again from what else is known.
    pub(super) made: HashMap<Digest, Vec<u8>>,
    pub(super) steps: Vec<Step>,
    pub(super) report: Report,
    /// The chain of what was found, and where each session goes on in it.
    pub(super) chain: Vec<&'a Found>,
    pub(super) later: HashMap<SessionId, Vec<(usize, u64)>>,
    /// What else the chain says, read when a gap first asks.
    pub(super) said: Option<gap::Said>,
}

struct Bytes<'a> {
    sources: &'a Sources,
    made: &'a HashMap<Digest, Vec<u8>>,
}

impl Fetch for Bytes<'_> {
    fn fetch(&self, digest: &Digest, place: &BlobPlace) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(bytes) = self.made.get(digest) {
            return Ok(bytes.clone());
        }
        let bytes = self.sources.bytes(digest)?.ok_or("its bytes are nowhere")?;
        if bytes.len() as u64 == place.size {
            Ok(bytes)
        } else {
            Err("it has another size than the commit says".into())
        }
    }
}

impl<'a> Mender<'a> {
    pub(super) fn new(sources: &'a Sources, witness: Option<&'a Witness>, conn: Connection, report: Report) -> Self {
        let chain = in_order(sources, witness);
        let mut later: HashMap<SessionId, Vec<(usize, u64)>> = HashMap::new();
        for (at, found) in chain.iter().enumerate() {
            for (session, first, _) in &found.sessions {
                later.entry(session.clone()).or_default().push((at, *first));
            }
        }
        Mender {
            sources,
            witness,
            conn,
            applier: Applier::default(),
            last: Tx(0),
            digest: Digest::ZERO,
            at: Timestamp::default(),
            made: HashMap::new(),
            steps: Vec::new(),
            report,
            chain,
            later,
            said: None,
        }
    }

    /// Goes through the chain.
    pub(super) fn mend(&mut self) -> Result<(), RepairError> {
        for at in 0..self.chain.len() {
            let found = self.chain[at];
            if found.head.tx > self.last.next() {
                if found.head.tx.0 - self.last.0 > WILDEST {
                    self.report.damaged.push(format!("commit {} is too far from {}", found.head.tx, self.last));
                    break;
                }
                gap::fill(self, at, Tx(found.head.tx.0 - 1), Some(found.head.previous))?;
            }
            self.commit(found)?;
        }
        if let Some(witness) = self.witness.filter(|witness| witness.meta.tx > self.last) {
            let (tx, digest) = (witness.meta.tx, witness.meta.digest);
            if tx.0 - self.last.0 <= WILDEST {
                gap::fill(self, self.chain.len(), tx, Some(digest))?;
            }
        }
        self.doubt()
    }

    /// Names the sessions whose events from rows do not come to the digest that the rows have of them.
    fn doubt(&mut self) -> Result<(), RepairError> {
        let Some(witness) = self.witness else { return Ok(()) };
        for (session, _) in &self.report.events_from_rows {
            let known = witness.sessions.iter().find(|known| known.id == *session);
            let row = SessionRow::find(&self.conn, session)?;
            let same = known.zip(row).is_some_and(|(known, row)| {
                row.last_event > known.last_event || (row.last_event, row.digest) == (known.last_event, known.digest)
            });
            if !same {
                self.report.unproven.push(session.clone());
            }
        }
        Ok(())
    }

    fn commit(&mut self, found: &Found) -> Result<(), RepairError> {
        let body = self.sources.read_frame(found.place)?.body;
        let commit = Commit::decode(&body).map_err(|error| RepairError::Inside(chain(&error)))?;
        let head = TxHeader { tx: found.head.tx, at: found.head.at, previous: self.digest };
        if self.apply(&head, commit.key.as_ref(), &commit.lines)? {
            self.report.commits.kept += 1;
            let same = head.previous == found.head.previous;
            let digest = if same {
                found.digest
            } else {
                self.report.commits.chained_again += 1;
                Commit { head: head.clone(), ..commit }.digest()
            };
            let step = if same { Step::Keep(found.place, head.tx) } else { Step::Again(found.place, head.clone()) };
            self.push(step, &head, digest);
            return Ok(());
        }
        let lines = Commit::lines(&body).map_err(|error| RepairError::Inside(chain(&error)))?;
        self.report.commits.in_part += 1;
        self.in_part(head, lines)
    }

    /// Takes what of `lines` makes rows, one by one, and names the rest.
    pub(super) fn in_part(&mut self, head: TxHeader, lines: Lines) -> Result<(), RepairError> {
        let mut kept = Lines::default();
        let mut key = lines.key.clone();
        for (line, text) in lines.lines.iter().zip(lines.texts()) {
            if self.has_target(&line.item)? && self.apply(&head, None, std::slice::from_ref(line))? {
                kept.push_text(text).map_err(|error| RepairError::Inside(chain(&error)))?;
                continue;
            }
            match &line.item {
                Item::Event(event) => {
                    key = key.filter(|key| key.session != event.session);
                    self.hurt(event)?;
                }
                Item::Record(record) => self.report.records_lost.push(named(record)),
                Item::Unknown(kind) => self.report.records_lost.push(kind.clone()),
            }
        }
        if let Some(found) = key
            && self.apply(&head, Some(&found), &[])?
        {
            kept.key = Some(found);
        }
        let digest = kept.digest(&head);
        self.push(Step::Anew(head.clone(), kept), &head, digest);
        Ok(())
    }

    /// Whether the event that a derivation tells of is there; `apply` takes that for granted.
    fn has_target(&self, item: &Item) -> Result<bool, RepairError> {
        let Item::Record(Record::DerivationAdded(derivation)) = item else { return Ok(true) };
        let row = SessionRow::find(&self.conn, &derivation.target_session)?;
        Ok(row.is_some_and(|row| row.last_event >= derivation.target_event.0))
    }

    pub(super) fn push(&mut self, step: Step, head: &TxHeader, digest: Digest) {
        (self.last, self.digest, self.at) = (head.tx, digest, head.at);
        self.steps.push(step);
    }

    /// An event that is set aside: whatever follows it in its session is, too.
    fn hurt(&mut self, event: &Event) -> Result<(), RepairError> {
        // What stands before it and was found nowhere is lost as well.
        let kept = SessionRow::find(&self.conn, &event.session)?.map_or(0, |row| row.last_event);
        let hurt = self.report.hurt(&event.session, kept + 1);
        hurt.events = hurt.events.max((event.number.0 + 1).saturating_sub(hurt.from));
        if let Body::HeadCreated(head) = &event.body {
            hurt.heads.push(*head);
        }
        Ok(())
    }

    /// Makes the rows of some lines; false if they make none, and then none are made.
    pub(super) fn apply(
        &mut self,
        head: &TxHeader,
        key: Option<&BatchKey>,
        lines: &[Line],
    ) -> Result<bool, RepairError> {
        self.provide(head, lines)?;
        self.attempt(head, key, lines, true)
    }

    /// The same, for rows that are only to be looked at where `keep` is false.
    fn attempt(
        &mut self,
        head: &TxHeader,
        key: Option<&BatchKey>,
        lines: &[Line],
        keep: bool,
    ) -> Result<bool, RepairError> {
        let places: Vec<FramePlace> = lines
            .iter()
            .filter(|line| takes_frame(&line.item))
            .map(|line| {
                let is_there = payload(&line.item).is_some_and(|hash| self.has(&hash));
                let codec = if is_there { Codec::RAW } else { Codec::LOST };
                FramePlace { at: Position::first_of(1), stored: 0, codec: codec.0, skip: None }
            })
            .collect();
        let bytes = Bytes { sources: self.sources, made: &self.made };
        self.conn.execute_batch("SAVEPOINT step")?;
        let applied = self.applier.apply(&self.conn, head, key, lines, &places, &bytes);
        let undo = match applied {
            Ok(()) => !keep,
            Err(ApplyError::Sql(error)) if !fault::is_constraint(&error) && !is_conversion(&error) => {
                return Err(error.into());
            }
            Err(_) => true,
        };
        let done = applied.is_ok();
        if undo {
            self.applier.forget();
            if keep || !done {
                self.conn.execute_batch("ROLLBACK TO step")?;
            }
        }
        if keep || !done {
            self.conn.execute_batch("RELEASE step")?;
        }
        Ok(done)
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.sources.holds(digest) || self.made.contains_key(digest)
    }

    /// Tries to make again what payloads of `lines` are nowhere: display text from the rows, roots from what they are made of.
    fn provide(&mut self, head: &TxHeader, lines: &[Line]) -> Result<(), RepairError> {
        for (at, line) in lines.iter().enumerate() {
            let wanted = match &line.item {
                item if takes_frame(item) => payload(item),
                Item::Event(event) => match &event.body {
                    Body::HeadCreated(head) => Some(head.0),
                    _ => None,
                },
                _ => None,
            };
            let Some(hash) = wanted.filter(|hash| !self.has(hash)) else { continue };
            if let Some(text) = self.witness.and_then(|witness| witness.text(&hash)) {
                self.made.insert(hash, text);
                self.report.payloads.made_again.push(hash);
                continue;
            }
            let seals = lines[at..].iter().position(|line| is_head(&line.item, &hash)).map(|offset| at + offset);
            let Some(seals) = seals else { continue };
            let Item::Event(event) = &lines[seals].item else { continue };
            // As the rows are at the boundary: with what stands before in the commit, which is then taken back.
            let before: Vec<Line> =
                lines[..seals].iter().filter(|line| payload(&line.item) != Some(hash)).cloned().collect();
            if !self.attempt(head, None, &before, false)? {
                continue;
            }
            let root = root::make(&self.conn, self.witness, &event.session, &HeadId(hash));
            self.applier.forget();
            self.conn.execute_batch("ROLLBACK TO step")?;
            self.conn.execute_batch("RELEASE step")?;
            if let Some(root) = root? {
                self.made.insert(hash, root);
                self.report.payloads.made_again.push(hash);
            }
        }
        Ok(())
    }

    pub(super) fn at(&self) -> Timestamp {
        self.at
    }
}

/// A number that no integer of SQLite's holds: the line contradicts itself.
fn is_conversion(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::ToSqlConversionFailure(_) | rusqlite::Error::QueryReturnedNoRows)
}

/// The payload that a record adds.
pub(super) fn payload(item: &Item) -> Option<Digest> {
    match item {
        Item::Record(Record::PayloadAdded { hash, .. } | Record::PayloadPart { hash, .. }) => Some(*hash),
        _ => None,
    }
}

fn is_head(item: &Item, hash: &Digest) -> bool {
    matches!(item, Item::Event(event) if matches!(&event.body, Body::HeadCreated(head) if head.0 == *hash))
}

fn named(record: &Record) -> String {
    serde_json::to_string(record).unwrap_or_default()
}

/// One commit for each number, each after the one before where that can be had. What was superseded counts only where
/// something that is there follows it.
fn in_order<'a>(sources: &'a Sources, witness: Option<&Witness>) -> Vec<&'a Found> {
    let mut chain: Vec<&Found> = Vec::new();
    for (tx, found) in &sources.commits {
        let next = sources.commits.get(&(tx + 1)).map(Vec::as_slice).unwrap_or_default();
        let before = chain.last().filter(|last| last.head.tx.0 + 1 == *tx).map(|last| last.digest);
        let worth = |found: &&Found| {
            let follows = before.is_none_or(|before| before == found.head.previous);
            let is_followed = next.iter().any(|next| next.live && next.head.previous == found.digest)
                || witness.is_some_and(|witness| witness.meta.tx.0 == *tx && witness.meta.digest == found.digest);
            (follows, is_followed, found.live, std::cmp::Reverse(found.place.file))
        };
        let known = witness.is_some_and(|witness| witness.meta.tx.0 >= *tx);
        let followed = sources.commits.range(tx + 1..).any(|(_, found)| found.iter().any(|found| found.live));
        if let Some(best) = found.iter().max_by_key(worth)
            && (best.live || known || followed)
        {
            chain.push(best);
        }
    }
    chain
}
