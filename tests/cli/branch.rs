//! `resume`, `fork`, `diff`.

use crate::{Home, is_head, items, keys};

#[test]
fn resume_goes_on_from_the_current_head() {
    let home = Home::demo();
    let first = home.json(&["show", "demo"]);
    let resumed = home.json(&["resume", "demo", "again"]);
    assert_eq!(keys(&resumed), ["alias", "final", "head", "session", "status", "turn"]);
    assert_eq!((&resumed["session"], &resumed["turn"], &resumed["final"]), (&"demo".into(), &2.into(), &4.into()));
    assert_ne!(resumed["head"], first["head"]["head"]);
    let second = home.json(&["show", "demo"]);
    assert_eq!(second["head"]["basis"], first["head"]["head"]);
    let (before, after) = (items(&first["messages"]), items(&second["messages"]));
    assert_eq!(&after[..before.len()], before);
}

#[test]
fn resume_without_a_task_changes_nothing_at_the_current_head() {
    let home = Home::demo();
    let before = home.ok(&["stream", "demo"]);
    let resumed = home.json(&["resume", "demo"]);
    assert_eq!((&resumed["turn"], &resumed["status"]), (&1.into(), &"final".into()));
    assert_eq!(home.ok(&["stream", "demo"]), before);
}

#[test]
fn resume_from_an_earlier_turn_restores_it_and_leaves_the_other_branch() {
    let home = Home::demo();
    let first = home.json(&["show", "demo"]);
    home.ok(&["resume", "demo", "one way"]);
    let abandoned = home.json(&["show", "demo"]);
    home.ok(&["resume", "demo", "another way", "--turn", "1"]);
    let show = home.json(&["show", "demo"]);
    let said = show["messages"].to_string();
    assert!(said.contains("another way") && !said.contains("one way"), "{said}");
    assert_eq!(items(&show["turns"]).iter().map(|turn| turn["turn"].clone()).collect::<Vec<_>>(), [1, 3]);
    let head = abandoned["head"]["head"].as_str().unwrap();
    assert_eq!(home.json(&["show", "demo", "--head", head])["messages"], abandoned["messages"]);
    let titles = home.ok(&["events", "demo"]);
    assert!(titles.contains("state restored"), "{titles}");
    let diff = home.json(&["diff", head, "demo"]);
    assert_eq!(keys(&diff), ["common", "left", "right"]);
    assert_eq!(diff["left"]["head"], head);
    assert_eq!((&diff["left"]["counts"]["turns"], &diff["right"]["counts"]["turns"]), (&1.into(), &1.into()));
    let shared: u64 = items(&first["messages"]).len() as u64;
    assert!(diff["common"]["events"].as_u64().unwrap() >= shared);
}

#[test]
fn fork_starts_a_session_that_sees_its_source_and_leaves_it_alone() {
    let home = Home::demo();
    let before = home.ok(&["stream", "demo"]);
    let source = home.json(&["show", "demo"]);
    let fork = home.json(&["fork", "demo", "--name", "branch"]);
    assert_eq!(keys(&fork), ["alias", "head", "session", "source-head", "source-session"]);
    assert_eq!((&fork["session"], &fork["source-session"]), (&"branch".into(), &"demo".into()));
    assert_eq!(fork["source-head"], source["head"]["head"]);
    assert!(is_head(&fork["head"]));
    assert_eq!(home.ok(&["stream", "demo"]), before);
    let show = home.json(&["show", "branch"]);
    assert_eq!(show["messages"], source["messages"]);
    assert_eq!(show["session"]["source-session"], "demo");
    assert_eq!(show["outcome"], source["outcome"], "the last turn is the source's");
    home.ok(&["resume", "branch", "go on"]);
    let turns = home.json(&["show", "branch"])["turns"].clone();
    assert_eq!(items(&turns).iter().map(|turn| turn["turn"].clone()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(home.ok(&["stream", "demo"]), before);
}

#[test]
fn fork_with_a_task_plays_it() {
    let home = Home::demo();
    home.ok(&["resume", "demo", "again"]);
    let fork = home.json(&["fork", "demo", "another way", "--name", "branch", "--turn", "1"]);
    let show = home.json(&["show", "branch"]);
    assert_eq!(show["head"]["head"], fork["head"]);
    assert_eq!(show["outcome"]["final"], 4);
    assert!(show["messages"].to_string().contains("another way"));
    assert!(!show["messages"].to_string().contains("again"));
    assert_eq!(home.error(&["fork", "demo", "--name", "branch"])["kind"], "exists");
    assert_eq!(home.error(&["fork", "demo", "--name", "b2", "--turn", "99"])["kind"], "not-found");
}

#[test]
fn a_head_differs_from_itself_in_nothing() {
    let home = Home::demo();
    let diff = home.json(&["diff", "demo@0", "demo"]);
    assert_eq!((&diff["left"]["events"], &diff["right"]["events"]), (&0.into(), &0.into()));
    assert!(diff["common"]["events"].as_u64().unwrap() > 0);
    assert!(home.ok(&["diff", "demo", "demo@0"]).starts_with("diff - head-"));
}

#[test]
fn a_session_may_be_named_with_a_head_of_it() {
    let home = Home::demo();
    let first = home.json(&["show", "demo"]);
    home.ok(&["resume", "demo", "one way"]);
    let head = first["head"]["head"].as_str().unwrap();
    for named in ["demo@1", head, &head[..17]] {
        assert_eq!(home.json(&["show", named])["messages"], first["messages"], "{named}");
        assert_eq!(home.ok(&["show", named, "--final"]), "4\n");
        let fork = home.json(&["fork", named]);
        assert_eq!((&fork["source-head"], &fork["source-session"]), (&head.into(), &"demo".into()), "{named}");
    }
    assert_eq!(home.json(&["show", "demo@0"]), home.json(&["show", "demo"]));
    home.ok(&["resume", "demo@1", "another way"]);
    let said = home.json(&["show", "demo"])["messages"].to_string();
    assert!(said.contains("another way") && !said.contains("one way"), "{said}");
    for args in [["show", "demo@1", "--turn", "1"], ["resume", "demo@1", "--head", "@0"]] {
        assert_eq!(home.error(&args)["kind"], "usage", "{args:?}");
    }
    for (named, kind) in [("demo@99", "not-found"), ("nobody@0", "not-found"), ("head-ffffffff", "not-found")] {
        assert_eq!(home.error(&["show", named])["kind"], kind, "{named}");
    }
}

#[test]
fn a_turn_that_ended_nowhere_is_said_with_where_to_look() {
    let home = Home::demo();
    for verb in ["show", "resume", "fork"] {
        let error = home.error(&[verb, "demo", "--turn", "7"]);
        assert_eq!(
            (&error["kind"], &error["message"]),
            (&"not-found".into(), &"no checkpoint of demo ends turn 7".into())
        );
        assert!(error["hint"].as_str().unwrap().contains("headwater inspect demo"), "{error}");
    }
    assert_eq!(home.json(&["ls"]).as_array().unwrap().len(), 1, "no fork was begun");
}

#[test]
fn a_script_without_a_task_is_wrong_usage_and_no_silence() {
    let home = Home::demo();
    for verb in ["resume", "fork"] {
        let error = home.error(&[verb, "demo", "--script", "lm"]);
        assert_eq!(error["kind"], "usage", "{verb}: {error}");
    }
    assert_eq!(home.json(&["resume", "demo"])["turn"], 1, "the script that is meant unasked needs no task");
}

#[test]
fn an_alias_is_as_good_as_an_id_with_turns_back() {
    let home = Home::demo();
    home.ok(&["resume", "demo", "again"]);
    home.ok(&["alias", "demo", "notes"]);
    assert_eq!(home.json(&["show", "notes@1"]), home.json(&["show", "demo@1"]));
    assert_eq!(home.json(&["diff", "notes@1", "notes"]), home.json(&["diff", "demo@1", "demo@0"]));
    assert_eq!(home.ok(&["cat", "notes@1"]), home.ok(&["cat", "demo@1"]));
    assert_eq!(home.json(&["fork", "notes@1", "--name", "other"])["source-session"], "demo");
}
