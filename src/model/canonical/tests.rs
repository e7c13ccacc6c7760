//! What canonical bytes are, by example and by property.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn canonical(text: &str) -> Result<String, NotCanonical> {
    canonicalize(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn whitespace_goes_and_keys_are_sorted() {
    let text = " {\t\"b\" : [ 1 , true , { } , [ ] ] ,\r\n \"a\" : { \"z\" : null , \"\" : false } } ";
    assert_eq!(canonical(text).unwrap(), r#"{"a":{"":false,"z":null},"b":[1,true,{},[]]}"#);
}

#[test]
fn keys_are_sorted_by_what_they_decode_to() {
    // As text `\n` would come after `A`, and `\u0001` after `\t`; by UTF-16 U+FFFD would come after U+1F600.
    let text = r#"{"😀":1,"�":2,"A":3,"\n":4,"\u0001":5,"\t":6,"a\"":7,"a!":8,"a\\":9,"a]":10,"a":11,"\u0002":12,"\u0012":13}"#;
    let sorted = r#"{"\u0001":5,"\u0002":12,"\t":6,"\n":4,"\u0012":13,"A":3,"a":11,"a!":8,"a\"":7,"a\\":9,"a]":10,"�":2,"😀":1}"#;
    assert_eq!(canonical(text).unwrap(), sorted);
}

#[test]
fn number_text_is_kept() {
    for n in [
        "0",
        "-0",
        "1.0E+2",
        "1e400",
        "1E-7",
        "-0.10",
        "12345678901234567890",
        "0e0",
        "123456789012345678901234567890.5",
    ] {
        assert_eq!(canonical(n).unwrap(), n);
        assert_eq!(canonical(&format!("[ {n} ]")).unwrap(), format!("[{n}]"));
    }
}

#[test]
fn strings_are_escaped_as_little_as_possible() {
    let text = r#""\u0041\/\u00e9\ud83d\ude00\u007f\u001F\u0008\u0009\u000a\u000C\u000d\u0022\u005c\u2028""#;
    assert_eq!(canonical(text).unwrap(), "\"A/é😀\u{7f}\\u001f\\b\\t\\n\\f\\r\\\"\\\\\u{2028}\"");
}

#[test]
fn faults_are_named_with_their_place() {
    use NotCanonical::*;
    for (text, fault) in [
        ("", Syntax { at: 0 }),
        ("  ", Syntax { at: 2 }),
        ("\u{feff}1", Syntax { at: 0 }),
        ("nul", Syntax { at: 3 }),
        ("01", TrailingData { at: 1 }),
        ("[01]", Syntax { at: 2 }),
        ("-", Syntax { at: 1 }),
        ("+1", Syntax { at: 0 }),
        (".5", Syntax { at: 0 }),
        ("1.", Syntax { at: 2 }),
        ("1e+", Syntax { at: 3 }),
        ("NaN", Syntax { at: 0 }),
        ("[1,]", Syntax { at: 3 }),
        ("[1 2]", Syntax { at: 3 }),
        ("{\"a\":1,}", Syntax { at: 7 }),
        ("{a:1}", Syntax { at: 1 }),
        ("{\"a\" 1}", Syntax { at: 5 }),
        ("\"a", Syntax { at: 2 }),
        ("\"\n\"", Syntax { at: 1 }),
        ("\"12345678\u{1}\"", Syntax { at: 9 }),
        (r#""\x""#, Syntax { at: 2 }),
        (r#""\u12g4""#, Syntax { at: 5 }),
        (r#""\ud83d\u12""#, Syntax { at: 11 }),
        (r#""a\ud83d""#, LoneSurrogate { at: 2 }),
        (r#""\ude00""#, LoneSurrogate { at: 1 }),
        (r#""\ud83d\u0041""#, LoneSurrogate { at: 1 }),
        (r#"{"a":1,"\u0061":2}"#, DuplicateKey { at: 17 }),
        (r#"{"a":1,"b":1,"a":2}"#, DuplicateKey { at: 18 }),
        ("1 2", TrailingData { at: 2 }),
        ("{}}", TrailingData { at: 2 }),
    ] {
        assert_eq!(canonical(text), Err(fault), "{text}");
    }
    assert_eq!(canonicalize(b"\"a\xff\""), Err(Utf8 { at: 2 }));
    // A surrogate in UTF-8's clothes is no UTF-8.
    assert_eq!(canonicalize(b"\"\xed\xa0\x80\""), Err(Utf8 { at: 1 }));
}

#[test]
fn depth_is_bounded() {
    let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert_eq!(canonical(&nested(MAX_DEPTH)).unwrap(), nested(MAX_DEPTH));
    assert_eq!(canonical(&nested(MAX_DEPTH + 1)), Err(NotCanonical::TooDeep { at: MAX_DEPTH }));
    assert_eq!(canonical(&nested(1_000_000)), Err(NotCanonical::TooDeep { at: MAX_DEPTH }));
    assert!(matches!(canonical(&"{\"a\":".repeat(1_000_000)), Err(NotCanonical::TooDeep { .. })));
}

#[test]
fn plain_runs_end_where_they_should() {
    for byte in 0..=255u8 {
        for at in 0..20 {
            let mut text = [b'x'; 20];
            text[at] = byte;
            // A neighbour that borrows from its byte in the arithmetic must not be taken for special.
            if at > 0 {
                text[at - 1] = 0xff;
            }
            let special = byte < 0x20 || byte == b'"' || byte == b'\\';
            assert_eq!(plain_length(&text), if special { at } else { 20 }, "{byte} at {at}");
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    // Few letters, so that keys share prefixes, and all that needs an escape.
    let text = || {
        proptest::collection::vec(
            prop_oneof![
                Just('a'),
                Just('b'),
                Just('u'),
                Just('0'),
                Just('"'),
                Just('\\'),
                Just('\n'),
                Just('\u{1}'),
                Just('\u{12}'),
                any::<char>(),
            ],
            0..6,
        )
        .prop_map(String::from_iter)
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::vec((text(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Writes `value` as no canonical writer would: keys backwards, spaces, every character escaped.
fn write_loosely(value: &Value, out: &mut String) {
    let string = |text: &str, out: &mut String| {
        out.push('"');
        for unit in text.encode_utf16() {
            out.push_str(&format!("\\u{unit:04X}"));
        }
        out.push('"');
    };
    match value {
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push_str("[ ");
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { "\t," } else { "" });
                write_loosely(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push_str("{\n");
            for (i, (key, item)) in members.iter().rev().enumerate() {
                out.push_str(if i > 0 { " , " } else { "" });
                string(key, out);
                out.push_str(" :\r");
                write_loosely(item, out);
            }
            out.push_str(" }");
        }
        other => out.push_str(&other.to_string()),
    }
}

/// The rules again, the plain way; `serde_json` sorts the keys of a map by their bytes.
fn write_by_the_rules(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

proptest! {
    #[test]
    fn any_spelling_has_one_form(value in json()) {
        let mut loose = String::new();
        write_loosely(&value, &mut loose);
        let form = canonicalize(loose.as_bytes()).unwrap();
        prop_assert_eq!(&form, &write_by_the_rules(&value));
        prop_assert_eq!(&canonicalize(&form).unwrap(), &form);
        prop_assert_eq!(serde_json::from_slice::<Value>(&form).unwrap(), value);
    }

    #[test]
    fn what_is_taken_is_what_serde_takes(text in "[\\[\\]{}:,\"\\\\ u0d8a1.eE+-]{0,12}|\\PC{0,8}") {
        let ours = canonicalize(text.as_bytes());
        match serde_json::from_str::<Box<serde_json::value::RawValue>>(&text) {
            Ok(_) => {
                use NotCanonical::{DuplicateKey, LoneSurrogate};
                let taken = matches!(ours, Ok(_) | Err(DuplicateKey { .. } | LoneSurrogate { .. }));
                prop_assert!(taken, "{:?}", ours);
            }
            Err(_) => prop_assert!(ours.is_err()),
        }
    }

    #[test]
    fn numbers_survive(text in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?") {
        prop_assert_eq!(canonicalize(text.as_bytes()).unwrap(), text.as_bytes());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = canonicalize(&bytes);
    }
}
