//! Teaches the classifier: logistic regression by AdaGrad, with everything that is drawn drawn from seeds, so that the
//! same wishes make the same weights on every machine.

use std::fmt;

use super::classifier::{HARMLESS, Kind, Table, Weights, kinds, windows};
use super::corpus::{Wish, wishes};
use super::features::{Feature, features};
use super::marks::{Mark, Marker};
use super::rules::Rules;
use crate::data::DataError;
use crate::seed::Seeded;

/// Buckets of the table that says whether, and of each of those that say why.
const BUCKETS: usize = 1 << 16;
const KIND_BUCKETS: usize = 1 << 12;

const EPOCHS: usize = 16;
const RATE: f32 = 0.12;
/// How strongly weights are drawn to nothing.
const DECAY: f32 = 2e-4;
/// By how much over even odds a wish has to look refused. Chosen by wishes that were not learned, so that hardly any
/// everyday one is refused; [`cross_validated`] shows what others would give.
const THRESHOLD: f32 = 1.4;

/// Parts into which wishes are split to measure.
const FOLDS: usize = 5;

/// A wish as numbers.
struct Lesson {
    features: Vec<Feature>,
    /// None where it is harmless.
    kind: Option<usize>,
    /// Whether somebody is named.
    somebody: bool,
    weight: f32,
    block: usize,
}

/// The weights' file, made anew from the wishes in `data/refusals`.
///
/// # Errors
/// [`DataError`] names the file and what is wrong with it.
pub fn weights() -> Result<Vec<u8>, DataError> {
    let rules = Rules::built_in()?;
    let kinds = kinds()?;
    let (lessons, _) = lessons(&rules, &kinds)?;
    Ok(taught(&lessons.iter().collect::<Vec<_>>(), kinds.len()).to_bytes())
}

fn lessons(rules: &Rules, kinds: &[Kind]) -> Result<(Vec<Lesson>, Vec<Wish>), DataError> {
    let known: Vec<&str> = kinds.iter().map(|kind| kind.name.as_str()).chain([HARMLESS]).collect();
    let marker = Marker::built_in(rules)?;
    let wishes = wishes(rules, &known)?;
    let lesson = |wish: &Wish| {
        let marks = marker.marks(&wish.text);
        let kind = kinds.iter().position(|kind| kind.name == wish.kind);
        let features = windows(&marks).next().map(features).unwrap_or_default();
        let somebody = marks.iter().any(Mark::is_name);
        Lesson { features, kind, somebody, weight: wish.weight, block: wish.block }
    };
    Ok((wishes.iter().map(lesson).collect(), wishes))
}

fn taught(lessons: &[&Lesson], kinds: usize) -> Weights {
    let refused = lessons.iter().map(|lesson| (*lesson, lesson.kind.is_some())).collect::<Vec<_>>();
    let bad: Vec<&Lesson> = lessons.iter().copied().filter(|lesson| lesson.kind.is_some()).collect();
    let of_kind = |kind: usize| {
        let labelled: Vec<_> = bad.iter().map(|lesson| (*lesson, lesson.kind == Some(kind))).collect();
        regression(&labelled, KIND_BUCKETS)
    };
    Weights {
        threshold: THRESHOLD,
        refused: regression(&refused, BUCKETS),
        kinds: (0..kinds).map(of_kind).collect(),
    }
}

/// One table of weights that tells what is true from what is not.
fn regression(labelled: &[(&Lesson, bool)], buckets: usize) -> Table {
    let mask = buckets - 1;
    let mut weights = vec![0f32; buckets];
    let mut squares = vec![1f32; buckets];
    let (mut bias, mut bias_square) = (0f32, 1f32);
    let mut order: Vec<usize> = (0..labelled.len()).collect();
    let mut seeded = Seeded::new(11, "lessons");
    for _ in 0..EPOCHS {
        for i in (1..order.len()).rev() {
            order.swap(i, seeded.below(i + 1));
        }
        for (lesson, holds) in order.iter().filter_map(|i| labelled.get(*i)) {
            let weight_of = |(bucket, value): &Feature| weights[*bucket as usize & mask] * value;
            let score = bias + lesson.features.iter().map(weight_of).sum::<f32>();
            let wrong = (sigmoid(score) - f32::from(u8::from(*holds))) * lesson.weight;
            for (bucket, value) in &lesson.features {
                let at = *bucket as usize & mask;
                let slope = wrong * value + DECAY * weights[at];
                squares[at] += slope * slope;
                weights[at] -= RATE * slope / squares[at].sqrt();
            }
            bias_square += wrong * wrong;
            bias -= RATE * wrong / bias_square.sqrt();
        }
    }
    let largest = weights.iter().fold(0f32, |most, weight| most.max(weight.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let steps = weights.iter().map(|weight| (weight / scale).round() as i8).collect();
    Table { scale, bias, weights: steps }
}

/// The logistic function, by sums and products alone: the exponential of a machine's own library may differ in its
/// last digit from that of another.
fn sigmoid(x: f32) -> f32 {
    let size = f64::from(x.abs().min(40.0));
    // e^-size = 2^-k * e^rest, with a rest below ln 2
    let k = (size / std::f64::consts::LN_2).floor();
    let rest = size - k * std::f64::consts::LN_2;
    let mut power = 1.0;
    for i in (1..=14).rev() {
        power = 1.0 - rest / f64::from(i) * power;
    }
    let halves = f64::from_bits((1023 - k as u64) << 52);
    let small = power * halves;
    let positive = 1.0 / (1.0 + small);
    (if x >= 0.0 { positive } else { 1.0 - positive }) as f32
}

/// How wishes fare that were not learned: each block is judged by weights that were taught with other blocks.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub lines: Vec<Judged>,
}

/// A wish and how it was judged without having been learned.
#[derive(Clone, Debug)]
pub struct Judged {
    pub kind: String,
    pub text: String,
    /// Over the threshold of the weights that are built in.
    pub over: f32,
    /// The kind that it was taken for.
    pub taken_for: String,
    /// Whether the rules refuse it anyway.
    pub by_rules: bool,
    weight: f32,
}

/// Measures by leaving out: five parts of blocks, each judged by what the others taught.
///
/// # Errors
/// [`DataError`] names the file and what is wrong with it.
pub fn cross_validated() -> Result<Report, DataError> {
    let rules = Rules::built_in()?;
    let kinds = kinds()?;
    let (lessons, wishes) = lessons(&rules, &kinds)?;
    let fold = |block: usize| Seeded::new(block as u64, "fold").below(FOLDS);
    let mut report = Report::default();
    for held_out in 0..FOLDS {
        let learned: Vec<&Lesson> = lessons.iter().filter(|lesson| fold(lesson.block) != held_out).collect();
        let weights = taught(&learned, kinds.len());
        for (lesson, wish) in lessons.iter().zip(&wishes).filter(|(lesson, _)| fold(lesson.block) == held_out)
        {
            let (over, kind) = weights.judge(&lesson.features);
            let possible = kinds.get(kind).is_some_and(|kind| lesson.somebody || !kind.of_somebody);
            let over = if possible { over } else { f32::NEG_INFINITY };
            report.lines.push(Judged {
                kind: wish.kind.clone(),
                text: wish.text.clone(),
                over,
                taken_for: kinds.get(kind).map(|kind| kind.name.clone()).unwrap_or_default(),
                by_rules: rules.check(&wish.text).is_err(),
                weight: wish.weight * wish.weight,
            });
        }
    }
    Ok(report)
}

impl Report {
    /// The share of wishes of some kinds that are refused at a threshold of one's own above that of the weights; by
    /// the classifier alone, and with the rules. Lines count alike, however many wishes they stand for.
    pub fn refused(&self, of: impl Fn(&Judged) -> bool, shift: f32) -> (f32, f32) {
        let (mut all, mut alone, mut both) = (0.0f32, 0.0, 0.0);
        for line in self.lines.iter().filter(|line| of(line)) {
            all += line.weight;
            let over = line.over > shift;
            alone += if over { line.weight } else { 0.0 };
            both += if over || line.by_rules { line.weight } else { 0.0 };
        }
        (alone / all.max(1e-9), both / all.max(1e-9))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| threshold | harmless refused | bad refused | bad refused, with the rules |")?;
        writeln!(f, "|---|---|---|---|")?;
        for shift in [-1.6, -1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2] {
            let harmless = self.refused(|line| line.kind == HARMLESS, shift).0;
            let (alone, both) = self.refused(|line| line.kind != HARMLESS, shift);
            let percent = |share: f32| format!("{:.1} %", share * 100.0);
            let (harmless, alone, both) = (percent(harmless), percent(alone), percent(both));
            writeln!(f, "| {:.1} | {harmless} | {alone} | {both} |", THRESHOLD + shift)?;
        }
        let mut kinds: Vec<&str> = self.lines.iter().map(|line| line.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        writeln!(
            f,
            "\n| kind | wishes | refused | with the rules | taken for itself |\n|---|---|---|---|---|"
        )?;
        for kind in kinds.into_iter().filter(|kind| *kind != HARMLESS) {
            let (alone, both) = self.refused(|line| line.kind == kind, 0.0);
            let all: Vec<&Judged> = self.lines.iter().filter(|line| line.kind == kind).collect();
            let itself =
                all.iter().filter(|line| line.taken_for == kind).count() as f32 / all.len().max(1) as f32;
            let (alone, both, itself) = (alone * 100.0, both * 100.0, itself * 100.0);
            writeln!(f, "| {kind} | {} | {alone:.0} % | {both:.0} % | {itself:.0} % |", all.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_committed_weights_are_those_of_the_committed_wishes() {
        let committed: &[u8] = include_bytes!("../../data/refusals/weights.bin");
        assert!(
            weights().unwrap() == committed,
            "the rules' words or the wishes changed: cargo run -p imagine-expansion --example refusals"
        );
    }

    #[test]
    fn the_logistic_function_is_one() {
        for x in [-45.0f32, -8.5, -1.0, -0.3, 0.0, 0.3, 1.0, 8.5, 45.0] {
            let expected = 1.0 / (1.0 + f64::from(-x).exp());
            assert!((f64::from(sigmoid(x)) - expected).abs() < 1e-6, "{x}: {}", sigmoid(x));
        }
    }

    #[test]
    fn what_is_told_apart_by_one_feature_is_learned() {
        let lesson = |bucket: u32, kind: Option<usize>| Lesson {
            features: vec![(7, 1.0), (bucket, 1.0)],
            kind,
            somebody: true,
            weight: 1.0,
            block: 0,
        };
        let lessons: Vec<Lesson> = (0..40)
            .map(|i| match i % 4 {
                0 => lesson(100, Some(0)),
                1 => lesson(200, Some(1)),
                _ => lesson(300, None),
            })
            .collect();
        let weights = taught(&lessons.iter().collect::<Vec<_>>(), 2);
        for lesson in &lessons {
            let score = weights.refused.score(&lesson.features);
            assert_eq!(score > 0.0, lesson.kind.is_some(), "{score}");
            if let Some(kind) = lesson.kind {
                assert_eq!(weights.judge(&lesson.features).1, kind);
            }
        }
    }
}
