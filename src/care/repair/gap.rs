//! What a missing commit held, as far as the rows know. A single one can be proven: its digest is what the next one says of it.

use std::collections::{HashMap, HashSet, VecDeque};

use rusqlite::OptionalExtension;

use super::RepairError;
use super::mend::{Mender, Step, payload};
use super::witness::Witness;
use crate::journal::{BatchKey, Commit, Lines, TxHeader};
use crate::model::line::{Item, encode_event, encode_record};
use crate::model::{Body, Digest, Event, Record, SessionId, Tx};
use crate::sqlite::session_row::SessionRow;
use crate::sqlite::stmt::repair as ask;

/// Orders of lines that are tried before one is taken that cannot be proven.
const ATTEMPTS: usize = 20_000;

/// A line, the payloads it names, and itself.
struct Entry {
    text: Vec<u8>,
    names: Vec<Digest>,
}

/// Fills the gap up to commit `to`, before the commit at place `at` of the chain, which says that the one before it has the
/// digest `wanted`.
pub(super) fn fill(mender: &mut Mender<'_>, at: usize, to: Tx, wanted: Option<Digest>) -> Result<(), RepairError> {
    let from = mender.last.next();
    let slots = to.0 - mender.last.0;
    mender.report.damaged.push(match slots {
        1 => format!("commit {from}"),
        _ => format!("commits {from} to {to}"),
    });
    let Some(witness) = mender.witness else {
        mender.report.commits.lost += slots;
        for tx in from.0..=to.0 {
            empty(mender, Tx(tx));
        }
        return Ok(());
    };
    let said = match mender.said.take() {
        Some(said) => said,
        None => Said::read(mender)?,
    };
    let held = held(mender, witness, &Rest::new(mender, &said, at)?, at);
    mender.said = Some(said);
    let (payloads, entries, erased) = held?;
    if slots == 1 && erased.is_empty() {
        let head = TxHeader { tx: from, at: witness.at(from).unwrap_or(mender.at()), previous: mender.digest };
        let key = witness.key(from);
        if let Some(lines) = wanted.and_then(|wanted| prove(&head, key.as_ref(), &payloads, &entries, &wanted))
            && mender.apply(&head, lines.key.as_ref(), &lines.lines)?
        {
            mender.report.commits.proven += 1;
            let digest = lines.digest(&head);
            mender.push(Step::Anew(head.clone(), lines), &head, digest);
            return Ok(());
        }
    }
    let (records, rest): (Vec<&[u8]>, Vec<&[u8]>) = (
        payloads.iter().map(|(_, text)| text.as_slice()).collect(),
        entries.iter().map(|entry| entry.text.as_slice()).collect(),
    );
    let mut texts: VecDeque<&[u8]> = arranged(&records, &rest, &latest(&payloads, &entries)).into();
    texts.extend(erased.iter().map(Vec::as_slice));
    let each = texts.len().div_ceil(usize::try_from(slots).unwrap_or(usize::MAX)).max(1);
    for tx in from.0..=to.0 {
        let tx = Tx(tx);
        if texts.is_empty() && witness.key(tx).is_none() {
            mender.report.commits.lost += u64::from(slots > 1 || entries.is_empty() && payloads.is_empty());
            empty(mender, tx);
            continue;
        }
        let take = if tx == to { texts.len() } else { each.min(texts.len()) };
        let mut lines = Lines::default();
        for text in texts.drain(..take) {
            lines.push_text(text).map_err(|error| RepairError::Inside(error.to_string()))?;
        }
        lines.key = witness.key(tx);
        let head = TxHeader { tx, at: witness.at(tx).unwrap_or(mender.at()), previous: mender.digest };
        mender.report.commits.from_rows += 1;
        for line in &lines.lines {
            if let Item::Event(event) = &line.item {
                mender.report.took_from_rows(&event.session);
            }
        }
        mender.in_part(head, lines)?;
    }
    Ok(())
}

/// A commit of which nothing is known keeps its number, so that those after it keep theirs.
fn empty(mender: &mut Mender<'_>, tx: Tx) {
    let at = mender.witness.and_then(|witness| witness.at(tx)).unwrap_or(mender.at());
    let head = TxHeader { tx, at, previous: mender.digest };
    let lines = Lines::default();
    let digest = lines.digest(&head);
    mender.push(Step::Anew(head.clone(), lines), &head, digest);
}

/// Payloads, then all other lines, that the rows hold and neither what is mended so far nor what follows.
#[expect(clippy::type_complexity, reason = "three lists of lines")]
fn held(
    mender: &Mender<'_>,
    witness: &Witness,
    rest: &Rest<'_>,
    at: usize,
) -> Result<(Vec<(Digest, Vec<u8>)>, Vec<Entry>, Vec<Vec<u8>>), RepairError> {
    let last: Option<Vec<u8>> = mender.conn.query_row(ask::LAST_HASH, [], |row| row.get(0)).optional()?;
    let last = last.and_then(|bytes| Digest::from_slice(&bytes));
    let (mut payloads, mut erased) = (Vec::new(), Vec::new());
    for (hash, record, is_erased) in witness.payloads(last, rest.first_payload) {
        let known = crate::sqlite::apply::find_blob(&mender.conn, &hash)?;
        if known.is_none() {
            payloads.push((hash, encode_record(&record)));
        }
        if is_erased {
            erased.push(encode_record(&Record::PayloadErased { hash }));
        }
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut derivations: VecDeque<_> = witness.derivations().into();
    let (mut made, mut titles) = (HashSet::new(), witness.titles());
    for event in events(mender, witness, at)? {
        let (session, number) = (event.session.clone(), event.number);
        let moved = matches!(event.body, Body::RefUpdated(_));
        if number.0 == 1 {
            made.insert(session.clone());
        }
        entries.push(Entry { names: names(&event), text: encode_event(&event) });
        if moved {
            // The derivation stands behind the move to its head, in the commit that made or restored the session.
            while let Some(next) =
                derivations.iter().position(|d| d.target_session == session && d.target_event <= number)
            {
                let Some(derivation) = derivations.remove(next) else { break };
                if !is_there(mender, ask::HAS_DERIVATION, derivation.id.0.as_slice())?
                    && !rest.has(&rest.said.derivations, &derivation.id)
                {
                    entries.push(record(Record::DerivationAdded(derivation), None));
                }
            }
        }
    }
    for (name, session) in witness.aliases() {
        let knows = made.contains(&session) || SessionRow::find(&mender.conn, &session)?.is_some();
        if knows && !rest.has(&rest.said.aliases, &name) && !is_there(mender, ask::HAS_ALIAS, name.as_str())? {
            entries.push(record(Record::AliasSet { name, session }, None));
        }
    }
    titles.retain(|session, _| !rest.has(&rest.said.titled, session));
    let mut titles: Vec<_> = titles.into_iter().collect();
    titles.sort();
    for (session, title) in titles {
        let known: Option<Vec<u8>> =
            mender.conn.query_row(ask::TITLE_OF, [session.as_str()], |row| row.get(0)).optional()?;
        let knows = made.contains(&session) || SessionRow::find(&mender.conn, &session)?.is_some();
        if knows && known.as_deref() != Some(title.0.as_slice()) {
            entries.push(record(Record::SessionTitled { session, title: Some(title) }, Some(title)));
        }
    }
    for (name, target, head, version) in witness.pins() {
        let known = mender.conn.query_row(ask::PIN_VERSION, [name.as_str()], |row| row.get(0)).optional()?;
        let upto = rest.pin(&name).map_or(version, |next| next.saturating_sub(1));
        for version in known.unwrap_or(0) + 1..=upto {
            entries.push(record(Record::PinSet { name: name.clone(), target, head, version }, target));
        }
    }
    let last_fact: u64 = mender.conn.query_row(ask::LAST_FACT, [], |row| row.get(0))?;
    for fact in witness.facts(last_fact, rest.first_fact().unwrap_or(i64::MAX.cast_unsigned())) {
        let payload = match &fact {
            Record::FactAdded { payload, .. } => Some(*payload),
            _ => None,
        };
        entries.push(record(fact, payload));
    }
    Ok((payloads, entries, erased))
}

fn record(record: Record, names: Option<Digest>) -> Entry {
    Entry { text: encode_record(&record), names: names.into_iter().collect() }
}

fn is_there(mender: &Mender<'_>, sql: &str, key: impl rusqlite::ToSql) -> Result<bool, RepairError> {
    Ok(mender.conn.query_row(sql, [key], |_| Ok(())).optional()?.is_some())
}

/// What the commits of the chain say, by their places in it: read once, however many gaps there are.
#[derive(Default)]
pub(super) struct Said {
    payloads: Vec<(usize, Digest)>,
    facts: Vec<(usize, u64)>,
    /// Where each is said last.
    derivations: HashMap<Digest, usize>,
    aliases: HashMap<SessionId, usize>,
    titled: HashMap<SessionId, usize>,
    /// Where each version of a pin is said.
    pins: HashMap<SessionId, Vec<(usize, u64)>>,
}

/// What of a list in the order of places stands at `at` or behind it.
fn behind<T>(list: &[(usize, T)], at: usize) -> &[(usize, T)] {
    &list[list.partition_point(|(place, _)| *place < at)..]
}

impl Said {
    fn read(mender: &Mender<'_>) -> Result<Said, RepairError> {
        let mut said = Said::default();
        for (at, found) in mender.chain.iter().enumerate() {
            let body = mender.sources.read_frame(found.place)?.body;
            let commit = Commit::decode(&body).map_err(|error| RepairError::Inside(error.to_string()))?;
            for line in &commit.lines {
                if let Some(hash) = payload(&line.item) {
                    said.payloads.push((at, hash));
                }
                match &line.item {
                    Item::Record(Record::DerivationAdded(d)) => {
                        said.derivations.insert(d.id, at);
                    }
                    Item::Record(Record::AliasSet { name, .. }) => {
                        said.aliases.insert(name.clone(), at);
                    }
                    Item::Record(Record::SessionTitled { session, .. }) => {
                        said.titled.insert(session.clone(), at);
                    }
                    Item::Record(Record::PinSet { name, version, .. }) => {
                        said.pins.entry(name.clone()).or_default().push((at, *version));
                    }
                    Item::Record(Record::FactAdded { fact, .. }) => said.facts.push((at, *fact)),
                    _ => {}
                }
            }
        }
        Ok(said)
    }
}

/// What commits after a gap say.
struct Rest<'a> {
    said: &'a Said,
    at: usize,
    first_payload: Option<Digest>,
}

impl<'a> Rest<'a> {
    fn new(mender: &Mender<'_>, said: &'a Said, at: usize) -> Result<Rest<'a>, RepairError> {
        let mut first_payload = None;
        for (_, hash) in behind(&said.payloads, at) {
            if crate::sqlite::apply::find_blob(&mender.conn, hash)?.is_none() {
                first_payload = Some(*hash);
                break;
            }
        }
        Ok(Rest { said, at, first_payload })
    }

    fn has<K: std::hash::Hash + Eq>(&self, last: &HashMap<K, usize>, key: &K) -> bool {
        last.get(key).is_some_and(|place| *place >= self.at)
    }

    /// The first version of a pin.
    fn pin(&self, name: &SessionId) -> Option<u64> {
        behind(self.said.pins.get(name)?, self.at).first().map(|(_, version)| *version)
    }

    fn first_fact(&self) -> Option<u64> {
        behind(&self.said.facts, self.at).first().map(|(_, fact)| *fact)
    }
}

/// The events that the rows have and the log has not: of each session those up to where it goes on, in the order of time.
fn events(mender: &Mender<'_>, witness: &Witness, at: usize) -> Result<Vec<Event>, RepairError> {
    let mut queues: Vec<VecDeque<Event>> = Vec::new();
    let next = mender.chain.get(at);
    // Whether another gap follows, whose events these may be.
    let another = mender.chain[at..].windows(2).position(|pair| pair[0].head.tx.next() != pair[1].head.tx);
    let another = another.map(|offset| at + offset + 1);
    for known in &witness.sessions {
        let last = SessionRow::find(&mender.conn, &known.id)?.map_or(0, |row| row.last_event);
        let goes_on = mender.later.get(&known.id).and_then(|places| behind(places, at).first());
        let to = goes_on.map_or(known.last_event, |(_, first)| first.saturating_sub(1));
        if to <= last {
            continue;
        }
        let mut found = witness.events(known.sid, last, to);
        let ambiguous = another.is_some_and(|another| goes_on.is_none_or(|(place, _)| *place >= another));
        if let Some(next) = next.filter(|_| ambiguous) {
            let until = found.iter().position(|event| event.at > next.head.at).unwrap_or(found.len());
            found.truncate(until);
        }
        queues.push(found.into());
    }
    let mut events = Vec::new();
    while let Some(first) =
        queues.iter_mut().filter(|queue| !queue.is_empty()).min_by_key(|queue| queue.front().map(|event| event.at))
    {
        events.extend(first.pop_front());
    }
    Ok(events)
}

/// The payloads that an event names, in its line.
fn names(event: &Event) -> Vec<Digest> {
    let text = String::from_utf8(encode_event(event)).unwrap_or_default();
    let mut found: Vec<Digest> =
        text.split("\"b3:").skip(1).filter_map(|rest| format!("b3:{}", rest.get(..64)?).parse().ok()).collect();
    if let Body::HeadCreated(head) = &event.body {
        found.push(head.0);
    }
    found
}

/// Before which entry each payload stands at the latest: the first that names it.
fn latest(payloads: &[(Digest, Vec<u8>)], entries: &[Entry]) -> Vec<usize> {
    let mut places: Vec<usize> = payloads
        .iter()
        .map(|(hash, _)| entries.iter().position(|entry| entry.names.contains(hash)).unwrap_or(entries.len()))
        .collect();
    // They stand in the order of their first appearance.
    for at in (1..places.len()).rev() {
        places[at - 1] = places[at - 1].min(places[at]);
    }
    places
}

/// All lines, the payloads before the entries at `places`.
fn arranged<T: Copy>(payloads: &[T], entries: &[T], places: &[usize]) -> Vec<T> {
    let mut all = Vec::with_capacity(payloads.len() + entries.len());
    let mut next = 0;
    for at in 0..=entries.len() {
        while next < payloads.len() && places[next] <= at {
            all.push(payloads[next]);
            next += 1;
        }
        all.extend(entries.get(at).copied());
    }
    all
}

/// The order of lines whose commit has the digest `wanted`, if it is found.
fn prove(
    head: &TxHeader,
    key: Option<&BatchKey>,
    payloads: &[(Digest, Vec<u8>)],
    entries: &[Entry],
    wanted: &Digest,
) -> Option<Lines> {
    let most = latest(payloads, entries);
    // As batches write them: all payloads first. Then from as late as they can stand to ever earlier.
    let mut places = vec![0; most.len()];
    let mut first = true;
    let named: Vec<Digest> = payloads.iter().map(|(_, text)| Digest::of(text)).collect();
    let others: Vec<Digest> = entries.iter().map(|entry| Digest::of(&entry.text)).collect();
    let attempts = ATTEMPTS / (1 + (named.len() + others.len()) / 16);
    for _ in 0..=attempts {
        if head.digest_of(key, arranged(&named, &others, &places).iter()) == *wanted {
            let texts: Vec<&[u8]> = payloads.iter().map(|(_, text)| text.as_slice()).collect();
            let rest: Vec<&[u8]> = entries.iter().map(|entry| entry.text.as_slice()).collect();
            let mut lines = Lines::default();
            lines.key = key.cloned();
            for text in arranged(&texts, &rest, &places) {
                lines.push_text(text).ok()?;
            }
            return Some(lines);
        }
        if std::mem::take(&mut first) {
            places.clone_from(&most);
            continue;
        }
        // The next arrangement: the last payload that can stand earlier does, those after it as late as they can.
        let at = (0..places.len()).rev().find(|at| places[*at] > if *at == 0 { 0 } else { places[at - 1] })?;
        places[at] -= 1;
        places[at + 1..].copy_from_slice(&most[at + 1..]);
    }
    None
}
