//! Operations done to a store and to the model.

use std::collections::BTreeMap;

use headwater::model::{
    Call, CallNumber, CallType, DerivationKind, Digest, Eval, EvalNumber, HeadId, HeadKind, Invocation,
    InvocationNumber, Message, MessageNumber, Role, SessionId, Snapshot, SnapshotNumber, Status, Turn, TurnNumber,
    View,
};
use headwater::store::{Batch, CommitError, NewMessage, NewSession, Options, Session, SessionOpenError, Store};

use super::naive::{Model, Row};
use super::{Fact, Op};

pub struct World {
    folder: tempfile::TempDir,
    store: Option<Store>,
    handles: BTreeMap<usize, Session>,
    pub model: Model,
    /// What was read first at each head.
    pub first: BTreeMap<HeadId, View>,
    /// The session that the last operation touched.
    pub touched: usize,
}

fn options() -> Options {
    Options { segment_size: 1 << 16, zero_fill: false, readers: 2, wal_size: 1 << 18, ..Options::default() }
}

/// A word of a few; some of them long, so that payloads repeat and vary.
pub fn text(pick: u8) -> String {
    format!("text {} {}", pick % 32, "and more of it ".repeat(usize::from(pick % 7)))
}

const STATUSES: [&Status; 4] = [&Status::RUNNING, &Status::OK, &Status::FINAL, &Status::ERROR];
const ROLES: [Role; 4] = [Role::System, Role::User, Role::Assistant, Role::Tool];
const TYPES: [CallType; 4] = [CallType::Root, CallType::Leaf, CallType::Child, CallType::Tool];
const SESSION_STATUSES: [(&Status, &str); 3] =
    [(&Status::RUNNING, "running"), (&Status::FINAL, "final"), (&Status::OPEN, "open")];

fn pick<T>(list: &[T], at: u8) -> Option<&T> {
    list.get(usize::from(at) % list.len().max(1))
}

impl World {
    pub fn new() -> World {
        // In memory where the machine has such a place: nothing here is about syncs, and each costs.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let store = Store::open_with(folder.path().join("store"), options()).unwrap();
        let mut world = World {
            folder,
            store: Some(store),
            handles: BTreeMap::new(),
            model: Model::default(),
            first: BTreeMap::new(),
            touched: 0,
        };
        world.create(None);
        world
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub fn handle(&self, at: usize) -> Option<&Session> {
        self.handles.get(&at)
    }

    fn create(&mut self, source: Option<(DerivationKind, HeadId)>) {
        let id: SessionId = format!("s{}", self.model.logs.len()).parse().unwrap();
        let new = NewSession::named(id.clone());
        let session = match source {
            None => self.store().create_session(new),
            Some((DerivationKind::Attach, head)) => self.store().attach(&head, new),
            Some((_, head)) => self.store().fork(&head, new),
        }
        .unwrap();
        let genesis = session.current_head().unwrap();
        self.touched = self.model.create(id.clone(), source, genesis);
        self.handles.insert(self.touched, session);
        let taken = self.store().create_session(NewSession::named(id));
        assert!(matches!(taken, Err(SessionOpenError::Exists { .. })));
    }

    /// The writer's handle; opening it closes what was left open.
    fn open(&mut self, at: usize) {
        if self.handles.contains_key(&at) {
            return;
        }
        let session = self.store().open_session(&self.model.logs[at].id).unwrap();
        self.take_over(at);
        self.handles.insert(at, session);
    }

    fn take_over(&mut self, at: usize) {
        if !self.model.logs[at].dirty {
            return;
        }
        let (calls, turns) = self.model.open(at);
        for call in calls {
            self.model.push(at, "call/put", Row::Call(Call { status: Status::ORPHANED, ..call }));
        }
        let aborted = !turns.is_empty();
        for turn in turns {
            self.model.push(at, "turn/put", Row::Turn(Turn { status: Status::ABORTED, ..turn }));
        }
        let head = self.store().heads(&self.model.logs[at].id).unwrap().last().unwrap().head;
        if aborted {
            self.model.seal(at, HeadKind::TurnAborted, head, None);
        } else {
            self.model.seal(at, HeadKind::TurnFinal, head, None);
            self.model.move_to(at, head);
        }
    }

    fn session(&self, at: u8) -> usize {
        usize::from(at) % self.model.logs.len()
    }

    pub fn run(&mut self, op: &Op) {
        match op {
            Op::Create => self.create(None),
            Op::Batch { session, facts } => {
                let at = self.session(*session);
                self.open(at);
                let mut draft = self.model.clone();
                let done = self.handles[&at]
                    .write(|batch| facts.iter().try_for_each(|fact| apply(&mut draft, at, batch, fact)));
                done.unwrap();
                self.model = draft;
                self.touched = at;
            }
            Op::FailedBatch { session, facts } => {
                self.refused(*session, facts, |batch| {
                    batch.put(b"never to be seen");
                    Err(CommitError::Invalid("enough".to_owned()))
                });
            }
            Op::RefusedBatch { session, facts } => {
                let error = self.refused(*session, facts, |batch| {
                    batch.add_annotation("note", None, Some(Digest::of(b"nobody put this"))).map(|_| ())
                });
                assert!(matches!(error, CommitError::Missing { .. }), "{error:?}");
            }
            Op::UpdateAny { session, number, call } => {
                let at = self.session(*session);
                self.open(at);
                self.touched = at;
                let view = self.model.view(&self.model.logs[at].working);
                let number = u64::from(*number % 12);
                let handle = &self.handles[&at];
                let (done, row) = if *call {
                    let found = view.calls.into_iter().find(|entry| entry.row.call.0 == number);
                    let row = found.map(|entry| Row::Call(Call { tokens_output: Some(7), ..entry.row }));
                    (handle.update_call(CallNumber(number), |row| row.tokens_output = Some(7)), row)
                } else {
                    let found = view.turns.into_iter().find(|entry| entry.row.turn.0 == number);
                    let status = Status::TIMEOUT;
                    let row = found.map(|entry| Row::Turn(Turn { status: status.clone(), ..entry.row }));
                    (handle.update_turn(TurnNumber(number), |row| row.status = status), row)
                };
                match (done, row) {
                    (Ok(()), Some(row)) => {
                        self.model.push(at, if *call { "call/put" } else { "turn/put" }, row);
                    }
                    (Err(CommitError::Missing { .. }), None) => {}
                    (done, row) => panic!("update of {number} in {at}: {done:?}, the model has {row:?}"),
                }
            }
            Op::StaleAdvance { session, head } => {
                let at = self.session(*session);
                self.open(at);
                self.touched = at;
                let log = &self.model.logs[at];
                let expected = *pick(&log.heads, *head).unwrap();
                if Some(expected) != log.current {
                    let refused = self.handles[&at].advance(Some(expected), log.heads[0]);
                    assert!(matches!(refused, Err(CommitError::StaleHead { .. })), "{refused:?}");
                }
            }
            Op::ForeignAdvance { session, head } => {
                let at = self.session(*session);
                self.open(at);
                self.touched = at;
                let foreign = *pick(&self.model.order, *head).unwrap();
                if self.model.heads[&foreign].session != at {
                    let refused = self.handles[&at].advance(self.model.logs[at].current, foreign);
                    assert!(matches!(refused, Err(CommitError::Missing { .. })), "{refused:?}");
                }
            }
            Op::Resume { session, head } => {
                let at = self.session(*session);
                self.touched = at;
                let (id, head) = (self.model.logs[at].id.clone(), *pick(&self.model.logs[at].heads, *head).unwrap());
                if self.handles.contains_key(&at) {
                    let held = self.store().resume(&id, Some(&head)).err();
                    assert!(matches!(held, Some(SessionOpenError::LeaseHeld { .. })), "{held:?}");
                }
                self.handles.remove(&at);
                let handle = self.store().resume(&id, Some(&head)).unwrap();
                self.take_over(at);
                if self.model.logs[at].current != Some(head) {
                    self.model.restore(at, head);
                }
                self.handles.insert(at, handle);
            }
            Op::Fork { head, attach } => {
                let head = *pick(&self.model.order, *head).unwrap();
                let kind = if *attach { DerivationKind::Attach } else { DerivationKind::Fork };
                self.create(Some((kind, head)));
            }
            Op::Drop { session } => {
                let at = self.session(*session);
                self.handles.remove(&at);
                self.touched = at;
            }
            Op::Alias { session, name } => {
                let at = self.session(*session);
                self.touched = at;
                let name = format!("alias-{}", name % 5);
                let done = self.store().set_alias(&name.parse().unwrap(), &self.model.logs[at].id);
                match self.model.aliases.get(&name) {
                    Some(other) if *other != at => assert!(matches!(done, Err(CommitError::Conflict(_))), "{done:?}"),
                    _ => {
                        done.unwrap();
                        self.model.aliases.insert(name, at);
                    }
                }
            }
            Op::Title { session, text: title } => {
                let at = self.session(*session);
                self.touched = at;
                let title = (title % 8 != 0).then(|| text(*title));
                self.store().set_title(&self.model.logs[at].id, title.as_deref()).unwrap();
                self.model.logs[at].title = title;
            }
            Op::Reopen => self.reopen(false),
            Op::Rebuild => self.reopen(true),
        }
    }

    /// A batch that must leave everything as it was.
    fn refused(
        &mut self,
        session: u8,
        facts: &[Fact],
        end: impl FnOnce(&mut Batch<'_>) -> Result<(), CommitError>,
    ) -> CommitError {
        let at = self.session(session);
        self.open(at);
        self.touched = at;
        let mut draft = self.model.clone();
        let handle = &self.handles[&at];
        let done = handle.write(|batch| {
            facts.iter().try_for_each(|fact| apply(&mut draft, at, batch, fact))?;
            end(batch)
        });
        let error = done.unwrap_err();
        assert!(!self.store().blobs().contains(&Digest::of(b"never to be seen")).unwrap());
        error
    }

    fn reopen(&mut self, rebuild: bool) {
        self.handles.clear();
        self.store.take().unwrap().close().unwrap();
        let root = self.folder.path().join("store");
        if rebuild {
            for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
                let _ = std::fs::remove_file(root.join(name));
            }
        }
        let store = Store::open_with(root, options()).unwrap();
        assert_eq!(store.report().rebuilt.is_some(), rebuild, "{:?}", store.report());
        assert_eq!(store.report().adopted, 0);
        self.store = Some(store);
    }
}

/// Says one fact to a batch and to the model.
fn apply(model: &mut Model, at: usize, batch: &mut Batch<'_>, fact: &Fact) -> Result<(), CommitError> {
    let view = model.view(&model.logs[at].working);
    let counters = model.logs[at].counters;
    let current = model.logs[at].current;
    let turn = view.turns.last().map(|entry| entry.row.turn);
    let call = view.calls.last().map(|entry| entry.row.call);
    match fact {
        Fact::Message { role, text: picked } => {
            let (role, content) = (pick(&ROLES, *role).unwrap().clone(), text(*picked));
            let mut message = NewMessage::new(role.clone(), content.clone());
            (message.turn, message.call) = (turn, call);
            let extra = (picked % 5 == 0).then(|| br#"{"b":1,"a":[]}"#.to_vec());
            message.extra = extra.clone();
            let number = batch.add_message(message)?;
            assert_eq!(number.0, counters.message + 1);
            let row = Message {
                message: MessageNumber(counters.message + 1),
                role,
                chars: content.chars().count() as u64,
                content: Digest::of(content.as_bytes()),
                turn,
                call,
                extra: extra.map(|_| Digest::of(br#"{"a":[],"b":1}"#)),
            };
            model.push(at, "message/added", Row::Message(row));
        }
        Fact::BeginTurn => {
            let input = batch.put(b"input");
            let number = batch.begin_turn(|row| row.input = Some(input))?;
            let mut row = Turn::new(TurnNumber(counters.turn + 1));
            assert_eq!(number, row.turn);
            (row.head_before, row.input) = (current, Some(input));
            model.push(at, "turn/started", Row::Turn(row));
        }
        Fact::UpdateTurn { pick: picked, status } => {
            let Some(entry) = pick(&view.turns, *picked) else { return Ok(()) };
            let mut row = entry.row.clone();
            row.status = (*pick(&STATUSES, *status).unwrap()).clone();
            let value = batch.put(text(*picked).as_bytes());
            if status % 8 < 4 {
                row.final_value = Some(value);
            } else {
                row.summary = Some(value);
            }
            batch.update_turn(row.turn, |given| {
                given.status = row.status.clone();
                if status % 8 < 4 {
                    given.final_value = Some(value);
                } else {
                    given.summary = Some(value);
                }
            })?;
            model.push(at, "turn/put", Row::Turn(row));
        }
        Fact::BeginCall { kind } => {
            let kind = pick(&TYPES, *kind).unwrap().clone();
            let number = batch.begin_call(kind.clone(), |row| row.turn = turn)?;
            let mut row = Call::new(CallNumber(counters.call + 1), kind);
            assert_eq!(number, row.call);
            row.turn = turn;
            model.push(at, "call/started", Row::Call(row));
        }
        Fact::UpdateCall { pick: picked, status } => {
            let Some(entry) = pick(&view.calls, *picked) else { return Ok(()) };
            let mut row = entry.row.clone();
            let tokens = u64::from(*status);
            row.status = (*pick(&STATUSES, *status).unwrap()).clone();
            row.tokens_input = Some(row.tokens_input.unwrap_or(0) + tokens);
            batch.update_call(row.call, |given| {
                given.status = row.status.clone();
                given.tokens_input = Some(given.tokens_input.unwrap_or(0) + tokens);
            })?;
            model.push(at, "call/put", Row::Call(row));
        }
        Fact::RecordCall => {
            let number = batch.begin_call(CallType::Leaf, |row| row.turn = turn)?;
            batch.update_call(number, |row| (row.status, row.cost) = (Status::OK, Some(5)))?;
            let mut row = Call::new(number, CallType::Leaf);
            row.turn = turn;
            model.push(at, "call/started", Row::Call(row.clone()));
            (row.status, row.cost) = (Status::OK, Some(5));
            model.push(at, "call/put", Row::Call(row));
        }
        Fact::UpdateEval { pick: picked, status } => {
            let Some(entry) = pick(&view.evals, *picked) else { return Ok(()) };
            let mut row = entry.row.clone();
            row.status = (*pick(&STATUSES[1..], *status).unwrap()).clone();
            row.result = Some(batch.put(b"what came of it"));
            batch.update_eval(row.eval, |given| (given.status, given.result) = (row.status.clone(), row.result))?;
            model.push(at, "eval/put", Row::Eval(row));
        }
        Fact::Eval { status } => {
            let status = (*pick(&STATUSES[1..], *status).unwrap()).clone();
            let code = batch.put(b"code");
            let number =
                batch.add_eval(status.clone(), |row| (row.turn, row.call, row.code) = (turn, call, Some(code)))?;
            let mut row = Eval::new(EvalNumber(counters.eval + 1), status);
            assert_eq!(number, row.eval);
            (row.turn, row.call, row.code) = (turn, call, Some(code));
            model.push(at, "eval/added", Row::Eval(row));
        }
        Fact::Snapshot { text: picked } => {
            let vars = batch.put(text(*picked).as_bytes());
            let number = batch.add_snapshot(Status::FINAL, |row| (row.turn, row.vars) = (turn, Some(vars)))?;
            let mut row = Snapshot::new(SnapshotNumber(counters.snapshot + 1), Status::FINAL);
            assert_eq!(number, row.snapshot);
            (row.turn, row.vars) = (turn, Some(vars));
            model.push(at, "snapshot/added", Row::Snapshot(row));
        }
        Fact::Annotation { text: picked } => {
            let payload = batch.put(text(*picked).as_bytes());
            batch.add_annotation("note", turn, Some(payload))?;
            model.push(at, "note", Row::None);
        }
        Fact::Status { status } => {
            let (status, word) = pick(&SESSION_STATUSES, *status).unwrap();
            batch.set_status((*status).clone(), None)?;
            model.push(at, "session/status", Row::None);
            model.logs[at].status = word;
        }
        Fact::Invoke { callee } => {
            let callee = usize::from(*callee) % model.logs.len();
            let (id, head) = (model.logs[callee].id.clone(), model.logs[callee].current);
            let label = batch.put(b"label");
            let number = batch.start_invocation(Status::new("rlm")?, |row| {
                (row.callee, row.callee_before, row.label) = (Some(id.clone()), head, Some(label));
            })?;
            assert_eq!(number.0, counters.invocation + 1);
            let row = Invocation {
                invocation: InvocationNumber(counters.invocation + 1),
                id: format!("{}/{}", model.logs[at].id, counters.invocation + 1),
                invocation_type: Status::new("rlm")?,
                status: Status::RUNNING,
                call: None,
                label: Some(label),
                input: None,
                final_value: None,
                error: None,
                caller_before: current,
                caller_after: None,
                callee: Some(id),
                callee_before: head,
                callee_after: None,
                child: Some(counters.child + 1),
                started_at: None,
                ended_at: None,
            };
            model.push(at, "invocation/started", Row::Invocation(row));
        }
        Fact::Settle { pick: picked, ok } => {
            let Some(entry) = pick(&view.invocations, *picked) else { return Ok(()) };
            let mut row = entry.row.clone();
            let value = batch.put(b"what came back");
            if *ok {
                batch.complete_invocation(row.invocation, |row| row.final_value = Some(value))?;
                (row.status, row.final_value) = (Status::OK, Some(value));
                model.push(at, "invocation/completed", Row::Invocation(row));
            } else {
                batch.fail_invocation(row.invocation, |row| row.error = Some(value))?;
                (row.status, row.error) = (Status::ERROR, Some(value));
                model.push(at, "invocation/failed", Row::Invocation(row));
            }
        }
        Fact::CallerHead { pick: picked, head } => {
            let Some(entry) = pick(&view.invocations, *picked) else { return Ok(()) };
            let head = *pick(&model.logs[at].heads, *head).unwrap();
            batch.record_caller_head(entry.row.invocation, head)?;
            let row = Invocation { caller_after: Some(head), ..entry.row.clone() };
            model.push(at, "invocation/caller-head-recorded", Row::Invocation(row));
        }
        Fact::Seal => {
            let head = batch.seal()?;
            if model.logs[at].dirty {
                model.seal(at, HeadKind::TurnFinal, head, None);
                model.move_to(at, head);
            } else {
                assert_eq!(Some(head), model.logs[at].basis);
            }
        }
        Fact::SealAborted => {
            let head = batch.seal_aborted()?;
            if model.logs[at].dirty {
                model.seal(at, HeadKind::TurnAborted, head, None);
            } else {
                assert_eq!(Some(head), model.logs[at].basis);
            }
        }
        Fact::Compact { keep } => {
            let frame = format!("frame of {keep}");
            let head = batch.compact(&frame, usize::from(*keep))?;
            let before = model.logs[at].working.clone();
            let row = Message {
                message: MessageNumber(counters.message + 1),
                role: Role::Summary,
                content: Digest::of(frame.as_bytes()),
                chars: frame.chars().count() as u64,
                turn: None,
                call: None,
                extra: None,
            };
            let event = model.push(at, "message/added", Row::Message(row));
            let transcript = model.compacted(&before, (at, event), usize::from(*keep));
            model.seal(at, HeadKind::Compaction, head, Some(transcript));
            model.move_to(at, head);
        }
        Fact::Advance { head } => {
            let head = *pick(&model.logs[at].heads, *head).unwrap();
            batch.advance(current, head)?;
            if current != Some(head) {
                model.move_to(at, head);
            }
        }
    }
    assert_eq!(batch.counters(), model.logs[at].counters, "after {fact:?}");
    assert_eq!(batch.current_head(), model.logs[at].current, "after {fact:?}");
    Ok(())
}
