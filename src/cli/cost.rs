//! `cost`: tokens and cost, and how far they are known.

use std::io::Write;

use headwater::model::SessionId;
use headwater::store::Store;
use headwater::view::types::{ModelUsage, Node, NodeKind, TreeLimits, TurnUsage, Usage, Used};
use serde::Serialize;

use super::at::{At, Found};
use super::text::{self, Align, Column};
use super::usage::Shown;
use super::{Context, Failure, content, tree};

/// Show tokens and cost: of a session, its children, by model
///
/// Calls to a provider count once each, those of abandoned branches too; what was inherited from a fork's source is apart.
/// A sum is known, partial (with how many calls do not say) or unknown.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater cost demo
  headwater cost demo --tree --turns
  headwater cost demo --json | jq .usage.total.cost")]
pub struct Args {
    /// A session, or a node below one: demo, demo/child-0001 [default: the session changed last]
    node: Option<String>,
    /// Each node below it, too
    #[arg(long)]
    tree: bool,
    /// Each turn of its own, too
    #[arg(long)]
    turns: bool,
}

#[derive(Serialize)]
struct OfNode {
    node: String,
    session: Option<SessionId>,
    own: Used,
    subtree: Used,
    more: u64,
}

#[derive(Serialize)]
struct Report<'a> {
    session: &'a SessionId,
    usage: Usage,
    models: Vec<ModelUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turns: Option<Vec<TurnUsage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<OfNode>>,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let found = At::none().find(&store, context, args.node.as_deref())?.whole("cost")?;
    let session = found.session();
    let usage = store.usage(session)?;
    let models = store.usage_by_model(session, true)?;
    let turns = args.turns.then(|| store.usage_by_turn(session)).transpose()?;
    let nodes = args.tree.then(|| called(&store, &found)).transpose()?;
    if context.json {
        context.print_json(&Report {
            session,
            usage,
            models,
            turns,
            nodes: nodes.map(|nodes| nodes.into_iter().map(of_node).collect()),
        })?;
        return Ok(0);
    }
    let mut out = context.text();
    let name = found.called();
    writeln!(out, "cost - {name}\n")?;
    let mut rows = vec![("root", usage.root), ("leaves", usage.leaf), ("children", usage.children)];
    rows.push(("total", usage.tree));
    rows.extend((usage.inherited.calls > 0).then_some(("inherited", usage.inherited)));
    print(&mut out, "", rows.into_iter().map(|(what, used)| (what.to_owned(), used)))?;
    if usage.inherited.calls > 0 {
        writeln!(out, "\n  inherited: calls of the session it was made from, counted there")?;
    }
    said(&mut out, &usage.tree)?;
    if !models.is_empty() {
        writeln!(out)?;
        print(&mut out, "MODEL", models.iter().map(|one| (model(one), one.used)))?;
    }
    if let Some(turns) = turns {
        writeln!(out)?;
        let name = |turn: Option<_>| turn.map_or_else(|| "no turn".to_owned(), |turn| format!("turn {turn}"));
        print(&mut out, "TURN", turns.iter().map(|one| (name(one.turn), one.used)))?;
    }
    if let Some(nodes) = &nodes {
        writeln!(out)?;
        let name = |node: &Node| format!("{}{}", "  ".repeat(node.depth as usize), tree::short(&node.name));
        print(&mut out, "NODE, WITH ITS CHILDREN", nodes.iter().map(|node| (name(node), node.subtree)))?;
        let more: u64 = nodes.iter().filter(|node| node.mark.is_none()).map(Node::more).sum();
        if more > 0 {
            writeln!(out, "  … {more} more, counted above")?;
        }
    }
    let mut commands = Vec::new();
    commands.extend((usage.children.calls > 0 && !args.tree).then(|| (format!("cost {name} --tree"), "each child")));
    commands.extend((!args.turns).then(|| (format!("cost {name} --turns"), "each turn")));
    commands.extend((usage.leaf.calls > 0).then(|| (format!("leaves {name}"), "what the leaves were asked")));
    commands.push((format!("show {name}"), "inspect current checkpoint"));
    text::next(&mut out, context, &commands)?;
    out.flush()?;
    Ok(0)
}

/// The node and all that it called; forks pay for themselves.
fn called(store: &Store, found: &Found) -> Result<Vec<Node>, Failure> {
    let mut nodes = store.tree(&found.name, TreeLimits::default())?.nodes;
    let mut fork: Option<u64> = None;
    let mut left_out: Vec<usize> = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        if fork.is_some_and(|depth| node.depth <= depth) {
            fork = None;
        }
        if fork.is_none() && matches!(node.kind, NodeKind::Made(_)) {
            fork = Some(node.depth);
        }
        if fork.is_some() {
            left_out.push(at);
        }
    }
    let mut at = 0;
    nodes.retain(|_| {
        at += 1;
        left_out.binary_search(&(at - 1)).is_err()
    });
    for node in &mut nodes {
        node.shown = node.shown.min(node.children);
        node.forks = 0;
    }
    Ok(nodes)
}

fn of_node(node: Node) -> OfNode {
    OfNode {
        node: node.name.to_string(),
        more: node.more(),
        session: node.session,
        own: node.own,
        subtree: node.subtree,
    }
}

fn model(one: &ModelUsage) -> String {
    let name = [one.provider.as_deref(), one.model.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("/");
    if name.is_empty() { "(no model said)".to_owned() } else { content::one_line(&name, 40) }
}

/// A table of sums, one row for each.
fn print(out: &mut impl Write, title: &str, rows: impl Iterator<Item = (String, Used)>) -> Result<(), Failure> {
    let header = [title, "CALLS", "IN", "OUT", "CACHED", "HITS", "REASONING", "COST"];
    let mut table = vec![header.map(str::to_owned).to_vec()];
    for (what, used) in rows {
        table.push(vec![
            what,
            used.calls.to_string(),
            used.tokens_input.text(),
            used.tokens_output.text(),
            used.tokens_cached.text(),
            used.cache_hits.text(),
            used.tokens_reasoning.text(),
            used.cost.dollars(),
        ]);
    }
    use Align::{Left, Right};
    let aligned = [(Left, 0), (Right, 1), (Right, 3), (Right, 2), (Right, 5), (Right, 6), (Right, 4), (Right, 0)];
    text::table(out, "  ", &aligned.map(|(align, spare)| Column::spare(align, spare)), &table)
}

/// What is not known, in words: `12+` is at least 12, `?` is nothing known.
fn said(out: &mut impl Write, total: &Used) -> Result<(), Failure> {
    let sums = [
        ("their cost", total.cost),
        ("their input tokens", total.tokens_input),
        ("their output tokens", total.tokens_output),
    ];
    for (what, sum) in sums {
        let unknown = sum.unknown_calls();
        if unknown > 0 {
            let does = if unknown == 1 { "does" } else { "do" };
            let least = if sum.known().is_some() { ": the sum is of the others" } else { "" };
            writeln!(out, "  {unknown} of {} {does} not say {what}{least}", text::count(total.calls, "call", "calls"))?;
        }
    }
    Ok(())
}
