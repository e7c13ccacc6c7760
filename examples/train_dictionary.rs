//! Makes the dictionaries under `src/blob/dictionary/` from invented text:
//!
//! ```text
//! cargo run --release --example train_dictionary
//! ```
//!
//! A dictionary in a release is never made again (its digest is pinned in a test): a new one gets a new file and
//! number. Nothing but the word lists and generators here may go in, since what a dictionary holds is in every copy
//! of the program; sessions and logs hold secrets. To see what one is worth on files of yours, cut in pieces:
//!
//! ```text
//! cargo run --release --example train_dictionary -- measure payload|lines|root PIECE FILE...
//! ```

use std::collections::HashSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use headwater::blob::codec::{Class, decode, encode};

const SENTENCES: &str = include_str!("../src/blob/dictionary/sentences.txt");
const SNIPPETS: &str = include_str!("../src/blob/dictionary/snippets.txt");
const WORDS: &str = include_str!("../src/blob/dictionary/words.txt");

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => train(),
        ["measure", class, piece, files @ ..] => measure(class, piece.parse()?, files),
        _ => Err("see the head of the file for its use".into()),
    }
}

fn train() -> Result<(), Box<dyn Error>> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let words = Words::new();

    // The trainer's entropy tables with content laid out by hand: the trainer picks what occurs in many samples, and
    // in invented samples that says more about the generator than about English.
    let samples: Vec<String> = (0..6000).map(|_| words.message(&mut dice)).collect();
    let header = header(&zstd::dict::from_samples(&samples, 48 << 10)?)?;
    save(
        "prose",
        [header, words.content(&mut dice).into_bytes()].concat(),
    )?;

    let samples: Vec<String> = (0..3000).map(|_| commit_body(&words, &mut dice)).collect();
    save("lines", zstd::dict::from_samples(&samples, 12 << 10)?)?;

    let samples: Vec<String> = (0..3000).map(|_| root(&mut dice)).collect();
    save("roots", zstd::dict::from_samples(&samples, 4 << 10)?)?;
    Ok(())
}

fn save(name: &str, bytes: Vec<u8>) -> std::io::Result<()> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/blob/dictionary/{name}.zdict"));
    println!(
        "{name}: {} bytes, blake3 {}",
        bytes.len(),
        blake3::hash(&bytes)
    );
    std::fs::write(path, bytes)
}

/// All of a trained dictionary before its content: magic, id, entropy tables, and the three offsets to begin with.
fn header(dictionary: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let offsets = [1, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0];
    let at = dictionary
        .windows(12)
        .position(|window| window == offsets)
        .ok_or("no offsets in the header")?;
    Ok(dictionary[..at + 12].to_vec())
}

/// Random numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    fn one_of<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }

    /// The first of a list often, the last rarely, as with the words of a language.
    fn zipf<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let u = self.below(1 << 20) as f64 / f64::from(1 << 20);
        let at = (items.len() as f64 + 1.0).powf(u) - 1.0;
        &items[(at as usize).min(items.len() - 1)]
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits)
            .map(|_| char::from(*self.pick(b"0123456789abcdef")))
            .collect()
    }
}

// ---------------------------------------------------------------------------------------------------- prose

struct Words {
    function: Vec<String>,
    nouns: Vec<String>,
    verbs: Vec<String>,
    adjectives: Vec<String>,
    adverbs: Vec<String>,
    tech: Vec<String>,
    sentences: Vec<String>,
    snippets: Vec<String>,
}

/// Verbs whose past is not made with `ed`.
const IRREGULAR: &str = " be have make see need get write read take give keep find run set know think say go come mean \
    put let send build understand choose draw bind lead become split shut cut begin show ";

impl Words {
    fn new() -> Self {
        let section = |name: &str| -> Vec<String> {
            let mut seen = HashSet::new();
            let list = WORDS
                .split('[')
                .find_map(|s| s.strip_prefix(name)?.strip_prefix(']'))
                .unwrap_or_default();
            list.split_whitespace()
                .filter(|word| seen.insert(*word))
                .map(String::from)
                .collect()
        };
        Self {
            function: section("function"),
            nouns: section("noun"),
            verbs: section("verb"),
            adjectives: section("adjective"),
            adverbs: section("adverb"),
            tech: section("tech"),
            sentences: SENTENCES.lines().map(String::from).collect(),
            snippets: SNIPPETS.split("~~~\n").map(String::from).collect(),
        }
    }

    fn noun(&self, dice: &mut Dice) -> String {
        let noun = dice.zipf(&self.nouns);
        if dice.below(3) == 0 {
            plural(noun)
        } else {
            noun.clone()
        }
    }

    fn verb(&self, dice: &mut Dice) -> String {
        let verb = dice.zipf(&self.verbs);
        match dice.below(4) {
            0 => participle(verb),
            1 => past(verb).unwrap_or_else(|| verb.clone()),
            _ => verb.clone(),
        }
    }

    /// A sentence that means nothing, of words as frequent as they are in English.
    fn nonsense(&self, dice: &mut Dice) -> String {
        let mut text = String::new();
        for i in 0..4 + dice.below(14) {
            let word = match dice.below(20) {
                0..=9 => dice.zipf(&self.function).clone(),
                10..=13 => self.noun(dice),
                14..=15 => self.verb(dice),
                16 => dice.zipf(&self.adjectives).clone(),
                17 => dice.zipf(&self.adverbs).clone(),
                18 => format!("`{}`", dice.zipf(&self.tech)),
                // Names and numbers that no dictionary knows.
                _ => dice.pick(&self.rare(dice.0)).clone(),
            };
            text.push_str(if i > 0 { " " } else { "" });
            text.push_str(&word);
        }
        text.push_str(dice.one_of(&[".", ".", ".", ",", ":", "?", ".\n\n"]));
        text
    }

    fn rare(&self, seed: u64) -> [String; 2] {
        let mut dice = Dice(seed | 1);
        let letters: String = (0..3 + dice.below(6))
            .map(|_| char::from(*dice.zipf(b"etaoinshrdlucmfwypvbgkjqxz")))
            .collect();
        [letters, dice.below(2000).to_string()]
    }

    /// A message of 200 to 3000 bytes.
    fn message(&self, dice: &mut Dice) -> String {
        let length = 200 + dice.below(2800);
        let mut text = String::new();
        while text.len() < length {
            match dice.below(24) {
                0 | 1 => {
                    let lines: Vec<&str> = dice.pick(&self.snippets).lines().collect();
                    let from = dice.below(lines.len());
                    for line in lines[from..].iter().take(2 + dice.below(8)) {
                        text.push_str(line);
                        text.push('\n');
                    }
                }
                2 => {
                    let sentence = dice.pick(&self.sentences);
                    text.push_str(sentence);
                }
                3 => {
                    let _ = write!(
                        text,
                        "\n\n## {} {}\n\n- **{}**: ",
                        self.noun(dice),
                        self.noun(dice),
                        self.verb(dice)
                    );
                }
                _ => text.push_str(&self.nonsense(dice)),
            }
            text.push(' ');
        }
        text
    }

    /// What the dictionary holds, the most useful last: what is near has the shorter offsets.
    fn content(&self, dice: &mut Dice) -> String {
        let mut text = String::new();
        // Every word once in each of its forms, the rare ones first. Sentences made of them were no better: level 3
        // keeps 32 Ki positions of a dictionary, and the filling took the place of the words.
        for verb in self.verbs.iter().rev() {
            let past = past(verb)
                .map(|past| format!(" {past}"))
                .unwrap_or_default();
            let _ = write!(text, " {verb}{past} {} {}", participle(verb), third(verb));
        }
        for noun in self.nouns.iter().rev() {
            let _ = write!(text, " {noun} {}", plural(noun));
        }
        let small = [&self.adjectives, &self.adverbs, &self.tech, &self.function];
        for word in small.into_iter().flat_map(|words| words.iter().rev()) {
            let _ = write!(text, " {word}");
        }
        for snippet in &self.snippets {
            text.push_str(snippet);
        }
        for sentence in self.sentences.iter().rev() {
            text.push_str(sentence);
            text.push_str(dice.one_of(&[" ", " ", "\n\n", "\n- ", "\n"]));
        }
        text
    }
}

fn ends_in_consonant_y(word: &str) -> bool {
    word.ends_with('y') && !word.ends_with("ay") && !word.ends_with("ey") && !word.ends_with("oy")
}

fn plural(noun: &str) -> String {
    match noun {
        _ if ends_in_consonant_y(noun) => format!("{}ies", &noun[..noun.len() - 1]),
        "people" | "information" | "software" | "feedback" | "hardware" | "advice" => {
            noun.to_owned()
        }
        "child" => "children".to_owned(),
        "person" => "persons".to_owned(),
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") || noun.ends_with("sh") => {
            format!("{noun}es")
        }
        _ => format!("{noun}s"),
    }
}

fn third(verb: &str) -> String {
    match verb {
        "be" => "is".to_owned(),
        "have" => "has".to_owned(),
        "go" => "goes".to_owned(),
        _ => plural(verb),
    }
}

/// `fit` becomes `fitt`, since a short vowel doubles the letter behind it.
fn doubled(verb: &str) -> String {
    const DOUBLED: &str = " run set get put let split drop skip stop submit commit omit trim log debug wrap cut plan \
        permit scan prefer refer emit grep ";
    match verb.chars().last() {
        Some(last) if DOUBLED.contains(&format!(" {verb} ")) => format!("{verb}{last}"),
        _ => verb.to_owned(),
    }
}

fn participle(verb: &str) -> String {
    match verb {
        "be" | "see" => format!("{verb}ing"),
        _ if verb.ends_with('e') => format!("{}ing", &verb[..verb.len() - 1]),
        _ => format!("{}ing", doubled(verb)),
    }
}

fn past(verb: &str) -> Option<String> {
    if IRREGULAR.contains(&format!(" {verb} ")) {
        return None;
    }
    Some(match verb {
        _ if verb.ends_with('e') => format!("{verb}d"),
        _ if ends_in_consonant_y(verb) => format!("{}ied", &verb[..verb.len() - 1]),
        _ => format!("{}ed", doubled(verb)),
    })
}

// ---------------------------------------------------------------------------------------------------- lines

/// The body of a commit: what `stream` prints, one line an event or record. Edit this when the lines change.
fn commit_body(words: &Words, dice: &mut Dice) -> String {
    let session = match dice.below(4) {
        0 => "demo".to_owned(),
        1 => format!("session-{}", dice.hex(8)),
        2 => format!(
            "{}-{}-4{}-a{}-{}",
            dice.hex(8),
            dice.hex(4),
            dice.hex(3),
            dice.hex(3),
            dice.hex(12)
        ),
        _ => format!("{}-{}", dice.pick(&words.nouns), dice.below(1000)),
    };
    let time = format!(
        "20{}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        25 + dice.below(6),
        1 + dice.below(12),
        1 + dice.below(28),
        dice.below(24),
        dice.below(60),
        dice.below(60),
        dice.below(1_000_000)
    );
    let first = dice.below(2000);
    let (turn, mut call, mut message) = (1 + first / 20, 1 + first / 8, 1 + first / 5);
    let mut text = String::new();
    for i in 0..1 + dice.below(7) {
        let hash = dice.hex(64);
        let size = 1 + dice.zipf(&[900, 60, 2500, 12_000, 150_000]) + dice.below(800);
        let id = first + i;
        let head = |kind: &str, rest: &str| {
            format!(
                r#"{{"event/id":{id},"event/type":"{kind}","event/session":"{session}","event/at":"{time}",{rest}}}"#
            )
        };
        let payload = format!(r#"{{"record":"payload/added","hash":"b3:{hash}","size":{size}}}"#);
        let line = match dice.below(12) {
            0 => head(
                "head/created",
                &format!(
                    r#""event/row-kind":"head","event/row-id":"head-{hash}","event/head-id":"head-{hash}","event/payload-ref":"b3:{hash}","row":{{"kind":"{}","basis":"head-{}"}}"#,
                    dice.one_of(&["turn-final", "compaction", "manual", "fork"]),
                    dice.hex(64)
                ),
            ),
            1 => head(
                "session/ref-updated",
                &format!(
                    r#""event/row-kind":"ref","event/row-id":"current-head","event/head-id":"head-{hash}""#
                ),
            ),
            2 => head(
                "turn/started",
                &format!(
                    r#""event/row-kind":"turn","event/row-id":"{turn}","event/turn-id":{turn},"row":{{"status":"running"}}"#
                ),
            ),
            3 => head(
                "turn/finished",
                &format!(
                    r#""event/row-kind":"turn","event/row-id":"{turn}","event/turn-id":{turn},"row":{{"status":"{}"}}"#,
                    dice.one_of(&["done", "failed", "cancelled"])
                ),
            ),
            4 | 5 => head(
                dice.one_of(&["call/started", "call/finished"]),
                &format!(
                    r#""event/row-kind":"call","event/row-id":"{call}","event/turn-id":{turn},"event/call-id":{call},"event/payload-ref":"b3:{hash}","row":{{"name":"{}","status":"{}"}}"#,
                    dice.one_of(&["bash", "read", "edit", "write", "model", "search"]),
                    dice.one_of(&["running", "done", "failed"])
                ),
            ),
            6 => head(
                dice.one_of(&[
                    "eval/added",
                    "snapshot/added",
                    "invocation/started",
                    "invocation/finished",
                    "session/created",
                ]),
                &format!(
                    r#""event/row-kind":"{}","event/row-id":"{}","event/turn-id":{turn},"event/payload-ref":"b3:{hash}","row":{{"kind":"{}"}}"#,
                    dice.one_of(&["eval", "snapshot", "invocation", "session"]),
                    1 + dice.below(30),
                    dice.one_of(&["note", "score", "state"])
                ),
            ),
            _ => head(
                "message/added",
                &format!(
                    r#""event/row-kind":"message","event/row-id":"{message}","event/turn-id":{turn},"event/call-id":{call},"event/payload-ref":"b3:{hash}","row":{{"role":"{}","chars":{size}}}"#,
                    dice.one_of(&["assistant", "user", "tool", "system"])
                ),
            ),
        };
        call += dice.below(2);
        message += 1;
        if line.contains("payload-ref") {
            text.push_str(&payload);
            text.push('\n');
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

// ---------------------------------------------------------------------------------------------------- roots

/// The root of a head. Edit this when its keys change.
fn root(dice: &mut Dice) -> String {
    let event = 1 + dice.below(4000);
    let from = 1 + dice.below(event);
    let some = |dice: &mut Dice, prefix: &str| match dice.below(3) {
        0 => "null".to_owned(),
        _ => format!("\"{prefix}{}\"", dice.hex(64)),
    };
    let refs = match dice.below(3) {
        0 => "{}".to_owned(),
        1 => format!(r#"{{"final":"b3:{}"}}"#, dice.hex(64)),
        _ => format!(
            r#"{{"final":"b3:{}","summary":"b3:{}"}}"#,
            dice.hex(64),
            dice.hex(64)
        ),
    };
    let session = match dice.below(2) {
        0 => "demo".to_owned(),
        _ => format!("session-{}", dice.hex(8)),
    };
    format!(
        r#"{{"basis":{},"counters":{{"call":{},"child":{},"eval":{},"event":{event},"head":{},"invocation":{},"message":{},"snapshot":{},"turn":{}}},"digest":"b3:{}","kind":"{}","refs":{refs},"session":"{}","span":[{from},{event}],"transcript":{},"up":{},"version":1}}"#,
        some(dice, "head-"),
        dice.below(event),
        dice.below(3),
        dice.below(5),
        1 + event / 20,
        dice.below(3),
        dice.below(event),
        dice.below(4),
        1 + event / 20,
        dice.hex(64),
        dice.one_of(&["turn-final", "compaction", "manual", "fork", "import"]),
        session,
        some(dice, "b3:"),
        some(dice, "head-"),
    )
}

// ---------------------------------------------------------------------------------------------------- measure

fn measure(class: &str, piece: usize, files: &[&str]) -> Result<(), Box<dyn Error>> {
    let class = match class {
        "payload" => Class::Payload,
        "lines" => Class::Lines,
        "root" => Class::Root,
        _ => return Err("payload, lines or root".into()),
    };
    let mut pieces = Vec::new();
    for file in files {
        pieces.extend(
            std::fs::read(file)?
                .chunks(piece.max(1))
                .map(<[u8]>::to_vec),
        );
    }
    let mut plain = 0;
    for piece in &pieces {
        plain += zstd::bulk::compress(piece, 1)?.len().min(piece.len());
    }
    let _ = encode(b"", class);
    let start = Instant::now();
    let stored: Vec<_> = pieces.iter().map(|piece| encode(piece, class)).collect();
    let (encoding, start) = (start.elapsed(), Instant::now());
    for ((codec, stored), piece) in stored.iter().zip(&pieces) {
        if decode(*codec, stored, piece.len())? != *piece {
            return Err("a piece came out wrong".into());
        }
    }
    let decoding = start.elapsed();
    let bytes: usize = pieces.iter().map(Vec::len).sum();
    let small: usize = stored.iter().map(|(_, stored)| stored.len()).sum();
    println!(
        "{} pieces, {bytes} bytes: zstd 1 {:.3}, ours {:.3}; {:.2} us to encode a piece, {:.2} us to decode",
        pieces.len(),
        bytes as f64 / plain as f64,
        bytes as f64 / small as f64,
        encoding.as_secs_f64() * 1e6 / pieces.len() as f64,
        decoding.as_secs_f64() * 1e6 / pieces.len() as f64,
    );
    Ok(())
}
