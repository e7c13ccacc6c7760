//! Generated journals, and real runs.

use super::*;

/// What the calls of a journal cost in nano-USD, by the last row of each: counted without a reader of EDN.
fn cost(journal: &str) -> u64 {
    let mut costs = BTreeMap::new();
    for line in journal.lines().filter(|line| line.starts_with("{:event/type :call/put,")) {
        let after = |mark: &str| line.split_once(mark).map(|(_, rest)| rest.split([',', '}', ' ']).next().unwrap());
        let id = after(" :call/id ").or_else(|| after("}, :id ")).unwrap();
        let usd = after("#:cost{:usd ").and_then(|usd| usd.parse::<f64>().ok());
        costs.insert(id.to_owned(), usd.map_or(0, |usd| (usd * 1e9).round() as u64));
    }
    costs.values().sum()
}

#[test]
fn the_shared_runs_come_in_as_counted_and_go_out_byte_for_byte() {
    let shared = std::env::var_os("HEADWATER_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let root = shared.join("data/fractal/fractal-engine");
    if !root.is_dir() {
        println!(
            "the_shared_runs_come_in_as_counted_and_go_out_byte_for_byte: skipped, {} is not there",
            root.display()
        );
        return;
    }
    let place = Place::of("fractal");
    let imported = place.import_all(&root);
    assert!(imported.len() >= 10, "{}", imported.len());
    let mut source_bytes = 0;
    for one in &imported {
        let below: Vec<&str> = one.session.as_str().split('.').skip(1).collect();
        let below: String = below.iter().map(|name| format!("children/{name}/")).collect();
        let folder = one.source.join(below);
        let journal = fs::read_to_string(folder.join("events.ednl")).unwrap();
        let inherited = match &one.forked_from {
            None => [0; 4],
            Some(source) => {
                // What was before the head it was forked from: its first three turns.
                let rows = place.store.view(source).unwrap().rows;
                [rows.messages.len() as u64, rows.turns.len() as u64, rows.calls.len() as u64, rows.evals.len() as u64]
            }
        };
        let own = ["message/added", "turn/started", "call/started", "eval/added"].map(|kind| lines(&journal, kind));
        let expected: Vec<u64> = own.iter().zip(inherited).map(|(own, before)| own + before).collect();
        assert_eq!(counts(one)[..4], expected, "{}", one.session);
        assert!(one.diagnostics.is_empty(), "{}: {:?}", one.session, one.diagnostics);
        let own = place.store.usage(&one.session).unwrap();
        let said = |sum: Sum| match sum {
            Sum::Known(sum) | Sum::Partial { sum, .. } => sum,
            Sum::Unknown(_) => 0,
        };
        let known = said(own.root.cost) + said(own.leaf.cost);
        assert_eq!(known, u128::from(cost(&journal)), "{}", one.session);
        assert_labelled(&place.store, &one.session);
        let original = files(&folder);
        source_bytes += if one.session.as_str().contains('.') { 0 } else { original.values().map(Vec::len).sum() };
        assert_same(&place.export_run(&one.session), &original);
        // Each blob that a record names is the payload of a row.
        let named = journal.lines().filter(|line| line.starts_with("{:event/type :snapshot/added")).count();
        let kept = place.store.history_view(&one.session).unwrap();
        assert_eq!(kept.rows.snapshots.iter().filter(|entry| entry.row.vars.is_some()).count(), named);
    }
    assert!(imported.iter().any(|one| one.forked_from.is_some()), "the fork stands on its source");
    assert!(place.import_all(&root).iter().all(|one| one.new_events == 0));
    let stored: usize = files(&place.folder.path().join("store/blobs")).values().map(Vec::len).sum();
    println!("{source_bytes} bytes of runs take {stored} in the log");
    assert!(stored * 100 <= source_bytes * 35);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Lines of a journal in any order, some twice, some cut, some with a byte changed, some glued together: it comes in or is refused, its
    /// bytes come back, and again adds nothing.
    #[test]
    fn any_journal_comes_back_byte_for_byte(
        picks in proptest::collection::vec((0_usize..64, 0_u8..12, 0_usize..400, any::<u8>()), 1..60),
        ends in any::<bool>(),
    ) {
        let place = Place::of("fractal");
        let run = place.run("harbor");
        let journal = fs::read(run.join("events.ednl")).unwrap();
        let lines: Vec<&[u8]> = journal.split(|byte| *byte == b'\n').collect();
        let mut bytes = [lines[0], b"\n"].concat();
        for (line, change, at, byte) in picks {
            let mut line = lines[line % (lines.len() - 1)].to_vec();
            let at = at % line.len();
            match change {
                0 => line.truncate(at),
                1 => line[at] = byte,
                _ => {}
            }
            bytes.extend(line);
            bytes.push(if change == 2 { b' ' } else { b'\n' });
        }
        if ends {
            bytes.pop();
        }
        fs::write(run.join("events.ednl"), &bytes).unwrap();
        let imported = &place.import_all(&run)[1];
        let is_torn = odd(imported).iter().any(|(_, kind)| *kind == "torn-tail");
        let made = place.export_run(&imported.session);
        prop_assert!(bytes.starts_with(&made["events.ednl"]));
        prop_assert!(is_torn || made["events.ednl"] == bytes);
        prop_assert_eq!(place.import_all(&run)[1].new_events, 0);
    }
}
