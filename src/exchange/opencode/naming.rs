//! Ids of messages and parts, whose order as texts is that of what they name.

use crate::model::{Digest, SessionId};

/// An id's time has so many bits, and it counts so many ids in a millisecond.
const BITS: u32 = 48;
const COUNTED: u64 = 0x1000;

/// Makes ids of one kind.
pub struct Ids {
    prefix: &'static str,
    /// The last that there is.
    last: String,
    count: u64,
}

impl Ids {
    /// Behind `last`, which may be empty.
    pub fn behind(prefix: &'static str, last: String) -> Ids {
        Ids { prefix, last, count: 0 }
    }

    /// The next id, of something that was made at that time, in milliseconds; the same at each export. As OpenCode makes them where that is
    /// in order, else one that lies right behind the last.
    pub fn next(&mut self, session: &SessionId, at: i64) -> String {
        self.count += 1;
        let time = (u64::try_from(at).unwrap_or_default()).wrapping_mul(COUNTED).wrapping_add(self.count % COUNTED);
        let time = time & ((1 << BITS) - 1);
        let digest = Digest::of(format!("{session} {} {}", self.prefix, self.count).as_bytes()).to_string();
        let random: String = digest.chars().skip(3).take(14).collect();
        let mut id = format!("{}_{time:012x}{random}", self.prefix);
        if id <= self.last {
            id = following(&self.last);
        }
        self.last.clone_from(&id);
        id
    }
}

/// The id that lies right behind `last`, if others of its kind are to follow.
fn following(last: &str) -> String {
    const DIGITS: usize = 8;
    let own = last.len().checked_sub(DIGITS + 1).and_then(|at| last.split_at_checked(at));
    let counted = own.and_then(|(base, own)| Some((base, own.strip_prefix('z')?.parse::<u64>().ok()?)));
    match counted.filter(|(_, count)| count + 1 < 10_u64.pow(8)) {
        Some((base, count)) => format!("{base}z{:08}", count + 1),
        None => format!("{last}z{:08}", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_order_whatever_the_clock_says() {
        let session: SessionId = "own".parse().unwrap();
        for last in ["", "msg_01", "msg_zzz", "msg_fffffffffffffzzzzzzzz", "msg_01z99999999", "msg_01z0000000x"] {
            let mut ids = Ids::behind("msg", last.to_owned());
            let mut before = last.to_owned();
            for at in [1_700_000_000_000, 1_700_000_000_000, 5, -1, i64::MAX, 1_700_000_000_001].repeat(40) {
                let id = ids.next(&session, at);
                assert!(id > before && id.starts_with("msg_"), "{id} behind {before}");
                assert!(id.len() < last.len() + 64, "{id}");
                before = id;
            }
        }
    }
}
