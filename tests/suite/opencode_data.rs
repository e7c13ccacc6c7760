//! The OpenCode storage folders of the shared folder: counted by hand from their files, and compared with what the store says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use headwater::exchange;
use headwater::store::{Options, Store};
use serde_json::Value;

/// What the files of a session say, by the rules of docs/IMPORT.md and nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    messages: u64,
    turns: u64,
    calls: u64,
    evals: u64,
    compactions: u64,
    invocations: u64,
    input: u64,
    output: u64,
}

fn files(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), found),
            false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
}

fn read(folder: &Path) -> Vec<Value> {
    let mut found = BTreeMap::new();
    files(folder, &mut found);
    found.values().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect()
}

fn counted(root: &Path, session: &str) -> Counts {
    let mut counts = Counts::default();
    let all = read(&root.join("message").join(session));
    let last = all.iter().max_by_key(|message| message["time"]["created"].as_u64()).cloned().unwrap_or_default();
    for message in &all {
        let parts = read(&root.join("part").join(message["id"].as_str().unwrap()));
        let of = |kind: &str| parts.iter().filter(|part| part["type"] == kind).collect::<Vec<_>>();
        counts.messages += 1;
        if message["role"] == "user" {
            counts.turns += 1;
            continue;
        }
        let steps = of("step-finish");
        counts.calls += 1.max(steps.len() as u64);
        let is_over = message["time"].get("completed").is_some()
            || message.get("finish").is_some()
            || message.get("error").is_some();
        for used in if steps.is_empty() && is_over { vec![message] } else { steps } {
            counts.input += used["tokens"]["input"].as_u64().unwrap_or_default();
            counts.output += used["tokens"]["output"].as_u64().unwrap_or_default();
        }
        for tool in of("tool") {
            let has_ended = ["completed", "error"].iter().any(|status| tool["state"]["status"] == *status);
            counts.evals += u64::from(has_ended || is_over || *message != last);
            counts.invocations += u64::from(tool["state"]["metadata"]["sessionId"].is_string());
        }
        counts.compactions += u64::from(!of("compaction").is_empty() || message["summary"] == true);
    }
    counts
}

#[test]
fn storage_folders_of_the_shared_folder_say_what_their_files_say() {
    let shared = std::env::var_os("HEADWATER_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = shared.join("data/opencode");
    if !folder.is_dir() {
        eprintln!(
            "storage_folders_of_the_shared_folder_say_what_their_files_say: skipped, {} is not there",
            folder.display()
        );
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let store = Store::open_with(place.path().join("store"), Options { create: true, ..Options::default() }).unwrap();
    let mut seen = 0;
    for one in exchange::find(&folder).unwrap() {
        let mut made = BTreeMap::new();
        for imported in one.import(&store, &mut |_| {}) {
            let imported = imported.unwrap();
            assert_eq!(imported.format, "opencode", "{}", imported.source.display());
            seen += 1;
            let used = store.usage(&imported.session).unwrap().root;
            let sums = [used.tokens_input, used.tokens_output].map(|sum| sum.known().unwrap_or_default());
            let [input, output] = sums.map(|sum| u64::try_from(sum).unwrap());
            let counts = Counts {
                messages: imported.messages,
                turns: imported.turns,
                calls: imported.calls,
                evals: imported.evals,
                compactions: imported.heads - imported.turns - 1,
                invocations: imported.invocations,
                input,
                output,
            };
            assert_eq!(counts, counted(&one.path, imported.session.as_str()), "{}", imported.source.display());
            let to = place.path().join(format!("export-{seen}"));
            exchange::export_to(&store, &imported.session, None, &to).unwrap();
            let mut exported = BTreeMap::new();
            files(&to, &mut exported);
            made.extend(exported.into_iter().map(|(path, bytes)| (path.strip_prefix(&to).unwrap().to_owned(), bytes)));
        }
        let mut original = BTreeMap::new();
        files(&one.path, &mut original);
        let original: BTreeMap<_, _> = original
            .into_iter()
            .map(|(path, bytes)| (path.strip_prefix(&one.path).unwrap().to_owned(), bytes))
            .collect();
        assert_eq!(made.keys().collect::<Vec<_>>(), original.keys().collect::<Vec<_>>());
        assert!(made == original, "{} is not written as it was", one.path.display());
        assert!(one.import(&store, &mut |_| {}).into_iter().all(|again| again.unwrap().new_events == 0));
    }
    assert!(seen > 0, "no session was found below {}", folder.display());
}
