//! Help: the verbs in groups, a paragraph and examples for each, the same in `--help`, `help VERB` and man pages.
//!
//! A verb says all of it where its arguments are: the first line of their doc comment is its summary, what follows its
//! paragraph; `after_help` is its exit codes, where they are its own, then `Examples:` and one command a line.

use std::fmt::Write;

use clap::builder::{Resettable, StyledStr};
use clap::{Command, CommandFactory};

use super::Cli;

/// The verbs by what one wants, in the order help shows them. A verb that is in none is shown last.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Recording", &["run", "import", "export"]),
    (
        "Looking",
        &[
            "ls", "show", "tree", "prime", "cost", "leaves", "step", "events", "stream", "inspect", "diff", "head",
            "cat", "search", "query", "stats",
        ],
    ),
    ("Going on", &["resume", "fork", "alias", "pin"]),
    ("Care", &["check", "repair", "gc", "rm", "erase", "backup", "restore-backup"]),
    ("This command", &["help", "man", "completions"]),
];

/// What the command is, for its page.
pub const DESCRIPTION: &str = "headwater keeps every fact of an agent's or a model's session: what happened, in what order, what caused it. It
gives back the exact state of any head, and goes on from it, in the same session or in a new one.

A session is named by its id, a unique prefix of it, or an alias. A head is named by its id (head-...), a unique prefix of it of at
least 4 hex digits, a pin, or SESSION@N, N turns back.

Text output is for people and may change; every verb takes --json, whose shapes are fixed.";

/// What stands before the examples in an `after_help`.
const EXAMPLES: &str = "Examples:";

/// The verbs' help: paragraph first, then usage, then arguments as a table.
const VERB: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// The command with its whole help.
pub fn command() -> Command {
    let cli = Cli::command().mut_subcommands(verb);
    let header = *cli.get_styles().get_header();
    let literal = *cli.get_styles().get_literal();
    let mut list = String::new();
    for (group, verbs) in groups(&cli) {
        // Into a string: cannot fail.
        let _ = writeln!(list, "{header}{group}:{header:#}");
        for (name, about) in verbs {
            let _ = writeln!(list, "  {literal}{name:<14}{literal:#}  {about}");
        }
        list.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}{header}Options:{header:#}\n{{options}}{{after-help}}"
    );
    let after = styled(&cli.get_after_help().map(StyledStr::to_string).unwrap_or_default(), &cli);
    cli.help_template(template).after_help(after)
}

/// The verbs of each group, with what their summary says.
pub fn groups(cli: &Command) -> Vec<(&'static str, Vec<(String, String)>)> {
    let one = |command: &Command| {
        let about = command.get_about().map(StyledStr::to_string).unwrap_or_default();
        let aliases: Vec<_> = command.get_visible_aliases().collect();
        let aliases = if aliases.is_empty() { String::new() } else { format!(" [also: {}]", aliases.join(", ")) };
        (command.get_name().to_owned(), format!("{about}{aliases}"))
    };
    let help = || ("help".to_owned(), "Show this, or the help of a verb".to_owned());
    let in_group = |names: &[&str]| {
        let found = names.iter().filter_map(|name| match *name {
            "help" => Some(help()),
            name => cli.find_subcommand(name).map(one),
        });
        found.collect::<Vec<_>>()
    };
    let mut groups: Vec<_> = GROUPS.iter().map(|(group, names)| (*group, in_group(names))).collect();
    let grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let others: Vec<_> = cli.get_subcommands().filter(|command| !grouped(command.get_name())).map(one).collect();
    if !others.is_empty() {
        groups.push(("Others", others));
    }
    groups
}

/// The paragraph goes above the usage, where it does not turn the arguments' table into a list.
fn verb(command: Command) -> Command {
    let paragraph = paragraph(&command);
    let after = command.get_after_help().map(StyledStr::to_string);
    let after = after.map(|text| styled(&text, &command));
    let command = command.help_template(VERB).long_about(Resettable::Reset);
    let command = if paragraph.is_empty() { command } else { command.before_help(paragraph) };
    match after {
        Some(after) => command.after_help(after),
        None => command,
    }
}

/// What a verb says of itself after its summary.
pub fn paragraph(command: &Command) -> String {
    let about = command.get_about().map(StyledStr::to_string).unwrap_or_default();
    let whole = command.get_long_about().map(StyledStr::to_string);
    match (whole, command.get_before_help()) {
        (Some(whole), _) => whole.strip_prefix(about.as_str()).unwrap_or(&whole).trim_start().to_owned(),
        (None, before) => before.map(StyledStr::to_string).unwrap_or_default(),
    }
}

/// The commands of a verb's examples.
pub fn examples(command: &Command) -> Vec<String> {
    let after = command.get_after_help().map(StyledStr::to_string).unwrap_or_default();
    let lines = after.lines().skip_while(|line| *line != EXAMPLES).skip(1);
    lines.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

/// What `after_help` says before the examples: exit codes and the like.
pub fn notes(command: &Command) -> String {
    let after = command.get_after_help().map(StyledStr::to_string).unwrap_or_default();
    let lines: Vec<_> = after.lines().take_while(|line| *line != EXAMPLES).collect();
    lines.join("\n").trim().to_owned()
}

/// `text`, its headings as those of clap.
fn styled(text: &str, command: &Command) -> StyledStr {
    let header = command.get_styles().get_header();
    let lines: Vec<_> = text
        .lines()
        .map(|line| if is_heading(line) { format!("{header}{line}{header:#}") } else { line.to_owned() })
        .collect();
    StyledStr::from(lines.join("\n"))
}

fn is_heading(line: &str) -> bool {
    line.ends_with(':') && line.starts_with(char::is_uppercase) && line.len() < 24
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_group_a_paragraph_and_examples_of_its_own() {
        let cli = command();
        let groups = groups(&cli);
        assert!(groups.iter().all(|(group, _)| *group != "Others"), "give it a group in GROUPS: {groups:?}");
        for verb in cli.get_subcommands() {
            let name = verb.get_name();
            let about = verb.get_about().map(StyledStr::to_string).unwrap_or_default();
            assert!(!about.is_empty() && about.len() <= 76 && !about.ends_with('.'), "{name}: {about:?} is no summary");
            assert!(
                paragraph(verb).len() > about.len() / 2,
                "{name}: say more after the first line of its doc comment"
            );
            let examples = examples(verb);
            assert!(!examples.is_empty(), "{name}: after_help has no {EXAMPLES:?} with indented commands");
            let own = format!("headwater {name}");
            let alias = verb.get_visible_aliases().map(|alias| format!("headwater {alias}"));
            let names: Vec<_> = alias.chain([own]).collect();
            for example in examples {
                assert!(names.iter().any(|name| example.contains(name.as_str())), "{name}: {example}");
            }
            for arg in verb.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{name}: say what {} is", arg.get_id());
            }
        }
    }

    #[test]
    fn the_parser_takes_what_help_shows() {
        command().debug_assert();
    }
}
