//! What a long run did, written into docs/RELIABILITY.md by the run itself.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const BEGIN: &str = "<!-- long run: rows below are written by the run itself -->";
const END: &str = "<!-- long run: end -->";
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Puts a row into the page, in place of the one that this test wrote before; nothing unless `HEADWATER_LEDGER` is set.
pub fn note(test: &str, did: &str, seed: u64) {
    if std::env::var_os("HEADWATER_LEDGER").is_none() {
        return;
    }
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/RELIABILITY.md");
    let text = fs::read_to_string(&page).unwrap();
    fs::write(page, with_row(&text, test, did, seed)).unwrap();
}

fn with_row(text: &str, test: &str, did: &str, seed: u64) -> String {
    let (before, rest) = text.split_once(BEGIN).expect("the page has the mark of the long run");
    let (rows, after) = rest.split_once(END).expect("the page has the end of the long run");
    let key = format!("| `{test}` |");
    let mut rows: Vec<String> =
        rows.lines().filter(|row| !row.is_empty() && !row.starts_with(&key)).map(str::to_owned).collect();
    rows.push(format!("{key} {did} | {seed} | {} |", today()));
    // The two lines of the table's head stay where they are.
    let head = 2.min(rows.len());
    rows[head..].sort();
    format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", rows.join("\n"))
}

fn today() -> String {
    let micros = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0));
    headwater::model::Timestamp::from_micros(micros).map_or(String::new(), |now| now.to_string()[..10].to_owned())
}
