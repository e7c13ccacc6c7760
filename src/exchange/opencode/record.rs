//! OpenCode's files: one JSON object each, as docs/IMPORT.md describes them. Fields are taken as they are written; one of an
//! unexpected type counts as missing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exchange::json::{beginning, kept, scaled, text, whole};
use crate::model::{Call, Status, Timestamp};

type Raw<'a> = Option<&'a RawValue>;

/// What a session's file says.
#[derive(Debug, Default, Deserialize)]
pub struct Session<'a> {
    #[serde(default, borrow)]
    id: Raw<'a>,
    #[serde(rename = "parentID", default, borrow)]
    parent: Raw<'a>,
    #[serde(rename = "projectID", default, borrow)]
    project: Raw<'a>,
    #[serde(default, borrow)]
    title: Raw<'a>,
    #[serde(default, borrow)]
    time: Raw<'a>,
    #[serde(default, borrow)]
    revert: Raw<'a>,
}

/// What a message's file says: all but its parts.
#[derive(Debug, Default, Deserialize)]
pub struct Message<'a> {
    #[serde(default, borrow)]
    id: Raw<'a>,
    #[serde(default, borrow)]
    role: Raw<'a>,
    #[serde(default, borrow)]
    time: Raw<'a>,
    #[serde(rename = "parentID", default, borrow)]
    parent: Raw<'a>,
    #[serde(rename = "modelID", default, borrow)]
    model_id: Raw<'a>,
    #[serde(rename = "providerID", default, borrow)]
    provider_id: Raw<'a>,
    #[serde(default, borrow)]
    model: Raw<'a>,
    #[serde(default, borrow)]
    cost: Raw<'a>,
    #[serde(default, borrow)]
    tokens: Raw<'a>,
    #[serde(default, borrow)]
    pub error: Raw<'a>,
    #[serde(default, borrow)]
    summary: Raw<'a>,
    #[serde(default, borrow)]
    finish: Raw<'a>,
}

/// What a part's file says.
#[derive(Debug, Default, Deserialize)]
pub struct Part<'a> {
    #[serde(default, borrow)]
    id: Raw<'a>,
    #[serde(rename = "sessionID", default, borrow)]
    session: Raw<'a>,
    #[serde(rename = "type", default, borrow)]
    kind: Raw<'a>,
    #[serde(default, borrow)]
    pub text: Raw<'a>,
    #[serde(default, borrow)]
    tool: Raw<'a>,
    #[serde(default, borrow)]
    state: Raw<'a>,
    #[serde(default, borrow)]
    tokens: Raw<'a>,
    #[serde(default, borrow)]
    cost: Raw<'a>,
    #[serde(default, borrow)]
    reason: Raw<'a>,
    #[serde(default, borrow)]
    tail_start_id: Raw<'a>,
}

/// How far a tool is.
#[derive(Debug, Default, Deserialize)]
pub struct State<'a> {
    #[serde(default, borrow)]
    status: Raw<'a>,
    #[serde(default, borrow)]
    pub input: Raw<'a>,
    #[serde(default, borrow)]
    pub output: Raw<'a>,
    #[serde(default, borrow)]
    pub error: Raw<'a>,
    #[serde(default, borrow)]
    metadata: Raw<'a>,
    #[serde(default, borrow)]
    time: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Time<'a> {
    #[serde(default, borrow)]
    created: Raw<'a>,
    #[serde(default, borrow)]
    completed: Raw<'a>,
    #[serde(default, borrow)]
    start: Raw<'a>,
    #[serde(default, borrow)]
    end: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Tokens<'a> {
    #[serde(default, borrow)]
    input: Raw<'a>,
    #[serde(default, borrow)]
    output: Raw<'a>,
    #[serde(default, borrow)]
    reasoning: Raw<'a>,
    #[serde(default, borrow)]
    cache: Raw<'a>,
}

/// Small objects within others, of which one field each is looked at.
#[derive(Default, Deserialize)]
struct Inner<'a> {
    #[serde(default, borrow)]
    read: Raw<'a>,
    #[serde(rename = "modelID", default, borrow)]
    model: Raw<'a>,
    #[serde(rename = "providerID", default, borrow)]
    provider: Raw<'a>,
    #[serde(rename = "sessionId", default, borrow)]
    session: Raw<'a>,
    #[serde(rename = "messageID", default, borrow)]
    message: Raw<'a>,
    #[serde(default, borrow)]
    name: Raw<'a>,
    #[serde(default, borrow)]
    prompt: Raw<'a>,
    #[serde(default, borrow)]
    description: Raw<'a>,
}

/// An object within another; one that cannot be read has nothing in it.
fn object<'a, T: Default + Deserialize<'a>>(raw: Raw<'a>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// A file that is an object.
fn read<'a, T: Deserialize<'a>>(file: &'a [u8]) -> Result<T, String> {
    let file = beginning(file);
    match file.first() {
        Some(b'{') => serde_json::from_slice(file).map_err(|error| error.to_string()),
        Some(_) => Err("it is no object".to_owned()),
        None => Err("there is nothing in it".to_owned()),
    }
}

/// A time in milliseconds.
fn time(raw: Raw<'_>) -> Option<Timestamp> {
    Timestamp::from_micros(i64::try_from(scaled(raw?.get(), 3)?).ok()?)
}

impl<'a> Session<'a> {
    pub fn read(file: &'a [u8]) -> Result<Session<'a>, String> {
        read(file)
    }

    /// Whether it is beyond doubt one.
    pub fn is_known(&self) -> bool {
        self.id().is_some() && self.project.is_some() && self.time.is_some()
    }

    pub fn id(&self) -> Option<String> {
        text(self.id)
    }

    pub fn parent(&self) -> Option<String> {
        text(self.parent)
    }

    pub fn project(&self) -> Option<String> {
        text(self.project)
    }

    pub fn title(&self) -> Option<String> {
        text(self.title)
    }

    pub fn created(&self) -> Option<Timestamp> {
        time(object::<Time<'_>>(self.time).created)
    }

    /// The message before which the session was taken back.
    pub fn reverted_to(&self) -> Option<String> {
        text(object::<Inner<'_>>(self.revert).message)
    }
}

impl<'a> Message<'a> {
    pub fn read(file: &'a [u8]) -> Result<Message<'a>, String> {
        let message: Message<'_> = read(file)?;
        match message.role().as_deref() {
            Some("user" | "assistant") => Ok(message),
            Some(role) => Err(format!("its role is {role:?}")),
            None => Err("it has no role".to_owned()),
        }
    }

    pub fn id(&self) -> Option<String> {
        text(self.id)
    }

    fn role(&self) -> Option<String> {
        text(self.role)
    }

    pub fn is_user(&self) -> bool {
        self.role().as_deref() == Some("user")
    }

    pub fn parent(&self) -> Option<String> {
        text(self.parent)
    }

    pub fn created(&self) -> Option<Timestamp> {
        time(object::<Time<'_>>(self.time).created)
    }

    pub fn completed(&self) -> Option<Timestamp> {
        time(object::<Time<'_>>(self.time).completed)
    }

    pub fn provider(&self) -> Option<String> {
        text(self.provider_id).or_else(|| text(object::<Inner<'_>>(self.model).provider))
    }

    pub fn model(&self) -> Option<String> {
        text(self.model_id).or_else(|| text(object::<Inner<'_>>(self.model).model))
    }

    /// Whether it is what a compaction left.
    pub fn is_summary(&self) -> bool {
        !self.is_user() && self.summary.is_some_and(|raw| raw.get() == "true")
    }

    /// Whether nothing more is to come.
    pub fn is_over(&self) -> bool {
        self.is_user() || self.completed().is_some() || self.finish().is_some() || self.failed().is_some()
    }

    /// Why the answer ended, in the provider's words.
    pub fn finish(&self) -> Option<String> {
        text(self.finish)
    }

    /// Whether it failed: how.
    pub fn failed(&self) -> Option<Status> {
        let error = self.error.filter(|error| error.get() != "null")?;
        let name = text(object::<Inner<'_>>(Some(error)).name);
        Some(if name.as_deref() == Some("MessageAbortedError") { Status::ABORTED } else { Status::ERROR })
    }

    /// Puts what it used into a call. Numbers of an answer that is not over are none yet.
    pub fn usage(&self, call: &mut Call) {
        if self.is_over() {
            usage(self.tokens, self.cost, call);
        }
    }

    /// What rows are made of.
    pub fn meaning(&self) -> [Option<&'a str>; 9] {
        let summary = self.summary.filter(|raw| raw.get() == "true");
        let rest = [self.model_id, self.provider_id, self.model, self.cost, self.tokens, self.error, self.finish];
        let mut meaning = [None; 9];
        let all = [self.role, summary].into_iter().chain(rest.into_iter().filter(|_| !self.is_user()));
        all.zip(&mut meaning).for_each(|(raw, place)| *place = raw.map(RawValue::get));
        meaning
    }
}

impl<'a> Part<'a> {
    pub fn read(file: &'a [u8]) -> Result<Part<'a>, String> {
        let part: Part<'_> = read(file)?;
        part.kind().map(|_| part).ok_or_else(|| "it has no type".to_owned())
    }

    pub fn id(&self) -> Option<String> {
        text(self.id)
    }

    pub fn session(&self) -> Option<String> {
        text(self.session)
    }

    pub fn kind(&self) -> Option<String> {
        text(self.kind)
    }

    pub fn tool(&self) -> Option<String> {
        text(self.tool)
    }

    pub fn state(&self) -> State<'a> {
        object(self.state)
    }

    pub fn usage(&self, call: &mut Call) {
        usage(self.tokens, self.cost, call);
    }

    /// The first message that a compaction keeps.
    pub fn tail(&self) -> Option<String> {
        text(self.tail_start_id)
    }

    /// What rows are made of; none where that is the whole file.
    pub fn meaning(&self) -> Option<[Option<&'a str>; 8]> {
        let state = self.state();
        let raws = match self.kind()?.as_str() {
            "tool" => {
                let Time { start, end, .. } = object(state.time);
                let session = object::<Inner<'_>>(state.metadata).session;
                [self.tool, state.status, state.input, state.output, state.error, start, end, session]
            }
            "step-finish" => [self.tokens, self.cost, self.reason, None, None, None, None, None],
            "step-start" => [None; 8],
            _ => return None,
        };
        Some(raws.map(|raw| raw.map(RawValue::get)))
    }
}

impl<'a> State<'a> {
    /// How the tool ended; none where it has not.
    pub fn ended(&self) -> Option<Status> {
        match text(self.status).as_deref() {
            Some("completed") => Some(Status::OK),
            Some("error") => Some(Status::ERROR),
            _ => None,
        }
    }

    pub fn started_at(&self) -> Option<Timestamp> {
        time(object::<Time<'_>>(self.time).start)
    }

    pub fn ended_at(&self) -> Option<Timestamp> {
        time(object::<Time<'_>>(self.time).end)
    }

    /// What the tool noted beside its output.
    pub fn notes(&self) -> Vec<&'a RawValue> {
        object::<BTreeMap<Cow<'a, str>, &'a RawValue>>(self.metadata).into_values().collect()
    }

    /// The session that the tool opened.
    pub fn child(&self) -> Option<String> {
        text(object::<Inner<'_>>(self.metadata).session)
    }

    pub fn prompt(&self) -> Option<String> {
        text(object::<Inner<'_>>(self.input).prompt)
    }

    pub fn description(&self) -> Option<String> {
        text(object::<Inner<'_>>(self.input).description)
    }
}

fn usage(tokens: Raw<'_>, cost: Raw<'_>, call: &mut Call) {
    let tokens: Tokens<'_> = object(tokens);
    call.tokens_input = kept(whole(tokens.input));
    call.tokens_output = kept(whole(tokens.output));
    call.tokens_reasoning = kept(whole(tokens.reasoning));
    call.tokens_cached = kept(whole(object::<Inner<'_>>(tokens.cache).read));
    call.cost = kept(cost.and_then(|cost| scaled(cost.get(), 9)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_otherwise_than_expected_counts_as_missing() {
        let message =
            br#"{"role":"assistant","time":7,"tokens":[],"cost":{"usd":1},"model":{"modelID":3,"providerID":"p"}}"#;
        let message = Message::read(message).unwrap();
        assert!(message.id().is_none() && message.created().is_none() && message.model().is_none());
        assert_eq!((message.provider().as_deref(), message.is_over()), (Some("p"), false));
        for bad in ["{\"role\":\"system\"}", "{}", "[]", "", "{\"role\":\"user\",\"role\":\"user\"}", "{\"role\":"] {
            assert!(Message::read(bad.as_bytes()).is_err(), "{bad}");
        }
        let deep = format!("{{\"role\":\"user\",\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let _ = Message::read(deep.as_bytes());
        assert_eq!(time(serde_json::from_str("1730000102500.25").unwrap()).unwrap().micros(), 1_730_000_102_500_250);
    }
}
