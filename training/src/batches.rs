//! What a training step is shown, on the device: latents of pictures, captions of them, and cards of their people.

use std::path::Path;

use imagine_encoders::ClipTokenizer;
use imagine_identity::card::CARD_WIDTH;
use tch::{Device, Kind, Tensor, no_grad};

use crate::cards::Cards;
use crate::dataset::Dataset;
use crate::drawing::{Drawer, Drawn};
use crate::error::TrainingError;
use crate::files::{read_tensors, write_tensors};
use crate::networks::open_vae;
use crate::recipe;
use crate::renders::Renders;

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
pub struct Batches {
    /// Scaled, of pictures and mirror images: [2N, C, h, w]
    latents: Tensor,
    cards: Cards,
    tokenizer: ClipTokenizer,
    device: Device,
}

impl Batches {
    /// Of the pictures and cards in `folder`, with the autoencoder and the tokenizer in `out`. Latents that the run
    /// has computed before are read, if they are of as many pictures.
    pub fn new(
        data: &Dataset,
        folder: &Path,
        out: &Path,
        device: Device,
        kind: Kind,
    ) -> Result<Self, TrainingError> {
        let file = out.join(LATENTS_FILE);
        let count = 2 * data.frames.len() as i64;
        let known = if file.is_file() { read_tensors(&file)?.remove("latents") } else { None };
        let latents = match known.filter(|known| known.size()[0] == count) {
            Some(known) => known.to_device(device).to_kind(Kind::Float),
            None => {
                println!("encoding {count} pictures");
                let renders = Renders::read(folder, &data.frames, device)?;
                let latents = encode_all(&renders, out, device, kind)?;
                write_tensors(&file, &[("latents".to_owned(), latents.to_kind(Kind::Half))])?;
                latents
            }
        };
        let tokenizer = ClipTokenizer::from_folder(&out.join("tokenizer"))?;
        Ok(Self { latents, cards: Cards::read(data, folder)?, tokenizer, device })
    }

    /// Tokens that the text encoder knows.
    pub fn vocabulary(&self) -> i64 {
        self.tokenizer.vocab_size() as i64
    }

    /// What draws the rows of batches of `data`.
    pub fn drawer<'a>(&'a self, data: &'a Dataset) -> Drawer<'a> {
        Drawer { frames: &data.frames, people: &data.people, cards: &self.cards, tokenizer: &self.tokenizer }
    }

    /// Rows on the device.
    pub fn batch(&self, drawn: Drawn) -> Result<Batch, TrainingError> {
        let rows = drawn.targets.len() as i64;
        let ids = Tensor::f_from_slice(&drawn.ids)?.view([rows, -1]).to_device(self.device);
        let cards = Tensor::f_from_slice(&drawn.cards)?.view([rows, CARD_WIDTH as i64]);
        Ok(Batch { ids, cards: cards.to_device(self.device), targets: drawn.targets })
    }

    /// As many rows of nobody, of whom nothing is said.
    pub fn nothing(&self, rows: usize) -> Result<Batch, TrainingError> {
        let ids = self.tokenizer.encode("")?.ids.repeat(rows);
        self.batch(Drawn { targets: vec![0; rows], ids, cards: vec![0.0; rows * CARD_WIDTH] })
    }

    /// The latents of the pictures to be drawn: [B, C, h, w]
    pub fn clean(&self, batch: &Batch) -> Tensor {
        self.latents.index_select(0, &Tensor::from_slice(&batch.targets).to_device(self.device))
    }
}

fn encode_all(renders: &Renders, out: &Path, device: Device, kind: Kind) -> Result<Tensor, TrainingError> {
    let vae = open_vae(out, device, kind)?;
    let chunk = if device == Device::Cpu { recipe::ENCODED_AT_ONCE } else { 8 * recipe::ENCODED_AT_ONCE };
    no_grad(|| {
        let mut latents = Vec::new();
        let all: Vec<i64> = (0..renders.count()).collect();
        for mirrored in [false, true] {
            for rows in all.chunks(chunk) {
                let mut pixels = renders.batch(rows, kind, device);
                if mirrored {
                    pixels = pixels.flip([3]);
                }
                latents.push(vae.scale(&vae.encode(&pixels).mean).to_kind(Kind::Float));
            }
        }
        Ok(Tensor::f_cat(&latents, 0)?)
    })
}
