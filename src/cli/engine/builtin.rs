//! The scripts that come with the command, in the form of script files.

/// Their names, in the order help shows them; `children` is another name of `rlm`.
pub const NAMES: [&str; 9] = ["simple", "lm", "map-lm", "rlm", "children", "map-rlm", "attach", "abort", "compact"];

/// The script of that name.
pub fn text(name: &str) -> Option<&'static str> {
    Some(match name {
        "simple" => SIMPLE,
        "lm" => LM,
        "map-lm" => MAP_LM,
        "rlm" | "children" => RLM,
        "map-rlm" => MAP_RLM,
        "attach" => ATTACH,
        "abort" => ABORT,
        "compact" => COMPACT,
        _ => return None,
    })
}

const SIMPLE: &str = r#"{
  "system": "You are a scripted engine. Answer with code; call FINAL with the value when you have it.",
  "replies": [
    { "text": "I split the task: {task}\n```\n(def a 2)\n```\n```\n(def b 2)\n```\n```\n(+ a b)\n```",
      "evals": [
        { "code": "(def a 2)", "result": 2 },
        { "code": "(def b 2)", "result": 2 },
        { "code": "(+ a b)", "result": 4 }
      ] },
    { "text": "I check it and answer.\n```\n(def answer (+ a b))\n```\n```\n(= answer 4)\n```\n```\n(FINAL answer)\n```",
      "evals": [
        { "code": "(def answer (+ a b))", "result": 4 },
        { "code": "(= answer 4)", "result": true },
        { "code": "(FINAL answer)", "result": 4 }
      ],
      "final": 4 }
  ]
}"#;

const LM: &str = r#"{
  "system": "You are a scripted engine. (lm PROMPT) asks a leaf model.",
  "replies": [
    { "text": "I ask a leaf.\n```\n(def answer (lm \"{task}\"))\n```",
      "evals": [{ "code": "(def answer (lm \"{task}\"))" }],
      "leaves": [{ "prompt": "{task}", "reply": "A leaf's answer." }] },
    { "text": "```\n(FINAL answer)\n```",
      "evals": [{ "code": "(FINAL answer)", "result": "A leaf's answer." }],
      "final": "A leaf's answer." }
  ]
}"#;

const MAP_LM: &str = r#"{
  "system": "You are a scripted engine. (map-lm PROMPTS) asks leaf models, all at once.",
  "replies": [
    { "text": "I ask three leaves at once.\n```\n(def parts (map-lm [\"first\" \"second\" \"third\"]))\n```",
      "evals": [{ "code": "(def parts (map-lm [\"first\" \"second\" \"third\"]))" }],
      "batch": true,
      "leaves": [
        { "prompt": "first: {task}", "reply": "one" },
        { "prompt": "second: {task}", "reply": "two" },
        { "prompt": "third: {task}", "reply": "three" }
      ] },
    { "text": "```\n(FINAL parts)\n```",
      "evals": [{ "code": "(FINAL parts)", "result": ["one", "two", "three"] }],
      "final": ["one", "two", "three"] }
  ]
}"#;

const RLM: &str = r#"{
  "system": "You are a scripted engine. (rlm TASK) opens a child session.",
  "replies": [
    { "text": "I give two parts to children.\n```\n(def left (rlm \"left part\"))\n(def right (rlm \"right part\"))\n```",
      "evals": [{ "code": "(def left (rlm \"left part\"))\n(def right (rlm \"right part\"))" }],
      "children": [
        { "task": "the left part of: {task}", "replies": [
          { "text": "```\n(FINAL \"left\")\n```", "evals": [{ "code": "(FINAL \"left\")", "result": "left" }],
            "final": "left" } ] },
        { "task": "the right part of: {task}", "replies": [
          { "text": "I ask a leaf.\n```\n(def r (lm \"right?\"))\n```",
            "evals": [{ "code": "(def r (lm \"right?\"))" }],
            "leaves": [{ "prompt": "right?", "reply": "right" }] },
          { "text": "```\n(FINAL r)\n```", "evals": [{ "code": "(FINAL r)", "result": "right" }],
            "final": "right" } ] }
      ] },
    { "text": "```\n(FINAL [left right])\n```",
      "evals": [{ "code": "(FINAL [left right])", "result": ["left", "right"] }],
      "final": ["left", "right"] }
  ]
}"#;

const MAP_RLM: &str = r#"{
  "system": "You are a scripted engine. (map-rlm TASKS) opens child sessions, all at once.",
  "replies": [
    { "text": "I give three parts to children at once.\n```\n(def parts (map-rlm [\"a\" \"b\" \"c\"]))\n```",
      "evals": [{ "code": "(def parts (map-rlm [\"a\" \"b\" \"c\"]))" }],
      "batch": true,
      "children": [
        { "task": "part a of: {task}", "replies": [{ "text": "```\n(FINAL 1)\n```", "final": 1 }] },
        { "task": "part b of: {task}", "replies": [{ "text": "```\n(FINAL 2)\n```", "final": 2 }] },
        { "task": "part c of: {task}", "replies": [{ "text": "```\n(FINAL 3)\n```", "final": 3 }] }
      ] },
    { "text": "```\n(FINAL (reduce + parts))\n```",
      "evals": [{ "code": "(FINAL (reduce + parts))", "result": 6 }],
      "final": 6 }
  ]
}"#;

const ATTACH: &str = r#"{
  "system": "You are a scripted engine. (attach TASK) opens a child session that knows what you know.",
  "turns": [
    { "replies": [{ "text": "Noted.\n```\n(def known 41)\n```",
        "evals": [{ "code": "(def known 41)", "result": 41 }], "final": 41 }] },
    { "task": "ask an attached child to add one",
      "replies": [
        { "text": "```\n(def answer (attach \"add one to what you know\"))\n```",
          "evals": [{ "code": "(def answer (attach \"add one to what you know\"))" }],
          "children": [{ "task": "add one to what you know", "attach": true, "replies": [
            { "text": "```\n(FINAL (+ known 1))\n```", "evals": [{ "code": "(FINAL (+ known 1))", "result": 42 }],
              "final": 42 } ] }] },
        { "text": "```\n(FINAL answer)\n```", "evals": [{ "code": "(FINAL answer)", "result": 42 }], "final": 42 }
      ] }
  ]
}"#;

const ABORT: &str = r#"{
  "system": "You are a scripted engine whose second answer never comes.",
  "replies": [
    { "text": "I begin with: {task}\n```\n(def a 2)\n```", "evals": [{ "code": "(def a 2)", "result": 2 }] },
    { "status": "aborted", "error": "the engine died while the model was being asked" }
  ]
}"#;

const COMPACT: &str = r#"{
  "system": "You are a scripted engine with a short memory.",
  "turns": [
    { "replies": [{ "text": "First: {task}", "evals": [{ "code": "(def n 1)", "result": 1 }], "final": 1 }] },
    { "task": "count on", "replies": [
        { "text": "Second.", "evals": [{ "code": "(def n (inc n))", "result": 2 }], "final": 2 }] },
    { "task": "count on", "replies": [
        { "text": "Third.", "evals": [{ "code": "(def n (inc n))", "result": 3 }], "final": 3 }],
      "compact": { "frame": "So far: the user had me count, and n is 3.", "keep": 2 } },
    { "task": "count on", "replies": [
        { "text": "Fourth.", "evals": [{ "code": "(def n (inc n))", "result": 4 }], "final": 4 }] }
  ]
}"#;
