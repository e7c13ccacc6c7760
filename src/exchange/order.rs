//! Records that do not stand in the order of their history.

use std::collections::VecDeque;
use std::io;

use super::batch::LIMIT;
use super::reader::{Item, Reader, Syntax};
use super::source::Source;

/// A record's place in the history; those without one come last.
type Place = (bool, u64);

/// Where the source is out of order from byte `from` on: the offset of the first item of each run that is to be sorted,
/// and how many items it has. A run that is longer than a batch may be is several.
pub(super) fn disorder(
    source: &Source,
    from: u64,
    syntax: Syntax,
    order: fn(&[u8]) -> Option<u64>,
) -> io::Result<VecDeque<(u64, usize)>> {
    let mut reader = Reader::of(&source.parts, syntax);
    reader.skip(from)?;
    let (mut found, mut items) = (VecDeque::new(), Vec::new());
    while let Some(item) = reader.advance()? {
        let before = items.last().map_or((false, 0), |(_, place)| *place);
        let place = match item {
            Item::Record => order(reader.record()).map_or((true, 0), |number| (false, number)),
            // It is never held: what stands on both sides of it is not put in one order.
            Item::Long => {
                found.extend(runs(&std::mem::take(&mut items)));
                continue;
            }
            // It is dropped, or whole by the time it is read.
            Item::Torn => break,
            // What is no record stays behind the record before it.
            Item::Bad(_) | Item::Blank | Item::Part => before,
        };
        items.push((reader.offset(), place));
    }
    found.extend(runs(&items));
    Ok(found)
}

fn runs(items: &[(u64, Place)]) -> VecDeque<(u64, usize)> {
    // The least place from each item on.
    let mut least: Vec<Place> = items.iter().map(|(_, place)| *place).collect();
    for at in (1..least.len()).rev() {
        least[at - 1] = least[at - 1].min(least[at]);
    }
    let most = usize::try_from(LIMIT.0).unwrap_or(usize::MAX) / 2;
    let (mut found, mut start, mut greatest) = (VecDeque::new(), 0, (false, 0));
    for at in 0..items.len() {
        greatest = greatest.max(items[at].1);
        let is_cut = least.get(at + 1).is_none_or(|least| greatest <= *least);
        if is_cut || at - start + 1 == most {
            if at > start {
                found.push_back((items[start].0, at - start + 1));
            }
            start = at + 1;
            greatest = if is_cut { greatest } else { (false, 0) };
        }
    }
    found
}

/// The order in which the items of a run are imported: what is no record stays behind the record before it.
pub(super) fn sorted<'r>(items: impl Iterator<Item = (bool, &'r [u8])>, order: fn(&[u8]) -> Option<u64>) -> Vec<usize> {
    let mut before = (false, 0);
    let mut places = Vec::new();
    for (at, (is_record, record)) in items.enumerate() {
        if is_record {
            before = order(record).map_or((true, 0), |number| (false, number));
        }
        places.push((before, at));
    }
    places.sort_unstable();
    places.into_iter().map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(places: &[u64]) -> Vec<(u64, usize)> {
        // The greatest number stands for none.
        let items: Vec<_> = places.iter().zip(0..).map(|(place, at)| (at, (*place == u64::MAX, *place))).collect();
        runs(&items).into()
    }

    #[test]
    fn only_what_is_out_of_order_is_sorted() {
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[1, 2, 2, 5]), []);
        assert_eq!(found(&[1, 3, 2, 4]), [(1, 2)]);
        assert_eq!(found(&[2, 1, 3, 9, 8, 7, 10]), [(0, 2), (3, 3)]);
        assert_eq!(found(&[0, u64::MAX, 1, 2]), [(1, 3)]);
        assert_eq!(found(&[5, 1, 2, 3, 4]), [(0, 5)]);
    }
}
