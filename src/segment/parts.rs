//! Parts: a walk through an array or an object that is known to be JSON, value by value.
//!
//! In goes the source text, out come the source texts of the elements, or of the keys and values in turn. Nothing is
//! checked and nothing decoded, so quotes, backslashes and brackets are all that is looked at, each byte once. Invariant: a
//! text that is no JSON gives wrong parts, but no panic.
//! Deliberately absent: recursion, which deep nesting would turn into stack.

/// What is left to walk.
#[derive(Default)]
pub(super) struct Parts<'a>(&'a str);

impl<'a> Parts<'a> {
    /// The parts of `json`, an array or an object.
    pub(super) fn of(json: &'a str) -> Self {
        Self(json.get(1..json.len() - 1).unwrap_or_default())
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let start = self.0.bytes().position(|b| !is_between(b))?;
        let rest = &self.0[start..];
        let (part, rest) = rest.split_at(length(rest.as_bytes()));
        self.0 = rest;
        Some(part)
    }
}

/// Between two values there can only be blanks and one comma or colon.
fn is_between(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')
}

/// The length of the value that `json` starts with.
fn length(json: &[u8]) -> usize {
    match json.first() {
        Some(b'"') => string(json),
        Some(b'[' | b'{') => nested(json),
        _ => json.iter().position(|b| is_between(*b)).unwrap_or(json.len()),
    }
}

/// The length of the string that `json` starts with, quotes included.
fn string(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(rest) = json.get(at..) {
        at += plain(rest);
        match json.get(at) {
            Some(b'\\') => at += 2,
            Some(_) => return at + 1,
            None => break,
        }
    }
    json.len()
}

/// How many bytes come before the first quote or backslash. Looks at eight at once: most of a body is strings.
pub(super) fn plain(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = equal(word, b'"') | equal(word, b'\\');
        if found != 0 {
            return place * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + rest.iter().position(|b| matches!(b, b'"' | b'\\')).unwrap_or(rest.len())
}

/// The highest bit of the first byte of `word` that equals `byte`, and of some bytes behind it; 0 if there is none.
fn equal(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & (ONES << 7)
}

/// The length of the array or object that `json` starts with, brackets included.
fn nested(json: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at += string(&json[at..]),
            b'[' | b'{' => (at, depth) = (at + 1, depth + 1),
            b']' | b'}' if depth == 1 => return at + 1,
            b']' | b'}' => (at, depth) = (at + 1, depth - 1),
            _ => at += 1,
        }
    }
    json.len()
}
