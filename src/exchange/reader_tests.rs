use super::*;

fn items(text: &[u8]) -> Vec<(Item, String, u64)> {
    items_of(text, JSON)
}

fn items_of(text: &[u8], syntax: Syntax) -> Vec<(Item, String, u64)> {
    let mut reader = Reader::over(text).with_syntax(syntax);
    let mut all = Vec::new();
    let mut seen = Vec::new();
    while let Some(item) = reader.advance().unwrap() {
        assert_eq!(reader.position().bytes as usize, seen.len());
        assert_eq!(reader.position().hash, Digest::of(&seen));
        seen.extend_from_slice(reader.bytes());
        assert_eq!(reader.position_after().hash, Digest::of(&seen));
        let item = match item {
            Item::Bad(_) => Item::Bad(String::new()),
            other => other,
        };
        all.push((item, String::from_utf8_lossy(reader.record()).into_owned(), reader.line()));
    }
    assert_eq!(seen, text);
    all
}

#[test]
fn records_are_found_wherever_a_torn_write_left_them() {
    let bad = || Item::Bad(String::new());
    assert_eq!(items(b""), []);
    assert_eq!(items(b"{\"a\":1}"), [(Item::Record, "{\"a\":1}".to_owned(), 1)]);
    assert_eq!(
        items(b"{\"a\":1}\r\n\n {\"b\":2} {\"c\":\"}\"}{}\n{\"x\n3\n{\"d\":1"),
        [
            (Item::Record, "{\"a\":1}".to_owned(), 1),
            (Item::Blank, String::new(), 2),
            (Item::Record, "{\"b\":2}".to_owned(), 3),
            (Item::Record, "{\"c\":\"}\"}".to_owned(), 3),
            (Item::Record, "{}".to_owned(), 3),
            (bad(), "{\"x".to_owned(), 4),
            (bad(), "3".to_owned(), 5),
            (Item::Torn, "{\"d\":1".to_owned(), 6),
        ]
    );
    assert_eq!(
        items(b"{\"a\":1}{\"b\n{\"c\xff\":1}\n\0\0"),
        [
            (Item::Record, "{\"a\":1}".to_owned(), 1),
            (bad(), "{\"b".to_owned(), 1),
            (bad(), "{\"c\u{fffd}\":1}".to_owned(), 2),
            (Item::Torn, "\0\0".to_owned(), 3),
        ]
    );
}

#[test]
fn a_record_behind_a_torn_one_is_found_if_it_is_certain_to_be_one() {
    let syntax = Syntax { is_certain: |record| record.starts_with(b"{\"id\""), ..JSON };
    let record = |text: &str, line| (Item::Record, text.to_owned(), line);
    let bad = |text: &str, line| (Item::Bad(String::new()), text.to_owned(), line);
    assert_eq!(
        items_of(b"{\"id\":6,\"ses{\"id\":7,\"x\":{\"y\":1}} \n{\"id\":8}\n", syntax),
        [bad("{\"id\":6,\"ses", 1), record("{\"id\":7,\"x\":{\"y\":1}}", 1), record("{\"id\":8}", 2)]
    );
    // Not one that is a part of another, does not end the line, or may go on; nor one behind more braces than are tried.
    for text in ["{\"id\":6,\"x\":{\"y\":1}", "{\"id\":6,\"x\":{\"id\":1}]", "{\"id\":6,\"ses{\"i"] {
        assert_eq!(items_of(format!("{text}\n").as_bytes(), syntax), [bad(text, 1)]);
    }
    let open = "{\"id\":6,\"ses{\"id\":7}";
    assert_eq!(items_of(open.as_bytes(), syntax), [(Item::Torn, open.to_owned(), 1)]);
    let many = format!("{}{{\"id\":7}}", "{\"a\":".repeat(40));
    assert_eq!(items_of(format!("{many}\n").as_bytes(), syntax), [bad(&many, 1)]);
}

#[test]
fn deep_nesting_does_no_harm() {
    let deep = format!("{}{}{}\n{{\"a\":1}}\n", "{\"a\":".repeat(100_000), 1, "}".repeat(100_000));
    assert_eq!(items(deep.as_bytes()).last().map(|(item, _, line)| (item.clone(), *line)), Some((Item::Record, 2)));
}

#[test]
fn a_long_line_is_passed_over_or_read_piece_by_piece() {
    let mut text = b"{\"a\":1}\n".to_vec();
    text.extend(std::iter::repeat_n(b'x', MAX_LINE + 5));
    text.extend_from_slice(b"\n{\"b\":1}\n");
    for read in [false, true] {
        let mut reader = Reader::over(text.as_slice());
        assert_eq!(reader.advance().unwrap(), Some(Item::Record));
        assert_eq!(reader.advance().unwrap(), Some(Item::Long));
        assert_eq!(reader.position().bytes, 8);
        if read {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(&mut reader.long()).unwrap();
            assert_eq!(Digest(*hasher.finalize().as_bytes()), Digest::of(&text[8..text.len() - 8]));
        }
        assert_eq!(reader.advance().unwrap(), Some(Item::Record));
        assert_eq!((reader.record(), reader.line()), (&b"{\"b\":1}"[..], 3));
        assert!(reader.is_whole_line());
        assert_eq!(reader.advance().unwrap(), None);
        assert_eq!(reader.position().hash, Digest::of(&text));
    }
}

#[test]
fn several_files_are_one_stream_with_their_names_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let part = |name: &str, whole: bool, text: &[u8]| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Part { name: name.to_owned(), path: folder.path().join(name), whole, select: None, through: None }
    };
    let parts = [
        part("a", false, b"{\"a\":1}\n{\"b\":2}"),
        part("empty", true, b""),
        part("c", true, b"{\n \"c\": 3\n}\n"),
        part("bad", true, b"{\n \"c\""),
    ];
    let mut reader = Reader::of(&parts, JSON);
    let (mut all, mut seen, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(item) = reader.advance().unwrap() {
        positions.push(reader.position());
        seen.extend_from_slice(reader.bytes());
        all.push((item, String::from_utf8_lossy(reader.record()).into_owned()));
    }
    let names: Vec<&Item> = all.iter().map(|(item, _)| item).collect();
    assert!(matches!(
        names.as_slice(),
        [Item::Part, Item::Record, Item::Record, Item::Part, Item::Part, Item::Record, Item::Part, Item::Bad(_)]
    ));
    assert_eq!(all[5].1, "{\n \"c\": 3\n}");
    let source =
        super::super::source::Source { path: folder.path().to_owned(), below: String::new(), parts: parts.to_vec() };
    let mut bytes = Vec::new();
    source.bytes().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, seen);
    for place in positions {
        let mut reader = Reader::of(&parts, JSON);
        reader.skip(place.bytes).unwrap();
        assert_eq!(reader.position().hash, place.hash);
        let mut rest = Vec::new();
        while reader.advance().unwrap().is_some() {
            rest.extend_from_slice(reader.bytes());
        }
        assert_eq!([&seen[..usize::try_from(place.bytes).unwrap()], &rest].concat(), seen);
    }
}
