//! Whether RE2 takes a regular expression, and how large a program it makes of it.
//!
//! Envoy compiles with RE2 in Latin-1: every byte is a character, and a program's size can be told without compiling.

mod set;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use set::Set;

/// The most that a repetition may repeat, and that nested repetitions may repeat together.
const MOST_REPETITIONS: u64 = 1000;
/// Groups inside groups; what nests deeper is not judged.
const MOST_GROUPS: usize = 100;
/// Longer expressions are not judged.
const LONGEST: usize = 4096;
/// What every program has besides the expression itself.
const OVERHEAD: u64 = 4;
/// The names of `[[:word:]]` and its like.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// Why an expression has no size.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// RE2 refuses it: what stands there.
    Refused(String),
    /// Too long or too deeply nested to be judged here.
    Unknown,
}

/// The number of instructions that RE2 makes of the expression, within a few.
pub(super) fn program_size(expression: &str) -> Result<u64, Problem> {
    if expression.len() > LONGEST {
        return Err(Problem::Unknown);
    }
    let mut parser =
        Parser { bytes: expression.as_bytes(), at: 0, names: BTreeSet::new(), fold: false, dot_all: false };
    let item = parser.alternatives(0)?;
    if parser.at < parser.bytes.len() {
        return refused("`)` closes nothing");
    }
    Ok(item.size().saturating_add(OVERHEAD))
}

fn refused<T>(what: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Refused(what.into()))
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Empty,
    Assertion,
    Set(Set),
    Sequence(Vec<Item>),
    Alternatives(Vec<Item>),
    Capture(Box<Item>),
    /// At least, and at most if there is a limit.
    Repeat(Box<Item>, u64, Option<u64>),
}

impl Item {
    fn size(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Assertion => 1,
            Self::Set(set) => set.ranges().max(1),
            Self::Sequence(items) => items.iter().map(Self::size).fold(0, u64::saturating_add),
            Self::Alternatives(items) => alternatives_size(items),
            Self::Capture(item) => item.size().saturating_add(2),
            Self::Repeat(item, 0, None) => item.size(),
            Self::Repeat(item, least, None) => item.size().saturating_mul(*least).saturating_add(1),
            Self::Repeat(item, least, Some(most)) => {
                let (size, optional) = (item.size(), most.saturating_sub(*least));
                size.saturating_mul(*least).saturating_add(size.saturating_add(1).saturating_mul(optional))
            }
        }
    }

    /// How often its innermost repetition repeats, the outer ones multiplied in.
    fn repetitions(&self) -> u64 {
        match self {
            Self::Empty | Self::Assertion | Self::Set(_) => 1,
            Self::Sequence(items) | Self::Alternatives(items) => items.iter().map(Self::repetitions).max().unwrap_or(1),
            // `*`, `+` and `?` do not count.
            Self::Capture(item) | Self::Repeat(item, 0 | 1, None) | Self::Repeat(item, 0, Some(1)) => {
                item.repetitions()
            }
            Self::Repeat(item, least, most) => item.repetitions().saturating_mul(most.unwrap_or(*least).max(1)),
        }
    }

    fn first(&self) -> Option<&Self> {
        if let Self::Sequence(items) = self { items.first() } else { Some(self) }
    }

    fn rest(&self) -> Self {
        match self {
            Self::Sequence(items) if items.len() > 2 => Self::Sequence(items[1..].to_vec()),
            Self::Sequence(items) if items.len() == 2 => items[1].clone(),
            _ => Self::Empty,
        }
    }
}

/// Neighbours that begin alike share their beginning, and single characters become one set.
fn alternatives_size(items: &[Item]) -> u64 {
    let mut size = 0_u64;
    let mut at = 0;
    while at < items.len() {
        let first = items[at].first();
        let alike = items[at..].iter().take_while(|item| item.first() == first).count();
        if alike > 1 && matches!(first, Some(Item::Set(_))) {
            let rests: Vec<Item> = items[at..at + alike].iter().map(Item::rest).collect();
            size = size.saturating_add(first.map_or(0, Item::size)).saturating_add(alternatives_size(&rests));
            at += alike;
            continue;
        }
        let sets = items[at..].iter().take_while(|item| matches!(item, Item::Set(_)));
        let sets: Vec<Set> =
            sets.filter_map(|item| if let Item::Set(set) = item { Some(*set) } else { None }).collect();
        if sets.is_empty() {
            size = size.saturating_add(items[at].size());
            at += 1;
        } else {
            size = size.saturating_add(sets.iter().fold(Set::default(), |all, set| all.union(*set)).ranges());
            at += sets.len();
        }
    }
    size
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    names: BTreeSet<&'a [u8]>,
    fold: bool,
    dot_all: bool,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text.as_bytes());
        self.at += if found { text.len() } else { 0 };
        found
    }

    fn alternatives(&mut self, depth: usize) -> Result<Item, Problem> {
        if depth > MOST_GROUPS {
            return Err(Problem::Unknown);
        }
        let mut items = vec![self.sequence(depth)?];
        while self.eat("|") {
            items.push(self.sequence(depth)?);
        }
        Ok(if items.len() > 1 { Item::Alternatives(items) } else { items.remove(0) })
    }

    fn sequence(&mut self, depth: usize) -> Result<Item, Problem> {
        let mut items: Vec<Item> = Vec::new();
        let mut repeated = false;
        while let Some(byte) = self.peek().filter(|byte| !b"|)".contains(byte)) {
            let start = self.at;
            if let Some((least, most)) = self.repetition()? {
                let operator = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
                let Some(item) = items.pop() else { return refused(format!("`{operator}` repeats nothing")) };
                if repeated {
                    return refused(format!("`{operator}` repeats a repetition"));
                }
                let item = Item::Repeat(Box::new(item), least, most);
                if item.repetitions() > MOST_REPETITIONS {
                    return refused(format!("it repeats more than {MOST_REPETITIONS} times"));
                }
                items.push(item);
                repeated = true;
                continue;
            }
            repeated = false;
            self.at += 1;
            match byte {
                b'(' => items.extend(self.group(depth)?),
                b'[' => items.push(self.class()?),
                b'\\' if self.eat("Q") => {
                    while !self.eat("\\E")
                        && let Some(byte) = self.next()
                    {
                        items.push(self.literal(byte));
                    }
                }
                b'\\' => items.push(self.escape()?),
                b'.' if self.dot_all => items.push(Item::Set(Set::default().negated())),
                b'.' => items.push(Item::Set(Set::of([b'\n']).negated())),
                b'^' | b'$' => items.push(Item::Assertion),
                byte => items.push(self.literal(byte)),
            }
        }
        Ok(match items.len() {
            0 => Item::Empty,
            1 => items.remove(0),
            _ => Item::Sequence(items),
        })
    }

    fn literal(&self, byte: u8) -> Item {
        let set = Set::of([byte]);
        Item::Set(if self.fold { set.folded() } else { set })
    }

    /// `*`, `+`, `?` or `{2,3}`, each with a `?` behind it or not. Braces that hold something else are ordinary text.
    fn repetition(&mut self) -> Result<Option<(u64, Option<u64>)>, Problem> {
        let start = self.at;
        let found = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => {
                self.at += 1;
                let least = self.number();
                let most = if self.eat(",") { self.number().map(Some).or(Some(None)) } else { least.map(Some) };
                let (Some(least), Some(most), Some(b'}')) = (least, most, self.peek()) else {
                    self.at = start;
                    return Ok(None);
                };
                if least > MOST_REPETITIONS || most.is_some_and(|most| most > MOST_REPETITIONS || most < least) {
                    return refused("a repetition count is above 1000, or the second is below the first");
                }
                (least, most)
            }
            _ => return Ok(None),
        };
        self.at += 1;
        self.eat("?");
        Ok(Some(found))
    }

    fn number(&mut self) -> Option<u64> {
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = &self.rest()[..digits];
        self.at += digits;
        (digits > 0).then(|| text.iter().fold(0, |n: u64, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0'))))
    }

    /// What follows a `(`; nothing if it only sets flags.
    fn group(&mut self, depth: usize) -> Result<Option<Item>, Problem> {
        let flags = (self.fold, self.dot_all);
        let mut captures = true;
        if self.rest().starts_with(b"?") {
            captures = self.eat("?P<")
                || (!self.rest().starts_with(b"?<=") && !self.rest().starts_with(b"?<!") && self.eat("?<"));
            if captures {
                let length = self.rest().iter().position(|byte| *byte == b'>');
                let Some(length) = length.filter(|length| *length > 0) else {
                    return refused("a group's name is cut off");
                };
                if !self.names.insert(&self.rest()[..length]) {
                    return refused("two groups have the same name");
                }
                self.at += length + 1;
            } else if self.flags()? {
                return Ok(None);
            }
        }
        let inner = self.alternatives(depth + 1)?;
        if !self.eat(")") {
            return refused("a `)` is missing");
        }
        (self.fold, self.dot_all) = flags;
        Ok(Some(if captures { Item::Capture(Box::new(inner)) } else { inner }))
    }

    /// `?i)`, `?i:` and their like; whether no group follows.
    fn flags(&mut self) -> Result<bool, Problem> {
        let start = self.at;
        self.at += 1;
        let mut on = true;
        loop {
            match self.next() {
                Some(b'i') => self.fold = on,
                Some(b's') => self.dot_all = on,
                Some(b'm' | b'U') => {}
                Some(b'-') if on => on = false,
                Some(b':') => return Ok(false),
                Some(b')') => return Ok(true),
                _ => {
                    let text = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
                    let what = if ["?=", "?!", "?<"].iter().any(|look| text.starts_with(look)) {
                        ": RE2 has no look-around"
                    } else {
                        ""
                    };
                    return refused(format!("`({text}` is unknown to RE2{what}"));
                }
            }
        }
    }

    /// What follows a backslash outside a class.
    fn escape(&mut self) -> Result<Item, Problem> {
        match self.peek() {
            Some(b'b' | b'B' | b'A' | b'z') => {
                self.at += 1;
                Ok(Item::Assertion)
            }
            Some(b'C') => {
                self.at += 1;
                Ok(Item::Set(Set::default().negated()))
            }
            Some(b'E') => {
                self.at += 1;
                Ok(Item::Empty)
            }
            _ => Ok(Item::Set(self.escaped()?.1)),
        }
    }

    /// The byte, if it is one, and the set that an escape stands for.
    fn escaped(&mut self) -> Result<(Option<u8>, Set), Problem> {
        let start = self.at;
        let Some(byte) = self.next() else { return refused("a `\\` at the end escapes nothing") };
        let set = match byte {
            b'd' | b'D' => Set::filtered(|byte| byte.is_ascii_digit()),
            b'w' | b'W' => Set::filtered(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            b's' | b'S' => Set::of(*b"\t\n\x0c\r "),
            b'p' | b'P' => {
                if self.eat("{") {
                    let Some(end) = self.rest().iter().position(|byte| *byte == b'}') else {
                        return refused("a `}` is missing");
                    };
                    self.at += end + 1;
                } else if self.next().is_none() {
                    return refused("`\\p` names no class");
                }
                return Ok((None, Set::filtered(|byte| byte.is_ascii_alphabetic() || byte >= 0xc0)));
            }
            _ => {
                let byte = self.escaped_byte(byte, start)?;
                let set = Set::of([byte]);
                return Ok((Some(byte), if self.fold { set.folded() } else { set }));
            }
        };
        Ok((None, if byte.is_ascii_uppercase() { set.negated() } else { set }))
    }

    fn escaped_byte(&mut self, byte: u8, start: usize) -> Result<u8, Problem> {
        let octal = |byte: Option<u8>| byte.filter(|byte| (b'0'..=b'7').contains(byte));
        match byte {
            b'a' => Ok(7),
            b'f' => Ok(12),
            b'n' => Ok(b'\n'),
            b'r' => Ok(b'\r'),
            b't' => Ok(b'\t'),
            b'v' => Ok(11),
            b'x' => {
                let braced = self.eat("{");
                let digits = self.rest().iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                let digits = if braced { digits } else { digits.min(2) };
                let text = std::str::from_utf8(&self.rest()[..digits]).unwrap_or_default();
                let value = u32::from_str_radix(text, 16);
                self.at += digits;
                if (braced && !self.eat("}")) || (!braced && digits < 2) {
                    return refused("`\\x` takes two digits, or more in braces");
                }
                value.map(|value| u8::try_from(value).unwrap_or(u8::MAX)).or_else(|_| refused("`\\x` has no digits"))
            }
            b'0'..=b'7' if byte == b'0' || octal(self.peek()).is_some() => {
                let mut value = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(digit) = octal(self.peek()) else { break };
                    value = value * 8 + u32::from(digit - b'0');
                    self.at += 1;
                }
                Ok(u8::try_from(value).unwrap_or(u8::MAX))
            }
            b'1'..=b'9' => refused(format!("`\\{}` refers back, which RE2 cannot", byte as char)),
            byte if byte.is_ascii() && !byte.is_ascii_alphanumeric() => Ok(byte),
            _ => {
                let escape = String::from_utf8_lossy(&self.bytes[start - 1..self.at]).into_owned();
                refused(format!("the escape `{escape}` is unknown to RE2"))
            }
        }
    }

    /// What follows a `[`.
    fn class(&mut self) -> Result<Item, Problem> {
        let negated = self.eat("^");
        let mut set = Set::default();
        let mut first = true;
        loop {
            match self.peek() {
                None => return refused("a `]` is missing"),
                Some(b']') if !first => break,
                Some(b'[') if self.rest().starts_with(b"[:") => set = set.union(self.posix()?),
                Some(_) => set = set.union(self.range()?),
            }
            first = false;
        }
        self.at += 1;
        let set = if self.fold { set.folded() } else { set };
        Ok(Item::Set(if negated { set.negated() } else { set }))
    }

    /// `[:alpha:]`; a `[:` without its end is two ordinary characters.
    fn posix(&mut self) -> Result<Set, Problem> {
        let rest = &self.rest()[2..];
        let Some(length) = rest.windows(2).position(|two| two == b":]") else {
            self.at += 1;
            return Ok(Set::of([b'[']));
        };
        let name = String::from_utf8_lossy(&rest[..length]).into_owned();
        let plain = name.strip_prefix('^').unwrap_or(&name);
        if !POSIX.contains(&plain) {
            return refused(format!("there is no class `[:{name}:]`"));
        }
        self.at += length + 4;
        let set = Set::filtered(|byte| match plain {
            "alnum" => byte.is_ascii_alphanumeric(),
            "alpha" => byte.is_ascii_alphabetic(),
            "ascii" => byte.is_ascii(),
            "blank" => byte == b' ' || byte == b'\t',
            "cntrl" => byte.is_ascii_control(),
            "digit" => byte.is_ascii_digit(),
            "graph" => byte.is_ascii_graphic(),
            "lower" => byte.is_ascii_lowercase(),
            "print" => byte.is_ascii_graphic() || byte == b' ',
            "punct" => byte.is_ascii_punctuation(),
            "space" => byte.is_ascii_whitespace() || byte == 11,
            "upper" => byte.is_ascii_uppercase(),
            "word" => byte.is_ascii_alphanumeric() || byte == b'_',
            _ => byte.is_ascii_hexdigit(),
        });
        Ok(if name.starts_with('^') { set.negated() } else { set })
    }

    /// One character of a class, or a range of them.
    fn range(&mut self) -> Result<Set, Problem> {
        let (low, set) = self.member()?;
        let is_range = self.rest().starts_with(b"-") && self.rest().get(1).is_some_and(|byte| *byte != b']');
        let Some(low) = low.filter(|_| is_range) else { return Ok(set) };
        self.at += 1;
        let start = self.at;
        match self.member()? {
            (Some(high), _) if high >= low => Ok(Set::of(low..=high)),
            _ => {
                let end = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
                refused(format!("a range from `{}` cannot end in `{end}`", char::from(low)))
            }
        }
    }

    fn member(&mut self) -> Result<(Option<u8>, Set), Problem> {
        match self.next() {
            Some(b'\\') => self.escaped(),
            Some(byte) => Ok((Some(byte), Set::of([byte]))),
            None => refused("a `]` is missing"),
        }
    }
}
