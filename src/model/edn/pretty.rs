//! Values over several lines, as Clojure's `pprint` lays them out: 72 columns, each collection a block that either fits or breaks at each
//! of its places, each entry of a map a block of its own.
//!
//! The layout is that of the XP pretty printer as Clojure has it. What is written waits in a buffer until the line is full; then the
//! buffer's first place for a line end is decided by whether the section after it fits.

use super::{Kind, Node, Value};

/// Where a line is full; its last column stays free.
const WIDTH: usize = 72;
/// Blocks that begin in the last so many columns break wherever they do not fit.
const MISER: usize = 40;

#[derive(Clone, Copy)]
struct Block {
    parent: usize,
    depth: usize,
    start: usize,
    /// Whether a line was ended in it, or in a block inside it.
    broken: bool,
}

#[derive(Clone, Copy)]
enum Token<'a> {
    /// Text; white space after it is written only if no line end follows.
    Text {
        text: &'a str,
        space: &'static str,
        width: usize,
    },
    /// A place where the line may end: in a set where what comes next does not fit, elsewhere where the block does not.
    Place {
        block: usize,
        fill: bool,
    },
    Begin {
        block: usize,
        text: &'a str,
        width: usize,
    },
}

impl Token<'_> {
    fn width(&self) -> usize {
        match self {
            Token::Text { width, space, .. } => width + space.len(),
            Token::Begin { width, .. } => *width,
            Token::Place { .. } => 0,
        }
    }
}

struct Printer<'a> {
    out: String,
    limit: usize,
    column: usize,
    blocks: Vec<Block>,
    block: usize,
    buffer: Vec<Token<'a>>,
    /// White space that the last text ended with.
    space: &'static str,
    /// Until the first place for a line end all is written at once.
    buffering: bool,
}

impl Value<'_, '_> {
    /// The value as `pprint` prints it, without a line end after it; none where that takes more than `limit` bytes: the depth of
    /// nesting counts on each line.
    pub fn pretty(&self, limit: usize) -> Option<String> {
        let root = Block { parent: 0, depth: 0, start: 0, broken: false };
        let mut printer = Printer {
            out: String::new(),
            limit,
            column: 0,
            blocks: vec![root],
            block: 0,
            buffer: Vec::new(),
            space: "",
            buffering: false,
        };
        // Strings and characters as they are printed, whatever their source wrote.
        let printed = self.print();
        let document = super::Document::read(printed.as_bytes()).ok()?;
        printer.print(document.root())?;
        Some(printer.out)
    }
}

struct Frame {
    end: u32,
    kind: Kind,
    items: usize,
}

impl<'a> Printer<'a> {
    fn print(&mut self, value: Value<'_, 'a>) -> Option<()> {
        let document = value.document;
        let mut open: Vec<Frame> = Vec::new();
        for at in value.at..value.node().next {
            self.close(&mut open, at);
            if let Some(frame) = open.last_mut() {
                frame.items += 1;
                let is_map = matches!(frame.kind, Kind::Map | Kind::NamespacedMap);
                let (kind, items) = (frame.kind, frame.items);
                match items {
                    1 => {}
                    _ if is_map && items % 2 == 0 => {
                        self.text("", " ");
                        self.place(false);
                    }
                    _ if kind == Kind::Tagged => {}
                    _ => {
                        if is_map {
                            self.end_block();
                        }
                        self.text(if is_map { "," } else { "" }, " ");
                        self.place(kind == Kind::Set);
                    }
                }
                if is_map && items % 2 == 1 {
                    self.begin_block("");
                }
            }
            let node: Node = document.node(at);
            let text = document.text_of(node);
            match node.kind {
                Kind::Tagged => {
                    self.text(&text[..=super::token::take(&text[1..]).len()], " ");
                    open.push(Frame { end: node.next, kind: node.kind, items: 0 });
                }
                kind if kind.is_collection() => {
                    self.begin_block(&text[..=text.find(['(', '[', '{']).unwrap_or(0)]);
                    open.push(Frame { end: node.next, kind, items: 0 });
                }
                _ => self.text(text, ""),
            }
            if self.out.len() > self.limit {
                return None;
            }
        }
        self.close(&mut open, u32::MAX);
        let rest = std::mem::take(&mut self.buffer);
        self.write(&rest);
        (self.out.len() <= self.limit).then_some(())
    }

    fn close(&mut self, open: &mut Vec<Frame>, at: u32) {
        while let Some(frame) = open.pop_if(|frame| frame.end <= at) {
            let close = match frame.kind {
                Kind::List => ")",
                Kind::Vector => "]",
                Kind::Tagged => continue,
                _ => "}",
            };
            if frame.items > 0 && matches!(frame.kind, Kind::Map | Kind::NamespacedMap) {
                self.end_block();
            }
            self.text(close, "");
            self.end_block();
        }
    }

    fn begin_block(&mut self, text: &'a str) {
        let depth = self.blocks[self.block].depth + 1;
        self.blocks.push(Block { parent: self.block, depth, start: 0, broken: false });
        self.block = self.blocks.len() - 1;
        self.add(Token::Begin { block: self.block, text, width: text.len() });
    }

    fn end_block(&mut self) {
        self.block = self.blocks[self.block].parent;
    }

    fn text(&mut self, text: &'a str, space: &'static str) {
        self.add(Token::Text { text, space, width: text.encode_utf16().count() });
    }

    fn place(&mut self, fill: bool) {
        self.buffering = true;
        self.add(Token::Place { block: self.block, fill });
    }

    fn add(&mut self, token: Token<'a>) {
        if !self.buffering {
            return self.write(&[token]);
        }
        self.buffer.push(token);
        while !self.fits(&self.buffer) {
            let buffer = std::mem::take(&mut self.buffer);
            let before = buffer.len();
            self.buffer = self.write_some(buffer);
            if self.buffer.len() == before {
                break;
            }
        }
    }

    fn fits(&self, tokens: &[Token<'_>]) -> bool {
        self.column + tokens.iter().map(Token::width).sum::<usize>() < WIDTH
    }

    /// Writes up to the first place, decides it, and, where the section after it is too long even so, some of that; what is left.
    fn write_some(&mut self, tokens: Vec<Token<'a>>) -> Vec<Token<'a>> {
        let Some(at) = tokens.iter().position(|token| matches!(token, Token::Place { .. })) else {
            self.write(&tokens);
            return Vec::new();
        };
        self.write(&tokens[..at]);
        let Token::Place { block, fill } = tokens[at] else { return Vec::new() };
        let after = &tokens[at + 1..];
        let depth = self.blocks[block].depth;
        // A place outside the block ends the section; one of the block itself the part that a set looks at.
        let ends = |least: usize| {
            let is_end =
                |token: &Token<'_>| matches!(token, Token::Place { block, .. } if self.blocks[*block].depth < least);
            after.iter().position(is_end).unwrap_or(after.len())
        };
        let (section, part) = (ends(depth), ends(depth + 1));
        let Block { broken, start, .. } = self.blocks[block];
        let linear = broken || !self.fits(&after[..section]);
        let ends_line =
            if fill { broken || !self.fits(&after[..part]) || (start >= WIDTH - MISER && linear) } else { linear };
        if ends_line {
            self.end_line(block);
        }
        let left = if ends_line { &tokens[at + 1..] } else { &tokens[at..] };
        if self.fits(left) {
            return left.to_vec();
        }
        let remainder = after.get(section + 1..).unwrap_or_default();
        let mut rest = if after[..section].iter().any(|token| matches!(token, Token::Place { .. })) {
            self.write_some(after[..section].to_vec())
        } else {
            self.write(&after[..section]);
            Vec::new()
        };
        // The place that ends the section goes with what comes after it.
        if section < after.len() {
            rest.push(after[section]);
        }
        rest.extend_from_slice(remainder);
        rest
    }

    fn end_line(&mut self, mut block: usize) {
        self.out.push('\n');
        self.space = "";
        self.column = self.blocks[block].start;
        self.out.extend(std::iter::repeat_n(' ', self.column));
        // Where a block is broken, those around it are.
        while !self.blocks[block].broken {
            self.blocks[block].broken = true;
            block = self.blocks[block].parent;
        }
    }

    fn put(&mut self, text: &str, width: usize) {
        self.out.push_str(text);
        self.column += width;
    }

    fn write(&mut self, tokens: &[Token<'a>]) {
        for token in tokens {
            let ends_line =
                matches!(token, Token::Place { block, fill: false } if self.blocks[*block].broken).then_some(token);
            if ends_line.is_none() {
                let space = std::mem::take(&mut self.space);
                self.put(space, space.len());
            }
            match *token {
                Token::Text { text, space, width } => {
                    self.put(text, width);
                    self.space = space;
                }
                Token::Begin { block, text, width } => {
                    self.put(text, width);
                    self.blocks[block].start = self.column;
                }
                Token::Place { block, .. } if ends_line.is_some() => self.end_line(block),
                Token::Place { .. } => {}
            }
        }
    }
}
