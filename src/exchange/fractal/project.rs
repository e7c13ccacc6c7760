//! Projections that can be made again from the journal: `pprint` of its events, or of the last rows of a table.

use std::collections::HashMap;

use crate::model::edn::{Document, Value, read_prefix};

/// A projection or journal larger than this is kept as it is.
const MAX: usize = 16 << 20;

/// How the file `name` with these bytes can be made from the journal; none if it cannot.
pub fn recipe(name: &str, bytes: &[u8], journal: &[u8]) -> Option<String> {
    let table = name.strip_suffix(".edn").filter(|table| TABLES.iter().any(|(known, _)| known == table))?;
    if bytes.len() > MAX || journal.len() > MAX {
        return None;
    }
    let events = Events::read(journal)?;
    // All projections are written at one time; what came after it is in none. Which record was the last is seen where rows end.
    let most = events.0.len();
    let rows = Document::read(bytes).ok()?.root().items().count();
    let mut ends = vec![most];
    if table == "events" {
        ends = vec![rows];
    } else {
        ends.extend((most.saturating_sub(LATE)..most).rev());
    }
    ends.into_iter().filter(|end| *end <= most).find_map(|end| {
        let made = events.table(table, end, bytes.len())?;
        (made == bytes).then(|| format!("{table} {end}"))
    })
}

/// All tables of a journal, by file.
pub fn all(journal: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Some(events) = Events::read(journal) else { return Vec::new() };
    let made = |(table, _): (&str, &str)| Some((format!("{table}.edn"), events.table(table, events.0.len(), 2 * MAX)?));
    TABLES.into_iter().filter_map(made).collect()
}

/// How many events after the last writing of the projections are tried.
const LATE: usize = 4;

/// The file of that recipe.
pub fn make(recipe: &str, journal: &[u8]) -> Option<Vec<u8>> {
    let (table, end) = recipe.split_once(' ')?;
    Events::read(journal)?.table(table, end.parse().ok()?, 2 * MAX)
}

/// The tables, and the events that write their rows: the first kind begins one, the second puts another in its place.
const TABLES: [(&str, &str); 6] = [
    ("events", ""),
    ("messages", "message"),
    ("turns", "turn"),
    ("calls", "call"),
    ("evals", "eval"),
    ("snapshots", "snapshot"),
];

struct Events<'j>(Vec<Document<'j>>);

impl<'j> Events<'j> {
    fn read(mut journal: &'j [u8]) -> Option<Events<'j>> {
        let mut events = Vec::new();
        // What is no record was none for the engine either: it read no further.
        while let Ok(Some((document, end))) = read_prefix(journal) {
            events.push(document);
            journal = &journal[end..];
        }
        Some(Events(events))
    }

    /// The table as it was after the first `end` events; none where it takes more than `limit` bytes.
    fn table(&self, table: &str, end: usize, limit: usize) -> Option<Vec<u8>> {
        let (_, row) = TABLES.iter().find(|(known, _)| *known == table)?;
        let mut rows: Vec<&str> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for event in self.0.get(..end)? {
            let event = event.root();
            if row.is_empty() {
                rows.push(event.text());
                continue;
            }
            let kind = event.get("event/type").and_then(|kind| kind.keyword())?;
            if kind == "session/restored" && *row == "message" {
                rows = event.get("messages")?.items().map(|message| message.text()).collect();
                continue;
            }
            let Some(verb) = kind.strip_prefix(row).and_then(|verb| verb.strip_prefix('/')) else { continue };
            let value = event.get(row)?;
            let id = value.get(&format!("{row}/id"))?.text();
            if verb != "put" {
                places.insert(id, rows.len());
                rows.push(value.text());
            } else if let Some(place) = places.get(id) {
                rows[*place] = value.text();
            }
        }
        let text = format!("[{}]", rows.join(" "));
        let document = Document::read(text.as_bytes()).ok()?;
        let root: Value<'_, '_> = document.root();
        let mut printed = root.pretty(limit)?;
        printed.push('\n');
        Some(printed.into_bytes())
    }
}
