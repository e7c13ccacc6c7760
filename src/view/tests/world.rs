//! A small store for tests: rows as they are laid down for events, beside a naive model of what is visible where.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use crate::model::event::Annotation;
use crate::model::session::Source;
use crate::model::*;
use crate::sqlite::row::{CALL, CallTypeSql, EVAL, INVOCATION, RoleSql, TURN, packed};
use crate::sqlite::stmt;

/// An event by its place in the world's sessions.
pub(super) type At = (usize, u64);

pub(super) struct WorldHead {
    pub(super) id: HeadId,
    pub(super) hid: i64,
    pub(super) session: usize,
    pub(super) ev: u64,
    pub(super) basis: Option<usize>,
    pub(super) up: Option<usize>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) turn: Option<u64>,
    pub(super) snapshot: Option<u64>,
    /// Every event in sight, in order.
    pub(super) visible: Vec<At>,
}

pub(super) struct WorldSession {
    pub(super) id: SessionId,
    pub(super) sid: i64,
    pub(super) events: Vec<Event>,
    pub(super) up: Option<usize>,
    pub(super) from: u64,
    pub(super) basis: Option<usize>,
    pub(super) current: Option<usize>,
    pub(super) counters: Counters,
    pub(super) inherited: Counters,
}

pub(super) struct World {
    pub(super) conn: Connection,
    pub(super) sessions: Vec<WorldSession>,
    pub(super) heads: Vec<WorldHead>,
    bids: HashMap<Digest, i64>,
    clock: i64,
}

const START: i64 = 1_700_000_000_000_000;

impl World {
    pub(super) fn new() -> World {
        let conn = Connection::open_in_memory().unwrap();
        conn.set_prepared_statement_cache_capacity(256);
        conn.execute_batch(include_str!("../../../migrations/V1__rows.sql")).unwrap();
        conn.execute_batch(include_str!("../../../migrations/V5__words.sql")).unwrap();
        World { conn, sessions: Vec::new(), heads: Vec::new(), bids: HashMap::new(), clock: START }
    }

    pub(super) fn run(&self, sql: &str, params: impl rusqlite::Params) {
        self.conn.prepare_cached(sql).unwrap().execute(params).unwrap();
    }

    pub(super) fn bid(&mut self, digest: Digest) -> i64 {
        if let Some(bid) = self.bids.get(&digest) {
            return *bid;
        }
        let nothing = None::<i64>;
        self.run(stmt::blob::ADD, params![digest.0.as_slice(), 1, 1, 0, 1, 0, nothing, 0, nothing, nothing]);
        let bid = self.conn.last_insert_rowid();
        self.bids.insert(digest, bid);
        bid
    }

    fn opt(&mut self, digest: Option<Digest>) -> Option<i64> {
        digest.map(|digest| self.bid(digest))
    }

    fn hid(&mut self, head: Option<HeadId>) -> Option<i64> {
        self.opt(head.map(|head| head.0))
    }

    /// A new session, made from a head or from nothing, with its genesis.
    pub(super) fn session(&mut self, name: &str, source: Option<usize>, kind: DerivationKind) -> usize {
        let id: SessionId = name.parse().unwrap();
        let inherited = source.map_or_else(Counters::default, |head| {
            // A root counts what its session had at the boundary; in a test, what it has now does as well.
            Counters { event: 0, ..self.sessions[self.heads[head].session].counters }
        });
        let i = inherited;
        let up = source.map(|head| self.heads[head].hid);
        self.run(
            stmt::session::ADD,
            params![
                name,
                "session",
                None::<i64>,
                None::<i64>,
                "open",
                self.clock,
                up,
                [0u8; 32],
                i.message as i64,
                i.turn as i64,
                i.call as i64,
                i.eval as i64,
                i.snapshot as i64,
                i.head as i64,
                i.invocation as i64,
                i.child as i64
            ],
        );
        let sid = self.conn.last_insert_rowid();
        let at = self.sessions.len();
        self.sessions.push(WorldSession {
            id: id.clone(),
            sid,
            events: Vec::new(),
            up: source,
            from: 1,
            basis: source,
            current: None,
            counters: inherited,
            inherited,
        });
        let source_value = source.map(|head| Source {
            session: self.sessions[self.heads[head].session].id.clone(),
            head: self.heads[head].id,
            counters: inherited,
        });
        self.add(
            at,
            Body::SessionStarted(SessionStarted {
                kind: Status::new("session").unwrap(),
                status: Status::OPEN,
                origin: None,
                cache_id: None,
                source: source_value,
            }),
        );
        if let Some(head) = source {
            let digest = Derivation::digest(kind, self.heads[head].id, &id, EventNumber(1));
            let (from, hid) = (self.sessions[self.heads[head].session].sid, self.heads[head].hid);
            let values = params![digest.0.as_slice(), kind.as_str(), from, hid, sid, 1, self.clock, sid];
            self.run(stmt::head::ADD_DERIVATION, values);
        }
        self.seal(at, HeadKind::Genesis);
        at
    }

    /// What is visible before the next event of a session.
    pub(super) fn working(&self, s: usize) -> Vec<At> {
        let session = &self.sessions[s];
        let mut visible = session.up.map_or_else(Vec::new, |head| self.heads[head].visible.clone());
        visible.extend((session.from..=session.events.len() as u64).map(|ev| (s, ev)));
        visible
    }

    pub(super) fn event(&self, (s, ev): At) -> &Event {
        &self.sessions[s].events[ev as usize - 1]
    }

    /// Seals a head and, unless it is of an aborted turn, makes it current.
    pub(super) fn seal(&mut self, s: usize, kind: HeadKind) -> usize {
        let visible = self.working(s);
        let (mut turn, mut snapshot, mut vars) = (None, None, None);
        for at in &visible {
            match &self.event(*at).body {
                Body::TurnPut(row) => turn = Some(row.turn.0),
                Body::SnapshotAdded(row) => (snapshot, vars) = (Some(row.snapshot.0), row.vars),
                _ => {}
            }
        }
        let id = HeadId(Digest::of(format!("head {}", self.heads.len()).as_bytes()));
        let hid = self.bid(id.0);
        let session = &mut self.sessions[s];
        session.counters.head += 1;
        let (up, basis, from, to) = (session.up, session.basis, session.from, session.events.len() as u64);
        let (sid, ordinal) = (session.sid, session.counters.head);
        let depth: i64 = up.map_or(1, |up| self.depth(up) + 1);
        let head = self.heads.len();
        self.heads.push(WorldHead { id, hid, session: s, ev: to + 1, basis, up, from, to, turn, snapshot, visible });
        let hids = [basis, up].map(|head| head.map(|head| self.heads[head].hid));
        let vars = self.opt(vars);
        let values = params![
            hid,
            sid,
            to as i64 + 1,
            kind.as_str(),
            hids[0],
            hids[1],
            from as i64,
            to as i64,
            depth,
            (kind == HeadKind::Compaction).then_some(hid),
            ordinal as i64,
            turn.map(|n| n as i64),
            None::<i64>,
            snapshot.map(|n| n as i64),
            vars,
            None::<i64>
        ];
        self.run(stmt::head::ADD, values);
        self.run(stmt::head::ADD_REF, params![sid, to as i64 + 1, hid, 1]);
        self.add(s, Body::HeadCreated(id));
        let next = self.sessions[s].events.len() as u64 + 1;
        let session = &mut self.sessions[s];
        if kind == HeadKind::TurnAborted {
            (session.up, session.from, session.basis) = (session.current, next, session.current);
        } else {
            session.basis = Some(head);
            self.advance(s, head);
        }
        self.save(s);
        head
    }

    pub(super) fn depth(&self, head: usize) -> i64 {
        std::iter::successors(Some(head), |head| self.heads[*head].up).count() as i64
    }

    /// Makes a head current.
    pub(super) fn advance(&mut self, s: usize, head: usize) {
        self.add(s, Body::RefUpdated(self.heads[head].id));
        let ev = self.sessions[s].events.len() as i64;
        self.run(stmt::head::ADD_REF, params![self.sessions[s].sid, ev, self.heads[head].hid, 0]);
        let session = &mut self.sessions[s];
        session.current = Some(head);
        if session.basis != Some(head) {
            (session.up, session.from, session.basis) = (Some(head), ev as u64 + 1, Some(head));
        }
        self.save(s);
    }

    /// Goes on from a head.
    pub(super) fn restore(&mut self, s: usize, head: usize) {
        let ev = self.sessions[s].events.len() as u64 + 1;
        let session = &mut self.sessions[s];
        (session.up, session.from, session.basis) = (Some(head), ev, Some(head));
        let from = &self.heads[head];
        let body = Restored {
            source_session: self.sessions[from.session].id.clone(),
            source_head: from.id,
            snapshot: from.snapshot.map(SnapshotNumber),
        };
        self.add(s, Body::SessionRestored(body));
        self.advance(s, head);
    }

    fn save(&self, s: usize) {
        let session = &self.sessions[s];
        let hid = |head: Option<usize>| head.map(|head| self.heads[head].hid);
        let values = params![
            session.sid,
            "open",
            self.clock,
            None::<i64>,
            hid(session.current),
            hid(session.up),
            session.from as i64,
            hid(session.basis),
            session.events.len() as i64,
            [0u8; 32],
            0
        ];
        self.run(stmt::session::UPDATE, values);
    }

    fn version(&self, kind: i64, sid: i64, n: i64, ev: i64, inherited: bool) {
        self.run(stmt::event::ADD_VERSION, params![sid, kind, n, ev]);
        if inherited {
            self.run(stmt::event::ADD_INHERITED, params![sid, kind, n, ev]);
        }
    }

    /// Lays down an event and its row.
    pub(super) fn add(&mut self, s: usize, body: Body) -> u64 {
        self.clock += 1_000;
        let (sid, ev) = (self.sessions[s].sid, self.sessions[s].events.len() as i64 + 1);
        let inherited = self.sessions[s].inherited;
        let (mut n, mut reference, mut status) = (None, None, None);
        let num = |n: u64| n as i64;
        let start = self.sessions[s].events.first().map_or(self.clock, |event| event.at.micros());
        let after = |at: Timestamp| packed(at.micros() - start);
        let is_put = matches!(body, Body::EvalPut(_));
        match body.clone() {
            Body::SessionStarted(row) => status = Some(row.status),
            Body::SessionStatus(row) => {
                n = row.ended_at.map(|at| at.micros());
                (status, reference) = (Some(row.status), self.opt(row.payload));
            }
            Body::SessionError(row) => (status, reference) = (Some(row.status), Some(self.bid(row.error))),
            Body::SessionRestored(row) => {
                (n, reference) = (row.snapshot.map(|n| num(n.0)), self.hid(Some(row.source_head)));
            }
            Body::RefUpdated(head) | Body::HeadCreated(head) => reference = self.hid(Some(head)),
            Body::MessageAdded(m) => {
                n = Some(num(m.message.0));
                let (content, extra) = (self.bid(m.content), self.opt(m.extra));
                let (turn, call) = (m.turn.map(|n| num(n.0)), m.call.map(|n| num(n.0)));
                let values = params![sid, ev, n, RoleSql(&m.role), content, num(m.chars), turn, call, extra];
                self.run(stmt::event::ADD_MESSAGE, values);
            }
            Body::TurnStarted(t) | Body::TurnPut(t) => {
                n = Some(num(t.turn.0));
                let values = params![
                    sid,
                    ev,
                    n,
                    t.status.as_str(),
                    self.hid(t.head_before),
                    self.opt(t.input),
                    self.opt(t.final_value),
                    self.opt(t.summary),
                    None::<i64>,
                    t.started_at.map(after),
                    t.ended_at.map(after),
                    self.opt(t.error),
                    self.opt(t.extra),
                    t.turn.0 <= inherited.turn
                ];
                self.run(stmt::event::ADD_TURN, values);
                self.version(TURN, sid, num(t.turn.0), ev, t.turn.0 <= inherited.turn);
            }
            Body::CallStarted(c) | Body::CallPut(c) => {
                n = Some(num(c.call.0));
                let refs = [c.input, c.request, c.response, c.result, c.error].map(|digest| self.opt(digest));
                let extra = self.opt(c.extra);
                let values = params![
                    sid,
                    ev,
                    n,
                    CallTypeSql(&c.call_type),
                    c.status.as_str(),
                    c.turn.map(|n| num(n.0)),
                    c.eval.map(|n| num(n.0)),
                    refs[0],
                    refs[1],
                    refs[2],
                    refs[3],
                    refs[4],
                    c.provider,
                    c.model,
                    c.tokens_input.map(num),
                    c.tokens_output.map(num),
                    c.tokens_cached.map(num),
                    c.tokens_reasoning.map(num),
                    c.cost.map(num),
                    c.batch,
                    c.batch_index.map(num),
                    c.child.as_ref().map(SessionId::as_str),
                    c.started_at.map(after),
                    c.ended_at.map(after),
                    extra,
                    c.call.0 <= inherited.call
                ];
                self.run(stmt::event::ADD_CALL, values);
                self.version(CALL, sid, num(c.call.0), ev, c.call.0 <= inherited.call);
            }
            Body::EvalAdded(e) | Body::EvalPut(e) => {
                n = Some(num(e.eval.0));
                if is_put {
                    self.run(stmt::event::ADD_INHERITED, params![sid, EVAL, n, ev]);
                }
                let refs = [e.code, e.result, e.observation, e.error].map(|digest| self.opt(digest));
                let extra = self.opt(e.extra);
                let values = params![
                    sid,
                    ev,
                    n,
                    e.name,
                    e.status.as_str(),
                    e.turn.map(|n| num(n.0)),
                    e.message.map(|n| num(n.0)),
                    e.call.map(|n| num(n.0)),
                    refs[0],
                    refs[1],
                    refs[2],
                    refs[3],
                    e.started_at.map(after),
                    e.ended_at.map(after),
                    extra
                ];
                self.run(stmt::event::ADD_EVAL, values);
            }
            Body::SnapshotAdded(x) => {
                n = Some(num(x.snapshot.0));
                let (vars, extra) = (self.opt(x.vars), self.opt(x.extra));
                let values = params![
                    sid,
                    ev,
                    n,
                    x.kind.as_str(),
                    vars,
                    num(x.restorable),
                    num(x.unrestorable),
                    x.turn.map(|n| num(n.0)),
                    x.eval.map(|n| num(n.0)),
                    extra
                ];
                self.run(stmt::event::ADD_SNAPSHOT, values);
            }
            Body::InvocationStarted(i)
            | Body::InvocationCompleted(i)
            | Body::InvocationFailed(i)
            | Body::CallerHeadRecorded(i) => {
                n = Some(num(i.invocation.0));
                let refs = [i.label, i.input, i.final_value, i.error].map(|digest| self.opt(digest));
                let heads =
                    [i.caller_before, i.caller_after, i.callee_before, i.callee_after].map(|head| self.hid(head));
                let values = params![
                    sid,
                    ev,
                    n,
                    i.id,
                    i.invocation_type.as_str(),
                    i.status.as_str(),
                    i.call.map(|n| num(n.0)),
                    refs[0],
                    None::<i64>,
                    refs[1],
                    refs[2],
                    refs[3],
                    heads[0],
                    heads[1],
                    i.callee.as_ref().map(SessionId::as_str),
                    heads[2],
                    heads[3],
                    i.child.map(num),
                    i.started_at.map(after),
                    i.ended_at.map(after),
                    i.invocation.0 <= inherited.invocation
                ];
                self.run(stmt::event::ADD_INVOCATION, values);
                self.version(INVOCATION, sid, num(i.invocation.0), ev, i.invocation.0 <= inherited.invocation);
            }
            Body::Annotation(Annotation { turn, payload, .. }) => {
                (n, reference) = (turn.map(|n| num(n.0)), self.opt(payload));
            }
        }
        let session = &mut self.sessions[s];
        if session.events.is_empty() {
            self.conn.execute("UPDATE hw_session SET started_at = ?1 WHERE sid = ?2", [start, sid]).unwrap();
        }
        let at = Timestamp::from_micros(self.clock).unwrap();
        let event = Event { session: session.id.clone(), number: EventNumber(ev as u64), at, body };
        let status = status.as_ref().map(Status::as_str);
        let kind = match event.body.code() {
            Some(code) => Value::Integer(code),
            None => Value::Text(event.body.kind().into()),
        };
        let values = params![sid, ev, kind, after(at), n, reference, status];
        self.conn.prepare_cached(stmt::event::ADD).unwrap().execute(values).unwrap();
        session.events.push(event);
        self.save(s);
        ev as u64
    }
}
