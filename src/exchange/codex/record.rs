//! The records of Codex rollouts, as docs/IMPORT.md describes them. Fields are taken as they are written; one of an
//! unexpected type counts as missing.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::exchange::json::{kept, text, whole};
use crate::exchange::template::json_string;
use crate::model::Timestamp;

/// The types of a record with an envelope.
pub const TYPES: [&str; 5] = ["session_meta", "response_item", "event_msg", "turn_context", "compacted"];

#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(default, borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(rename = "type", default, borrow)]
    kind: Option<&'a RawValue>,
    #[serde(default, borrow)]
    payload: Option<&'a RawValue>,
}

/// Any record: what its envelope says, and what is in it.
#[derive(Debug)]
pub struct Record<'a> {
    /// The envelope's type; of a record without one, the type it would have.
    pub kind: String,
    at: Option<Timestamp>,
    /// What is in the envelope, as it is written; none where there is no envelope.
    pub raw: Option<&'a RawValue>,
    pub payload: Payload<'a>,
}

/// The fields of all payloads that mean something here.
#[derive(Debug, Default, Deserialize)]
pub struct Payload<'a> {
    #[serde(rename = "type", default, borrow)]
    kind: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    record_type: Option<&'a RawValue>,
    #[serde(default, borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub model_provider: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub forked_from_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub source: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub model: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub role: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub name: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub arguments: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub input: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub action: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub status: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub call_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub output: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub message: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub replacement_history: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub info: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub last_agent_message: Option<&'a RawValue>,
    #[serde(default, borrow)]
    exit_code: Option<&'a RawValue>,
    #[serde(default, borrow)]
    success: Option<&'a RawValue>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub new_thread_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub new_agent_role: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub event_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub agent_thread_id: Option<&'a RawValue>,
    #[serde(rename = "kind", default, borrow)]
    pub activity: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub prompt: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub statuses: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub agent_statuses: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub receiver_thread_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    num_turns: Option<&'a RawValue>,
}

impl<'a> Record<'a> {
    /// Reads a record; why it cannot be understood: it names a field twice, or has no type.
    pub fn read(bytes: &'a [u8]) -> Result<Record<'a>, String> {
        let line: Line<'a> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let at = text(line.timestamp).and_then(|at| at.parse().ok());
        let kind = text(line.kind);
        if let (Some(kind), Some(raw)) = (&kind, line.payload) {
            let payload = match raw.get().starts_with('{') {
                true => serde_json::from_str(raw.get()).map_err(|error| format!("`payload`: {error}"))?,
                false => Payload::default(),
            };
            return Ok(Record { kind: kind.clone(), at, raw: Some(raw), payload });
        }
        let payload: Payload<'a> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let kind = match (kind, text(payload.record_type)) {
            (Some(_), _) => "response_item".to_owned(),
            (None, Some(kind)) => kind,
            (None, None) if payload.id.is_some() => "session_meta".to_owned(),
            (None, None) => return Err("it has no `type`".to_owned()),
        };
        Ok(Record { kind, at, raw: None, payload })
    }

    pub fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// Whether it is the first record of a rollout, with an envelope or without.
    pub fn begins_rollout(&self, bytes: &[u8]) -> bool {
        if self.raw.is_some() {
            return TYPES.contains(&self.kind.as_str()) && self.at.is_some();
        }
        #[derive(Deserialize)]
        struct Bare<'a> {
            #[serde(default, borrow)]
            instructions: Option<&'a RawValue>,
            #[serde(default, borrow)]
            git: Option<&'a RawValue>,
        }
        let is_bare =
            serde_json::from_slice::<Bare<'_>>(bytes).is_ok_and(|bare| bare.instructions.or(bare.git).is_some());
        self.kind == "session_meta" && text(self.payload.id).is_some() && self.at.is_some() && is_bare
    }
}

impl<'a> Payload<'a> {
    pub fn kind(&self) -> String {
        text(self.kind).unwrap_or_default()
    }

    /// When the session began, of a `session_meta`.
    pub fn began(&self) -> Option<Timestamp> {
        text(self.timestamp)?.parse().ok()
    }

    /// Whether a tool that this tells the end of failed; none where it does not say.
    pub fn has_failed(&self) -> Option<bool> {
        let exit = whole::<i64>(self.exit_code).map(|code| code != 0);
        let said = || self.success.map(|success| success.get() == "false");
        exit.or_else(said).or_else(|| serde_json::from_str::<Came<'_>>(self.result?.get()).ok()?.has_failed())
    }

    /// How many turns were taken back.
    pub fn turns(&self) -> u64 {
        whole(self.num_turns).unwrap_or_default()
    }

    /// What a tool was asked to do: its arguments, free text, or an action.
    pub fn code(&self) -> Option<&'a RawValue> {
        self.arguments.or(self.input).or(self.action)
    }
}

/// What another file of Codex is, by its first record.
pub fn other(first: &[u8]) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Listed<'a> {
        #[serde(default, borrow)]
        session_id: Option<&'a RawValue>,
        #[serde(default, borrow)]
        ts: Option<&'a RawValue>,
        #[serde(default, borrow)]
        id: Option<&'a RawValue>,
        #[serde(default, borrow)]
        thread_name: Option<&'a RawValue>,
        #[serde(rename = "type", default, borrow)]
        kind: Option<&'a RawValue>,
    }
    let listed: Listed<'_> = serde_json::from_slice(first).ok()?;
    let has = |value: Option<&RawValue>| text(value).is_some();
    if listed.kind.is_some() {
        return None;
    }
    if has(listed.session_id) && whole::<u64>(listed.ts).is_some() {
        return Some("Codex's list of prompts (history.jsonl); the rollouts are in `sessions` beside it");
    }
    let is_index = has(listed.id) && has(listed.thread_name);
    is_index.then_some("Codex's list of sessions (session_index.jsonl); the rollouts are in `sessions` beside it")
}

/// What came of a tool of another program's: `{"Err":…}`, or `{"Ok":{"isError":…}}`.
#[derive(Deserialize)]
enum Came<'a> {
    Ok(#[serde(borrow)] &'a RawValue),
    Err(serde::de::IgnoredAny),
}

impl Came<'_> {
    fn has_failed(&self) -> Option<bool> {
        #[derive(Deserialize)]
        struct Said<'a> {
            #[serde(rename = "isError", default, borrow)]
            is_error: Option<&'a RawValue>,
        }
        match self {
            Came::Ok(said) => {
                let said: Said<'_> = serde_json::from_str(said.get()).ok()?;
                Some(said.is_error.is_some_and(|is_error| is_error.get() == "true"))
            }
            Came::Err(_) => Some(true),
        }
    }
}

/// Who made a session: `{"subagent":…}` for a spawned agent.
#[derive(Debug, Default)]
pub struct Made {
    pub is_subagent: bool,
    pub parent: Option<String>,
}

impl Made {
    pub fn of(source: Option<&RawValue>) -> Made {
        #[derive(Default, Deserialize)]
        struct From<'a> {
            #[serde(default, borrow)]
            subagent: Option<&'a RawValue>,
            #[serde(default, borrow)]
            thread_spawn: Option<&'a RawValue>,
            #[serde(default, borrow)]
            parent_thread_id: Option<&'a RawValue>,
        }
        let read = |value: Option<&RawValue>| -> (Option<String>, Option<String>, Option<String>) {
            let from: From<'_> = value.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default();
            let own = |value: Option<&RawValue>| value.map(|value| value.get().to_owned());
            (own(from.subagent), own(from.thread_spawn), text(from.parent_thread_id))
        };
        let raw = |json: Option<String>| json.and_then(|json| RawValue::from_string(json).ok());
        let Some(subagent) = raw(read(source).0) else { return Made::default() };
        let spawned = raw(read(Some(&subagent)).1);
        Made { is_subagent: true, parent: read(spawned.as_deref()).2 }
    }
}

/// What a call of the model used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<u64>,
}

/// The `info` of a `token_count`.
#[derive(Debug, Deserialize)]
pub struct Info<'a> {
    /// All calls of the session so far: the same as before where nothing was called since.
    #[serde(default, borrow)]
    pub total_token_usage: Option<&'a RawValue>,
    #[serde(default, borrow)]
    last_token_usage: Option<&'a RawValue>,
}

impl<'a> Info<'a> {
    pub fn of(value: Option<&'a RawValue>) -> Option<Info<'a>> {
        serde_json::from_str(value?.get()).ok()
    }

    /// The last call's; none where no tokens went in or out, as where only the total was estimated anew. Where the record has
    /// only a total, that is what it has more than `before`.
    pub fn last(&self, before: &Tokens) -> Option<Tokens> {
        let tokens = match (self.last_token_usage, self.total()) {
            (Some(last), _) => Tokens::of(last)?,
            (None, Some(total)) => total.beyond(before),
            (None, None) => return None,
        };
        let is_used = |amount: Option<u64>| amount.is_some_and(|amount| amount > 0);
        (is_used(tokens.input) || is_used(tokens.output)).then_some(tokens)
    }

    /// All calls' so far.
    pub fn total(&self) -> Option<Tokens> {
        self.total_token_usage.and_then(Tokens::of)
    }
}

impl Tokens {
    /// Whether nothing is known.
    pub fn is_none(&self) -> bool {
        *self == Tokens::default()
    }

    fn of(value: &RawValue) -> Option<Tokens> {
        #[derive(Deserialize)]
        struct Usage<'a> {
            #[serde(default, borrow)]
            input_tokens: Option<&'a RawValue>,
            #[serde(default, borrow)]
            cached_input_tokens: Option<&'a RawValue>,
            #[serde(default, borrow)]
            output_tokens: Option<&'a RawValue>,
            #[serde(default, borrow)]
            reasoning_output_tokens: Option<&'a RawValue>,
        }
        let usage: Usage<'_> = serde_json::from_str(value.get()).ok()?;
        let amount = |value| kept(whole(value));
        Some(Tokens {
            input: amount(usage.input_tokens),
            output: amount(usage.output_tokens),
            cached: amount(usage.cached_input_tokens),
            reasoning: amount(usage.reasoning_output_tokens),
        })
    }

    /// Both together; of what only one knows, that.
    pub fn and(&self, more: &Tokens) -> Tokens {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        Tokens {
            input: sum(self.input, more.input),
            output: sum(self.output, more.output),
            cached: sum(self.cached, more.cached),
            reasoning: sum(self.reasoning, more.reasoning),
        }
    }

    /// What a total has more than an earlier one; all of it where it began anew.
    fn beyond(self, before: &Tokens) -> Tokens {
        let began_anew = self.input < before.input || self.output < before.output;
        let more = |now: Option<u64>, before: Option<u64>| match before {
            Some(before) if !began_anew => now.map(|now| now.saturating_sub(before)),
            _ => now,
        };
        Tokens {
            input: more(self.input, before.input),
            output: more(self.output, before.output),
            cached: more(self.cached, before.cached),
            reasoning: more(self.reasoning, before.reasoning),
        }
    }
}

/// A payload's content, and the part of the record that it is.
#[derive(Debug, Default)]
pub struct Content<'a> {
    pub bytes: Vec<u8>,
    /// That part, and whether as a JSON string.
    pub part: Option<(&'a RawValue, bool)>,
    /// All its texts, one after the other.
    pub texts: Vec<String>,
    /// Whether something in it is no text.
    pub has_more: bool,
}

impl<'a> Content<'a> {
    /// The text of `value`, where it is one text or a list of one; else its JSON as it is written.
    pub fn of(value: Option<&'a RawValue>) -> Content<'a> {
        #[derive(Deserialize)]
        struct Part<'a> {
            #[serde(rename = "type", default, borrow)]
            kind: Option<&'a RawValue>,
            #[serde(default, borrow)]
            text: Option<&'a RawValue>,
        }
        let Some(value) = value else { return Content::default() };
        let as_text = |raw: &'a RawValue, said: String| Content {
            part: (json_string(&said) == raw.get()).then_some((raw, true)),
            bytes: said.clone().into_bytes(),
            texts: vec![said],
            has_more: false,
        };
        if let Some(said) = text(Some(value)) {
            return as_text(value, said);
        }
        let parts: Vec<Part<'a>> = serde_json::from_str(value.get()).unwrap_or_default();
        let is_text = |part: &Part<'_>| {
            text(part.kind).is_some_and(|kind| ["input_text", "output_text", "text"].contains(&kind.as_str()))
        };
        if let [part] = parts.as_slice()
            && is_text(part)
            && let Some((raw, said)) = part.text.zip(text(part.text))
        {
            return as_text(raw, said);
        }
        let texts: Vec<String> = parts.iter().filter(|part| is_text(part)).filter_map(|part| text(part.text)).collect();
        let has_more = parts.is_empty() || texts.len() < parts.len();
        Content { bytes: value.get().as_bytes().to_vec(), part: Some((value, false)), texts, has_more }
    }

    /// Whether Codex wrote it to tell the model of its surroundings, rather than a user: an element with its end tag, or
    /// the instructions of a folder.
    pub fn is_context(&self) -> bool {
        !self.has_more && !self.texts.is_empty() && self.texts.iter().all(|text| is_context(text))
    }

    /// Whether Codex warns the model with it. A user may write so too: then an event tells of it.
    pub fn is_warning(&self) -> bool {
        matches!(self.texts.as_slice(), [text] if !self.has_more && text.starts_with("Warning: "))
    }

    /// All that is said in it.
    pub fn said(&self) -> String {
        self.texts.concat()
    }
}

fn is_context(text: &str) -> bool {
    let text = text.trim();
    if text.starts_with("# AGENTS.md instructions") {
        return true;
    }
    let Some(inner) = text.strip_prefix('<') else { return false };
    let name = &inner[..inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(0)];
    !name.is_empty() && text.strip_suffix('>').is_some_and(|text| text.ends_with(&format!("</{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_codex_says_itself_is_told_from_a_user() {
        for text in [
            "<environment_context>\n x\n</environment_context>\n",
            "# AGENTS.md instructions for /x\n\n…",
            "<a b=\"c\">d</a>",
        ] {
            assert!(is_context(text), "{text}");
        }
        for text in ["", "<", "<>", "< a >", "<b>bold</b> text", "Look at <x>y</x>", "<a>b</c>", "ok"] {
            assert!(!is_context(text), "{text}");
        }
    }

    #[test]
    fn only_a_call_with_tokens_is_counted() {
        let last = |json: &str| {
            Info::of(Some(&RawValue::from_string(json.to_owned()).unwrap()))
                .and_then(|info| info.last(&Tokens::default()))
        };
        assert_eq!(last("null"), None);
        assert_eq!(last(r#"{"prompt":1,"completion":2}"#), None);
        assert_eq!(last(r#"{"last_token_usage":{"input_tokens":0,"output_tokens":0,"total_tokens":90}}"#), None);
        let tokens = last(
            r#"{"last_token_usage":{"input_tokens":7,"cached_input_tokens":18446744073709551615,"output_tokens":1e3}}"#,
        );
        assert_eq!(tokens, Some(Tokens { input: Some(7), ..Tokens::default() }));
        let before = Tokens { input: Some(10), output: Some(5), ..Tokens::default() };
        let more = |json: &str| {
            Info::of(Some(&RawValue::from_string(json.to_owned()).unwrap())).and_then(|info| info.last(&before))
        };
        let tokens = more(r#"{"total_token_usage":{"input_tokens":12,"output_tokens":5,"cached_input_tokens":3}}"#);
        assert_eq!(tokens, Some(Tokens { input: Some(2), output: Some(0), cached: Some(3), reasoning: None }));
        let tokens = more(r#"{"total_token_usage":{"input_tokens":9,"output_tokens":7}}"#);
        assert_eq!(tokens, Some(Tokens { input: Some(9), output: Some(7), ..Tokens::default() }));
    }
}
