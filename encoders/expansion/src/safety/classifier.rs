//! The second layer: a linear classifier over hashed features. It knows no more than its weights
//! (`data/refusals/weights.bin`), which `cargo run -p imagine-expansion --example refusals` makes of the wishes
//! beside them.

use imagine_contract::ExpandError;

use super::features::{Feature, features};
use super::marks::{Mark, Marker};
use super::rules::Rules;
use crate::data::{DataError, lines};

const FILE: &str = "refusals/weights.bin";
const REASONS: &str = "refusals/reasons.tsv";

/// The kind of wishes that pass.
pub const HARMLESS: &str = "harmless";

/// Marks that are weighed at once. Longer texts are weighed piece by piece, so that much that is harmless does not
/// hide what is not.
const WINDOW: usize = 16;
const STEP: usize = 8;

/// A kind of wish that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: String,
    /// Whether it takes a real person: where nobody is named, it is not of this kind.
    pub of_somebody: bool,
    pub reason: String,
}

/// The kinds of `reasons.tsv`.
///
/// # Errors
/// [`DataError`] names the line.
pub fn kinds() -> Result<Vec<Kind>, DataError> {
    let parsed = lines(include_str!("../../data/refusals/reasons.tsv")).map(|(number, line)| {
        let wrong =
            || DataError::new(REASONS, format!("line {number} is not: kind, anybody or named, reason"));
        let (name, rest) = line.split_once('\t').ok_or_else(wrong)?;
        let (who, reason) = rest.split_once('\t').ok_or_else(wrong)?;
        let of_somebody = match who {
            "named" => true,
            "anybody" => false,
            _ => return Err(wrong()),
        };
        Ok(Kind { name: name.to_owned(), of_somebody, reason: reason.to_owned() })
    });
    parsed.collect()
}

/// Weights in steps of `scale`; as many as a power of two.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub scale: f32,
    pub bias: f32,
    pub weights: Vec<i8>,
}

impl Table {
    pub fn score(&self, features: &[Feature]) -> f32 {
        let mask = self.weights.len().wrapping_sub(1);
        let of = |(bucket, value): &Feature| {
            let weight = self.weights.get(*bucket as usize & mask).copied().unwrap_or_default();
            f32::from(weight) * value
        };
        self.bias + self.scale * features.iter().map(of).sum::<f32>()
    }
}

/// All that was learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Above it a wish is refused.
    pub threshold: f32,
    /// Refused or not.
    pub refused: Table,
    /// Which kind, where it is: one table for each of [`kinds`].
    pub kinds: Vec<Table>,
}

const MAGIC: &[u8; 8] = b"refuse01";

impl Weights {
    /// As bytes: the file's kind, the threshold, then tables with their size, scale and bias before them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.threshold.to_le_bytes());
        for table in std::iter::once(&self.refused).chain(&self.kinds) {
            bytes.extend((table.weights.len() as u32).to_le_bytes());
            bytes.extend(table.scale.to_le_bytes());
            bytes.extend(table.bias.to_le_bytes());
            bytes.extend(table.weights.iter().map(|weight| weight.to_le_bytes()[0]));
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`DataError`] says what is wrong.
    pub fn parse(bytes: &[u8], kinds: usize) -> Result<Self, DataError> {
        let short = || DataError::new(FILE, "the file ends too early");
        let mut rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| DataError::new(FILE, "these are no weights of this version"))?;
        let word = |rest: &mut &[u8]| -> Result<[u8; 4], DataError> {
            let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(short)?;
            *rest = tail;
            Ok(*head)
        };
        let threshold = f32::from_le_bytes(word(&mut rest)?);
        let mut tables = Vec::new();
        while !rest.is_empty() {
            let size = u32::from_le_bytes(word(&mut rest)?) as usize;
            let scale = f32::from_le_bytes(word(&mut rest)?);
            let bias = f32::from_le_bytes(word(&mut rest)?);
            if !size.is_power_of_two() {
                return Err(DataError::new(FILE, format!("a table has {size} weights, no power of two")));
            }
            let (head, tail) = rest.split_at_checked(size).ok_or_else(short)?;
            tables.push(Table { scale, bias, weights: head.iter().map(|byte| byte.cast_signed()).collect() });
            rest = tail;
        }
        if tables.len() != kinds + 1 {
            let message = format!("there are {} tables for {kinds} kinds of refusals", tables.len());
            return Err(DataError::new(FILE, message));
        }
        let refused = tables.remove(0);
        Ok(Self { threshold, refused, kinds: tables })
    }

    /// By how much a wish is over the threshold, and which kind it is of.
    pub fn judge(&self, features: &[Feature]) -> (f32, usize) {
        let over = self.refused.score(features) - self.threshold;
        let scores = self.kinds.iter().map(|table| table.score(features)).enumerate();
        let best = scores.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(kind, _)| kind);
        (over, best)
    }
}

/// Weights with what reads wishes for them.
#[derive(Clone, Debug)]
pub struct Classifier {
    marker: Marker,
    weights: Weights,
    kinds: Vec<Kind>,
}

impl Classifier {
    /// What is built in.
    ///
    /// # Errors
    /// [`DataError`] names what is wrong.
    pub fn built_in(rules: &Rules) -> Result<Self, DataError> {
        let kinds = kinds()?;
        let weights = Weights::parse(include_bytes!("../../data/refusals/weights.bin"), kinds.len())?;
        Ok(Self { marker: Marker::built_in(rules)?, weights, kinds })
    }

    /// Checks a wish.
    ///
    /// # Errors
    /// [`ExpandError::Refused`] with the kind of wish that it seems to be.
    pub fn check(&self, text: &str) -> Result<(), ExpandError> {
        let marks = self.marker.marks(text);
        let somebody = marks.iter().any(Mark::is_name);
        let judged = windows(&marks).filter_map(|marks| {
            let (over, kind) = self.weights.judge(&features(marks));
            let kind = self.kinds.get(kind).filter(|kind| somebody || !kind.of_somebody)?;
            (over > 0.0).then_some((over, kind))
        });
        match judged.max_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((_, Kind { name, reason, .. })) => {
                Err(ExpandError::Refused { rule: name.clone(), reason: reason.clone() })
            }
            None => Ok(()),
        }
    }
}

/// What of a text is weighed at once.
pub fn windows(marks: &[Mark]) -> impl Iterator<Item = &[Mark]> {
    let last = marks.len().saturating_sub(WINDOW).div_ceil(STEP);
    (0..=last).filter_map(move |i| marks.get(i * STEP..(i * STEP + WINDOW).min(marks.len())))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn weights() -> Weights {
        let table = |bias| Table { scale: 0.5, bias, weights: vec![1, -2, 3, 127] };
        Weights { threshold: 1.0, refused: table(0.25), kinds: vec![table(0.0), table(0.5)] }
    }

    #[test]
    fn weights_are_read_as_they_were_written() {
        let bytes = weights().to_bytes();
        assert_eq!(Weights::parse(&bytes, 2), Ok(weights()));
        for (bytes, kinds, wrong) in [
            (&bytes[..bytes.len() - 1], 2, "ends too early"),
            (&bytes[..20], 2, "ends too early"),
            (&bytes[..], 3, "3 tables for 3 kinds"),
            (&b"something else"[..], 2, "no weights of this version"),
        ] {
            let message = Weights::parse(bytes, kinds).unwrap_err().to_string();
            assert!(message.contains(wrong), "{message}");
        }
    }

    #[test]
    fn buckets_wrap_and_the_best_kind_is_named() {
        let (over, kind) = weights().judge(&[(4, 1.0), (1, 2.0)]);
        // 0.25 + 0.5 * (1 * 1 - 2 * 2) - 1
        assert!((over + 2.25).abs() < 1e-6, "{over}");
        assert_eq!(kind, 1);
    }

    #[test]
    fn long_texts_are_read_piece_by_piece() {
        let marks: Vec<Mark> = (0..60).map(|i| Mark { word: i.to_string(), ..Mark::default() }).collect();
        let lengths: Vec<usize> = windows(&marks).map(<[Mark]>::len).collect();
        assert_eq!(lengths, [16, 16, 16, 16, 16, 16, 12]);
        assert_eq!(windows(&marks[..3]).count(), 1);
        assert_eq!(windows(&[]).map(<[Mark]>::len).sum::<usize>(), 0);
    }
}
