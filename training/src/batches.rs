//! What a training step is shown: latents of pictures, captions of them, and cards of their people.

use std::path::Path;

use imagine_encoders::ClipTokenizer;
use imagine_identity::card::CARD_WIDTH;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use tch::{Device, Kind, Tensor, no_grad};

use crate::captions;
use crate::cards::Cards;
use crate::dataset::{Dataset, Frame};
use crate::error::TrainingError;
use crate::files::{read_tensors, write_tensors};
use crate::networks::open_vae;
use crate::recipe;

/// Where the latents of a run are kept: they take minutes and stay the same.
pub const LATENTS_FILE: &str = "latents.safetensors";

/// Which pictures are drawn, and from what.
pub struct Batch {
    /// Rows of the latents.
    pub targets: Vec<i64>,
    /// [B, S]
    pub ids: Tensor,
    /// Vectors of cards [B, 149]; zero where no person is shown
    pub cards: Tensor,
}

impl Batch {
    pub fn rows(&self) -> i64 {
        self.targets.len() as i64
    }
}

/// All that batches are made of.
pub struct Batches<'a> {
    data: &'a Dataset,
    cards: Cards,
    /// Scaled, of pictures and mirror images: [2N, C, h, w]
    latents: Tensor,
    tokenizer: ClipTokenizer,
    device: Device,
}

/// One row of a training batch.
struct Example<'a> {
    /// Row of the latents.
    target: i64,
    /// The frame whose card conditions it.
    reference: usize,
    frame: &'a Frame,
    mirrored: bool,
}

impl<'a> Batches<'a> {
    /// Of the pictures and cards in `folder`, with the autoencoder and the tokenizer in `out`. Latents that the run
    /// has computed before are read, if they are of as many pictures.
    pub fn new(
        data: &'a Dataset,
        folder: &Path,
        out: &Path,
        device: Device,
        kind: Kind,
    ) -> Result<Self, TrainingError> {
        let file = out.join(LATENTS_FILE);
        let count = 2 * data.frames.len() as i64;
        let known = if file.is_file() { read_tensors(&file)?.remove("latents") } else { None };
        let latents = match known.filter(|known| known.size()[0] == count) {
            Some(known) => known.to_kind(Kind::Float).to_device(device),
            None => {
                println!("encoding {count} pictures");
                let latents = encode_all(data, out, device, kind)?;
                write_tensors(&file, &[("latents".to_owned(), latents.to_kind(Kind::Half))])?;
                latents
            }
        };
        let tokenizer = ClipTokenizer::from_folder(&out.join("tokenizer"))?;
        Ok(Self { data, cards: Cards::read(data, folder)?, latents, tokenizer, device })
    }

    /// Tokens that the text encoder knows.
    pub fn vocabulary(&self) -> i64 {
        self.tokenizer.vocab_size() as i64
    }

    /// A picture and another shot of its person that has a card.
    fn example(&self, rng: &mut StdRng) -> Example<'a> {
        let (shots, target, reference) = loop {
            let shots = &self.data.people[rng.random_range(0..self.data.people.len())];
            let target = rng.random_range(0..shots.len());
            let others =
                shots.iter().copied().filter(|&shot| shot != shots[target] && self.cards.knows(shot));
            if let Some(reference) = others.choose(rng) {
                break (shots, target, reference);
            }
        };
        let mirrored = rng.random_bool(0.5);
        let offset = if mirrored { self.data.frames.len() } else { 0 };
        Example {
            target: (shots[target] + offset) as i64,
            reference,
            frame: &self.data.frames[shots[target]],
            mirrored,
        }
    }

    /// Draws `rows` pictures that `wanted` agrees to (by their rows of the latents). Text, card or both are left out
    /// of some; with `whole` all have their people.
    pub fn draw(
        &self,
        rows: usize,
        whole: bool,
        wanted: impl Fn(i64) -> bool,
        rng: &mut StdRng,
    ) -> Result<Batch, TrainingError> {
        let (mut targets, mut ids, mut cards) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rows {
            let mut example = self.example(rng);
            while !wanted(example.target) {
                example = self.example(rng);
            }
            let fate: f64 = rng.random();
            let no_text = fate < recipe::DROP_TEXT + recipe::DROP_BOTH;
            let no_identity = !whole
                && (recipe::DROP_TEXT..recipe::DROP_TEXT + recipe::DROP_BOTH + recipe::DROP_IDENTITY)
                    .contains(&fate);
            let describe = if no_identity { rng.random_bool(0.9) } else { rng.random_bool(0.15) };
            let text = if no_text { String::new() } else { caption(&example, describe, rng) };
            ids.extend(self.tokenizer.encode(&text)?.ids);
            targets.push(example.target);
            let card = self.cards.vector(self.data, example.reference, rng).filter(|_| !no_identity);
            cards.extend(card.unwrap_or_else(|| vec![0.0; CARD_WIDTH]));
        }
        self.batch(targets, &ids, &cards)
    }

    /// As many rows of nobody, of whom nothing is said.
    pub fn nothing(&self, rows: usize) -> Result<Batch, TrainingError> {
        let ids = self.tokenizer.encode("")?.ids.repeat(rows);
        self.batch(vec![0; rows], &ids, &vec![0.0; rows * CARD_WIDTH])
    }

    fn batch(&self, targets: Vec<i64>, ids: &[i64], cards: &[f32]) -> Result<Batch, TrainingError> {
        let rows = targets.len() as i64;
        Ok(Batch {
            targets,
            ids: Tensor::f_from_slice(ids)?.view([rows, -1]).to_device(self.device),
            cards: Tensor::f_from_slice(cards)?.view([rows, CARD_WIDTH as i64]).to_device(self.device),
        })
    }

    /// The latents of the pictures to be drawn: [B, C, h, w]
    pub fn clean(&self, batch: &Batch) -> Tensor {
        self.latents.index_select(0, &Tensor::from_slice(&batch.targets).to_device(self.device))
    }
}

fn encode_all(data: &Dataset, out: &Path, device: Device, kind: Kind) -> Result<Tensor, TrainingError> {
    let vae = open_vae(out, device, kind)?;
    no_grad(|| {
        let mut latents = Vec::new();
        let all: Vec<i64> = (0..data.frames.len() as i64).collect();
        for mirrored in [false, true] {
            for rows in all.chunks(64) {
                let mut pixels = data.batch(rows, kind, device);
                if mirrored {
                    pixels = pixels.flip([3]);
                }
                latents.push(vae.scale(&vae.encode(&pixels).mean).to_kind(Kind::Float));
            }
        }
        Ok(Tensor::f_cat(&latents, 0)?)
    })
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
