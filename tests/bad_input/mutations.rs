//! Topologies gone wrong, the same ones in every run.

/// Pieces of YAML and of Envoy that change what is around them.
const TOKENS: [&str; 40] = [
    "\n",
    "\n- ",
    "\n  ",
    "\t",
    ": ",
    ", ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "#",
    "&a ",
    "*a",
    "<<: *a\n",
    "---\n",
    "...\n",
    "!!str ",
    "!x ",
    "%",
    "null",
    "true",
    "0x7f",
    "1e999",
    "-1",
    "~",
    "\u{feff}",
    "\0",
    "\"@type\": ",
    "type.googleapis.com/google.protobuf.Any",
    "\\u0000",
    "(((",
    "%REQ(",
    "é",
    "\u{202e}",
];

/// An endless series of inputs made from seeds.
pub(super) struct Mutations {
    seeds: Vec<Vec<u8>>,
    state: u64,
}

impl Mutations {
    pub(super) fn of(seeds: Vec<Vec<u8>>) -> Self {
        Self { seeds, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// A number below `end`: xorshift, which is random enough to break things.
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % end.max(1) as u64).unwrap()
    }

    pub(super) fn next(&mut self) -> Vec<u8> {
        let seed = self.below(self.seeds.len());
        let mut bytes = self.seeds[seed].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let len = self.below(40).min(bytes.len() - at);
        match self.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 => bytes.truncate(at),
            2 => _ = bytes.drain(at..at + len),
            3 => {
                let piece = bytes[at..at + len].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            4 => {
                let other = self.below(self.seeds.len());
                let from = self.below(self.seeds[other].len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&self.seeds[other][from..]);
            }
            5 => {
                let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                if let Some(line) = lines.get(self.below(lines.len())) {
                    let to = self.below(lines.len());
                    let offset: usize = lines[..to].iter().map(Vec::len).sum();
                    bytes.splice(offset..offset, line.iter().copied());
                }
            }
            6 if len > 0 => bytes[at..at + len].reverse(),
            _ => {
                let token = TOKENS[self.below(TOKENS.len())];
                bytes.splice(at..at, token.bytes());
            }
        }
    }
}
