//! `export`: a session as the log of another program.

use std::io::Write;
use std::path::PathBuf;

use headwater::exchange::{self, Diagnostic, ExportError, export::Stream};
use headwater::model::SessionId;
use serde::Serialize;

use super::{Context, Failure};

/// Write a session as the log of another program
///
/// What was imported comes out byte for byte, but for a torn last line. What the session holds beyond, or a session of
/// headwater's own, is translated, where the format has a writer.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  headwater export demo --format pixir
  headwater export demo --format pixir --output demo.ndjson")]
pub struct Args {
    /// The session: id, unique prefix or alias
    session: String,
    /// The format: pi, pixir, fractal, claude-code, codex or gemini; without it the one the session came in
    #[arg(long, value_name = "F")]
    format: Option<String>,
    /// The file or folder to write, whole or not at all, instead of stdout
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    session: &'a SessionId,
    format: &'static str,
    output: &'a PathBuf,
    notices: &'a [Diagnostic],
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    if context.json && args.output.is_none() {
        return Err(Failure::usage("the log itself goes to stdout: --json needs --output PATH"));
    }
    let store = context.open_store(false)?;
    let session = store.resolve_session(&args.session)?;
    let format = args.format.as_deref();
    match &args.output {
        Some(output) => {
            let exported = exchange::export_to(&store, &session, format, output)?;
            let (format, notices) = (exported.format, &exported.notices);
            if context.json {
                context.print_json(&Report { session: &session, format, output, notices })?;
            } else {
                let mut out = context.text();
                writeln!(out, "{session} as {format} to {}", output.display())?;
                out.flush()?;
                say(notices, context);
            }
        }
        None => {
            let mut out = Stream(context.bytes());
            let exported = exchange::export(&store, &session, format, &mut out)?;
            out.0.flush()?;
            say(&exported.notices, context);
        }
    }
    Ok(0)
}

/// What was left out, on stderr: stdout may be the log.
fn say(notices: &[Diagnostic], context: &Context) {
    for notice in notices {
        context.notice(&format!("left out: {}", notice.message));
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Failure {
        let formats = || exchange::FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", ");
        let kind = error.kind();
        let message = match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        match (error, kind) {
            (ExportError::Output(error), _) => error.into(),
            (ExportError::Read(error), _) => error.into(),
            (error, Some(kind)) => {
                let failure = Failure::new(kind, message);
                match error {
                    ExportError::UnknownFormat { .. } => failure.hint(format!("there are: {}", formats())),
                    ExportError::NoFormat { .. } => failure.hint(format!("name one with --format: {}", formats())),
                    ExportError::NeedsFolder => failure.hint("--output PATH names the folder that is made"),
                    _ => failure,
                }
            }
            (_, None) => Failure::new("io", message),
        }
    }
}
