//! The rules of the house, as tests: floors, the length of files, forgotten tests, the schema and the kinds of events against
//! docs/FORMAT.md, no panics.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use headwater::model::{event, record};

/// The floors, the lowest first; folders on one floor may use each other. `sqlite` is private, `cli` the command's.
const FLOORS: [&[&str]; 8] = [
    &["model", "clock", "progress"],
    &["segment"],
    &["blob", "journal"],
    &["sqlite"],
    &["view"],
    &["store"],
    &["care", "exchange"],
    &["cli"],
];

const LINES: usize = 500;

/// A source file: its path from the package's folder, and its text.
struct Source {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(Source { path: short(&path), text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

impl Source {
    /// Without comments, and without what is compiled for tests alone.
    fn code(&self) -> Vec<(usize, &str)> {
        let mut code = Vec::new();
        let mut skip: Option<usize> = None;
        let mut pending = false;
        for (number, line) in self.text.lines().enumerate() {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            match skip {
                Some(depth) if trimmed.starts_with('}') && indent == depth => skip = None,
                Some(_) => {}
                None if trimmed.starts_with("#[cfg(test)]") => pending = true,
                None if pending && trimmed.starts_with('#') => {}
                None if pending => {
                    pending = false;
                    skip = line.ends_with('{').then_some(indent);
                }
                None if trimmed.starts_with("//") => {}
                None => code.push((number + 1, line)),
            }
        }
        code
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("_tests.rs") || self.path.ends_with("/tests.rs")
    }

    /// The folder, or file, directly under `src`.
    fn place(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }
}

fn floor(place: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&place))
}

/// What follows each `crate::` of a line: its first name, or those of a group in braces.
fn uses(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for after in line.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => found.push(word(after)),
            Some(group) => {
                let mut depth = 0;
                let names = group.split_inclusive(['{', '}', ',']).filter_map(|piece| {
                    let outer = depth == 0;
                    depth += i32::from(piece.ends_with('{')) - i32::from(piece.ends_with('}'));
                    (outer && depth >= -1).then(|| word(piece.trim_start()))
                });
                found.extend(names);
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

#[test]
fn uses_are_found() {
    assert_eq!(uses("use crate::store::error::X;"), ["store"]);
    assert_eq!(uses("use crate::{model, store::{A, B}, view};"), ["model", "store", "view"]);
    assert_eq!(uses("let x = crate::view::f(crate::model::Y);"), ["view", "model"]);
    assert!(uses("pub(crate) fn f() {}").is_empty());
}

#[test]
fn no_floor_uses_a_higher_one() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        if ["lib", "main"].contains(&source.place()) {
            continue;
        }
        let Some(own) = floor(source.place()) else {
            wrong.push(format!("{}: on no floor; give it one in tests/tidy.rs", source.path));
            continue;
        };
        for (number, line) in source.code() {
            if line.ends_with("crate::{") {
                wrong.push(format!("{}:{number}: write each use of a floor on a line of its own", source.path));
            }
            for used in uses(line) {
                if floor(&used).is_some_and(|used| used > own) {
                    wrong.push(format!("{}:{number}: uses {used}, a higher floor", source.path));
                }
            }
            if source.place() != "cli" && line.contains("rusqlite::") && own < 3 {
                wrong.push(format!("{}:{number}: SQL below the floor that knows it", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The command shows what the library can do, so it must do with what others can use.
#[test]
fn the_command_uses_the_public_library_alone() {
    for source in sources("src/cli") {
        for (number, line) in source.code() {
            for used in uses(line) {
                assert_eq!(used, "cli", "{}:{number}", source.path);
            }
        }
    }
}

#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let lines = source.text.lines().count();
        if lines > LINES {
            wrong.push(format!("{} has {lines} lines, {LINES} are allowed: it wants to become two", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every file below `tests` is a module of the one above it: one that nobody declares is compiled by nobody.
#[test]
fn no_test_is_forgotten() {
    let mut looked_at = 0;
    for source in sources("tests") {
        let path = root().join(&source.path);
        let folder = path.parent().unwrap();
        let (name, folder) = match path.file_stem().unwrap().to_str().unwrap() {
            "mod" => (folder.file_name().unwrap().to_string_lossy().into_owned(), folder.parent().unwrap()),
            name => (name.to_owned(), folder),
        };
        // Those below `tests` itself are programs, and `support` is for whoever wants it.
        if name == "main" || folder == root().join("tests") || folder.ends_with("support") {
            continue;
        }
        let above = ["main.rs", "mod.rs"].map(|main| folder.join(main)).into_iter().find(|path| path.is_file());
        let above = above.unwrap_or_else(|| folder.with_extension("rs"));
        let declares = |line: &str| line.trim_start_matches("pub ") == format!("mod {name};");
        let is_declared = fs::read_to_string(&above).unwrap().lines().any(declares);
        assert!(is_declared, "{} does not declare {name}", short(&above));
        looked_at += 1;
    }
    assert!(looked_at > 80, "{looked_at} modules were found");
    for support in fs::read_dir(root().join("tests/support")).unwrap() {
        let name = support.unwrap().file_name().into_string().unwrap();
        let uses = format!("#[path = \"../support/{name}\"]");
        assert!(sources("tests").iter().any(|source| source.text.contains(&uses)), "nobody uses {name}");
    }
}

/// Each target runs in every run of the tests, and under libFuzzer.
#[test]
fn no_target_of_hostile_bytes_is_forgotten() {
    let (targets, main) = (page("tests/fuzz/targets.rs"), page("tests/fuzz/main.rs"));
    let list = targets.split_once("pub const TARGETS").unwrap().1.split_once("];").unwrap().0;
    let names: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(names.len() >= 7, "{names:?}");
    for name in &names {
        assert!(main.contains(&format!("fuzz(\"{name}\");")), "tests/fuzz/main.rs does not run {name}");
        let under = page(&format!("fuzz/fuzz_targets/{name}.rs"));
        assert!(under.contains(&format!("targets::{name}(data)")), "fuzz/fuzz_targets/{name}.rs runs another target");
        assert!(
            page("fuzz/Cargo.toml").contains(&format!("name = \"{name}\"")),
            "fuzz/Cargo.toml does not name {name}"
        );
    }
    assert_eq!(fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap().count(), names.len());
}

#[test]
fn the_format_page_names_every_table_and_view() {
    let format = page("docs/FORMAT.md");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root().join("migrations")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "sql") {
            for line in fs::read_to_string(path).unwrap().lines() {
                let made = ["CREATE TABLE ", "CREATE VIEW "].iter().find_map(|what| line.strip_prefix(what));
                names.extend(made.and_then(|rest| rest.split_whitespace().next()).map(str::to_owned));
            }
        }
    }
    assert!(names.len() > 20, "the migrations were not found");
    for name in names {
        assert!(format.contains(&format!("`{name}`")), "docs/FORMAT.md does not name {name}");
    }
}

#[test]
fn the_format_page_names_every_kind() {
    let format = page("docs/FORMAT.md");
    for kind in event::KINDS.iter().chain(&event::EPHEMERAL) {
        assert!(format.contains(&format!("`{kind}`")), "docs/FORMAT.md does not describe the event {kind}");
    }
    for kind in record::KINDS {
        assert!(
            format.contains(&format!("{{\"record\":\"{kind}\"")),
            "docs/FORMAT.md has no line of the record {kind}"
        );
    }
}

#[test]
fn nothing_panics_on_purpose() {
    let banned = [".unwrap()", ".unwrap_err()", ".expect(\"", "panic!(", "todo!(", "unimplemented!(", "unreachable!("];
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        for (number, line) in source.code() {
            for ban in banned {
                if line.contains(ban) {
                    wrong.push(format!("{}:{number}: {ban}", source.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A page that is linked to is there.
#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = vec!["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "migrations/README.md"]
        .into_iter()
        .map(|page| root().join(page))
        .collect::<Vec<_>>();
    for folder in ["docs", "docs/decisions"] {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|ext| ext == "md")));
    }
    for path in pages {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let there = path.parent().unwrap().join(target);
            assert!(there.exists(), "{} links to {target}", short(&path));
        }
    }
}
