//! The main job, with the command itself: a session recorded, its audit, its state, a fork and a resume.
//!
//! ```text
//! cargo run --example tour
//! ```
//!
//! Each command is printed before what it prints. The store is made in a temporary folder, which is kept.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let headwater = built()?;
    let folder = tempfile::Builder::new().prefix("headwater-tour-").tempdir()?.keep();
    let step = |args: &[&str]| run(&headwater, &folder, args);

    step(&["run", "add two numbers", "--script", "simple", "--name", "demo"])?;
    step(&["events", "demo"])?;
    step(&["events", "demo", "--event", "20"])?;
    step(&["show", "demo"])?;
    step(&["fork", "demo", "--name", "demo-2"])?;
    step(&["resume", "demo-2", "and now on its own branch", "--script", "lm"])?;
    step(&["resume", "demo", "and the same once more"])?;
    step(&["resume", "demo", "--turn", "1"])?;
    step(&["diff", "demo", "demo-2"])?;
    step(&["ls"])?;
    step(&["check"])?;

    println!("The store is in {}. To go on with it:\n", folder.display());
    println!("  cd {}", folder.display());
    println!("  alias headwater={}", headwater.display());
    println!("  headwater show demo");
    println!("  headwater stream demo-2");
    println!("  headwater inspect demo --json");
    println!("  sqlite3 -readonly .headwater/store.sqlite 'SELECT id, type, at FROM event'");
    Ok(())
}

/// The command, built beside this example.
fn built() -> Result<PathBuf, Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--bin", "headwater", "--manifest-path"]);
    build.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if !build.status()?.success() {
        return Err("the command could not be built".into());
    }
    let examples = std::env::current_exe()?;
    let folder = examples.parent().and_then(Path::parent).ok_or("this example has no folder above it")?;
    Ok(folder.join(format!("headwater{}", std::env::consts::EXE_SUFFIX)))
}

fn run(headwater: &Path, folder: &Path, args: &[&str]) -> Result<(), Box<dyn Error>> {
    let quoted = |arg: &&str| if arg.contains(' ') { format!("\"{arg}\"") } else { (*arg).to_owned() };
    let line = args.iter().map(quoted).collect::<Vec<_>>().join(" ");
    println!("$ headwater {line}");
    let status = Command::new(headwater).args(args).current_dir(folder).status()?;
    println!();
    if status.success() { Ok(()) } else { Err(format!("headwater {line}: {status}").into()) }
}
