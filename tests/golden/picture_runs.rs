//! Whole pictures beside diffusers': what the lists `runs.json` of the fixtures ask for, as requests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imagine_contract::{
    Edit, EditMask, Engine, GenerateRequest, GrayPixels, Identity, Picture, Rest, RgbPixels, SizeCondition,
};
use imagine_pipeline::{DtypeChoice, LoadOptions, StableDiffusion};
use imagine_tests::{Colours, Golden, fixtures, place};
use serde::Deserialize;
use serde_json::Value;
use tch::{Kind, Tensor};

/// One entry of a `runs.json`.
#[derive(Clone, Deserialize)]
pub struct Run {
    pub name: String,
    pub prompt: String,
    pub negative_prompt: String,
    pub seed: u64,
    pub count: u32,
    pub steps: u32,
    pub guidance_scale: f64,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub scheduler: Option<String>,
    pub clip_skip: Option<u32>,
    pub size_condition: Option<SizeCondition>,
    pub negative_size_condition: Option<SizeCondition>,
    /// A file to put in the place of the checkpoint's scheduler.
    pub file: Option<String>,
    /// Keys to change in the scheduler's file and in `model_index.json`.
    #[serde(default)]
    pub scheduler_keys: BTreeMap<String, Value>,
    #[serde(default)]
    pub index_keys: BTreeMap<String, Value>,
    #[serde(default)]
    pub adapter: bool,
    pub identity: Option<f64>,
    /// The recipe that it is drawn by.
    pub preset: Option<String>,
    /// How far an edit goes; none where there is no edit.
    pub strength: Option<f64>,
    #[serde(default)]
    pub mask: bool,
    /// With a U-Net of nine channels.
    #[serde(default)]
    pub channels: bool,
    /// Which checkpoint is edited with.
    pub checkpoint: Option<String>,
}

impl Run {
    pub fn all(subject: &str) -> Vec<Self> {
        let file = fixtures(subject).join("runs.json");
        let text = std::fs::read_to_string(file).expect("the list of runs");
        let runs: Vec<Self> = serde_json::from_str(&text).expect("the list of runs is JSON");
        assert!(!runs.is_empty(), "no runs of {subject}");
        runs
    }

    pub fn named(subject: &str, name: &str) -> Self {
        Self::all(subject).into_iter().find(|r| r.name == name).unwrap_or_else(|| panic!("no run {name}"))
    }

    /// The request of this run; `embedding` is the person's where there is one.
    pub fn request(&self, embedding: Option<Vec<f32>>) -> GenerateRequest {
        let people = self.identity.map(|scale| {
            Identity::of_embedding(embedding.expect("a run with a person needs an embedding"), scale)
        });
        GenerateRequest {
            negative_prompt: self.negative_prompt.clone(),
            width: self.width,
            height: self.height,
            steps: Some(self.steps),
            guidance_scale: Some(self.guidance_scale),
            scheduler: self.scheduler.clone(),
            count: self.count,
            clip_skip: self.clip_skip,
            size_condition: self.size_condition,
            negative_size_condition: self.negative_size_condition,
            people: people.into_iter().collect(),
            ..GenerateRequest::new(self.prompt.clone(), self.seed)
        }
    }

    /// The edit of this run, with the rest as diffusers leaves it.
    pub fn edit(&self, pictures: &Golden) -> Option<Edit> {
        let mask = self.mask.then(|| EditMask { pixels: mask(pictures), rest: Rest::Decoded });
        self.strength.map(|strength| Edit { picture: picture(pictures), strength, mask })
    }
}

/// The picture that the fixtures' edits change.
pub fn picture(pictures: &Golden) -> RgbPixels {
    let tensor = pictures.get("picture");
    let size = tensor.size();
    RgbPixels { width: size[1] as u32, height: size[0] as u32, rgb: bytes(&tensor) }
}

/// Its mask.
pub fn mask(pictures: &Golden) -> GrayPixels {
    let tensor = pictures.get("mask");
    let size = tensor.size();
    GrayPixels { width: size[1] as u32, height: size[0] as u32, values: bytes(&tensor) }
}

/// All bytes of a tensor in a row.
pub fn bytes(tensor: &Tensor) -> Vec<u8> {
    assert_eq!(tensor.kind(), Kind::Uint8);
    Vec::try_from(tensor.flatten(0, -1)).expect("bytes")
}

/// A checkpoint where the tests compute, alone or with an adapter.
pub fn load(model: PathBuf, adapter: Option<&Path>, dtype: DtypeChoice) -> StableDiffusion {
    let adapter = adapter.map(Path::to_path_buf);
    let options = LoadOptions { model, adapter, device: place().choice, dtype, ..LoadOptions::default() };
    StableDiffusion::load(&options).unwrap_or_else(|e| panic!("{e}"))
}

pub fn generate(model: &mut StableDiffusion, request: &GenerateRequest) -> Vec<Picture> {
    model.pictures(request).unwrap_or_else(|e| panic!("{e}"))
}

pub fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len(), "bytes of a picture");
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

pub fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len(), "bytes of a picture");
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len().max(1) as f64
}

/// Mean difference below which a picture drawn in half precision shows the same: random weights make a bit of noise
/// a bit of the picture.
pub const NEARLY: f64 = 6.0;

/// How far two pictures are apart, if that is more than rounding makes where the tests compute.
pub fn apart(a: &[u8], b: &[u8]) -> Option<String> {
    let (largest, mean) = (largest_difference(a, b), mean_difference(a, b));
    let far = match place().colours {
        Colours::Largest(most) => largest > most,
        Colours::Mean(most) => mean > most,
    };
    far.then(|| format!("{largest}/255, {mean:.2} in the mean"))
}

/// Collects the runs whose pictures differ from diffusers' by more than a rounding.
#[derive(Default)]
pub struct Comparison(Vec<String>);

impl Comparison {
    /// Holds what was drawn for `run` against the pictures [n, height, width, 3] of its name.
    pub fn compare(&mut self, run: &Run, drawn: Vec<Picture>, golden: &Golden) {
        let name = &run.name;
        let expected = golden.get(name);
        let shape = expected.size();
        assert_eq!((shape[0], drawn.len()), (i64::from(run.count), run.count as usize), "{name}");
        for (i, Picture { pixels, seed }) in drawn.iter().enumerate() {
            assert_eq!((i64::from(pixels.height), i64::from(pixels.width)), (shape[1], shape[2]), "{name}");
            assert_eq!(*seed, run.seed + i as u64);
        }
        let rgb: Vec<u8> = drawn.into_iter().flat_map(|p| p.pixels.rgb).collect();
        let expected = bytes(&expected);
        println!("{name}: largest difference {}/255", largest_difference(&rgb, &expected));
        self.0.extend(apart(&rgb, &expected).map(|far| format!("{name}: {far}")));
    }

    pub fn finish(self) {
        assert!(self.0.is_empty(), "pictures differ: {}", self.0.join(", "));
    }
}
