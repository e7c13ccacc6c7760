//! `step`: one eval in full, with the call and the message that asked for it.

use std::io::Write;

use headwater::model::fold::Entry;
use headwater::model::{Call, Eval};
use headwater::store::{Range, Scope, Store};
use serde::Serialize;

use super::at::{At, Found};
use super::content::{self, Content};
use super::rows::{self, Row};
use super::{Context, Failure, text};

/// Show one step: code, result and observation of an eval, in full
///
/// Steps are the evals of a session, by number. One on a branch that was left is found too, and said to be out of sight.
#[derive(clap::Args)]
#[command(
    override_usage = "headwater step [OPTIONS] [NODE] N",
    after_help = "Exits with the outcome: 0 a final value, 2 none, 3 a timeout, 1 an error.

Examples:
  headwater step demo 2
  headwater step demo@1 1
  headwater step demo 1 --json | jq -r .code"
)]
pub struct Args {
    /// The node (demo, demo/child-0001) and the number of the eval; the number alone is of the session changed last
    #[arg(required = true, num_args = 1..=2, value_name = "NODE N")]
    step: Vec<String>,
    #[command(flatten)]
    at: At,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Step<'a> {
    /// Whether it is visible at the head that was asked for, not on a branch that was left.
    visible: bool,
    eval: Row<'a, Eval>,
    call: Option<Row<'a, Call>>,
    code: Option<Content>,
    result: Option<Content>,
    observation: Option<Content>,
    error: Option<Content>,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let (node, number) = match args.step.as_slice() {
        [node, number] => (Some(node.as_str()), number),
        [number] => (None, number),
        _ => return Err(Failure::usage("a node and a number")),
    };
    let number: u64 = number.parse().map_err(|_| {
        Failure::usage(format!("{number:?} is no step: the number of an eval comes last, such as `step demo 2`"))
    })?;
    let store = context.open_store(false)?;
    let found = args.at.find(&store, context, node)?;
    let (eval, visible) = eval(&store, &found, number)?.ok_or_else(|| missing(&store, &found, number))?;
    let scope = if visible { found.scope() } else { Scope::Log };
    let call = match eval.row.call {
        Some(call) => store.records::<Call>(found.session(), scope, Range::of(call.0, call.0))?.next().transpose()?,
        None => None,
    };
    let blobs = store.blobs();
    let read = |digest: Option<_>| digest.map(|digest| content::text(&blobs, digest)).transpose();
    let row = &eval.row;
    let step = Step {
        visible,
        code: read(row.code)?,
        result: read(row.result)?,
        observation: read(row.observation)?,
        error: read(row.error)?,
        eval: rows::row(&eval),
        call: call.as_ref().map(rows::row),
    };
    match context.json {
        true => context.print_json(&step)?,
        false => print(context, &found, &eval, call.as_ref(), &step)?,
    }
    Ok(found.outcome(&store)?.code())
}

/// The eval of that number at the head that was found, else anywhere in the session's log.
fn eval(store: &Store, found: &Found, number: u64) -> Result<Option<(Entry<Eval>, bool)>, Failure> {
    for (scope, visible) in [(found.scope(), true), (Scope::Log, false)] {
        if let Some(eval) = store.records::<Eval>(found.session(), scope, Range::of(number, number))?.next() {
            return Ok(Some((eval?, visible)));
        }
    }
    Ok(None)
}

fn missing(store: &Store, found: &Found, number: u64) -> Failure {
    let name = found.called();
    let ends = |range| {
        let mut evals = store.records::<Eval>(found.session(), found.scope(), range).ok()?;
        Some(evals.next()?.ok()?.row.eval)
    };
    let failure = Failure::new("not-found", format!("{name} has no step {number}"))
        .details(serde_json::json!({ "what": "step", "name": number.to_string() }));
    match (ends(Range::default()), ends(Range::newest_first())) {
        (Some(first), Some(last)) => failure.hint(format!("its steps are evals {first} to {last}")),
        _ => failure.hint(format!("it ran no code: headwater show {name} shows its messages")),
    }
}

fn print(
    context: &Context,
    found: &Found,
    eval: &Entry<Eval>,
    call: Option<&Entry<Call>>,
    step: &Step,
) -> Result<(), Failure> {
    let mut out = context.text();
    let (name, row) = (found.called(), &eval.row);
    let mut facts = vec![format!("step {}", row.eval), row.status.to_string()];
    facts.extend(row.turn.map(|turn| format!("turn {turn}")));
    facts.extend(row.name.as_deref().map(|name| content::one_line(name, 40)));
    if let Some(call) = call {
        let model = call.row.model.as_deref().map(|model| format!(" of {}", content::one_line(model, 40)));
        facts.push(format!("asked by call {}{}", call.row.call, model.unwrap_or_default()));
    }
    writeln!(out, "{name} - {}", facts.join(" - "))?;
    if !step.visible {
        writeln!(out, "  on a branch that was left: not visible at this checkpoint")?;
    }
    let parts =
        [("code", &step.code), ("result", &step.result), ("observation", &step.observation), ("error", &step.error)];
    for (title, content) in parts {
        if let Some(content) = content {
            writeln!(out, "\n{title}")?;
            for line in content.lines().lines() {
                writeln!(out, "  {line}")?;
            }
        }
    }
    let mut commands = Vec::new();
    if row.eval.0 > 1 {
        commands.push((format!("step {name} {}", row.eval.0 - 1), "the step before"));
    }
    commands.push((format!("events {} --event {}", eval.session, eval.event), "why it ran"));
    text::next(&mut out, context, &commands)?;
    Ok(out.flush()?)
}
