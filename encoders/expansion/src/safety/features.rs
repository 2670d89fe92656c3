//! What of a wish is weighed: words, words beside each other, pieces of words, and what words near each other are
//! about. Each becomes the number of a bucket by hashing; what shares a bucket shares its weight.

use super::marks::Mark;

/// A bucket, not yet cut down to the size of a table, and how much it counts.
pub type Feature = (u32, f32);

/// How much the kinds of features count.
const WORD: f32 = 1.0;
const PAIR: f32 = 0.6;
const PIECE: f32 = 0.15;
const CONCEPT: f32 = 1.0;
const NEAR: f32 = 0.8;
const ANYWHERE: f32 = 0.5;
const MIXED: f32 = 0.6;
const MEANING: f32 = 0.6;

/// Words that are near each other.
const REACH: usize = 4;
/// Characters of a piece of a word.
const PIECES: std::ops::RangeInclusive<usize> = 3..=5;

/// The features of a wish, each once, in the order of their buckets.
pub fn features(marks: &[Mark]) -> Vec<Feature> {
    let mut found: Vec<Feature> = Vec::with_capacity(64 + 48 * marks.len());
    let mut add = |hash: Hash, value: f32| found.push((hash.bucket(), value));
    for (at, mark) in marks.iter().enumerate() {
        add(Hash::of(b'w').text(&mark.word), WORD);
        pieces(&mark.word, |piece| add(Hash::of(b'n').text(piece), PIECE));
        mark.meanings.iter().for_each(|word| add(Hash::of(b'l').text(word), MEANING));
        mark.concepts.iter().for_each(|concept| add(Hash::of(b'c').number(*concept), CONCEPT));
        for (gap, other) in marks.iter().skip(at + 1).enumerate() {
            let near = gap < REACH;
            if near {
                let apart = u16::from(gap > 0);
                add(Hash::of(b'b').number(apart).text(&mark.word).text(&other.word), PAIR);
                other.concepts.iter().for_each(|concept| {
                    add(Hash::of(b'x').text(&mark.word).number(*concept), MIXED);
                });
                mark.concepts.iter().for_each(|concept| {
                    add(Hash::of(b'y').number(*concept).text(&other.word), MIXED);
                });
            }
            for first in &mark.concepts {
                for second in &other.concepts {
                    if near {
                        add(Hash::of(b'p').number(*first).number(*second), NEAR);
                    }
                    let (low, high) = (first.min(second), first.max(second));
                    add(Hash::of(b'u').number(*low).number(*high), ANYWHERE);
                }
            }
        }
    }
    if let (Some(first), Some(last)) = (marks.first(), marks.last()) {
        add(Hash::of(b'f').text(&first.word), PAIR);
        add(Hash::of(b'e').text(&last.word), PAIR);
    }
    found.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
    found.dedup_by_key(|(bucket, _)| *bucket);
    // Long wishes have more features; they do not weigh more for it. Short ones do not weigh as much as long ones: of a
    // word alone nothing else says what is meant.
    let length: f32 = found.iter().map(|(_, value)| value * value).sum::<f32>().sqrt().max(SHORT);
    found.iter_mut().for_each(|(_, value)| *value *= LENGTH / length);
    found
}

/// How long the vector of a wish is; of one that was shorter than `SHORT` before, less.
const LENGTH: f32 = 6.0;
const SHORT: f32 = 4.0;

/// Pieces of a word with its ends marked; a mark in angle brackets has none.
fn pieces(word: &str, mut each: impl FnMut(&str)) {
    if word.starts_with('<') || word.contains('_') {
        return;
    }
    let framed = format!("^{word}$");
    let starts: Vec<usize> = framed.char_indices().map(|(at, _)| at).chain([framed.len()]).collect();
    for length in PIECES {
        for window in starts.windows(length + 1) {
            if let (Some(start), Some(end)) = (window.first(), window.last()) {
                each(framed.get(*start..*end).unwrap_or_default());
            }
        }
    }
}

/// FNV-1a, whose low bits are mixed at the end.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    fn of(kind: u8) -> Self {
        Self(0xcbf2_9ce4_8422_2325).byte(kind)
    }

    fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    fn text(self, text: &str) -> Self {
        text.bytes().fold(self, Self::byte).byte(0xff)
    }

    fn number(self, number: u16) -> Self {
        let [low, high] = number.to_le_bytes();
        self.byte(low).byte(high)
    }

    fn bucket(self) -> u32 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_ends() {
        let mut found = Vec::new();
        pieces("öl", |piece| found.push(piece.to_owned()));
        assert_eq!(found, ["^öl", "öl$", "^öl$"]);
        pieces("<name>", |_| panic!("a mark has no pieces"));
    }

    #[test]
    fn each_bucket_comes_once_and_the_whole_is_of_one_length() {
        let mark = |word: &str, concepts: &[u16]| Mark {
            word: word.into(),
            concepts: concepts.into(),
            meanings: Vec::new(),
        };
        let marks = [mark("the", &[]), mark("the", &[]), mark("robber", &[20, 30]), mark("<name>", &[0, 1])];
        let found = features(&marks);
        assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let length = |found: &[Feature]| found.iter().map(|(_, value)| value * value).sum::<f32>().sqrt();
        assert!((length(&found) - LENGTH).abs() < 1e-3, "{}", length(&found));
        assert!(length(&features(&marks[..1])) < LENGTH / 2.0);
    }
}
