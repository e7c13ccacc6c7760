//! What each kind of event writes: its own row, and the session's.

use rusqlite::{Connection, params};

use super::words::Word;
use super::{ApplyError, Step, missing};
use crate::model::{Body, Digest, Event, HeadId, HeadKind, Root, SessionId, Timestamp, TranscriptRange};
use crate::sqlite::row::{self, CALL, EVAL, INVOCATION, TURN};
use crate::sqlite::session_row::SessionRow;
use crate::sqlite::{spans, stmt};

/// The place of evals among the kinds without versions.
const EVALS: usize = 1;

impl Step<'_> {
    /// Applies one event to the session's row and its own table.
    pub(super) fn event(&mut self, event: &Event, digest: Digest) -> Result<(), ApplyError> {
        let Some((id, mut row)) = self.row.take() else { return Err(missing("session", &event.session)) };
        let ev = event.number.0;
        if ev != row.last_event + 1 {
            return Err(ApplyError::Contradicts(format!("event {ev} of {id} follows event {}", row.last_event)));
        }
        let (mut n, mut reference, mut status) = (None, None, None);
        let mut end = None;
        let inherited = row.inherited;
        let (sid, number, start) = (row.sid, ev, row.started_at);
        let after = |at: Timestamp| row::packed(at.micros() - start);
        match &event.body {
            Body::SessionStarted(started) => status = Some(started.status.as_str()),
            Body::SessionStatus(change) => {
                row.status = change.status.to_string();
                end = change.ended_at.map(|at| at.micros());
                row.ended_at = end;
                status = Some(change.status.as_str());
                reference = self.opt(&change.payload)?;
            }
            Body::SessionError(error) => {
                row.status = error.status.to_string();
                status = Some(error.status.as_str());
                reference = Some(self.blob(&error.error)?);
            }
            Body::SessionRestored(restored) => {
                let hid = self.head(&restored.source_head)?;
                (row.base_up, row.base_from, row.basis) = (Some(hid), ev, Some(hid));
                n = restored.snapshot.map(|n| n.0);
                reference = Some(hid);
            }
            Body::RefUpdated(head) => {
                let hid = self.head(head)?;
                spans::table(self.conn, &mut row, hid)?;
                row.current = Some(hid);
                if row.basis != Some(hid) {
                    (row.base_up, row.base_from, row.basis) = (Some(hid), ev + 1, Some(hid));
                }
                self.conn.prepare_cached(stmt::head::ADD_REF)?.execute(params![sid, ev, hid, 0])?;
                reference = Some(hid);
            }
            Body::HeadCreated(head) => reference = Some(self.add_head(event, head, &mut row)?),
            Body::MessageAdded(m) => {
                n = Some(self.grown(&mut row, 0, m.message.0)?);
                let (content, extra) = (self.blob(&m.content)?, self.opt(&m.extra)?);
                self.conn.prepare_cached(stmt::event::ADD_MESSAGE)?.execute(params![
                    sid,
                    number,
                    n,
                    row::RoleSql(&m.role),
                    content,
                    m.chars,
                    m.turn.map(|n| n.0),
                    m.call.map(|n| n.0),
                    extra
                ])?;
            }
            Body::TurnStarted(t) | Body::TurnPut(t) => {
                n = Some(t.turn.0);
                self.version(&row, TURN, t.turn.0, ev, t.turn.0 <= inherited.turn)?;
                self.conn.prepare_cached(stmt::event::ADD_TURN)?.execute(params![
                    sid,
                    number,
                    n,
                    t.status.as_str(),
                    self.opt_head(&t.head_before)?,
                    self.opt(&t.input)?,
                    self.opt(&t.final_value)?,
                    self.opt(&t.summary)?,
                    self.display(&t.summary)?,
                    t.started_at.map(after),
                    t.ended_at.map(after),
                    self.opt(&t.error)?,
                    self.opt(&t.extra)?,
                    t.turn.0 <= inherited.turn
                ])?;
            }
            Body::CallStarted(c) | Body::CallPut(c) => {
                n = Some(c.call.0);
                self.version(&row, CALL, c.call.0, ev, c.call.0 <= inherited.call)?;
                self.conn.prepare_cached(stmt::event::ADD_CALL)?.execute(params![
                    sid,
                    number,
                    n,
                    row::CallTypeSql(&c.call_type),
                    c.status.as_str(),
                    c.turn.map(|n| n.0),
                    c.eval.map(|n| n.0),
                    self.opt(&c.input)?,
                    self.opt(&c.request)?,
                    self.opt(&c.response)?,
                    self.opt(&c.result)?,
                    self.opt(&c.error)?,
                    self.word(c.provider.as_deref())?,
                    self.word(c.model.as_deref())?,
                    c.tokens_input,
                    c.tokens_output,
                    c.tokens_cached,
                    c.tokens_reasoning,
                    c.cost,
                    c.batch,
                    c.batch_index,
                    c.child.as_ref().map(SessionId::as_str),
                    c.started_at.map(after),
                    c.ended_at.map(after),
                    self.opt(&c.extra)?,
                    c.call.0 <= inherited.call
                ])?;
            }
            Body::EvalAdded(e) | Body::EvalPut(e) => {
                n = Some(match &event.body {
                    Body::EvalPut(_) => self.known_eval(&mut row, e.eval.0, ev)?,
                    _ => self.grown(&mut row, EVALS, e.eval.0)?,
                });
                self.conn.prepare_cached(stmt::event::ADD_EVAL)?.execute(params![
                    sid,
                    number,
                    n,
                    self.word(e.name.as_deref())?,
                    e.status.as_str(),
                    e.turn.map(|n| n.0),
                    e.message.map(|n| n.0),
                    e.call.map(|n| n.0),
                    self.opt(&e.code)?,
                    self.opt(&e.result)?,
                    self.opt(&e.observation)?,
                    self.opt(&e.error)?,
                    e.started_at.map(after),
                    e.ended_at.map(after),
                    self.opt(&e.extra)?
                ])?;
            }
            Body::SnapshotAdded(s) => {
                n = Some(self.grown(&mut row, 2, s.snapshot.0)?);
                self.conn.prepare_cached(stmt::event::ADD_SNAPSHOT)?.execute(params![
                    sid,
                    number,
                    n,
                    s.kind.as_str(),
                    self.opt(&s.vars)?,
                    s.restorable,
                    s.unrestorable,
                    s.turn.map(|n| n.0),
                    s.eval.map(|n| n.0),
                    self.opt(&s.extra)?
                ])?;
            }
            Body::InvocationStarted(i)
            | Body::InvocationCompleted(i)
            | Body::InvocationFailed(i)
            | Body::CallerHeadRecorded(i) => {
                n = Some(i.invocation.0);
                self.version(&row, INVOCATION, i.invocation.0, ev, i.invocation.0 <= inherited.invocation)?;
                self.conn.prepare_cached(stmt::event::ADD_INVOCATION)?.execute(params![
                    sid,
                    number,
                    n,
                    i.id,
                    i.invocation_type.as_str(),
                    i.status.as_str(),
                    i.call.map(|n| n.0),
                    self.opt(&i.label)?,
                    self.display(&i.label)?,
                    self.opt(&i.input)?,
                    self.opt(&i.final_value)?,
                    self.opt(&i.error)?,
                    self.opt_head(&i.caller_before)?,
                    self.opt_head(&i.caller_after)?,
                    i.callee.as_ref().map(SessionId::as_str),
                    self.opt_head(&i.callee_before)?,
                    self.opt_head(&i.callee_after)?,
                    i.child,
                    i.started_at.map(after),
                    i.ended_at.map(after),
                    i.invocation.0 <= inherited.invocation
                ])?;
            }
            Body::Annotation(a) => {
                n = a.turn.map(|n| n.0);
                reference = self.opt(&a.payload)?;
            }
        }
        self.conn.prepare_cached(stmt::event::ADD)?.execute(params![
            sid,
            number,
            match event.body.code() {
                Some(code) => Some(Word::Number(code)),
                None => self.word(Some(event.body.kind()))?,
            },
            after(event.at),
            end.or(n.map(row::bound)),
            reference,
            status
        ])?;
        row.last_event = ev;
        row.digest = row.digest.chain(digest);
        row.updated_at = event.at.micros();
        self.row = Some((id, row));
        Ok(())
    }

    fn word<'t>(&mut self, text: Option<&'t str>) -> rusqlite::Result<Option<Word<'t>>> {
        text.map(|text| self.words.of(self.conn, text)).transpose()
    }

    /// Notes a version of row `n` of a kind.
    fn version(&self, row: &SessionRow, kind: i64, n: u64, ev: u64, inherited: bool) -> Result<(), ApplyError> {
        let values = params![row.sid, kind, n, ev];
        self.conn.prepare_cached(stmt::event::ADD_VERSION)?.execute(values)?;
        if inherited {
            self.conn.prepare_cached(stmt::event::ADD_INHERITED)?.execute(values)?;
        }
        Ok(())
    }

    /// The number of a new row of a kind without versions, which is above all before it: numbers are looked up by that.
    fn grown(&self, row: &mut SessionRow, kind: usize, n: u64) -> Result<u64, ApplyError> {
        match self.numbers(row)?.get_mut(kind) {
            Some(last) if n > *last => *last = n,
            _ => return Err(ApplyError::Contradicts(format!("number {n} comes after a greater one"))),
        }
        Ok(n)
    }

    /// Notes a further version of an eval, which has the number of one that is there.
    fn known_eval(&self, row: &mut SessionRow, n: u64, ev: u64) -> Result<u64, ApplyError> {
        let last = row.inherited.eval.max(self.numbers(row)?[EVALS]);
        if !(1..=last).contains(&n) {
            return Err(ApplyError::Contradicts(format!("a version of eval {n}, which is not there")));
        }
        self.conn.prepare_cached(stmt::event::ADD_INHERITED)?.execute(params![row.sid, EVAL, n, ev])?;
        Ok(n)
    }

    /// The greatest numbers so far of the kinds without versions.
    fn numbers<'r>(&self, row: &'r mut SessionRow) -> Result<&'r mut [u64; 3], ApplyError> {
        Ok(match &mut row.numbers {
            Some(numbers) => numbers,
            none => none.insert(last_numbers(self.conn, row.sid)?),
        })
    }

    /// Makes the rows of a head from its root, which must fit the log it is in.
    fn add_head(&mut self, event: &Event, head: &HeadId, row: &mut SessionRow) -> Result<i64, ApplyError> {
        let place = self.find(&head.0)?;
        let bytes = self.bytes(&head.0, &place)?;
        let root: Root = serde_json::from_slice(&bytes)
            .map_err(|error| ApplyError::Contradicts(format!("the root of {head} cannot be read: {error}")))?;
        if root.version > Root::VERSION {
            return Err(ApplyError::Newer(format!("the root of {head} has version {}", root.version)));
        }
        let boundary = row.last_event;
        if root.session != event.session || root.span.1.0 != boundary || root.digest != row.digest {
            return Err(ApplyError::Contradicts(format!("the root of {head} is of another boundary")));
        }
        let up = self.opt_head(&root.up)?;
        let basis = self.opt_head(&root.basis)?;
        let depth = match up {
            Some(up) => spans::place(self.conn, up)?.ok_or_else(|| missing("head", head))?.depth + 1,
            None => 1,
        };
        let hid = place.bid;
        let compaction = match root.kind {
            HeadKind::Compaction => Some(hid),
            _ => self.opt_head(&root.compaction)?,
        };
        let transcript = root.transcript.as_deref().map(|ranges| self.transcript(row, &root, ranges)).transpose()?;
        self.conn.prepare_cached(stmt::head::ADD)?.execute(params![
            hid,
            row.sid,
            event.number.0,
            root.kind.as_str(),
            basis,
            up,
            root.span.0.0,
            root.span.1.0,
            depth,
            compaction,
            root.counters.head,
            root.turn.map(|n| n.0),
            self.opt(&root.refs.final_value)?,
            root.refs.snapshot.map(|n| n.0),
            self.opt(&root.refs.vars)?,
            transcript,
        ])?;
        self.conn.prepare_cached(stmt::head::ADD_REF)?.execute(params![row.sid, event.number.0, hid, 1])?;
        match root.kind {
            // What a dead turn built is left beside the branch, which goes on from the current head.
            HeadKind::TurnAborted => {
                (row.base_up, row.base_from, row.basis) = (row.current, event.number.0 + 1, row.current);
            }
            _ => (row.base_up, row.base_from, row.basis) = (up, root.span.0.0, Some(hid)),
        }
        Ok(hid)
    }

    /// A transcript as hw_head keeps it.
    fn transcript(&self, row: &SessionRow, root: &Root, ranges: &[TranscriptRange]) -> Result<String, ApplyError> {
        let mut runs = Vec::with_capacity(ranges.len());
        for range in ranges {
            let sid = if range.session == root.session { row.sid } else { self.sid(&range.session)? };
            runs.push((sid, range.from.0, range.to.0));
        }
        Ok(serde_json::json!(runs).to_string())
    }
}

/// The greatest numbers of messages, evals and snapshots of session `sid`.
fn last_numbers(conn: &Connection, sid: i64) -> rusqlite::Result<[u64; 3]> {
    conn.prepare_cached(stmt::event::LAST_NUMBERS)?.query_row([sid], |found| {
        let number = |at| found.get::<_, Option<u64>>(at).map(Option::unwrap_or_default);
        Ok([number(0)?, number(1)?, number(2)?])
    })
}
