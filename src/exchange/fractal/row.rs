//! Rows of headwater's own as the engine writes them.

use super::numbers::Numbers;
use super::write::{Run, string};
use crate::exchange::ExportError;
use crate::model::edn::Writer;
use crate::model::{Call, CallType, Digest, Eval, Message, Snapshot, Timestamp, Turn};

/// Which ids our numbers have in a journal.
#[derive(Default)]
pub struct Ids {
    pub messages: Numbers,
    pub turns: Numbers,
    pub calls: Numbers,
    pub evals: Numbers,
    pub snapshots: Numbers,
}

type Text = Result<String, ExportError>;

/// A row being written: fields that are none are left out.
struct Fields<'f, 'r> {
    run: &'f mut Run<'r>,
    out: Writer,
}

impl<'f, 'r> Fields<'f, 'r> {
    fn of(run: &'f mut Run<'r>, namespace: &str, id: u64) -> Fields<'f, 'r> {
        let mut out = Writer::new();
        out.begin_namespaced_map(namespace).keyword("id").number(id);
        Fields { run, out }
    }

    fn word(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.out.keyword(name).raw(&word(text));
        }
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.out.keyword(name).string(text);
        }
    }

    fn number(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.out.keyword(name).number(number);
        }
    }

    fn time(&mut self, name: &str, at: Option<Timestamp>) {
        self.text(name, at.map(|at| at.to_string()).as_deref());
    }

    fn reference(&mut self, name: &str, payload: Option<Digest>) -> Result<(), ExportError> {
        if let Some(payload) = payload {
            let reference = self.run.reference(&payload)?;
            self.out.keyword(name).raw(&reference);
        }
        Ok(())
    }

    /// The remaining fields as a payload of their own, also where there are none: else they would be taken from the row.
    fn finish(mut self, extra: Option<Digest>) -> Text {
        match extra {
            Some(_) => self.reference("extra-ref", extra)?,
            None => _ = self.out.keyword("extra-ref").nil(),
        }
        Ok(self.out.finish())
    }
}

/// A keyword where the text can be one, else a string.
pub fn word(text: &str) -> String {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if plain && !text.is_empty() { format!(":{text}") } else { string(text) }
}

pub fn message(run: &mut Run<'_>, row: &Message) -> Text {
    let ids = &run.ids;
    let (id, turn) = (ids.messages.id_of(row.message.0), row.turn.map(|turn| ids.turns.id_of(turn.0)));
    let call = row.call.map(|call| ids.calls.id_of(call.0));
    let content = String::from_utf8(run.store.blobs().get(&row.content)?);
    let mut fields = Fields::of(run, "message", id);
    fields.word("role", Some(row.role.as_str()));
    match content {
        Ok(text) => fields.text("content", Some(&text)),
        // A string of EDN is text.
        Err(_) => fields.reference("content-ref", Some(row.content))?,
    }
    fields.number("turn-id", turn);
    fields.number("call-id", call);
    fields.finish(row.extra)
}

pub fn turn(run: &mut Run<'_>, row: &Turn) -> Text {
    let id = run.ids.turns.id_of(row.turn.0);
    let asked = row.input.and_then(|input| run.asked.get(&input).copied());
    let mut fields = Fields::of(run, "turn", id);
    fields.word("status", Some(row.status.as_str()));
    fields.time("started-at", row.started_at);
    fields.time("ended-at", row.ended_at);
    match asked {
        Some(message) => fields.number("user-message-id", Some(message)),
        None => fields.reference("input-ref", row.input)?,
    }
    fields.reference("final-ref", row.final_value)?;
    fields.reference("summary-ref", row.summary)?;
    fields.reference("error", row.error)?;
    fields.finish(row.extra)
}

pub fn call(run: &mut Run<'_>, row: &Call) -> Text {
    let ids = &run.ids;
    let (id, turn) = (ids.calls.id_of(row.call.0), row.turn.map(|turn| ids.turns.id_of(turn.0)));
    let eval = row.eval.map(|eval| ids.evals.id_of(eval.0));
    let is_child = opens_child(&row.call_type);
    let named = run.below.of_call(row.call).cloned();
    let mut fields = Fields::of(run, "call", id);
    fields.word("type", Some(row.call_type.as_str()));
    fields.word("status", Some(row.status.as_str()));
    fields.number("turn-id", turn);
    fields.number("parent-eval-id", eval);
    fields.text("provider", row.provider.as_deref());
    fields.text("model", row.model.as_deref());
    fields.reference("input-ref", row.input)?;
    fields.reference("request-ref", row.request)?;
    fields.reference("response-ref", row.response)?;
    fields.reference(if is_child { "final-ref" } else { "result-ref" }, row.result)?;
    fields.reference("error", row.error)?;
    let counts = [
        ("input-tokens", row.tokens_input),
        ("output-tokens", row.tokens_output),
        ("cached-input-tokens", row.tokens_cached),
        ("reasoning-tokens", row.tokens_reasoning),
    ];
    let mut usage = Writer::new();
    usage.begin_namespaced_map("usage");
    for (name, count) in counts.into_iter().filter_map(|(name, count)| Some((name, count?))) {
        usage.keyword(name).number(count);
    }
    fields.out.keyword("usage").raw(&usage.finish());
    if let Some(cost) = row.cost {
        let text = format!("#:cost{{:usd {}.{:09}M}}", cost / 1_000_000_000, cost % 1_000_000_000);
        fields.out.keyword("cost").raw(&text);
    }
    fields.text("batch/id", row.batch.as_deref());
    fields.number("batch/index", row.batch_index);
    fields.text("child/session-id", row.child.as_ref().map(crate::model::SessionId::as_str));
    if let Some(named) = named {
        fields.text("child/dir", Some(&named.dir));
        fields.reference("child/task-ref", named.input.filter(|input| row.input != Some(*input)))?;
        fields.reference("child/label-ref", named.label.filter(|label| row.input != Some(*label)))?;
    }
    fields.time("started-at", row.started_at);
    fields.time("ended-at", row.ended_at);
    fields.finish(row.extra)
}

/// Whether calls of that type open a session.
pub fn opens_child(call_type: &CallType) -> bool {
    matches!(call_type, CallType::Child | CallType::ChildBatchItem | CallType::AttachedChild)
}

pub fn eval(run: &mut Run<'_>, row: &Eval) -> Text {
    let ids = &run.ids;
    let (id, turn) = (ids.evals.id_of(row.eval.0), row.turn.map(|turn| ids.turns.id_of(turn.0)));
    let message = row.message.map(|message| ids.messages.id_of(message.0));
    let call = row.call.map(|call| ids.calls.id_of(call.0));
    let code = row.code.map(|code| run.store.blobs().get(&code)).transpose()?.map(String::from_utf8);
    let mut fields = Fields::of(run, "eval", id);
    fields.text("name", row.name.as_deref());
    fields.word("status", Some(row.status.as_str()));
    fields.number("turn-id", turn);
    fields.number("message-id", message);
    fields.number("call-id", call);
    match code {
        Some(Ok(code)) => fields.text("code", Some(&code)),
        _ => fields.reference("code-ref", row.code)?,
    }
    fields.reference("final-ref", row.result)?;
    fields.reference("observation-ref", row.observation)?;
    fields.reference("error", row.error)?;
    fields.time("started-at", row.started_at);
    fields.time("ended-at", row.ended_at);
    fields.finish(row.extra)
}

pub fn snapshot(run: &mut Run<'_>, row: &Snapshot) -> Text {
    let ids = &run.ids;
    let (id, turn) = (ids.snapshots.id_of(row.snapshot.0), row.turn.map(|turn| ids.turns.id_of(turn.0)));
    let eval = row.eval.map(|eval| ids.evals.id_of(eval.0));
    let mut fields = Fields::of(run, "snapshot", id);
    fields.word("kind", Some(row.kind.as_str()));
    fields.number("turn-id", turn);
    fields.number("eval-id", eval);
    fields.reference("ref", row.vars)?;
    let (restorable, unrestorable) = (row.restorable, row.unrestorable);
    let summary = format!("#:var{{:restorable {restorable}, :unrestorable {unrestorable}}}");
    fields.out.keyword("summary").raw(&summary);
    fields.finish(row.extra)
}
