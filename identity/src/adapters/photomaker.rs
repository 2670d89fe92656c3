//! PhotoMaker: what is seen of a person is stacked into the prompt, in the place of the word that says what
//! the person is ("a man img …"). No attention of its own: the U-Net gets another text and a LoRA.
//!
//! Source: PhotoMaker (Li et al. 2023, arXiv 2312.04461) and its published files `photomaker-v1.bin` and
//! `photomaker-v2.bin`: `id_encoder`, a CLIP ViT-L/14 with what is below, and `lora_weights`. The vision
//! network itself belongs to another room, which builds it of [`PhotoMaker::vision`]; the LoRA is read from
//! the same file below [`PhotoMaker::LORA_PREFIX`].

use std::path::{Path, PathBuf};

use imagine_unet::config::{ConfigError, UNetConfig};
use imagine_unet::layers::{LayerNorm, Linear};
use imagine_unet::weights::Change;
use imagine_unet::{Vs, Weights, WeightsError};
use tch::{Device, Kind, TchError, Tensor};

use super::photomaker_v2::{QFormerPerceiver, QFormerSizes};

/// The norms' epsilon, PyTorch's default.
const EPS: f64 = 1e-5;

/// Why PhotoMaker could not be used.
#[derive(Debug, thiserror::Error)]
pub enum PhotoMakerError {
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{file}: not a PhotoMaker file: {reason}")]
    Unrecognised { file: PathBuf, reason: String },
    #[error("{file}: its tensors are those of {found}, it cannot be used as {wanted}")]
    OtherVersion { file: PathBuf, found: PhotoMakerVersion, wanted: PhotoMakerVersion },
    #[error(
        "{file}: made for a text condition {adapter} wide, but this model's is {model} wide: \
         PhotoMaker belongs to another base model (it was published for SDXL)"
    )]
    WrongBase { file: PathBuf, adapter: i64, model: i64 },
    #[error("{file}: PhotoMaker v2 needs a face embedding for every reference, which was not given")]
    NoEmbedding { file: PathBuf },
    #[error("{file}: {what} has shape {found:?}, expected {expected}")]
    Input { file: PathBuf, what: &'static str, found: Vec<i64>, expected: String },
    #[error("the prompt must hold the trigger word \"{trigger}\" once, found {found} times")]
    Trigger { trigger: String, found: usize },
    #[error(
        "the trigger word \"{trigger}\" must follow the word for what the person is, as in \"a man {trigger}\""
    )]
    NoClassWord { trigger: String },
    #[error(
        "the trigger word stands too far back: {needed} places are needed for the person after the first \
         {before} tokens of the prompt, and the text encoder takes {most} in all; use a shorter prompt or fewer \
         references"
    )]
    TooLong { before: usize, needed: usize, most: usize },
    #[error("{file}: {source}")]
    Tensor { file: PathBuf, source: TchError },
}

/// The published versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhotoMakerVersion {
    /// CLIP's embedding alone: one token a reference.
    V1,
    /// A face embedding that reads CLIP's patch tokens: two tokens a reference.
    V2,
}

impl PhotoMakerVersion {
    /// Tokens of the prompt that each reference takes.
    pub fn tokens(self) -> usize {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

impl std::fmt::Display for PhotoMakerVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V1 => "PhotoMaker v1",
            Self::V2 => "PhotoMaker v2",
        })
    }
}

/// `LayerNorm → Linear → GELU → Linear`
struct Mlp {
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    fn new(vs: &Vs, inputs: i64, outputs: i64) -> Result<Self, WeightsError> {
        Ok(Self {
            norm: LayerNorm::new(&(vs / "layernorm"), inputs, EPS)?,
            fc1: Linear::new(&(vs / "fc1"), inputs, outputs, true)?,
            fc2: Linear::new(&(vs / "fc2"), outputs, outputs, true)?,
        })
    }

    /// [K, inputs] → [K, outputs]
    fn forward(&self, x: &Tensor) -> Tensor {
        self.fc2.forward(&self.fc1.forward(&self.norm.forward(x)).gelu("none"))
    }
}

/// Joins the embeddings of the class word with what was seen of the person.
struct FuseModule {
    mlp1: Mlp,
    mlp2: Mlp,
    norm: LayerNorm,
}

impl FuseModule {
    fn new(vs: &Vs, width: i64) -> Result<Self, WeightsError> {
        Ok(Self {
            mlp1: Mlp::new(&(vs / "mlp1"), 2 * width, width)?,
            mlp2: Mlp::new(&(vs / "mlp2"), width, width)?,
            norm: LayerNorm::new(&(vs / "layer_norm"), width, EPS)?,
        })
    }

    /// Words [K, C] and tokens of the person [K, C] → [K, C]
    fn forward(&self, words: &Tensor, person: &Tensor) -> Tensor {
        let joined = self.mlp1.forward(&Tensor::cat(&[words, person], -1)) + words; // [K, 2C] → [K, C]
        self.norm.forward(&(self.mlp2.forward(&joined) + &joined))
    }
}

/// What is known of N references of one person, one row each, as CLIP's vision network
/// ([`PhotoMaker::vision`]) and the face recogniser give it.
#[derive(Debug)]
pub struct PhotoMakerFeatures {
    /// The normed class token [N, W], for v1.
    pub pooled: Tensor,
    /// Its projection [N, P], for v1.
    pub image_embeds: Tensor,
    /// The last layer's output, without a norm [N, S, W], for v2.
    pub last_hidden_state: Tensor,
    /// ArcFace embeddings as the recogniser gives them, not normalised [N, E], for v2.
    pub embeddings: Option<Tensor>,
}

enum Stack {
    /// The second of CLIP's projections: [P₂, W], with W
    V1(Linear, i64),
    V2(Box<QFormerPerceiver>),
}

/// An opened PhotoMaker file.
///
/// In the order of loading: [`PhotoMaker::open`], the vision network of [`PhotoMaker::vision`], then
/// [`PhotoMaker::finish`].
pub struct PhotoMaker {
    file: PathBuf,
    weights: Weights,
    fuse: FuseModule,
    stack: Stack,
    width: i64,
    device: Device,
    kind: Kind,
}

impl PhotoMaker {
    /// What stands in front of the LoRA's keys in a PhotoMaker file.
    pub const LORA_PREFIX: &'static str = "lora_weights.";

    /// The word of the published files that marks the class word before it.
    pub const TRIGGER_WORD: &'static str = "img";

    /// Opens a file of either version; `wanted` refuses the other one.
    ///
    /// # Errors
    /// A file that cannot be read or is none of PhotoMaker's, and tensors that are missing or of the wrong
    /// shape, by file and key.
    pub fn open(
        file: &Path,
        wanted: Option<PhotoMakerVersion>,
        device: Device,
        kind: Kind,
    ) -> Result<Self, PhotoMakerError> {
        Self::of_weights(Self::weights_of(file, device, kind)?, file, wanted)
    }

    /// The file's tensors without the LoRA, under the names that [`PhotoMaker::of_weights`] asks for.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn weights_of(file: &Path, device: Device, kind: Kind) -> Result<Weights, PhotoMakerError> {
        let own = |key: &str, _: &[i64]| match key.strip_prefix("id_encoder.") {
            Some(key) => vec![(key.to_string(), Change::Whole)],
            None => Vec::new(),
        };
        Ok(Weights::open_mapped(&[file.to_path_buf()], device, kind, own)?)
    }

    /// The same as [`PhotoMaker::open`], of tensors that are open already.
    ///
    /// # Errors
    /// As there.
    pub fn of_weights(
        weights: Weights,
        file: &Path,
        wanted: Option<PhotoMakerVersion>,
    ) -> Result<Self, PhotoMakerError> {
        let (device, kind) = (weights.device(), weights.kind());
        let refuse = |reason: String| PhotoMakerError::Unrecognised { file: file.to_path_buf(), reason };
        let width = match weights.shape("fuse_module.layer_norm.weight").as_deref() {
            Some(&[width]) if width > 0 => width,
            Some(shape) => return Err(refuse(format!("its fuse module has a norm of shape {shape:?}"))),
            None => return Err(refuse("it has no \"id_encoder.fuse_module.layer_norm.weight\"".into())),
        };
        let v2 = weights.shape("qformer_perceiver.token_norm.weight").is_some();
        let found = if v2 { PhotoMakerVersion::V2 } else { PhotoMakerVersion::V1 };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(PhotoMakerError::OtherVersion { file: file.to_path_buf(), found, wanted });
        }
        let vs = weights.root();
        let key = "visual_projection_2.weight";
        let (outputs, inputs) = match weights.shape(key).as_deref() {
            Some(&[outputs, inputs]) if inputs > 0 && outputs > 0 && outputs < width => (outputs, inputs),
            Some(shape) => return Err(refuse(format!("\"id_encoder.{key}\" has shape {shape:?}"))),
            None => return Err(refuse(format!("it has no \"id_encoder.{key}\""))),
        };
        let second = Linear::new(&(&vs / "visual_projection_2"), inputs, outputs, false)?;
        let stack = match found {
            PhotoMakerVersion::V1 => Stack::V1(second, inputs),
            // Version 2 has the projections too, and does not use them.
            PhotoMakerVersion::V2 => {
                let sizes = QFormerSizes::of(&weights, width).map_err(refuse)?;
                Stack::V2(Box::new(QFormerPerceiver::new(&(&vs / "qformer_perceiver"), sizes)?))
            }
        };
        let fuse = FuseModule::new(&(&vs / "fuse_module"), width)?;
        Ok(Self { file: file.to_path_buf(), fuse, stack, width, device, kind, weights })
    }

    /// The file's tensors alone, without the LoRA.
    pub fn into_weights(self) -> Weights {
        self.weights
    }

    pub fn version(&self) -> PhotoMakerVersion {
        match self.stack {
            Stack::V1(..) => PhotoMakerVersion::V1,
            Stack::V2(_) => PhotoMakerVersion::V2,
        }
    }

    /// Width of the face embeddings that are needed; none for v1.
    pub fn embedding_width(&self) -> Option<i64> {
        match &self.stack {
            Stack::V1(..) => None,
            Stack::V2(qformer) => Some(qformer.embedding_width()),
        }
    }

    /// Where the weights of the vision network lie: `vision_model.*` and `visual_projection.weight`, of a
    /// CLIP ViT-L/14 (`CLIPVisionModelWithProjection`) in the published files.
    pub fn vision(&self) -> Vs<'_> {
        self.weights.root()
    }

    /// Refuses keys that belong to nothing, once the vision network has been built. `ignored` are ends of
    /// keys that may be left over.
    pub fn finish(&self, ignored: &[&str]) -> Result<(), PhotoMakerError> {
        Ok(self.weights.finish(ignored)?)
    }

    /// Refuses a U-Net with a text condition of another width.
    pub fn check_base(&self, config: &UNetConfig) -> Result<(), PhotoMakerError> {
        let (adapter, model) = (self.width, config.cross_dim()?);
        if adapter == model {
            return Ok(());
        }
        Err(PhotoMakerError::WrongBase { file: self.file.clone(), adapter, model })
    }

    /// The tokens of a person with N references: [N · tokens, C], in the order of the references.
    pub fn tokens(&self, features: &PhotoMakerFeatures) -> Result<Tensor, PhotoMakerError> {
        let here = |t: &Tensor| t.f_to_device(self.device).and_then(|t| t.f_to_kind(self.kind));
        let tensor = |source| PhotoMakerError::Tensor { file: self.file.clone(), source };
        let tokens = match &self.stack {
            Stack::V1(second, inputs) => {
                let (pooled, first) = (&features.pooled, &features.image_embeds);
                if !matches!(pooled.size().as_slice(), [_, width] if width == inputs) {
                    return Err(self.input("CLIP's class token", pooled, format!("[references, {inputs}]")));
                }
                let second = second.forward(&here(pooled).map_err(tensor)?); // [N, P₂]
                let rest = self.width - second.size().last().copied().unwrap_or_default();
                if first.size() != [pooled.size().first().copied().unwrap_or_default(), rest] {
                    return Err(self.input("CLIP's projection", first, format!("[references, {rest}]")));
                }
                Tensor::f_cat(&[here(first).map_err(tensor)?, second], -1).map_err(tensor)? // [N, P + P₂]
            }
            Stack::V2(qformer) => {
                let embeddings = features.embeddings.as_ref();
                let embeddings =
                    embeddings.ok_or_else(|| PhotoMakerError::NoEmbedding { file: self.file.clone() })?;
                let states = &features.last_hidden_state;
                let (rows, width) = (states.size().first().copied(), qformer.embedding_width());
                if embeddings.size() != [rows.unwrap_or_default(), width] {
                    let expected = format!("[{}, {width}]", rows.unwrap_or_default());
                    return Err(self.input("the face embeddings", embeddings, expected));
                }
                if !matches!(states.size().as_slice(), [_, _, inner] if *inner == qformer.vision_width()) {
                    let expected = format!("[references, patches + 1, {}]", qformer.vision_width());
                    return Err(self.input("CLIP's states", states, expected));
                }
                let embeddings = here(embeddings).map_err(tensor)?;
                qformer.forward(&embeddings, &here(states).map_err(tensor)?) // [N, T, C]
            }
        };
        tokens.f_reshape([-1, self.width]).map_err(tensor)
    }

    /// Prompt embeddings [1, S, C] with the K class tokens from `first` on joined with the person's
    /// tokens [K, C] → [1, S, C], in the prompt's type.
    pub fn fuse(&self, prompt: &Tensor, first: usize, person: &Tensor) -> Result<Tensor, PhotoMakerError> {
        let count = person.size().first().copied().unwrap_or_default();
        let (first, length) = match prompt.size().as_slice() {
            &[1, length, width] if width == self.width && first as i64 + count <= length => {
                (first as i64, length)
            }
            _ => {
                let expected = format!("[1, at least {}, {}]", first as i64 + count, self.width);
                return Err(self.input("the prompt's embeddings", prompt, expected));
            }
        };
        let join = || -> Result<Tensor, TchError> {
            let words = prompt.f_narrow(1, first, count)?.f_squeeze_dim(0)?; // [K, C]
            let words = words.f_to_device(self.device)?.f_to_kind(self.kind)?;
            let person = person.f_to_device(self.device)?.f_to_kind(self.kind)?;
            let fused = self.fuse.forward(&words, &person).f_unsqueeze(0)?; // [1, K, C]
            let fused = fused.f_to_device(prompt.device())?.f_to_kind(prompt.kind())?;
            let after = first + count;
            let parts = [prompt.f_narrow(1, 0, first)?, fused, prompt.f_narrow(1, after, length - after)?];
            Tensor::f_cat(&parts, 1) // [1, S, C]
        };
        join().map_err(|source| PhotoMakerError::Tensor { file: self.file.clone(), source })
    }

    fn input(&self, what: &'static str, found: &Tensor, expected: String) -> PhotoMakerError {
        PhotoMakerError::Input { file: self.file.clone(), what, found: found.size(), expected }
    }
}
