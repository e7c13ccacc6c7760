//! Addresses of nodes: the way from a session down to one that it called.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::id::{BadId, SessionId};

/// One step down: how a caller's rows name a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// `child-0001`: an invocation's ordinal among its caller's children.
    Child(u64),
    /// `invocation-0001`: an invocation that was given no ordinal, by its number.
    Invocation(u64),
    /// `call-0001`: a call that opened a session without an invocation, by its number.
    Call(u64),
}

impl Label {
    /// Whether `text` has the form of a label, its number given in whatever width.
    fn parse(text: &str) -> Option<Label> {
        let (word, digits) = text.rsplit_once('-')?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = digits.parse().ok()?;
        match word {
            "child" => Some(Label::Child(number)),
            "invocation" => Some(Label::Invocation(number)),
            "call" => Some(Label::Call(number)),
            _ => None,
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Label::Child(n) => write!(f, "child-{n:04}"),
            Label::Invocation(n) => write!(f, "invocation-{n:04}"),
            Label::Call(n) => write!(f, "call-{n:04}"),
        }
    }
}

/// The way from a session, `root`, to one below it: `root`, `child-0001`, `child-0001/child-0004`. A leading `root/` is optional.
///
/// ```
/// use headwater::model::Address;
/// let address: Address = "root/child-1/child-0004".parse()?;
/// assert_eq!(address.to_string(), "child-0001/child-0004");
/// assert_eq!("root".parse::<Address>()?, Address::default());
/// # Ok::<(), headwater::model::id::BadId>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Vec<Label>);

impl Address {
    /// The steps from the root down; none for the root itself.
    pub fn steps(&self) -> &[Label] {
        &self.0
    }

    /// The address of a child of the node here.
    pub fn child(&self, label: Label) -> Address {
        let mut steps = self.0.clone();
        steps.push(label);
        Address(steps)
    }

    /// Whether `text` is an address by its form: `root`, or a label first.
    pub(crate) fn begins(text: &str) -> bool {
        let first = text.split('/').next().unwrap_or_default();
        first == "root" || Label::parse(first).is_some()
    }
}

impl FromStr for Address {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Address, BadId> {
        let rule = "`root`, or labels such as `child-0001`, joined by `/`";
        let below = match text.strip_prefix("root") {
            Some("") => return Ok(Address::default()),
            Some(rest) => rest.strip_prefix('/').unwrap_or(text),
            None => text,
        };
        let steps =
            below.split('/').map(|step| Label::parse(step).ok_or_else(|| BadId::new("node address", text, rule)));
        steps.collect::<Result<_, _>>().map(Address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("root");
        }
        for (at, step) in self.0.iter().enumerate() {
            write!(f, "{}{step}", if at == 0 { "" } else { "/" })?;
        }
        Ok(())
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A node by the session its tree begins at, and the way down: `demo`, `demo/child-0001`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName {
    /// The session at the top.
    pub session: SessionId,
    /// The way from there.
    pub address: Address,
}

impl NodeName {
    /// The session itself.
    pub fn root(session: SessionId) -> NodeName {
        NodeName { session, address: Address::default() }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.session)?;
        self.address.steps().iter().try_for_each(|step| write!(f, "/{step}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form_and_are_read_in_several() {
        for (text, form) in [
            ("root", "root"),
            ("child-0001", "child-0001"),
            ("root/child-0001", "child-0001"),
            ("child-1/child-12345", "child-0001/child-12345"),
            ("root/call-0002/invocation-3", "call-0002/invocation-0003"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), form);
        }
        for bad in [
            "",
            "/",
            "root/",
            "child-",
            "child-x",
            "child-+1",
            "child-0001/",
            "rooted",
            "a/child-1",
            "child-99999999999999999999",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
        assert!(Address::begins("root") && Address::begins("child-0001/x") && !Address::begins("children"));
    }
}
