use super::{Document, Kind, Writer, Wrong, read_prefix};
use proptest::prelude::*;

fn fails(text: &[u8]) -> (usize, Wrong) {
    let error = Document::read(text).unwrap_err();
    (error.at, error.what)
}

fn kind(text: &str) -> Kind {
    Document::read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}")).root().kind()
}

fn equal(left: &str, right: &str) -> bool {
    Document::read(left.as_bytes()).unwrap().root() == Document::read(right.as_bytes()).unwrap().root()
}

#[test]
fn each_kind_of_value_is_told_from_its_letters() {
    for (text, expected) in [
        ("nil", Kind::Nil),
        ("true", Kind::Boolean),
        ("0 ", Kind::Integer),
        ("-17", Kind::Integer),
        ("+5", Kind::Integer),
        ("123456789012345678901234567890N", Kind::Integer),
        ("0x1F", Kind::Integer),
        ("017", Kind::Integer),
        ("36rZZ", Kind::Integer),
        ("9.37E-4", Kind::Float),
        ("1.", Kind::Float),
        ("1e400", Kind::Float),
        ("1.50M", Kind::Float),
        ("5M", Kind::Float),
        ("22/7", Kind::Ratio),
        ("##Inf", Kind::Symbolic),
        ("##-Inf", Kind::Symbolic),
        ("##NaN", Kind::Symbolic),
        ("\\a", Kind::Character),
        ("\\(", Kind::Character),
        ("\\newline", Kind::Character),
        ("\\u03a9", Kind::Character),
        ("\\o101", Kind::Character),
        ("\"a\\tb\"", Kind::String),
        (":a.b/c", Kind::Keyword),
        (":a:b", Kind::Keyword),
        (":1", Kind::Keyword),
        ("map-lm", Kind::Symbol),
        ("-", Kind::Symbol),
        ("+x", Kind::Symbol),
        ("/", Kind::Symbol),
        ("clojure.core//", Kind::Symbol),
        ("x'", Kind::Symbol),
        ("a#", Kind::Symbol),
        ("(1 2)", Kind::List),
        ("[1 2]", Kind::Vector),
        ("#{1 2}", Kind::Set),
        ("{1 2}", Kind::Map),
        ("#:a{:b 1}", Kind::NamespacedMap),
        ("#:a {:b 1}", Kind::NamespacedMap),
        ("#inst \"2020-01-01\"", Kind::Tagged),
        ("#a/b #c [1]", Kind::Tagged),
        ("; before\n#_[not this] #_ #_ 1 2 3 ; after", Kind::Integer),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
}

#[test]
fn what_is_not_edn_is_refused_with_its_place() {
    for (text, at, what) in [
        ("", 0, Wrong::End),
        ("  ; only this", 13, Wrong::End),
        ("[1 2", 4, Wrong::End),
        ("\"abc", 4, Wrong::End),
        ("1 2", 1, Wrong::Trailing),
        ("1 )", 2, Wrong::Bracket),
        ("[1)", 2, Wrong::Bracket),
        (")", 0, Wrong::Bracket),
        ("1x", 0, Wrong::Number),
        ("09", 0, Wrong::Number),
        ("1/", 0, Wrong::Number),
        ("1.2.3", 0, Wrong::Number),
        ("[1e]", 1, Wrong::Number),
        ("0x", 0, Wrong::Number),
        ("37rA", 0, Wrong::Number),
        ("::a", 0, Wrong::Symbol),
        (":", 0, Wrong::Symbol),
        ("a/", 0, Wrong::Symbol),
        ("/a", 0, Wrong::Symbol),
        ("\\", 0, Wrong::End),
        ("\\nosuch", 0, Wrong::Character),
        ("\\é☂", 0, Wrong::Character),
        ("\\ud800", 0, Wrong::Character),
        ("\\o400", 0, Wrong::Character),
        ("\"\\q\"", 1, Wrong::Escape),
        ("\"\\ud83d\"", 1, Wrong::Escape),
        ("\"\\u+123\"", 1, Wrong::Escape),
        ("#(f)", 0, Wrong::Dispatch),
        ("#\"re\"", 0, Wrong::Dispatch),
        ("#<x>", 0, Wrong::Dispatch),
        ("^{:a 1} b", 0, Wrong::Dispatch),
        ("#::{:a 1}", 0, Wrong::Dispatch),
        ("#:a/b{:c 1}", 0, Wrong::Dispatch),
        ("#:a [1]", 0, Wrong::Dispatch),
        ("##nan", 0, Wrong::Dispatch),
        ("[#a]", 3, Wrong::Tag),
        ("[#_]", 3, Wrong::Tag),
        ("{:a}", 3, Wrong::Odd),
        ("{:a 1 :a 2}", 6, Wrong::Duplicate),
        ("#:a{:b 1 :a/b 2}", 9, Wrong::Duplicate),
        ("#{1 [2] [2]}", 8, Wrong::Duplicate),
        ("#{\"a\" \"\\u0061\"}", 6, Wrong::Duplicate),
        ("{#{1 2} 1, #{2 1} 2}", 11, Wrong::Duplicate),
    ] {
        assert_eq!(fails(text.as_bytes()), (at, what), "{text}");
    }
    assert_eq!(fails(b"\"\xff\""), (1, Wrong::Utf8));
}

#[test]
fn values_are_looked_at_by_name_and_place() {
    let text =
        "#:call{:id 18, :usage #:usage{:input-tokens 937}, :_/bare 1, :batch/id \"b\\n\", #inst \"x\" [\\space]}";
    let document = Document::read(text.as_bytes()).unwrap();
    let call = document.root();
    assert_eq!(call.get("call/id").unwrap().whole(), Some(18));
    assert_eq!(call.get("call/usage").unwrap().get("usage/input-tokens").unwrap().whole(), Some(937));
    assert_eq!(call.get("bare").unwrap().whole(), Some(1));
    assert_eq!(call.get("batch/id").unwrap().string().unwrap(), "b\n");
    assert!(call.get("id").is_none());
    let (key, value) = call.entries().last().unwrap();
    assert_eq!(key.tagged().map(|(tag, value)| (tag, value.text())), Some(("inst", "\"x\"")));
    assert_eq!(value.items().next().unwrap().character(), Some(' '));
    assert_eq!(&text[value.span()], "[\\space]");
}

#[test]
fn equality_is_that_of_edn() {
    for (left, right) in [
        ("#{1 2 [3]}", "#{[3] 2 1}"),
        ("{:a 1, :b 2}", "{:b 2 :a 1}"),
        ("#:a{:b 1 :_/c 2}", "{:c 2 :a/b 1}"),
        ("(1 2)", "[1 2]"),
        ("[\"\\u0041\" \\u0041]", "[\"A\" \\A]"),
        ("[#_ 1 2 ; x\n]", "[2]"),
    ] {
        assert!(equal(left, right), "{left} {right}");
    }
    for (left, right) in [
        ("1", "1.0"),
        ("1", "1N"),
        ("1.0", "1.00"),
        ("\"a\"", ":a"),
        (":a", "a"),
        ("[1 2]", "[2 1]"),
        ("#a 1", "#b 1"),
        ("#a 1", "1"),
        ("{:a 1}", "#{:a 1}"),
        ("#:a{b 1}", "{:a/b 1}"),
        ("{[:b] 1}", "#:a{[:a/b] 1}"),
    ] {
        assert!(!equal(left, right), "{left} {right}");
    }
}

#[test]
fn depth_costs_no_stack() {
    let depth = 200_000;
    let open = "[".repeat(depth);
    assert_eq!(fails(open.as_bytes()), (depth, Wrong::End));
    let whole = open + &"]".repeat(depth);
    let document = Document::read(whole.as_bytes()).unwrap();
    assert!(document.root().print() == whole && document.root().to_json() == whole);
    assert!(document.root() == document.root());
    let pairs = "[1 ".repeat(20_000) + &"]".repeat(20_000);
    let document = Document::read(pairs.as_bytes()).unwrap();
    assert!(document.root().pretty(1 << 20).is_none(), "each line would begin with its depth in spaces");
    // Each of these sets looks whether its members differ, and is a member itself.
    let sets = "#{1 ".repeat(50_000) + &"}".repeat(50_000);
    assert_eq!(Document::read(sets.as_bytes()).unwrap().root().kind(), Kind::Set);
    let tags = "#a ".repeat(depth) + "1";
    assert!(Document::read(tags.as_bytes()).unwrap().root().print() == tags);
    assert_eq!(fails("#_ ".repeat(depth).as_bytes()).1, Wrong::End);
}

#[test]
fn values_on_one_line_are_read_one_after_another() {
    let text = b"{:a 1}{:b 2} ; end";
    let (first, end) = read_prefix(text).unwrap().unwrap();
    assert_eq!((first.root().text(), end), ("{:a 1}", 6));
    let (second, more) = read_prefix(&text[end..]).unwrap().unwrap();
    assert_eq!(second.root().text(), "{:b 2}");
    assert!(read_prefix(&text[end + more..]).unwrap().is_none());
}

#[test]
fn the_writer_separates_as_clojure_does() {
    let mut edn = Writer::new();
    edn.begin_namespaced_map("turn").keyword("id").number(1).keyword("tags").begin_set().keyword("a").raw("1/2").end();
    edn.keyword("at").tag("inst").string("\u{c}\"\u{1}").keyword("none").nil().keyword("l").begin_list().end();
    assert_eq!(edn.finish(), "#:turn{:id 1, :tags #{:a 1/2}, :at #inst \"\\f\\\"\u{1}\", :none nil, :l ()}");
}

#[test]
fn lines_end_where_those_of_pprint_do() {
    let text = r#"#:call{:id 1, :usage #:usage{:status :unknown}, :request-ref {:value/kind :blob, :path "blobs/calls/call-000001-request.edn",
        :sha256 "sha256:149c8961839b60896635c3dbfd7fc449b88c0d64771c7b4665d06d2f3a1edeb6", :bytes 22027},
        :tags #{:one-of-several :two-of-several :three-of-several :four-of-several}, :message-ids [1 2]}"#;
    let expected = r#"#:call{:id 1,
       :usage #:usage{:status :unknown},
       :request-ref
       {:value/kind :blob,
        :path "blobs/calls/call-000001-request.edn",
        :sha256
        "sha256:149c8961839b60896635c3dbfd7fc449b88c0d64771c7b4665d06d2f3a1edeb6",
        :bytes 22027},
       :tags
       #{:one-of-several :two-of-several :three-of-several
         :four-of-several},
       :message-ids [1 2]}"#;
    assert_eq!(Document::read(text.as_bytes()).unwrap().root().pretty(1 << 16).unwrap(), expected);
}

#[test]
fn json_has_a_form_for_everything() {
    for (edn, json) in [
        ("[nil true 1 -0.50 1/3 1N 0x1f ##Inf]", r###"[null,true,1,-0.50,"1/3","1N","0x1f","##Inf"]"###),
        ("[:a/b sym \\newline \"q\\\"\"]", r#"[":a/b","sym","\n","q\""]"#),
        ("#:t{:id 1, :x {\"y\" #{2}}}", r#"{"t/id":1,"t/x":{"y":[2]}}"#),
        ("{:a 1, \"a\" 2}", r#"[[":a",1],["a",2]]"#),
        ("{[1] 2, 3 {}}", "[[[1],2],[3,{}]]"),
        ("#:n{[1] 2, :k 3}", r#"[[[1],2],[":n/k",3]]"#),
        ("{}", "{}"),
        ("[#inst \"x\" #a {:b #c []}]", r##"[{"#inst":"x"},{"#a":{"b":{"#c":[]}}}]"##),
    ] {
        assert_eq!(Document::read(edn.as_bytes()).unwrap().root().to_json(), json, "{edn}");
    }
}

/// Texts of values of every kind.
fn edn() -> impl Strategy<Value = String> {
    let name = "[a-z][a-z0-9*+!?<>=.-]{0,6}";
    let leaf = prop_oneof![
        Just("nil".to_owned()),
        Just("true".to_owned()),
        Just("##NaN".to_owned()),
        "-?(0|[1-9][0-9]{0,20})N?",
        "-?[0-9]{1,3}\\.[0-9]{0,9}(E-?[0-9]{1,3})?M?",
        "[1-9][0-9]?/[1-9][0-9]?",
        "\\\\[a-z(\\[{\"é]",
        any::<String>().prop_map(|text| {
            let mut writer = Writer::new();
            writer.string(&text);
            writer.finish()
        }),
        name.prop_map(|name| format!(":{name}")),
        (name, name).prop_map(|(space, name)| format!("{space}/{name}")),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let many = proptest::collection::vec(inner.clone(), 0..6);
        let keyed = proptest::collection::btree_map(name, inner.clone(), 0..6)
            .prop_map(|map| map.iter().map(|(key, value)| format!(":{key} {value}")).collect::<Vec<_>>().join(" , "));
        prop_oneof![
            many.clone().prop_map(|items| format!("[{}]", items.join(" "))),
            many.clone().prop_map(|items| format!("( {} )", items.join(",\n"))),
            proptest::collection::btree_set("[a-z]{1,4}", 0..5)
                .prop_map(|items| format!("#{{{}}}", items.into_iter().collect::<Vec<_>>().join(" "))),
            (name, keyed.clone()).prop_map(|(space, keyed)| format!("#:{}{{{keyed}}}", space.replace('/', ""))),
            keyed.prop_map(|keyed| format!("{{{keyed}}}")),
            (name, inner.clone()).prop_map(|(tag, value)| format!("#{tag} {value}")),
            (inner.clone(), inner).prop_map(|(away, value)| format!("#_ {away} ; gone\n {value}")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_as_the_same_value(text in edn()) {
        let document = Document::read(text.as_bytes()).unwrap();
        let value = document.root();
        for printed in [value.print(), value.pretty(1 << 20).unwrap()] {
            let again = Document::read(printed.as_bytes()).unwrap();
            prop_assert!(again.root() == value, "{}", printed);
            prop_assert_eq!(again.root().print(), value.print());
        }
        serde_json::from_str::<serde::de::IgnoredAny>(&value.to_json()).unwrap();
    }

    #[test]
    fn spans_are_the_text(text in edn()) {
        let document = Document::read(text.as_bytes()).unwrap();
        let mut stack = vec![document.root()];
        while let Some(value) = stack.pop() {
            prop_assert_eq!(&text[value.span()], value.text());
            let again = Document::read(value.text().as_bytes()).unwrap();
            prop_assert!(again.root() == value);
            stack.extend(value.items());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::read(&bytes);
    }

    #[test]
    fn no_text_of_its_own_letters_makes_it_panic(text in "[\\[\\](){}#:_^/\\\\\"a1 ;,\nuNrx.+-]{0,60}") {
        if let Ok(document) = Document::read(text.as_bytes()) {
            let value = document.root();
            let printed = value.print();
            prop_assert!(Document::read(printed.as_bytes()).unwrap().root() == value, "{}", printed);
            value.pretty(1 << 16);
            value.to_json();
        }
    }
}
