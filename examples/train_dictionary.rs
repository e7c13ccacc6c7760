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
use headwater::model::line::{encode_event, encode_record};
use headwater::model::session::Source;
use headwater::model::{
    Body, Call, CallNumber, CallType, Counters, Derivation, DerivationKind, Digest, Eval, EvalNumber, Event,
    EventNumber, HeadId, HeadKind, Invocation, InvocationNumber, Message, MessageNumber, Record, Refs, Restored, Role,
    Root, SessionId, SessionStarted, Snapshot, SnapshotNumber, Status, Timestamp, TranscriptRange, Turn, TurnNumber,
};

const SENTENCES: &str = include_str!("../src/blob/dictionary/sentences.txt");
const SNIPPETS: &str = include_str!("../src/blob/dictionary/snippets.txt");
const WORDS: &str = include_str!("../src/blob/dictionary/words.txt");

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
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
    save("prose", [header, words.content(&mut dice).into_bytes()].concat())?;

    let samples: Vec<Vec<u8>> = (0..3000).map(|_| commit_body(&words, &mut dice)).collect();
    save("lines", zstd::dict::from_samples(&samples, 12 << 10)?)?;

    let samples: Vec<Vec<u8>> = (0..3000).map(|_| root(&words, &mut dice)).collect();
    save("roots", zstd::dict::from_samples(&samples, 4 << 10)?)?;
    Ok(())
}

fn save(name: &str, bytes: Vec<u8>) -> std::io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/blob/dictionary/{name}.zdict"));
    println!("{name}: {} bytes, blake3 {}", bytes.len(), blake3::hash(&bytes));
    std::fs::write(path, bytes)
}

/// All of a trained dictionary before its content: magic, id, entropy tables, and the three offsets to begin with.
fn header(dictionary: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let offsets = [1, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0];
    let at = dictionary.windows(12).position(|window| window == offsets).ok_or("no offsets in the header")?;
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
        (0..digits).map(|_| char::from(*self.pick(b"0123456789abcdef"))).collect()
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
            let list = WORDS.split('[').find_map(|s| s.strip_prefix(name)?.strip_prefix(']')).unwrap_or_default();
            list.split_whitespace().filter(|word| seen.insert(*word)).map(String::from).collect()
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
        if dice.below(3) == 0 { plural(noun) } else { noun.clone() }
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
        let letters: String =
            (0..3 + dice.below(6)).map(|_| char::from(*dice.zipf(b"etaoinshrdlucmfwypvbgkjqxz"))).collect();
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
                    let _ =
                        write!(text, "\n\n## {} {}\n\n- **{}**: ", self.noun(dice), self.noun(dice), self.verb(dice));
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
            let past = past(verb).map(|past| format!(" {past}")).unwrap_or_default();
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
        "people" | "information" | "software" | "feedback" | "hardware" | "advice" => noun.to_owned(),
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

/// Invents a session and what is committed in it. The lines are made by the library, so that they are in its form.
struct Inventor<'a> {
    words: &'a Words,
    dice: &'a mut Dice,
    session: SessionId,
    at: Timestamp,
    event: u64,
    counters: Counters,
    text: Vec<u8>,
}

impl<'a> Inventor<'a> {
    fn new(words: &'a Words, dice: &'a mut Dice) -> Self {
        let name = match dice.below(4) {
            0 => "demo".to_owned(),
            1 => format!("{}-{}", dice.pick(&words.nouns), dice.below(1000)),
            _ => format!("019{}-{}-7{}-a{}-{}", dice.hex(5), dice.hex(4), dice.hex(3), dice.hex(3), dice.hex(12)),
        };
        let session = name.parse().unwrap_or_else(|_| panic!("{name} is no id"));
        let micros = 1_750_000_000_000_000 + (dice.next() % 100_000_000_000_000) as i64;
        let Some(at) = Timestamp::from_micros(micros) else { panic!("{micros} is no time") };
        let event = 1 + dice.zipf(&[5, 50, 500, 5000, 50_000]) + dice.below(100) as u64;
        let mut some = |per: u64| 1 + event / per + dice.below(3) as u64;
        let (message, call, turn, head) = (some(4), some(6), some(20), some(20));
        let counters = Counters { message, call, turn, head, eval: call / 2 + 1, event, ..Counters::default() };
        Self { words, dice, session, at, event, counters, text: Vec::new() }
    }

    fn digest(&mut self) -> Digest {
        Digest::of(&self.dice.next().to_le_bytes())
    }

    fn head(&mut self) -> HeadId {
        HeadId(self.digest())
    }

    fn line(&mut self, bytes: &[u8]) {
        if !self.text.is_empty() {
            self.text.push(b'\n');
        }
        self.text.extend_from_slice(bytes);
    }

    fn push(&mut self, body: Body) {
        self.event += 1;
        let event = Event { session: self.session.clone(), number: EventNumber(self.event), at: self.at, body };
        self.line(&encode_event(&event));
    }

    fn record(&mut self, record: &Record) {
        self.line(&encode_record(record));
    }

    fn put_as(&mut self, hash: Digest, size: u64, media: Option<&str>) -> Digest {
        self.record(&Record::PayloadAdded { hash, size, media: media.map(str::to_owned), parts: None });
        hash
    }

    fn put(&mut self) -> Digest {
        let hash = self.digest();
        let size = 1 + *self.dice.zipf(&[900, 60, 300, 2500, 12_000]) + self.dice.below(800) as u64;
        let media = (self.dice.below(8) == 0).then_some("application/json");
        self.put_as(hash, size, media)
    }

    fn maybe(&mut self, one_in: usize) -> Option<Digest> {
        (self.dice.below(one_in) == 0).then(|| self.put())
    }

    fn message(&mut self) {
        let content = self.put();
        self.counters.message += 1;
        let role = match self.dice.below(8) {
            0 | 1 => Role::User,
            2 => Role::Tool,
            3 => Role::Observation,
            4 if self.dice.below(4) == 0 => Role::System,
            _ => Role::Assistant,
        };
        let turn = (self.dice.below(3) > 0).then_some(TurnNumber(self.counters.turn));
        let call = (turn.is_some() && self.dice.below(2) == 0).then_some(CallNumber(self.counters.call));
        let extra = self.maybe(8);
        let (message, chars) = (MessageNumber(self.counters.message), 1 + self.dice.below(1500) as u64);
        self.push(Body::MessageAdded(Message { message, role, content, chars, turn, call, extra }));
    }

    fn status(&mut self) -> Status {
        let all = [Status::OK, Status::OK, Status::OK, Status::ERROR, Status::TIMEOUT];
        self.dice.pick(&all).clone()
    }

    fn begin_turn(&mut self) {
        let input = self.put();
        self.counters.turn += 1;
        let mut turn = Turn::new(TurnNumber(self.counters.turn));
        turn.head_before = Some(self.head());
        turn.input = Some(input);
        turn.started_at = Some(self.at);
        self.push(Body::TurnStarted(turn));
        self.message();
    }

    fn end_turn(&mut self) {
        let mut turn = Turn::new(TurnNumber(self.counters.turn));
        turn.status = [Status::FINAL, Status::FINAL, Status::ABORTED, Status::ERROR][self.dice.below(4)].clone();
        turn.head_before = Some(self.head());
        turn.input = Some(self.digest());
        turn.final_value = self.maybe(2);
        turn.summary = self.maybe(4);
        turn.started_at = Some(self.at);
        turn.ended_at = Some(self.at);
        self.push(Body::TurnPut(turn));
    }

    fn call(&mut self) {
        self.counters.call += 1;
        let call_type = [CallType::Root, CallType::Root, CallType::Tool, CallType::Leaf, CallType::Child]
            [self.dice.below(5)]
        .clone();
        let mut call = Call::new(CallNumber(self.counters.call), call_type);
        call.turn = Some(TurnNumber(self.counters.turn));
        call.started_at = Some(self.at);
        if self.dice.below(2) == 0 {
            call.provider = Some(self.dice.one_of(&["anthropic", "openai", "google", "local"]).to_owned());
            call.model = Some(self.dice.one_of(&["claude-opus", "gpt-5", "gemini-pro", "scripted-root"]).to_owned());
            call.request = self.maybe(2);
        }
        let whole = self.dice.below(3);
        if whole != 1 {
            self.push(Body::CallStarted(call.clone()));
        }
        if whole == 0 {
            return;
        }
        call.status = self.status();
        call.response = Some(self.put());
        call.ended_at = Some(self.at);
        call.tokens_input = Some(self.dice.below(100_000) as u64);
        call.tokens_output = Some(self.dice.below(3000) as u64);
        call.tokens_cached = (self.dice.below(2) == 0).then(|| self.dice.below(90_000) as u64);
        call.cost = (self.dice.below(2) == 0).then(|| self.dice.below(100_000_000) as u64);
        self.push(Body::CallPut(call));
    }

    fn eval(&mut self) {
        self.counters.eval += 1;
        let status = self.status();
        let mut eval = Eval::new(EvalNumber(self.counters.eval), status);
        let name = self.dice.one_of(&["bash", "read", "edit", "write", "python", "search"]);
        eval.name = (self.dice.below(2) == 0).then(|| name.to_owned());
        eval.turn = Some(TurnNumber(self.counters.turn));
        eval.call = Some(CallNumber(self.counters.call));
        eval.code = self.maybe(2);
        eval.result = self.maybe(2);
        eval.observation = self.maybe(3);
        eval.started_at = Some(self.at);
        eval.ended_at = Some(self.at);
        self.push(Body::EvalAdded(eval));
    }

    fn snapshot(&mut self) {
        self.counters.snapshot += 1;
        let kind = Status::new(self.dice.one_of(&["vars", "state", "repl"])).unwrap_or(Status::OK);
        let mut snapshot = Snapshot::new(SnapshotNumber(self.counters.snapshot), kind);
        snapshot.vars = Some(self.put());
        snapshot.restorable = self.dice.below(20) as u64;
        snapshot.turn = Some(TurnNumber(self.counters.turn));
        self.push(Body::SnapshotAdded(snapshot));
    }

    fn seal(&mut self) {
        let hash = self.digest();
        let size = 430 + self.dice.below(420) as u64;
        self.put_as(hash, size, None);
        self.push(Body::HeadCreated(HeadId(hash)));
        self.push(Body::RefUpdated(HeadId(hash)));
    }

    fn begin_session(&mut self) {
        self.event = 0;
        let source = (self.dice.below(3) > 0).then(|| Source {
            session: format!("{}-{}", self.dice.pick(&self.words.nouns), self.dice.below(1000))
                .parse()
                .unwrap_or_else(|_| self.session.clone()),
            head: HeadId(Digest::of(&self.dice.next().to_le_bytes())),
            counters: Counters { event: 0, ..self.counters },
        });
        let started = SessionStarted {
            kind: [Status::SESSION, Status::CHILD][self.dice.below(2)].clone(),
            status: Status::OPEN,
            origin: (self.dice.below(4) == 0).then(|| "cli".to_owned()),
            cache_id: None,
            source: source.clone(),
        };
        // The root stands before the lines that name it only where it is put first.
        self.push(Body::SessionStarted(started));
        self.seal();
        if let Some(source) = source {
            let target = self.session.clone();
            let kind = [DerivationKind::Fork, DerivationKind::Fork, DerivationKind::Attach][self.dice.below(3)];
            self.record(&Record::DerivationAdded(Derivation {
                id: Derivation::digest(kind, source.head, &target, EventNumber(1)),
                kind,
                source_session: source.session,
                source_head: source.head,
                target_session: target,
                target_event: EventNumber(1),
                at: self.at,
            }));
        }
        if self.dice.below(3) == 0 {
            let (name, session) = (self.session.clone(), self.session.clone());
            self.record(&Record::AliasSet { name, session });
        }
    }

    fn restore(&mut self) {
        let (session, head) = (self.session.clone(), self.head());
        let snapshot = (self.dice.below(2) == 0).then_some(SnapshotNumber(1));
        self.push(Body::SessionRestored(Restored { source_session: session.clone(), source_head: head, snapshot }));
        let target_event = EventNumber(self.event);
        self.push(Body::RefUpdated(head));
        self.record(&Record::DerivationAdded(Derivation {
            id: Derivation::digest(DerivationKind::Restore, head, &session, target_event),
            kind: DerivationKind::Restore,
            source_session: session.clone(),
            source_head: head,
            target_session: session,
            target_event,
            at: self.at,
        }));
    }

    fn invocation(&mut self) {
        self.counters.invocation += 1;
        let number = self.counters.invocation;
        let mut row = Invocation {
            invocation: InvocationNumber(number),
            id: format!("{}/{number}", self.session),
            invocation_type: Status::new(self.dice.one_of(&["rlm", "map-rlm", "attach"])).unwrap_or(Status::OK),
            status: Status::RUNNING,
            call: Some(CallNumber(self.counters.call)),
            label: None,
            input: self.maybe(2),
            final_value: None,
            error: None,
            caller_before: Some(self.head()),
            caller_after: None,
            callee: Some(self.session.clone()),
            callee_before: Some(self.head()),
            callee_after: None,
            child: Some(number),
            started_at: Some(self.at),
            ended_at: None,
        };
        match self.dice.below(3) {
            0 => self.push(Body::InvocationStarted(row)),
            which => {
                row.status = Status::OK;
                row.final_value = self.maybe(2);
                row.callee_after = Some(self.head());
                row.ended_at = Some(self.at);
                if which == 1 {
                    return self.push(Body::InvocationCompleted(row));
                }
                row.caller_after = Some(self.head());
                self.push(Body::CallerHeadRecorded(row));
            }
        }
    }
}

/// The text of a commit: its lines, in the combinations in which a session engine writes them.
fn commit_body(words: &Words, dice: &mut Dice) -> Vec<u8> {
    let kind = dice.below(24);
    let mut session = Inventor::new(words, dice);
    match kind {
        0..=4 => session.message(),
        5..=8 => {
            session.message();
            session.seal();
        }
        9 | 10 => session.begin_turn(),
        11 | 12 => {
            session.end_turn();
            session.seal();
        }
        13..=15 => session.call(),
        16 | 17 => {
            session.call();
            session.message();
            session.eval();
        }
        18 => session.eval(),
        19 => {
            session.snapshot();
            session.end_turn();
            session.seal();
        }
        20 | 21 => session.begin_session(),
        22 => session.restore(),
        _ => session.invocation(),
    }
    session.text
}

// ---------------------------------------------------------------------------------------------------- roots

/// The root of a head.
fn root(words: &Words, dice: &mut Dice) -> Vec<u8> {
    let mut invented = Inventor::new(words, dice);
    let genesis = invented.dice.below(4) == 0;
    let event = invented.event;
    let from = if invented.dice.below(2) == 0 { 1 } else { 1 + invented.dice.below(event as usize) as u64 };
    let snapshot = (invented.dice.below(3) == 0).then_some(SnapshotNumber(1 + event / 50));
    let kind = match genesis {
        true => HeadKind::Genesis,
        false => {
            [HeadKind::TurnFinal, HeadKind::TurnFinal, HeadKind::TurnFinal, HeadKind::Compaction, HeadKind::TurnAborted]
                [invented.dice.below(5)]
        }
    };
    let basis = (invented.dice.below(8) > 0).then(|| invented.head());
    let up = if genesis { basis } else { (invented.dice.below(3) == 0).then(|| invented.head()) };
    let transcript = (kind == HeadKind::Compaction).then(|| {
        let last = EventNumber(event);
        let range = |from, to| TranscriptRange { from, session: invented.session.clone(), to };
        vec![range(EventNumber(4), EventNumber(4)), range(last, last), range(EventNumber(event / 2), last)]
    });
    Root {
        basis,
        compaction: (invented.dice.below(5) == 0).then(|| invented.head()),
        counters: invented.counters,
        digest: invented.digest(),
        kind,
        refs: Refs {
            final_value: (invented.dice.below(2) == 0).then(|| invented.digest()),
            snapshot,
            vars: snapshot.map(|_| invented.digest()),
        },
        session: invented.session.clone(),
        span: if genesis { (EventNumber(1), EventNumber(1)) } else { (EventNumber(from), EventNumber(event)) },
        transcript,
        turn: (!genesis && invented.dice.below(4) > 0).then_some(TurnNumber(invented.counters.turn)),
        up,
        version: 1,
    }
    .bytes()
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
        pieces.extend(std::fs::read(file)?.chunks(piece.max(1)).map(<[u8]>::to_vec));
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
