//! `tree`: the sessions that a session called, and those made from its heads.

use std::io::Write;

use super::at::At;
use super::usage::Shown;
use super::{Context, Failure, content, terminal, text, width};
use headwater::model::NodeName;
use headwater::view::types::{Mark, Node, NodeKind, TreeLimits};

/// Show the children and forks of a node, with what each used
///
/// Children are the sessions that a node called, labelled child-0001 and on by their order; below them theirs. Forks are
/// named, not opened: they pay for themselves. A mark tells where a session comes again, or is missing.
#[derive(clap::Args)]
#[command(after_help = "Exits with the outcome: 0 a final value, 2 none, 3 a timeout, 1 an error.

Examples:
  headwater tree demo
  headwater tree demo --depth 1 --limit 20
  headwater tree demo --json | jq -r '.. | objects | select(.status? == \"error\") | .node'")]
pub struct Args {
    /// A session, or a node below one: demo, demo/child-0001 [default: the session changed last]
    node: Option<String>,
    /// Steps below the node
    #[arg(long, value_name = "N", default_value_t = TreeLimits::default().depth)]
    depth: u64,
    /// Children of one node, and as many forks
    #[arg(long, value_name = "N", default_value_t = TreeLimits::default().breadth)]
    limit: u64,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let store = context.open_store(false)?;
    let found = At::none().find(&store, context, args.node.as_deref())?.whole("tree")?;
    let limits = TreeLimits { depth: args.depth, breadth: args.limit, ..TreeLimits::default() };
    let tree = store.tree(&found.name, limits)?;
    if context.json {
        let mut out = context.json();
        tree.write_json(&mut out)?;
        out.write_all(b"\n")?;
        out.flush()?;
    } else {
        print_text(context, &found.called(), &tree.nodes)?;
    }
    Ok(found.outcome(&store)?.code())
}

fn print_text(context: &Context, name: &str, nodes: &[Node]) -> Result<(), Failure> {
    let mut out = context.text();
    // Whether a node comes after at the depths above: what is drawn to the left. Seen from the end.
    let mut lines: Vec<Vec<bool>> = vec![Vec::new(); nodes.len()];
    let mut open: Vec<bool> = Vec::new();
    for (at, node) in nodes.iter().enumerate().rev() {
        let depth = usize::try_from(node.depth).unwrap_or_default();
        open.resize(depth + 1, false);
        if let Some(line) = lines.get_mut(at) {
            line.clone_from(&open);
        }
        if let Some(here) = open.get_mut(depth) {
            *here = true;
        }
    }
    for (node, line) in nodes.iter().zip(&lines) {
        let mut left = String::new();
        for (depth, more) in line.iter().enumerate().skip(1) {
            let last = depth + 1 == line.len();
            left.push_str(match (last, more) {
                (true, true) => "├── ",
                (true, false) => "└── ",
                (false, true) => "│   ",
                (false, false) => "    ",
            });
        }
        let line = format!("{left}{}", describe(node));
        writeln!(out, "{}", terminal::columns().map_or(line.clone(), |room| width::clip(&line, room)))?;
        if node.more() > 0 && node.mark.is_none() {
            let below: String = left.replace("├── ", "│   ").replace("└── ", "    ");
            writeln!(out, "{below}… {} more", node.more())?;
        }
    }
    let mut commands = Vec::new();
    if let Some(child) = nodes.iter().find(|node| matches!(node.kind, NodeKind::Child(_)) && node.info.is_some()) {
        commands.push((format!("show {}", child.name), "one node"));
    }
    if let Some(deep) = nodes.iter().find(|node| node.more() > 0 && node.mark.is_none() && node.depth > 0) {
        commands.push((format!("tree {}", deep.name), "what hangs below it"));
    }
    commands.push((format!("cost {name} --tree"), "what each node cost"));
    text::next(&mut out, context, &commands)?;
    Ok(out.flush()?)
}

/// What a node is called where its place shows: its label, or a fork's own name.
pub fn short(name: &NodeName) -> String {
    name.address.steps().last().map_or_else(|| name.session.to_string(), |label| label.to_string())
}

fn describe(node: &Node) -> String {
    let made = match &node.kind {
        NodeKind::Made(kind) => format!("{} ", kind.as_str()),
        _ => String::new(),
    };
    let mut words = vec![format!("{made}{}  {}", short(&node.name), node.status)];
    if let Some(info) = &node.info {
        words.push(text::count(info.turns, "turn", "turns"));
        words.push(text::count(node.own.calls, "call", "calls"));
        let cost = node.subtree.cost.dollars();
        words.push(if node.children > 0 { format!("{cost} with children") } else { cost });
    }
    match node.mark {
        Some(Mark::Cycle) => words.push("is above itself".to_owned()),
        Some(Mark::Again) => words.push("shown before".to_owned()),
        Some(Mark::Missing) if node.session.is_some() => words.push("not in this store".to_owned()),
        Some(Mark::Missing) => words.push("never had a session".to_owned()),
        None => {}
    }
    let mut line = words.join(" - ");
    // A session's own id where the label does not say it.
    if let (Some(session), false) = (&node.session, node.name.address.steps().is_empty()) {
        line = format!("{line}  ({session})");
    }
    if let Some(label) = &node.label {
        line = format!("{line}  {}", content::one_line(label, 48));
    }
    line
}
