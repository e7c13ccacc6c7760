//! `tree`, `prime`, `cost`, `leaves`, `step`, and nodes wherever a session is named.

use serde_json::Value;

use crate::{Home, is_head, items, keys};

/// `demo` calls two children, the second of which calls a leaf; and a fork of it.
fn family() -> Home {
    let home = Home::new();
    home.ok(&["run", "sum the parts", "--script", "rlm", "--name", "demo"]);
    home.ok(&["fork", "demo", "--name", "demo-2"]);
    home
}

#[test]
fn a_tree_shows_children_and_forks_one_inside_another() {
    let home = family();
    let tree = home.json(&["tree", "demo"]);
    assert_eq!(
        keys(&tree),
        [
            "calls", "children", "final", "head", "kind", "label", "mark", "more", "node", "own", "session", "status",
            "subtree", "turns", "type"
        ]
    );
    let below: Vec<_> = items(&tree["children"]).iter().map(|node| (&node["node"], &node["kind"])).collect();
    let expected: [(Value, Value); 3] = [
        ("demo/child-0001".into(), "child".into()),
        ("demo/child-0002".into(), "child".into()),
        ("demo-2".into(), "fork".into()),
    ];
    assert_eq!(below, expected.iter().map(|(node, kind)| (node, kind)).collect::<Vec<_>>());
    let child = &items(&tree["children"])[1];
    assert_eq!(
        (&child["session"], &child["type"], &child["calls"]),
        (&"demo.child-0002".into(), &"rlm".into(), &3.into())
    );
    assert!(is_head(&child["head"]));
    // What is shown of the whole is the sum of what is called.
    let calls = |node: &Value| node["subtree"]["calls"].as_u64().unwrap();
    assert_eq!(calls(&tree), 2 + items(&tree["children"])[..2].iter().map(calls).sum::<u64>());
    assert_eq!(tree["subtree"], home.json(&["inspect", "demo"])["usage"]["total"]);

    let limited = home.json(&["tree", "demo", "--limit", "1"]);
    assert_eq!((items(&limited["children"]).len(), &limited["more"]), (2, &1.into()));
    assert_eq!(home.json(&["tree", "demo", "--depth", "0"])["more"], 3);
    let text = home.ok(&["tree", "demo"]);
    for line in ["├── child-0001  final", "├── child-0002  final", "└── fork demo-2  "] {
        assert!(text.contains(line), "{text}");
    }
    assert!(home.ok(&["tree", "demo", "--limit", "1"]).contains("\n… 1 more\n"));
}

#[test]
fn a_node_is_named_wherever_a_session_is() {
    let home = family();
    let child = home.json(&["show", "demo.child-0002"]);
    for node in ["demo/child-0002", "demo/root/child-2"] {
        assert_eq!(home.json(&["show", node]), child, "{node}");
        assert_eq!(home.json(&["inspect", node])["session"], child["session"]);
        assert_eq!(home.ok(&["stream", node]), home.ok(&["stream", "demo.child-0002"]));
        assert_eq!(home.json(&["events", node])["session"], "demo.child-0002");
    }
    // An address alone is of the session changed last.
    home.ok(&["alias", "demo", "first"]);
    home.ok(&["run", "x", "--script", "map-rlm", "--name", "later"]);
    assert_eq!(home.json(&["show", "child-0003"])["session"]["session"], "later.child-0003");
    assert_eq!(home.json(&["show", "root"])["session"]["session"], "later");
    assert_eq!(home.json(&["show", "first/child-0001"])["session"]["session"], "demo.child-0001");
    // N turns back.
    home.ok(&["resume", "demo/child-0001", "again"]);
    let back = home.json(&["show", "demo/child-0001@1"]);
    assert_eq!((&back["outcome"]["turn"], &back["head"]["current"]), (&1.into(), &false.into()));
    assert_eq!(home.json(&["fork", "demo/child-0001@1", "--name", "again"])["source-head"], back["head"]["head"]);

    for (node, kind) in
        [("demo/child-0009", "not-found"), ("demo/nothing", "bad-id"), ("nobody/child-0001", "not-found")]
    {
        assert_eq!(home.error(&["show", node])["kind"], kind, "{node}");
    }
    assert_eq!(home.error(&["show", "demo@1", "--turn", "1"])["kind"], "usage");
    assert_eq!(home.error(&["show", "demo@x"])["kind"], "bad-id");
}

#[test]
fn leaves_are_prompts_and_answers() {
    let home = Home::new();
    home.ok(&["run", "x", "--script", "map-lm", "--name", "demo"]);
    let found = home.json(&["leaves", "demo"]);
    let leaves = items(&found["leaves"]);
    let said: Vec<_> =
        leaves.iter().map(|leaf| (leaf["prompt"].as_str().unwrap(), leaf["answer"].as_str().unwrap())).collect();
    assert_eq!(said, [("first: x", "one"), ("second: x", "two"), ("third: x", "three")]);
    assert!(leaves.iter().all(|leaf| leaf["type"] == "leaf-batch-item" && leaf["cost"].is_u64()));
    assert_eq!(home.json(&["show", "demo", "--leaves"]), found);
    assert_eq!(items(&home.json(&["leaves", "demo", "--limit", "1"])["leaves"]), &leaves[2..]);
    let text = home.ok(&["leaves", "demo"]);
    assert!(text.starts_with("demo - 3 leaf calls") && text.contains("second: x"), "{text}");
    assert!(home.ok(&["leaves", "demo", "--limit", "2"]).contains("the last 2 leaf calls"));
    home.ok(&["run", "x", "--name", "plain"]);
    assert!(home.ok(&["leaves", "plain"]).starts_with("plain - no leaf calls"));
}

#[test]
fn a_step_is_an_eval_in_full() {
    let home = family();
    let step = home.json(&["step", "demo/child-0002", "1"]);
    assert_eq!(keys(&step), ["call", "code", "error", "eval", "observation", "result", "visible"]);
    assert_eq!(
        (&step["code"], &step["result"], &step["visible"]),
        (&"(def r (lm \"right?\"))".into(), &"\"right\"".into(), &true.into())
    );
    assert_eq!((&step["eval"]["eval"], &step["eval"]["call"]), (&1.into(), &step["call"]["call"]));
    // The number alone is of the session changed last, and an inherited step one of its own steps.
    assert_eq!(home.json(&["step", "1"]), home.json(&["step", "demo-2", "1"]));
    assert!(home.ok(&["step", "demo", "1"]).contains("\ncode\n  (def left (rlm \"left part\"))\n  (def right"));
    let missing = home.error(&["step", "demo", "99"]);
    assert_eq!((&missing["kind"], &missing["hint"]), (&"not-found".into(), &"its steps are evals 1 to 2".into()));
    assert_eq!(home.error(&["step", "demo", "one"])["kind"], "usage");
    // What lies on a branch that was left is shown, and said to.
    home.ok(&["resume", "demo", "on", "--script", "simple"]);
    home.ok(&["resume", "demo", "another way", "--script", "simple", "--turn", "1"]);
    assert_eq!(home.json(&["step", "demo", "3"])["visible"], false);
    assert!(home.ok(&["step", "demo", "3"]).contains("on a branch that was left"));
}

#[test]
fn cost_says_what_is_known_and_by_whom() {
    let home = family();
    let cost = home.json(&["cost", "demo", "--tree", "--turns"]);
    assert_eq!(keys(&cost), ["models", "nodes", "session", "turns", "usage"]);
    assert_eq!(keys(&cost["usage"]), ["children", "inherited", "leaf", "root", "total"]);
    let sum =
        |list: &Value, part: &str| -> u64 { items(list).iter().map(|one| one[part]["sum"].as_u64().unwrap()).sum() };
    let total = &cost["usage"]["total"];
    assert_eq!(sum(&cost["models"], "cost"), total["cost"]["sum"].as_u64().unwrap());
    assert_eq!(sum(&cost["turns"], "cost"), cost["usage"]["root"]["cost"]["sum"].as_u64().unwrap());
    // Forks pay for themselves.
    let nodes: Vec<_> = items(&cost["nodes"]).iter().map(|node| &node["node"]).collect();
    assert_eq!(nodes, ["demo", "demo/child-0001", "demo/child-0002"]);
    assert_eq!(
        sum(&Value::Array(items(&cost["nodes"]).iter().map(|node| node["own"].clone()).collect()), "cost"),
        total["cost"]["sum"].as_u64().unwrap()
    );
    assert_eq!(total["tokens-reasoning"], serde_json::json!({ "state": "unknown", "sum": null, "unknown-calls": 6 }));
    assert_eq!(keys(&home.json(&["cost", "demo"])), ["models", "session", "usage"]);

    let text = home.ok(&["cost", "demo", "--tree"]);
    assert!(text.contains("\n  total ") && text.contains("\n    child-0002 "), "{text}");
    assert!(home.ok(&["cost", "demo-2"]).contains("\n  inherited "));
    home.run(&["run", "x", "--script", "abort", "--name", "dead"]);
    let dead = home.json(&["cost", "dead"]);
    assert_eq!(dead["usage"]["total"]["cost"]["state"], "partial");
    assert!(home.ok(&["cost", "dead"]).contains("1 of 2 calls does not say their cost: the sum is of the others"));
}

#[test]
fn prime_tells_who_takes_over_what_it_must_know() {
    let home = family();
    home.ok(&["resume", "demo", "now double it"]);
    let prime = home.json(&["prime", "demo"]);
    assert_eq!(keys(&prime), ["children", "commands", "head", "open", "session", "status", "task", "turns", "usage"]);
    assert_eq!((&prime["task"], &prime["status"]), (&"sum the parts".into(), &"final".into()));
    let turns = items(&prime["turns"]);
    assert_eq!((&turns[1]["input"], &turns[1]["final"]), (&"now double it".into(), &4.into()));
    assert_eq!(items(&prime["open"]), &[] as &[Value]);
    assert_eq!(items(&prime["children"])[1]["node"], "demo/child-0002");
    assert_eq!(items(&home.json(&["prime", "demo", "--limit", "1"])["turns"]), &turns[1..]);
    for command in items(&prime["commands"]) {
        let command = command.as_str().unwrap();
        assert!(command.starts_with("headwater "), "{command}");
        if !command.contains("TASK") && !command.contains("fork") {
            home.ok(&command.split_whitespace().skip(1).collect::<Vec<_>>());
        }
    }
    let text = home.ok(&["prime", "demo"]);
    assert!(text.contains("\ntask\n  sum the parts\n") && text.contains("\nopen\n  nothing\n"), "{text}");

    // What was cut off is said, and is the outcome.
    let dead = home.run(&["run", "try this", "--script", "abort", "--name", "dead"]);
    let ran = home.run(&["prime", "dead", "--json"]);
    assert_eq!((ran.code, dead.code), (2, 2));
    let prime: Value = serde_json::from_str(&ran.out).unwrap();
    let open: Vec<_> = items(&prime["open"]).iter().map(|item| (&item["kind"], &item["status"])).collect();
    assert_eq!(prime["task"], "try this");
    assert!(
        open.contains(&(&"turn".into(), &"aborted".into())) && open.contains(&(&"call".into(), &"orphaned".into())),
        "{open:?}"
    );
}

#[test]
fn the_exit_code_is_the_nodes_outcome() {
    let home = Home::new();
    for (name, end, code) in [
        ("value", r#""final": 1"#, 0),
        ("none", r#""status": "none""#, 2),
        ("late", r#""status": "timeout", "error": "no answer""#, 3),
        ("bad", r#""status": "error", "error": "refused""#, 1),
    ] {
        let child = format!(
            r#"{{"task": "below", "replies": [{{"text": "t", "evals": [{{"code": "(f)", "result": 1}}]}}, {{"text": "t", {end}}}]}}"#
        );
        let text = if code == 0 || code == 2 { r#""text": "t", "# } else { "" };
        let script = format!(
            r#"{{"replies": [{{"text": "t", "evals": [{{"code": "(g)", "result": 1}}], "children": [{}]}}, {{{text}{end}}}]}}"#,
            child
                .replace(r#"{"text": "t", "status": "timeout""#, r#"{"status": "timeout""#)
                .replace(r#"{"text": "t", "status": "error""#, r#"{"status": "error""#)
        );
        std::fs::write(home.path().join("script.json"), script).unwrap();
        let ran = home.run(&["run", "x", "--script", "script.json", "--name", name]);
        assert_eq!(ran.code, code, "{name}: {}", ran.err);
        let child = format!("{name}/child-0001");
        for node in [name, child.as_str()] {
            for verb in
                [&["show", node][..], &["prime", node], &["tree", node], &["leaves", node], &["step", node, "1"]]
            {
                let ran = home.run(verb);
                assert_eq!((ran.code, ran.err.as_str()), (code, ""), "{verb:?}");
            }
        }
        assert_eq!(home.run(&["cost", name]).code, 0);
    }
}
