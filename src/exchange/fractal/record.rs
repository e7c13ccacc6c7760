//! The records of a journal: one EDN map a line, as docs/IMPORT.md describes them.

use crate::exchange::json::{kept, scaled};
use crate::model::edn::{Document, Kind, Value, read_prefix};
use crate::model::{Status, Timestamp};

/// A record that was read.
#[derive(Debug)]
pub struct Record<'r> {
    document: Document<'r>,
    kind: String,
}

/// A value of a record that is being read.
pub type Edn<'d> = Value<'d, 'd>;

/// How many bytes the first map of a text takes; the syntax of journals.
pub fn edn_map(text: &[u8]) -> Result<usize, String> {
    match read_prefix(text) {
        Ok(Some((document, end))) if is_map(document.root().kind()) => Ok(end),
        Ok(Some(_)) => Err("it is EDN, but no map".to_owned()),
        Ok(None) => Err("there is nothing in it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn is_map(kind: Kind) -> bool {
    matches!(kind, Kind::Map | Kind::NamespacedMap)
}

impl<'r> Record<'r> {
    /// Reads a record; why it cannot be understood.
    pub fn read(text: &'r [u8]) -> Result<Record<'r>, String> {
        let document = Document::read(text).map_err(|error| error.to_string())?;
        let kind = document.root().get("event/type").and_then(|kind| kind.keyword().map(std::borrow::Cow::into_owned));
        let kind = kind.ok_or("it has no :event/type")?;
        Ok(Record { document, kind })
    }

    /// Its `:event/type`, without colon.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// When it was written.
    pub fn at(&self) -> Option<Timestamp> {
        self.get("event/at").and_then(time)
    }

    /// One of its fields.
    pub fn get(&self, name: &str) -> Option<Value<'_, 'r>> {
        self.document.root().get(name)
    }

    /// The row it carries under the name `name`, a map.
    pub fn row(&self, name: &'static str) -> Result<Row<'_, 'r>, String> {
        let value = self.get(name).filter(|value| is_map(value.kind()));
        value.map(|value| Row { value, name }).ok_or_else(|| format!("it has no map :{name}"))
    }
}

/// A row of a record: a map whose keys have the row's name as namespace.
#[derive(Clone, Copy)]
pub struct Row<'d, 'r> {
    /// The map.
    pub value: Value<'d, 'r>,
    name: &'static str,
}

impl<'d, 'r> Row<'d, 'r> {
    /// The row that a map is, of that name.
    pub fn of(value: Value<'d, 'r>, name: &'static str) -> Row<'d, 'r> {
        Row { value, name }
    }

    /// A field of the row's own namespace; none where it is `nil`.
    pub fn get(&self, field: &str) -> Option<Value<'d, 'r>> {
        self.value.get(&format!("{}/{field}", self.name)).filter(|value| !value.is_nil())
    }

    /// Whether the row has that field, be it `nil`.
    pub fn has(&self, field: &str) -> bool {
        self.value.get(&format!("{}/{field}", self.name)).is_some()
    }

    /// A field that is a whole number.
    pub fn whole(&self, field: &str) -> Option<u64> {
        self.get(field)?.whole()
    }

    /// The row's id.
    pub fn id(&self) -> Result<u64, String> {
        self.whole("id").ok_or_else(|| format!("its :{0} has no :{0}/id", self.name))
    }

    /// A field that is a time.
    pub fn time(&self, field: &str) -> Option<Timestamp> {
        self.get(field).and_then(time)
    }

    /// A field that is a keyword, symbol or string, as a text.
    pub fn word(&self, field: &str) -> Option<String> {
        word(self.get(field)?)
    }

    /// A field that is a status.
    pub fn status(&self, field: &str) -> Option<Status> {
        Status::new(self.word(field)?).ok()
    }

    /// What the row says beyond `known` and the fields that are `nil`, as JSON; none where that is nothing.
    pub fn rest(&self, known: &[&str]) -> Option<String> {
        let mut writer = crate::model::edn::Writer::new();
        writer.begin_map();
        let mut some = false;
        for (key, value) in self.value.entries() {
            let name = key.keyword();
            let field = name.as_deref().and_then(|name| name.strip_prefix(self.name)?.strip_prefix('/'));
            let is_known = field.is_some_and(|field| known.contains(&field))
                || name.as_deref().is_some_and(|name| known.contains(&name) && field.is_none());
            if is_known || value.is_nil() {
                continue;
            }
            some = true;
            match &name {
                Some(name) => writer.keyword(name),
                None => writer.raw(key.text()),
            };
            writer.raw(value.text());
        }
        let text = some.then(|| writer.finish())?;
        Some(Document::read(text.as_bytes()).ok()?.root().to_json())
    }
}

/// A keyword, symbol or string as a text.
pub fn word(value: Value<'_, '_>) -> Option<String> {
    value.name().or_else(|| value.string()).map(std::borrow::Cow::into_owned)
}

/// A string that is a time.
pub fn time(value: Value<'_, '_>) -> Option<Timestamp> {
    value.string()?.parse().ok()
}

/// The first of these fields of a map that is an amount.
pub fn first_whole(map: Option<Value<'_, '_>>, names: &[&str]) -> Option<u64> {
    kept(names.iter().find_map(|name| map?.get(name)?.whole()))
}

/// The first of these fields of a map that is a number, times 10^9, exactly.
pub fn first_nano(map: Option<Value<'_, '_>>, names: &[&str]) -> Option<u64> {
    kept(names.iter().find_map(|name| {
        let value = map?.get(name)?;
        let text = match value.kind() {
            Kind::Float => value.text().trim_end_matches('M'),
            Kind::Integer => value.text().trim_end_matches('N'),
            _ => return None,
        };
        scaled(text.strip_prefix('+').unwrap_or(text), 9)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_by_name_and_the_rest_stays() {
        let text = br#"{:event/type :call/put, :call {:call/id 2, :call/usage #:usage{:input-tokens 937}, :call/cost {:cost/usd 9.37E-4},
            :call/error nil, :call/mode :edn, :batch/id "b", :event/at nil}, :event/at "2026-01-02T03:04:05.123456789Z"}"#;
        let record = Record::read(text).unwrap();
        assert_eq!(record.kind(), "call/put");
        assert_eq!(record.at().unwrap().to_string(), "2026-01-02T03:04:05.123456Z");
        let row = record.row("call").unwrap();
        assert_eq!(row.id(), Ok(2));
        assert_eq!(first_whole(row.get("usage"), &["usage/prompt-tokens", "usage/input-tokens"]), Some(937));
        assert_eq!(first_nano(row.get("cost"), &["usd", "cost/usd"]), Some(937_000));
        assert_eq!(
            row.rest(&["id", "usage", "batch/id"]).unwrap(),
            r#"{"call/cost":{"cost/usd":9.37E-4},"call/mode":":edn"}"#
        );
        assert_eq!(row.rest(&["id", "usage", "batch/id", "cost", "mode"]), None);
        assert!(record.row("turn").is_err());
        assert!(Record::read(b"{:a 1}").is_err());
        assert_eq!(edn_map(b"{:a 1}{:b 2}"), Ok(6));
        assert!(edn_map(b"[1]").is_err());
    }
}
