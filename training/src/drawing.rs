//! Which pictures a training step is shown, and what is said of them: drawn by threads of their own, so that the
//! device does not wait for sentences.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use imagine_encoders::ClipTokenizer;
use imagine_identity::card::CARD_WIDTH;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};

use crate::captions;
use crate::cards::Cards;
use crate::dataset::Frame;
use crate::error::TrainingError;
use crate::recipe;

/// Most threads that draw for one stream.
const MOST_THREADS: usize = 8;
/// Batches that a thread is ahead.
const AHEAD: usize = 2;

/// What is drawn from.
pub struct Drawer<'a> {
    pub frames: &'a [Frame],
    /// Indices into `frames`, one list a person.
    pub people: &'a [Vec<usize>],
    pub cards: &'a Cards,
    pub tokenizer: &'a ClipTokenizer,
}

/// What a stream draws.
pub struct Wish {
    /// Pictures a batch.
    pub rows: usize,
    /// All have their people; otherwise text, card or both are left out of some.
    pub whole: bool,
    /// Of each row of the latents, whether it may be drawn; all may if left out.
    pub known: Option<Vec<bool>>,
}

/// Rows of a batch.
pub struct Drawn {
    /// Rows of the latents.
    pub targets: Vec<i64>,
    /// Tokens, row after row.
    pub ids: Vec<i64>,
    /// Vectors of cards, row after row; zero where no person is shown.
    pub cards: Vec<f32>,
}

/// One row of a batch.
struct Example<'a> {
    /// Row of the latents.
    target: i64,
    /// The frame whose card conditions it.
    reference: usize,
    frame: &'a Frame,
    mirrored: bool,
}

impl<'a> Drawer<'a> {
    /// A picture and another shot of its person that has a card.
    fn example(&self, rng: &mut StdRng) -> Example<'a> {
        let (shots, target, reference) = loop {
            let shots = &self.people[rng.random_range(0..self.people.len())];
            let target = rng.random_range(0..shots.len());
            let others =
                shots.iter().copied().filter(|&shot| shot != shots[target] && self.cards.knows(shot));
            if let Some(reference) = others.choose(rng) {
                break (shots, target, reference);
            }
        };
        let mirrored = rng.random_bool(0.5);
        let offset = if mirrored { self.frames.len() } else { 0 };
        Example {
            target: (shots[target] + offset) as i64,
            reference,
            frame: &self.frames[shots[target]],
            mirrored,
        }
    }

    fn draw(&self, wish: &Wish, rng: &mut StdRng) -> Result<Drawn, TrainingError> {
        let mut drawn = Drawn { targets: Vec::new(), ids: Vec::new(), cards: Vec::new() };
        let wanted = |target: i64| wish.known.as_ref().is_none_or(|known| known[target as usize]);
        for _ in 0..wish.rows {
            let mut example = self.example(rng);
            while !wanted(example.target) {
                example = self.example(rng);
            }
            let fate: f64 = rng.random();
            let no_text = fate < recipe::DROP_TEXT + recipe::DROP_BOTH;
            let no_identity = !wish.whole
                && (recipe::DROP_TEXT..recipe::DROP_TEXT + recipe::DROP_BOTH + recipe::DROP_IDENTITY)
                    .contains(&fate);
            let describe = if no_identity { rng.random_bool(0.9) } else { rng.random_bool(0.15) };
            let text = if no_text { String::new() } else { caption(&example, describe, rng) };
            drawn.ids.extend(self.tokenizer.encode(&text)?.ids);
            drawn.targets.push(example.target);
            let target = example.target as usize % self.frames.len();
            let card =
                self.cards.vector(self.frames, example.reference, target, rng).filter(|_| !no_identity);
            drawn.cards.extend(card.unwrap_or_else(|| vec![0.0; CARD_WIDTH]));
        }
        Ok(drawn)
    }

    /// Begins to draw batches from number `first` on: which rows a batch has depends on `seed` and its number alone.
    pub fn stream<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        wish: &'scope Wish,
        seed: u64,
        first: u64,
    ) -> Stream {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / 2).clamp(1, MOST_THREADS) as u64;
        let receivers = (0..threads).map(|thread| {
            let (sender, receiver) = sync_channel(AHEAD);
            scope.spawn(move || {
                for number in (first + thread..).step_by(threads as usize) {
                    // Neighbouring numbers far apart, as seeds of one generator must be.
                    let mixed = seed ^ number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    let drawn = self.draw(wish, &mut StdRng::seed_from_u64(mixed));
                    // Nobody listens any more: the run is over.
                    if sender.send(drawn).is_err() {
                        break;
                    }
                }
            });
            receiver
        });
        Stream { receivers: receivers.collect(), next: 0 }
    }
}

/// Batches in order.
pub struct Stream {
    receivers: Vec<Receiver<Result<Drawn, TrainingError>>>,
    next: usize,
}

impl Stream {
    pub fn next(&mut self) -> Result<Drawn, TrainingError> {
        let at = self.next % self.receivers.len();
        self.next += 1;
        let gone = |_| TrainingError::Tools("a thread that draws batches has ended".into());
        self.receivers[at].recv().map_err(gone)?
    }
}

/// A caption, with left and right exchanged for a mirrored picture.
fn caption(example: &Example, describe: bool, rng: &mut StdRng) -> String {
    let text = captions::compose(example.frame, describe, rng);
    if !example.mirrored {
        return text;
    }
    text.split(' ')
        .map(|word| match word.trim_end_matches(',') {
            "left" => word.replace("left", "right"),
            "right" => word.replace("right", "left"),
            _ => word.to_string(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::path::Path;

    use imagine_identity::card::DESCRIPTOR_WIDTH;

    use super::*;
    use crate::cards::MeasuredCard;
    use crate::dataset::rendered;

    #[test]
    fn batches_depend_on_seed_and_number_alone_and_show_another_shot_than_the_card() {
        let frames = [rendered(1, 0), rendered(1, 1), rendered(1, 2), rendered(2, 0), rendered(2, 1)];
        let people = [vec![0, 1, 2], vec![3, 4]];
        let card = |value: f32| {
            Some(MeasuredCard { descriptor: vec![value; DESCRIPTOR_WIDTH], skin: None, hair: None })
        };
        // Only first shots have cards, so none of them can be drawn but by another first shot.
        let measured = vec![card(0.2), None, None, card(-0.2), None];
        let cards = Cards::new(measured, Vec::new(), vec![0.0; DESCRIPTOR_WIDTH]);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter/tokenizer");
        let tokenizer = ClipTokenizer::from_folder(&folder).unwrap();
        let drawer = Drawer { frames: &frames, people: &people, cards: &cards, tokenizer: &tokenizer };
        let known = (0..10).map(|row| row != 4).collect();
        let wish = Wish { rows: 16, whole: true, known: Some(known) };
        let batches = |seed, first, count| -> Vec<Drawn> {
            std::thread::scope(|scope| {
                let mut stream = drawer.stream(scope, &wish, seed, first);
                (0..count).map(|_| stream.next().unwrap()).collect()
            })
        };
        let all = batches(5, 0, 7);
        let later = batches(5, 3, 4);
        for (a, b) in all[3..].iter().zip(&later) {
            assert_eq!((&a.targets, &a.ids, &a.cards), (&b.targets, &b.ids, &b.cards));
        }
        assert_ne!(all[0].targets, batches(6, 0, 1)[0].targets);
        for target in all.iter().flat_map(|batch| &batch.targets) {
            let shot = target % 5;
            assert!(shot != 0 && shot != 3 && *target != 4, "row {target}");
        }
        let width = all[0].cards.len() / 16;
        assert!(all[0].cards.chunks(width).all(|card| card.iter().any(|number| *number != 0.0)));
    }
}
