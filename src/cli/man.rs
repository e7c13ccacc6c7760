//! `man`: the manual pages, made from the help.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Command, ValueHint};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::{Context, Failure, help};

/// Write the manual pages
///
/// With DIR, writes headwater.1 and a page for each verb (headwater-show.1) into it, and makes it where it is missing.
/// Without, prints headwater.1.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater man ~/.local/share/man/man1
  headwater man | man -l -")]
pub struct Args {
    /// The folder the pages go to
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// Writes the pages; those that are there already are replaced.
pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let mut cli = help::command();
    cli.build();
    let Some(dir) = &args.dir else {
        let mut out = context.bytes();
        out.write_all(&main_page(&cli)?)?;
        out.flush()?;
        return Ok(0);
    };
    fs::create_dir_all(dir).map_err(|error| Failure::cannot("make", dir, &error))?;
    let mut pages = vec![write(dir, "headwater", &main_page(&cli)?)?];
    for verb in cli.get_subcommands().filter(|verb| verb.get_name() != "help") {
        pages.push(write(dir, &format!("headwater-{}", verb.get_name()), &page(verb)?)?);
    }
    if context.json {
        // JSON has no names that are no text: their bytes are shown as well as they can be.
        let pages: Vec<_> = pages.iter().map(|page| page.display().to_string()).collect();
        context.print_json(&serde_json::json!({ "pages": pages }))?;
    } else {
        let mut out = context.text();
        for page in pages {
            writeln!(out, "{}", page.display())?;
        }
        out.flush()?;
    }
    Ok(0)
}

fn write(dir: &Path, name: &str, page: &[u8]) -> Result<PathBuf, Failure> {
    let path = dir.join(format!("{name}.1"));
    fs::write(&path, page).map_err(|error| Failure::cannot("write", &path, &error))?;
    Ok(path)
}

/// What each outcome of the command means; a verb with codes of its own says so before this.
const EXITS: &str = "0, or 1 on an error, which is described on stderr.";

/// What the pages are of.
const SOURCE: &str = concat!("headwater ", env!("CARGO_PKG_VERSION"));

/// The page of the command itself.
fn main_page(cli: &Command) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let man = Man::new(cli.clone()).title("HEADWATER").source(SOURCE).manual("headwater");
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    text(&mut roff, help::DESCRIPTION);
    for (group, verbs) in help::groups(cli) {
        roff.control("SH", [group.to_uppercase().as_str()]);
        for (name, about) in verbs {
            roff.control("TP", []);
            roff.text([bold(if name == "help" {
                "headwater help".to_owned()
            } else {
                format!("headwater-{name}(1)")
            })]);
            roff.text([roman(about)]);
        }
    }
    roff.to_writer(&mut out)?;
    man.render_options_section(&mut out)?;
    let mut roff = Roff::new();
    roff.control("SH", ["FILES"]);
    roff.control("TP", []);
    roff.text([bold(".headwater/")]);
    roff.text([roman("The store, found upwards from the current folder as git finds a repository.")]);
    roff.control("SH", ["EXIT STATUS"]);
    text(&mut roff, EXITS);
    text(
        &mut roff,
        "run, resume, show, tree, prime, leaves and step exit with the outcome of the last turn, check with 4 when it finds something.",
    );
    examples(&mut roff, &help::examples(cli));
    roff.to_writer(&mut out)?;
    Ok(out)
}

/// The page of a verb.
fn page(verb: &Command) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let name = format!("headwater-{}", verb.get_name());
    // clap_mangen would say the paragraph twice: it is told here.
    let command = verb.clone().before_help(None::<&str>).after_help(None::<&str>);
    let man = Man::new(command).title(name.to_uppercase()).source(SOURCE).manual("headwater");
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    text(&mut roff, &help::paragraph(verb));
    let aliases: Vec<_> = verb.get_visible_aliases().collect();
    if !aliases.is_empty() {
        text(&mut roff, &format!("Also: headwater {}.", aliases.join(", headwater ")));
    }
    roff.to_writer(&mut out)?;
    man.render_options_section(&mut out)?;
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    let notes = help::notes(verb);
    let (exits, notes): (Vec<_>, Vec<_>) = notes.lines().partition(|line| line.starts_with("Exits with "));
    text(&mut roff, if exits.is_empty() { EXITS } else { exits[0] });
    if !notes.iter().all(|line| line.trim().is_empty()) {
        roff.control("SH", ["NOTES"]);
        text(&mut roff, notes.join("\n").trim());
    }
    examples(&mut roff, &help::examples(verb));
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("headwater"), roman("(1)")]);
    roff.to_writer(&mut out)?;
    Ok(out)
}

/// Paragraphs, each begun by an empty line.
fn text(roff: &mut Roff, text: &str) {
    roff.control("PP", []);
    for line in text.lines() {
        match line.trim() {
            "" => roff.control("PP", []),
            line => roff.text([Inline::from(line)]),
        };
    }
}

fn examples(roff: &mut Roff, examples: &[String]) {
    if examples.is_empty() {
        return;
    }
    roff.control("SH", ["EXAMPLES"]);
    for example in examples {
        roff.control("PP", []);
        roff.control("RS", ["4"]);
        roff.control("nf", []);
        roff.text([bold(example.as_str())]);
        roff.control("fi", []);
        roff.control("RE", []);
    }
}
