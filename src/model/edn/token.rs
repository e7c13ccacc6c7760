//! One token: where it ends, and what kind of value its letters make.

use std::borrow::Cow;

use super::{Kind, Wrong};

/// What separates values: white space as Java knows it, and commas.
pub fn is_space(letter: char) -> bool {
    match letter {
        ',' | '\u{1c}'..='\u{1f}' => true,
        // The spaces that forbid a line break; NEXT LINE is a control character there.
        '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{85}' => false,
        other => other.is_whitespace(),
    }
}

/// Whether a symbol, keyword, number or tag ends before `letter`.
pub fn ends_token(letter: char) -> bool {
    is_space(letter) || matches!(letter, '"' | ';' | '^' | '(' | ')' | '[' | ']' | '{' | '}' | '\\')
}

/// The token at the start of `text`.
pub fn take(text: &str) -> &str {
    &text[..text.find(ends_token).unwrap_or(text.len())]
}

/// What a token is that is neither string nor character.
pub fn classify(token: &str) -> Result<Kind, Wrong> {
    match token {
        "nil" => return Ok(Kind::Nil),
        "true" | "false" => return Ok(Kind::Boolean),
        _ => {}
    }
    let unsigned = token.strip_prefix(['+', '-']).unwrap_or(token);
    if unsigned.starts_with(|letter: char| letter.is_ascii_digit()) {
        return number(unsigned).ok_or(Wrong::Number);
    }
    match token.strip_prefix(':') {
        Some(name) if is_name(name) && !name.starts_with(':') => Ok(Kind::Keyword),
        None if is_name(token) => Ok(Kind::Symbol),
        _ => Err(Wrong::Symbol),
    }
}

/// Whether it can be a symbol: a name, or a namespace, `/` and a name.
pub fn is_name(name: &str) -> bool {
    // A sign alone, or `/` alone, is a name; one that ends with either separator was cut off.
    name == "/" || (!name.is_empty() && !name.starts_with('/') && !name.ends_with(['/', ':']) || name.ends_with("//"))
}

fn number(text: &str) -> Option<Kind> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((over, under)) = text.split_once('/') {
        return (digits(over) && digits(under)).then_some(Kind::Ratio);
    }
    let whole = text.strip_suffix('N').unwrap_or(text);
    if digits(whole) {
        // A zero before other digits means octal, in which there is no 8.
        let octal = whole.len() == 1 || !whole.starts_with('0') || !whole.contains(['8', '9']);
        return octal.then_some(Kind::Integer);
    }
    if let Some(hex) = whole.strip_prefix("0x").or_else(|| whole.strip_prefix("0X")) {
        let ok = !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        return ok.then_some(Kind::Integer);
    }
    if let Some((radix, figures)) = whole.split_once(['r', 'R']) {
        let radix: u32 = radix.parse().ok().filter(|radix| (2..=36).contains(radix))?;
        let ok = !figures.is_empty() && figures.chars().all(|figure| figure.is_digit(radix));
        return ok.then_some(Kind::Integer);
    }
    let decimal = text.strip_suffix('M').unwrap_or(text);
    let (mantissa, exponent) = match decimal.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (decimal, None),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let ok = digits(before) && (after.is_empty() || digits(after)) && exponent.is_none_or(digits);
    ok.then_some(Kind::Float)
}

/// How long the character is at the start of `text`, which begins with its backslash.
pub fn character(text: &str) -> Result<usize, Wrong> {
    let after = &text[1..];
    let first = after.chars().next().ok_or(Wrong::End)?;
    let rest = &after[first.len_utf8()..];
    let length = first.len_utf8() + if is_space(first) { 0 } else { take(rest).len() };
    character_named(&after[..length]).ok_or(Wrong::Character)?;
    Ok(1 + length)
}

/// The character of that name.
pub fn character_named(name: &str) -> Option<char> {
    let mut letters = name.chars();
    let first = letters.next()?;
    if letters.as_str().is_empty() {
        return Some(first);
    }
    match name {
        "newline" => Some('\n'),
        "space" => Some(' '),
        "tab" => Some('\t'),
        "backspace" => Some('\u{8}'),
        "formfeed" => Some('\u{c}'),
        "return" => Some('\r'),
        _ => match name.split_at_checked(1)? {
            ("u", hex) if hex.len() == 4 => char::from_u32(of_radix(hex, 16)?),
            ("o", octal) if octal.len() <= 3 => char::from_u32(of_radix(octal, 8).filter(|code| *code <= 0o377)?),
            _ => None,
        },
    }
}

/// The number that `figures` are, without sign.
fn of_radix(figures: &str, radix: u32) -> Option<u32> {
    figures.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| u32::from_str_radix(figures, radix).ok())?
}

/// How long the string is at the start of `text`, which begins with its quote; or where it goes wrong, and how.
pub fn string(text: &str) -> Result<usize, (usize, Wrong)> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None => return Err((text.len(), Wrong::End)),
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => {
                let (_, length) = escape(&text[at..]).ok_or((at, Wrong::Escape))?;
                at += length;
            }
            Some(_) => at += 1,
        }
    }
}

/// What a string says, without its quotes.
pub fn unescape(inside: &str) -> Cow<'_, str> {
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // What was read has only good escapes.
        let Some((letter, length)) = escape(rest) else { break };
        out.push(letter);
        rest = &rest[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The escape at the start of `text`: what it stands for, and its length.
fn escape(text: &str) -> Option<(char, usize)> {
    let simple = |letter| Some((letter, 2));
    match *text.as_bytes().get(1)? {
        b't' => simple('\t'),
        b'r' => simple('\r'),
        b'n' => simple('\n'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'\\' => simple('\\'),
        b'"' => simple('"'),
        b'u' => {
            let unit = |at: usize| of_radix(text.get(at..at + 4)?, 16);
            let high = unit(2)?;
            if !(0xd800..0xdc00).contains(&high) {
                return Some((char::from_u32(high)?, 6));
            }
            let low = text.get(6..8).filter(|next| *next == "\\u").and_then(|_| unit(8))?;
            let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            Some((char::from_u32(0x10000 + ((high - 0xd800) << 10) + low)?, 12))
        }
        b'0'..=b'7' => {
            let digits = text[1..].bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
            let code = of_radix(&text[1..=digits], 8).filter(|code| *code <= 0o377)?;
            Some((char::from_u32(code)?, 1 + digits))
        }
        _ => None,
    }
}
