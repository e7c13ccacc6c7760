//! `leaves`: what leaf models were asked, and what they answered.

use std::io::Write;

use headwater::model::fold::Entry;
use headwater::model::{Call, CallType};
use headwater::store::{Range, Store};
use headwater::view::types::Sum;
use serde::Serialize;

use super::at::{At, Found};
use super::content::{self, Content};
use super::rows::{self, Row};
use super::text::{self, Align, Column};
use super::usage::Shown;
use super::{Context, Failure, json};

/// Show the leaf calls of a node: prompts, answers, tokens, cost
///
/// Leaf calls are requests to a model that evaluated code made, one by one or in a batch; `step` shows such code.
#[derive(clap::Args)]
#[command(after_help = "Exits with the outcome: 0 a final value, 2 none, 3 a timeout, 1 an error.

Examples:
  headwater leaves demo
  headwater leaves demo --limit 5
  headwater leaves demo --json | jq -r '.leaves[] | .prompt'")]
pub struct Args {
    /// A session, or a node below one: demo, demo/child-0001 [default: the session changed last]
    node: Option<String>,
    #[command(flatten)]
    at: At,
    /// Only the last N [default: 50 as text, all as JSON]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// How many a person is shown.
const SHOWN: usize = 50;

/// How much of a prompt and of an answer.
const WIDTH: usize = 48;

#[derive(Serialize)]
struct Leaf<'a> {
    #[serde(flatten)]
    call: Row<'a, Call>,
    prompt: Option<Content>,
    answer: Option<Content>,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let found = args.at.find(&store, context, args.node.as_deref())?;
    print(&store, context, &found, args.limit)
}

/// Prints the last `limit` leaf calls at the head that was found, the oldest first.
pub fn print(store: &Store, context: &Context, found: &Found, limit: Option<usize>) -> Result<u8, Failure> {
    match context.json {
        true => print_json(store, context, found, limit)?,
        false => print_text(store, context, found, limit.unwrap_or(SHOWN))?,
    }
    Ok(found.outcome(store)?.code())
}

fn is_leaf(call: &Entry<Call>) -> bool {
    matches!(call.row.call_type, CallType::Leaf | CallType::LeafBatchItem)
}

/// The last `limit` leaf calls, the oldest first, and whether there are more.
fn last(store: &Store, found: &Found, limit: usize) -> Result<(Vec<Entry<Call>>, bool), Failure> {
    let calls = store.records::<Call>(found.session(), found.scope(), Range::newest_first())?;
    let leaves = calls.filter(|call| call.as_ref().map_or(true, is_leaf));
    let mut leaves = leaves.take(limit.saturating_add(1)).collect::<Result<Vec<_>, _>>()?;
    let more = leaves.len() > limit;
    leaves.truncate(limit);
    leaves.reverse();
    Ok((leaves, more))
}

fn print_json(store: &Store, context: &Context, found: &Found, limit: Option<usize>) -> Result<(), Failure> {
    let blobs = store.blobs();
    let mut object = json::Object::begin(context.json())?;
    object.put("session", found.session())?;
    object.put("node", &found.name.address)?;
    object.array("leaves", |array| {
        let mut push = |call: &Entry<Call>| {
            let text = |digest| content::text(&blobs, digest);
            let row = &call.row;
            let prompt = row.input.or(row.request).map(text).transpose()?;
            let answer = row.result.or(row.response).or(row.error).map(text).transpose()?;
            array.push(&Leaf { call: rows::row(call), prompt, answer })
        };
        match limit {
            Some(limit) => last(store, found, limit)?.0.iter().try_for_each(push),
            // All of them: one after another, none kept.
            None => {
                for call in store.records::<Call>(found.session(), found.scope(), Range::default())? {
                    let call = call?;
                    if is_leaf(&call) {
                        push(&call)?;
                    }
                }
                Ok(())
            }
        }
    })?;
    object.end()
}

fn print_text(store: &Store, context: &Context, found: &Found, limit: usize) -> Result<(), Failure> {
    let (leaves, more) = last(store, found, limit)?;
    let blobs = store.blobs();
    let mut out = context.text();
    let name = found.called();
    if leaves.is_empty() {
        // There are some, and none was asked for.
        writeln!(out, "{name} - {}", if more { "leaf calls, none of them asked for" } else { "no leaf calls" })?;
    } else {
        let count = text::count(leaves.len() as u64, "leaf call", "leaf calls");
        writeln!(out, "{name} - {}{count}\n", if more { "the last " } else { "" })?;
        let preview = |digest| content::preview(&blobs, digest, WIDTH);
        let known = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        let mut table: Vec<Vec<String>> =
            vec![["CALL", "STATUS", "MODEL", "PROMPT", "ANSWER", "IN", "OUT", "COST"].map(str::to_owned).to_vec()];
        for call in &leaves {
            let row = &call.row;
            table.push(vec![
                row.call.to_string(),
                row.status.to_string(),
                content::one_line(row.model.as_deref().or(row.provider.as_deref()).unwrap_or("-"), 24),
                row.input.or(row.request).map(preview).transpose()?.unwrap_or_default(),
                row.result.or(row.response).or(row.error).map(preview).transpose()?.unwrap_or_default(),
                known(row.tokens_input),
                known(row.tokens_output),
                Sum::from(row.cost).dollars(),
            ]);
        }
        use Align::{Left, Right};
        let aligned = [(Right, 0), (Left, 2), (Left, 5), (Left, 0), (Left, 1), (Right, 6), (Right, 4), (Right, 3)];
        text::table(&mut out, "  ", &aligned.map(|(align, spare)| Column::spare(align, spare)), &table)?;
    }
    let mut commands = Vec::new();
    if more {
        let limit = if limit == 0 { SHOWN } else { limit.saturating_mul(10) };
        commands.push((format!("leaves {name} --limit {limit}"), "more of them"));
    }
    commands.push((format!("leaves {name} --json"), "whole prompts and answers"));
    commands.push((format!("cost {name}"), "what they cost"));
    text::next(&mut out, context, &commands)?;
    Ok(out.flush()?)
}
