//! Runs that go on from another: `session/restored` carries the messages of its source. Where the source is in the store, its rows are
//! shared instead.

use std::io;

use super::super::shared::{Branch, branch_where};
use super::children::Free;
use super::meaning::Not;
use super::record::{Record, word};
use super::value::{Holes, Sum};
use super::{Fractal, Numbers};
use crate::exchange::ImportError;
use crate::exchange::batch::Step;
use crate::exchange::format::Format;
use crate::exchange::reader::{Item, Reader};
use crate::exchange::source::Source;
use crate::model::edn::Writer;
use crate::model::{Digest, HeadId, SessionId};
use crate::store::Store;

/// Among so many records at the beginning the one that restores is looked for.
const FIRST: usize = 4;

/// What a run says of its source.
pub struct Origin {
    /// The id that the source gives itself.
    pub session: String,
    turn: Option<u64>,
    snapshot: Option<u64>,
    /// The messages: id, and content.
    messages: Vec<(u64, Content)>,
}

/// A message's content.
enum Content {
    Text(Digest),
    /// The SHA-256 of its blob.
    Blob(String),
}

/// What a run says of its source; none for one that goes on from no other.
pub fn origin(source: &Source) -> io::Result<Option<Origin>> {
    let mut reader = Reader::of(&source.parts, Fractal::SYNTAX);
    let mut records = 0;
    while records < FIRST {
        match reader.advance()? {
            None => break,
            Some(Item::Record) => records += 1,
            Some(_) => continue,
        }
        let Ok(record) = Record::read(reader.record()) else { continue };
        if record.kind() == "session/restored" {
            return Ok(origin_of(&record));
        }
    }
    Ok(None)
}

fn origin_of(record: &Record<'_>) -> Option<Origin> {
    let from = record.get("session-patch")?.get("session/restored-from")?;
    let number = |name| from.get(name).and_then(|value| value.whole());
    let messages = record.get("messages")?.items().filter_map(|message| {
        let id = message.get("message/id")?.whole()?;
        if let Some(blob) = message.get("message/content-ref") {
            return Some((id, Content::Blob(blob.get("sha256")?.string()?.into_owned())));
        }
        let content = message.get("message/content")?;
        let text = content.string();
        let digest = Digest::of(text.as_deref().map_or(content.text(), |text| text).as_bytes());
        Some((id, Content::Text(digest)))
    });
    Some(Origin {
        session: word(from.get("source/session-id")?)?,
        turn: number("source/turn-id"),
        snapshot: number("source/snapshot-id"),
        messages: messages.collect(),
    })
}

/// The head of its source that a run goes on from, if that is in the store and has the same messages there.
pub fn branch(store: &Store, source: &Source, made: Option<HeadId>) -> Result<Option<Branch<Fractal>>, ImportError> {
    let Some(origin) = origin(source).map_err(|error| source.io(error))? else { return Ok(None) };
    let Ok(session) = origin.session.parse::<SessionId>() else { return Ok(None) };
    if !store.exists(session.as_str())? {
        return Ok(None);
    }
    let info = store.session(&session)?;
    if !info.origin.as_deref().is_some_and(|origin| origin.starts_with("fractal:")) {
        return Ok(None);
    }
    let wanted = |state: &Fractal| {
        origin.turn.is_some()
            && state.turn_id == origin.turn
            && (origin.snapshot.is_none() || state.snapshot_id == origin.snapshot)
    };
    let Some(mut branch) = branch_where::<Fractal>(store, &session, info.events, wanted, made)? else {
        return Ok(None);
    };
    let view = store.view_at(&session, &branch.head)?;
    let contents: std::collections::HashMap<u64, Digest> =
        view.rows.messages.iter().map(|entry| (entry.row.message.0, entry.row.content)).collect();
    let state = &mut branch.last.progress.state;
    let mut same = true;
    for (id, content) in &origin.messages {
        let found = state.messages.get(*id).and_then(|number| contents.get(&number));
        same &= match (found, content) {
            (Some(found), Content::Text(digest)) => found == digest,
            (Some(found), Content::Blob(sha256)) => {
                let mut sum = Sum::default();
                store.blobs().copy_to(found, &mut sum)?;
                sum.finish().1 == *sha256
            }
            (None, _) => false,
        };
    }
    if !same || contents.len() != origin.messages.len() {
        return Ok(None);
    }
    // Ids of calls, evals and snapshots begin anew; those of messages and turns go on.
    (state.calls, state.evals, state.snapshots) = (Numbers::default(), Numbers::default(), Numbers::default());
    (state.running, state.asked, state.is_shared) = (Vec::new(), None, true);
    // So do its children, in a folder of its own: the source's are not among them.
    let children = view.rows.invocations.iter().filter_map(|entry| entry.row.child);
    state.children = Free::below(children.max().unwrap_or(0));
    // Its last turn is the source's: nothing here ends it.
    (state.turn, state.turn_id, state.snapshot_id) = (None, None, None);
    Ok(Some(branch))
}

impl Fractal {
    pub(super) fn restored(&mut self, step: &mut Step<'_, '_>, record: &Record<'_>) -> Result<(), Not> {
        let mut rest = Writer::new();
        rest.begin_map();
        for name in ["counters", "session-patch"] {
            if let Some(value) = record.get(name) {
                rest.keyword(name).raw(value.text());
            }
        }
        let payload = step.batch.put_media(rest.finish().as_bytes(), super::value::MEDIA);
        step.batch.add_annotation("fractal/session/restored", self.turn, Some(payload))?;
        if std::mem::take(&mut self.is_shared) {
            // The messages are there, and the store has their contents.
            return Ok(step.keep_known()?);
        }
        let mut holes = Holes::new();
        for message in record.get("messages").into_iter().flat_map(|messages| messages.items()) {
            let row = super::record::Row::of(message, "message");
            if let Err(Not::Understood(why)) = self.add_message(step, row, false, &mut holes) {
                step.odd("bad-record", format!("a message that was restored cannot be understood: {why}"));
            }
        }
        self.asked = None;
        step.keep(holes);
        Ok(())
    }
}
