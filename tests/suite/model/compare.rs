//! What the store says against what the model says.

use std::collections::BTreeSet;

use headwater::model::{Digest, EventNumber, HeadId, Role, SessionId, Span, View};
use headwater::store::Store;
use rusqlite::{Connection, OpenFlags};

use super::naive::Seen;
use super::world::World;

/// Times, and the turn that a compaction's frame is given, are the store's to say.
fn masked(mut view: View) -> View {
    for entry in &mut view.messages {
        if entry.row.role == Role::Summary {
            entry.row.turn = None;
        }
    }
    for entry in &mut view.turns {
        (entry.row.started_at, entry.row.ended_at) = (None, None);
    }
    for entry in &mut view.calls {
        (entry.row.started_at, entry.row.ended_at) = (None, None);
    }
    for entry in &mut view.evals {
        (entry.row.started_at, entry.row.ended_at) = (None, None);
    }
    for entry in &mut view.invocations {
        (entry.row.started_at, entry.row.ended_at) = (None, None);
    }
    view
}

fn events(spans: &[Span]) -> BTreeSet<(SessionId, u64)> {
    spans.iter().flat_map(|span| (span.from.0..=span.to.0).map(|n| (span.session.clone(), n))).collect()
}

impl World {
    /// After each operation: the session it touched, and one old head.
    pub fn look(&mut self, at: usize) {
        self.look_at_session(self.touched);
        let old = self.model.order[at * 31 % self.model.order.len()];
        self.look_at_head(old);
        if at % 16 == 15 {
            self.look_at_sql();
        }
    }

    pub fn look_at_everything(&mut self) {
        for at in 0..self.model.logs.len() {
            self.look_at_session(at);
            self.look_at_history(at);
        }
        let heads = self.model.order.clone();
        for head in &heads {
            self.look_at_head(*head);
        }
        for (n, left) in heads.iter().enumerate() {
            self.look_at_pair(*left, heads[n * 7 % heads.len()]);
        }
        self.look_at_sql();
        let ids: Vec<SessionId> = self.store().sessions().unwrap().into_iter().map(|info| info.session).collect();
        assert_eq!(ids, self.model.logs.iter().map(|log| log.id.clone()).collect::<Vec<_>>());
    }

    fn look_at_session(&mut self, at: usize) {
        let (store, log) = (self.store(), &self.model.logs[at]);
        let id = &log.id;
        assert_eq!(store.high_water_counters(id).unwrap(), log.counters, "counters of {id}");
        if let Some(handle) = self.handle(at) {
            assert_eq!(handle.counters(), log.counters, "the handle's counters of {id}");
            assert_eq!(handle.current_head(), log.current, "the handle's current head of {id}");
            let working = handle.view().unwrap();
            assert_eq!(masked(working.rows), self.model.view(&log.working), "the working view of {id}");
        }
        let info = store.session(id).unwrap();
        assert_eq!(info.current_head, log.current, "the current head of {id}");
        assert_eq!(info.events, log.events.len() as u64);
        assert_eq!(info.turns, log.counters.turn - log.inherited.turn);
        assert_eq!(info.heads, log.heads.len() as u64);
        assert_eq!(info.status.as_str(), log.status);
        assert_eq!(info.title, log.title);
        assert_eq!(info.source, log.source.map(|(source, head)| (self.model.logs[source].id.clone(), head)));
        let aliases = self.model.aliases.iter().filter(|(_, target)| **target == at);
        assert_eq!(
            info.aliases.iter().map(SessionId::as_str).collect::<Vec<_>>(),
            aliases.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
        );

        let events = store.events(id).unwrap();
        let kinds: Vec<&str> = events.iter().map(|event| event.body.kind()).collect();
        assert_eq!(kinds, log.events.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), "the log of {id}");
        assert!(events.iter().zip(1..).all(|(event, n)| event.number == EventNumber(n)));
        let own: Vec<Seen> = (1..=log.events.len() as u64).map(|n| (at, n)).collect();
        let rows = store.event_view(id).unwrap().rows;
        assert_eq!(rows, Store::fold(&events), "the fold of {id}");
        assert_eq!(masked(rows), self.model.view(&own), "the event view of {id}");

        let current = log.current.unwrap();
        let visible = self.model.messages(&self.model.heads[&current].sees);
        let last: Vec<(SessionId, u64)> =
            store.last_messages(id, 5).unwrap().into_iter().map(|entry| (entry.session, entry.event.0)).collect();
        let expected: Vec<_> =
            visible.iter().rev().take(5).map(|seen| (self.model.logs[seen.0].id.clone(), seen.1)).collect();
        assert_eq!(last, expected, "the last messages of {id}");
        self.look_at_head(current);
        assert_eq!(self.store().view(&self.model.logs[at].id).unwrap().head.unwrap().head, current);
    }

    fn look_at_head(&mut self, id: HeadId) {
        let (store, head) = (self.store(), &self.model.heads[&id]);
        let log = &self.model.logs[head.session];
        let view = store.view_at(&log.id, &id).unwrap();
        let info = view.head.unwrap();
        assert_eq!(info.kind, head.kind);
        assert_eq!(info.basis, head.basis, "the basis of {id}");
        assert_eq!(info.up, head.up, "the up of {id}");
        assert_eq!(info.event.0, head.event);
        let place = log.heads.iter().position(|other| *other == id).unwrap() as u64 + 1;
        assert_eq!(info.ordinal, place, "the ordinal of {id}");
        assert_eq!(info.compaction, head.compaction, "the compaction of {id}");
        assert_eq!(info.depth, head.spans.len() as u64);
        assert_eq!(info.current, log.current == Some(id));
        assert_eq!(store.spans(&id).unwrap(), head.spans, "the spans of {id}");
        let seen: BTreeSet<_> = head.sees.iter().map(|seen| (self.model.logs[seen.0].id.clone(), seen.1)).collect();
        assert_eq!(events(&head.spans), seen, "the model's own two ways to say what {id} sees");
        let snapshot = view.rows.snapshots.last().map(|entry| (entry.row.snapshot, entry.row.vars));
        assert_eq!(info.snapshot, snapshot.map(|(number, _)| number), "the snapshot of {id}");
        assert_eq!(info.vars, snapshot.and_then(|(_, vars)| vars));
        let root = store.root_of(&id).unwrap();
        assert_eq!(root.counters, head.counters);
        assert_eq!(root.id(), id);
        match self.first.get(&id) {
            Some(first) => assert_eq!(*first, view.rows, "{id} reads otherwise than at first"),
            None => {
                assert_eq!(masked(view.rows.clone()), self.model.view(&head.sees), "the view at {id}");
                self.first.insert(id, view.rows);
            }
        }
    }

    fn look_at_pair(&self, left: HeadId, right: HeadId) {
        let compared = self.store().compare(&left, &right).unwrap();
        let (a, b) = (events(&self.model.heads[&left].spans), events(&self.model.heads[&right].spans));
        assert_eq!(events(&compared.common), &a & &b);
        assert_eq!(events(&compared.left), &a - &b);
        assert_eq!(events(&compared.right), &b - &a);
    }

    fn look_at_history(&self, at: usize) {
        let (store, log) = (self.store(), &self.model.logs[at]);
        let history = store.history_view(&log.id).unwrap();
        assert_eq!(history.counters, log.counters);
        assert_eq!(history.heads.iter().map(|head| head.head).collect::<Vec<_>>(), log.heads);
        let derivations: BTreeSet<_> = history
            .derivations
            .iter()
            .map(|d| (d.kind, d.source_session.clone(), d.source_head, d.target_session.clone(), d.target_event.0))
            .collect();
        let expected: BTreeSet<_> = self
            .model
            .derivations
            .iter()
            .filter(|fork| fork.source == at || fork.target == at)
            .map(|fork| {
                let (source, target) = (&self.model.logs[fork.source].id, &self.model.logs[fork.target].id);
                (fork.kind, source.clone(), fork.head, target.clone(), fork.event)
            })
            .collect();
        assert_eq!(history.derivations.len(), expected.len());
        assert_eq!(derivations, expected, "the derivations of {}", log.id);
        let reference = history.reference.unwrap();
        let (event, current) = *log.moves.last().unwrap();
        assert_eq!((reference.event.0, reference.current), (event, current));
        assert_eq!(reference.previous, log.moves.iter().rev().nth(1).map(|(_, head)| *head));
        let chain =
            store.events(&log.id).unwrap().iter().fold(Digest::ZERO, |chain, event| {
                chain.chain(Digest::of(&headwater::model::line::encode_event(event)))
            });
        assert_eq!(reference.fingerprint, chain, "the fingerprint of {}", log.id);
        // Who called it: the last version in each caller's own log.
        let called: BTreeSet<_> =
            history.invoked_by.iter().map(|entry| (entry.session.clone(), entry.row.invocation.0)).collect();
        let mut expected = BTreeSet::new();
        for (caller, other) in self.model.logs.iter().enumerate() {
            let own: Vec<Seen> = (1..=other.events.len() as u64).map(|n| (caller, n)).collect();
            for entry in self.model.view(&own).invocations {
                if entry.row.callee.as_ref() == Some(&log.id) {
                    expected.insert((other.id.clone(), entry.row.invocation.0));
                }
            }
        }
        assert_eq!(called, expected, "who called {}", log.id);
        for event in 1..=log.events.len() as u64 {
            let chain = store.causal_chain(&log.id, EventNumber(event), true).unwrap();
            let link = &chain.last().unwrap().event;
            assert_eq!((&link.session, link.id.0), (&log.id, event));
        }
    }

    /// The views that people query, in the file itself.
    fn look_at_sql(&self) {
        let path = self.store().root().join("store.sqlite");
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let pairs = |sql: &str, id: &SessionId| -> Vec<(String, u64)> {
            let mut statement = conn.prepare_cached(sql).unwrap();
            let rows = statement.query_map([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.map(Result::unwrap).collect()
        };
        for log in &self.model.logs {
            let id = &log.id;
            let current = log.current.unwrap();
            let named = |list: &[Seen]| -> Vec<(String, u64)> {
                list.iter().map(|seen| (self.model.logs[seen.0].id.to_string(), seen.1)).collect()
            };
            let sees = &self.model.heads[&current].sees;
            let messages =
                "SELECT source_session, event FROM current_message WHERE session = ?1 ORDER BY span_order, event";
            assert_eq!(pairs(messages, id), named(&self.model.messages(sees)), "current_message of {id}");
            let transcript =
                "SELECT source_session, event FROM current_transcript WHERE session = ?1 ORDER BY transcript_position";
            assert_eq!(pairs(transcript, id), named(&self.model.transcript(current)), "current_transcript of {id}");
            let view = self.model.view(sees);
            macro_rules! current {
                ($name:literal, $rows:expr) => {
                    let sql =
                        concat!("SELECT source_session, event FROM current_", $name, " WHERE session = ?1 ORDER BY id");
                    let rows: Vec<(String, u64)> =
                        $rows.iter().map(|entry| (entry.session.to_string(), entry.event.0)).collect();
                    assert_eq!(pairs(sql, id), rows, concat!("current_", $name, " of {}"), id);
                };
            }
            current!("turn", view.turns);
            current!("call", view.calls);
            current!("eval", view.evals);
            current!("snapshot", view.snapshots);
            current!("invocation", view.invocations);
            let at = self.model.logs.iter().position(|other| other.id == *id).unwrap();
            let own: Vec<(String, u64)> =
                (1..=log.events.len() as u64).map(|n| (n.to_string(), u64::from(sees.contains(&(at, n))))).collect();
            let history = "SELECT CAST(id AS TEXT), at_current_head FROM history_view WHERE session = ?1 ORDER BY id";
            assert_eq!(pairs(history, id), own, "history_view of {id}");
            let c = log.counters;
            let counted: [u64; 9] = conn
                .query_row(
                    "SELECT call, child, eval, event, head, invocation, message, snapshot, turn
                       FROM high_water_counters WHERE session = ?1",
                    [id.as_str()],
                    |row| Ok([0, 1, 2, 3, 4, 5, 6, 7, 8].map(|n| row.get(n).unwrap())),
                )
                .unwrap();
            let expected = [c.call, c.child, c.eval, c.event, c.head, c.invocation, c.message, c.snapshot, c.turn];
            assert_eq!(counted, expected, "high_water_counters of {id}");
            let held: Option<String> = conn
                .query_row("SELECT current_head FROM session WHERE session = ?1", [id.as_str()], |row| row.get(0))
                .unwrap();
            assert_eq!(held, Some(current.to_string()));
        }
        let derivations: usize = conn.query_row("SELECT count(*) FROM derivation", [], |row| row.get(0)).unwrap();
        assert_eq!(derivations, self.model.derivations.len());
    }
}
