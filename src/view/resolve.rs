//! What people type, as what they mean.
//!
//! An exact name wins over a prefix, so that a pin or alias can be relied on whatever else appears later.

use std::collections::HashSet;

use rusqlite::Connection;

use super::heads::{find_head, live};
use super::{Answer, damaged, not_found, tree};
use crate::model::id::BadId;
use crate::model::{Address, Digest, HeadId, HeadKind, NodeName, Pin, PinTarget, SessionId};
use crate::sqlite::read::names::Names;
use crate::sqlite::read::{blob, head, named, session};
use crate::view::error::ReadError;

/// How many candidates an ambiguity names.
const SHOWN: usize = 8;
/// Fewer digits than these are no prefix: they fit too many things, or mean a word.
const LEAST_DIGITS: usize = 4;

/// The session named by its id, an alias, a prefix of either that fits no other session, or as a node.
pub(crate) fn resolve_session(conn: &Connection, text: &str) -> Result<(i64, SessionId), ReadError> {
    let name = resolve_node(conn, text)?;
    let sid = tree::sid_of(conn, &name)?;
    Ok((sid, Names::new(conn).answer()?.session(sid).answer()?))
}

/// The node named by a session, or by a session and the way down from it: `demo`, `demo/child-0001`. An address alone is
/// one of the session changed last; a session of that very name comes first.
pub(crate) fn resolve_node(conn: &Connection, text: &str) -> Result<NodeName, ReadError> {
    let (first, below) = text.split_once('/').map_or((text, None), |(first, below)| (first, Some(below)));
    let mut address: Address = below.map(str::parse).transpose()?.unwrap_or_default();
    let sid = match exact(conn, first)? {
        Some(sid) => sid,
        None if Address::begins(text) => {
            address = text.parse()?;
            last_changed(conn)?.ok_or_else(|| not_found("session", text))?
        }
        None => by_prefix(conn, first)?,
    };
    Ok(NodeName { session: Names::new(conn).answer()?.session(sid).answer()?, address })
}

/// The session changed last; of several the one that was made last.
pub(crate) fn last_changed(conn: &Connection) -> Result<Option<i64>, ReadError> {
    crate::sqlite::read::tree::last_changed(conn).answer()
}

/// The session of that very id or alias.
fn exact(conn: &Connection, text: &str) -> Result<Option<i64>, ReadError> {
    // Every prefix of an id keeps to the rule for ids.
    text.parse::<SessionId>()?;
    match session::find(conn, text).answer()? {
        Some(sid) => Ok(Some(sid)),
        None => session::find_alias(conn, text).answer(),
    }
}

fn by_prefix(conn: &Connection, text: &str) -> Result<i64, ReadError> {
    let first = session::beginning_with(conn, text, 0, 1).answer()?;
    let Some((name, sid)) = first.into_iter().next() else { return Err(not_found("session", text)) };
    let others = session::beginning_with(conn, text, sid, SHOWN as i64 - 1).answer()?;
    if !others.is_empty() {
        let mut candidates: Vec<String> = others.into_iter().map(|(name, _)| name).collect();
        candidates.push(name);
        return Err(ambiguous("session", text, candidates));
    }
    Ok(sid)
}

fn ambiguous(what: &'static str, name: &str, mut candidates: Vec<String>) -> ReadError {
    candidates.sort_unstable();
    candidates.truncate(SHOWN);
    ReadError::Ambiguous { what, name: name.to_owned(), candidates }
}

/// The head named by its id, a pin, `SESSION@N`, or a prefix of its id that fits no other: at least four digits, with
/// or without `head-`.
///
/// `SESSION@0` is the session's current head. `SESSION@N` is the head on which the N-th turn from the end was built: it
/// goes from the current head from basis to basis and leaves N heads that end a turn (`turn-final`, `turn-aborted`)
/// behind. So a compaction after the last turn is no turn of its own, and what a fork inherits counts on.
pub(crate) fn resolve_head(conn: &Connection, text: &str) -> Result<HeadId, ReadError> {
    if let Ok(head) = text.parse::<HeadId>() {
        return match find_head(conn, &head)? {
            Some(_) => Ok(head),
            None => Err(not_found("head", text)),
        };
    }
    if let Some((session, turns)) = text.rsplit_once('@') {
        let turns = turns
            .parse::<u64>()
            .map_err(|_| BadId::new("head", text, "after `@`, how many turns back: a whole number"))?;
        return turns_back(conn, session, turns, text);
    }
    if let Some(Pin { target: PinTarget::Head(head), .. }) = named::pin(conn, text).answer()? {
        return Ok(head);
    }
    let Some(prefix) = Prefix::parse(text, "head-") else {
        too_short(text, "head-", "head")?;
        let rule = "`head-` and at least four lower-case hexadecimal digits, a pin, or `SESSION@N`";
        // A well-formed name may just not be there; anything else can name nothing.
        return Err(match text.parse::<SessionId>() {
            Ok(_) => not_found("head", text),
            Err(_) => BadId::new("head", text, rule).into(),
        });
    };
    one(conn, &prefix, true, "head", text, |digest| HeadId(*digest).to_string()).map(HeadId)
}

/// The payload named by its digest, a pin, a head's id, or a prefix of its digest that fits no other: at least four
/// digits, with or without `b3:`.
pub(crate) fn resolve_digest(conn: &Connection, text: &str) -> Result<Digest, ReadError> {
    let exact = text.parse::<Digest>().ok().or_else(|| text.parse::<HeadId>().ok().map(|head| head.0));
    if let Some(digest) = exact {
        return match blob::blob_row(conn, &digest).answer()? {
            Some(_) => Ok(digest),
            None => Err(not_found("payload", text)),
        };
    }
    if let Some(pin) = named::pin(conn, text).answer()? {
        return Ok(pin.target.digest());
    }
    too_short(text, "b3:", "payload")?;
    if text.starts_with("head-") || text.contains('@') {
        return resolve_head(conn, text).map(|head| head.0);
    }
    let Some(prefix) = Prefix::parse(text, "b3:") else {
        return Err(not_found("payload", text));
    };
    one(conn, &prefix, false, "payload", text, Digest::to_string)
}

fn one(
    conn: &Connection,
    prefix: &Prefix,
    heads: bool,
    what: &'static str,
    text: &str,
    print: impl Fn(&Digest) -> String,
) -> Result<Digest, ReadError> {
    let (low, high) = prefix.range();
    let fits = |digest: &Digest| (low.0..=high.0).contains(&digest.0);
    let found = blob::by_prefix(conn, heads, (low.prefix(), high.prefix()), SHOWN, fits).answer()?;
    match found.as_slice() {
        [] => Err(not_found(what, text)),
        [digest] => Ok(*digest),
        several => Err(ambiguous(what, text, several.iter().map(print).collect())),
    }
}

/// Says of digits that are too few that they are, where the tag tells that digits are meant.
fn too_short(text: &str, tag: &str, what: &'static str) -> Result<(), BadId> {
    let digits = text.strip_prefix(tag).unwrap_or("none");
    match digits.len() < LEAST_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Err(BadId::new(what, text, "too short: a prefix has at least four hexadecimal digits")),
        false => Ok(()),
    }
}

/// The first digits of a digest.
struct Prefix<'t> {
    digits: &'t str,
}

impl<'t> Prefix<'t> {
    fn parse(text: &'t str, tag: &str) -> Option<Prefix<'t>> {
        let digits = text.strip_prefix(tag).unwrap_or(text);
        let hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (hex && (LEAST_DIGITS..=64).contains(&digits.len())).then_some(Prefix { digits })
    }

    /// The least and greatest digests with these digits.
    fn range(&self) -> (Digest, Digest) {
        let end = |fill: &str| format!("b3:{}{}", self.digits, fill.repeat(64 - self.digits.len())).parse();
        (end("0").unwrap_or(Digest::ZERO), end("f").unwrap_or(Digest::ZERO))
    }
}

fn turns_back(conn: &Connection, session: &str, turns: u64, text: &str) -> Result<HeadId, ReadError> {
    let (sid, _) = resolve_session(conn, session)?;
    let missing = || not_found("head", text);
    let mut hid = live(conn, sid)?.current.ok_or_else(missing)?;
    let mut left = 0;
    let mut seen = HashSet::new();
    while left < turns {
        let place = head::named_place(conn, hid).answer()?;
        if !seen.insert(hid) {
            return Err(damaged(format!("the basis of head {hid}")));
        }
        left += u64::from(matches!(place.kind, HeadKind::TurnFinal | HeadKind::TurnAborted));
        hid = place.basis.or(place.up).ok_or_else(missing)?;
    }
    Names::new(conn).answer()?.head(hid).answer()
}
