//! Small steps on JSON text that leave it as it is written: where a value lies, what a string says, a decimal exactly.

use std::ops::Range;

use serde_json::value::RawValue;

/// Where `value` lies in `text`, of which it must be a part.
pub fn range_in(text: &[u8], value: &RawValue) -> Option<Range<usize>> {
    let start = value.get().as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let range = start..start.checked_add(value.get().len())?;
    (text.get(range.clone())? == value.get().as_bytes()).then_some(range)
}

/// The mark that some editors begin a file with.
pub const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The beginning of a file without that mark and white space.
pub fn beginning(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_ascii_start()
}

/// JSON text without the white space between its values; what is no JSON comes out as something.
pub fn compact(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let end = string_end(text, at);
                out.extend_from_slice(&text[at..end]);
                at = end;
                continue;
            }
            b' ' | b'\t' | b'\n' | b'\r' => {}
            byte => out.push(*byte),
        }
        at += 1;
    }
    out
}

/// Behind the string that begins at `at`.
fn string_end(text: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(byte) = text.get(end) {
        end += match byte {
            b'"' => return end + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    text.len()
}

/// Compact JSON as most writers indent it, by two spaces from `level` on, but with each line ended by a carriage return.
pub fn indented(text: &[u8], level: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    let (mut level, mut at) = (level as usize, 0);
    let line = |out: &mut Vec<u8>, level: usize| {
        out.push(b'\r');
        out.resize(out.len() + 2 * level, b' ');
    };
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let end = string_end(text, at);
                out.extend_from_slice(&text[at..end]);
                at = end;
                continue;
            }
            b'{' | b'[' if matches!(text.get(at + 1), Some(b'}' | b']')) => {
                out.extend_from_slice(&text[at..at + 2]);
                at += 1;
            }
            b'{' | b'[' => {
                out.push(*byte);
                level += 1;
                line(&mut out, level);
            }
            b'}' | b']' => {
                level = level.saturating_sub(1);
                line(&mut out, level);
                out.push(*byte);
            }
            b',' => {
                out.push(b',');
                line(&mut out, level);
            }
            b':' => out.extend_from_slice(b": "),
            byte => out.push(*byte),
        }
        at += 1;
    }
    out
}

/// What a JSON string says; none for other values and lone surrogates.
pub fn text(value: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(value?.get()).ok()
}

/// What serde asks to leave a field out.
pub fn is_false(value: &bool) -> bool {
    !*value
}

/// A JSON number that is a whole number of that size.
pub fn whole<T: std::str::FromStr>(value: Option<&RawValue>) -> Option<T> {
    value?.get().parse().ok()
}

/// An amount, if it is one that a store keeps: up to 2^63 - 1. A greater one counts as unknown.
pub fn kept(amount: Option<u64>) -> Option<u64> {
    amount.filter(|amount| i64::try_from(*amount).is_ok())
}

/// A JSON number times 10^`digits`, rounded to the nearest whole number, from its text: no binary fraction is involved.
/// None for what is negative or too large.
pub fn scaled(number: &str, digits: i64) -> Option<u64> {
    let (mantissa, exponent) = match number.find(['e', 'E']) {
        Some(at) => (&number[..at], number[at + 1..].parse::<i64>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if all.is_empty() || !all.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let fraction = i64::try_from(fraction.len()).ok()?;
    // How many of the digits lie before the point of the scaled number; there may be more than there are.
    let point = i64::try_from(all.len()).ok()?.checked_add(exponent)?.checked_add(digits)?.checked_sub(fraction)?;
    let mut value = 0_u64;
    let digit =
        |at: i64| usize::try_from(at).ok().and_then(|at| all.get(at)).map_or(0, |digit| u64::from(digit - b'0'));
    let zero = all.iter().all(|digit| *digit == b'0');
    if zero {
        return Some(0);
    }
    let mut at = 0;
    while at < point {
        value = value.checked_mul(10)?.checked_add(digit(at))?;
        at += 1;
        // Leading zeros are few; beyond the digits the value grows until it is too large.
    }
    if point >= 0 && digit(point) >= 5 { value.checked_add(1) } else { Some(value) }
}

/// The JSON number that is `value` divided by 10^`digits`, exactly.
pub fn decimal(value: u64, digits: usize) -> String {
    let text = format!("{value:0>width$}", width = digits + 1);
    let (whole, fraction) = text.split_at(text.len() - digits);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_scaled_exactly() {
        for value in [0, 1, 10, 999_999_999, 1_000_000_000, 2_500_000_000, u64::MAX / 2] {
            assert_eq!(scaled(&decimal(value, 9), 9), Some(value));
        }
        for (text, value) in [
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("0e999999999", Some(0)),
            ("0.029977500000000004", Some(29_977_500)),
            ("0.015040000000000001", Some(15_040_000)),
            ("1", Some(1_000_000_000)),
            ("12.5e-1", Some(1_250_000_000)),
            ("1.5E3", Some(1_500_000_000_000)),
            ("1e-9", Some(1)),
            ("4.9e-10", Some(0)),
            ("5e-10", Some(1)),
            ("5e-11", Some(0)),
            ("5e-999999999", Some(0)),
            ("0.0000000004999999", Some(0)),
            ("18446744073.709551615", Some(u64::MAX)),
            ("18446744073.709551616", None),
            ("18446744073.7095516155", None),
            ("1e400", None),
            ("1e99999999999999999999", None),
            ("-1", None),
            ("-0.0", None),
            ("", None),
            (".", None),
            ("\"1\"", None),
        ] {
            assert_eq!(scaled(text, 9), value, "{text}");
        }
    }

    #[test]
    fn indented_json_is_compact_json_again() {
        let compact_text = br#"{"a":[1,{"b":"x: [,] \" y"},[],{}],"c":null}"#;
        let expected = "{\r      \"a\": [\r        1,\r        {\r          \"b\": \"x: [,] \\\" y\"\r        },\r        [],\r        \
                        {}\r      ],\r      \"c\": null\r    }";
        let out = indented(compact_text, 2);
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
        assert_eq!(compact(&out), compact_text);
        for odd in [&b"\"open"[..], b"]]]", b"\"\\", b"{", b""] {
            assert_eq!(compact(&indented(odd, 0)), odd, "{odd:?}");
        }
    }

    #[test]
    fn a_value_is_found_in_its_text() {
        let text = br#"{"a": [1, "x"]}"#;
        let parts: std::collections::BTreeMap<&str, &RawValue> = serde_json::from_slice(text).unwrap();
        assert_eq!(range_in(text, parts["a"]), Some(6..14));
        assert_eq!(range_in(b"elsewhere", parts["a"]), None);
    }
}
