//! PhotoMaker in a run (arXiv 2312.04461): its file with the vision network in it, what it sees of a person,
//! and the prompt in which the word for the person says what was seen.

use std::path::{Path, PathBuf};

use image::RgbImage;
use imagine_contract::{Identity, IdentityNeeds, RequestError};
use imagine_encoders::{ClipImageProcessor, ClipVisionConfig, ClipVisionModel};
use imagine_identity::adapters::{PhotoMaker, PhotoMakerFeatures, merge_step};
use imagine_unet::config::UNetConfig;
use tch::{Device, Tensor};

use crate::checkpoint::{Target, config_error};
use crate::error::PipelineError;
use crate::text_conditioning::{Prompts, TextCondition, TextConditioner, TriggerCondition};

/// Part of the run that hears the text alone where a request leaves it open, as in the published demo.
const STYLE_STRENGTH: f64 = 0.2;

/// Side of the face crop; the vision network takes less.
const FACE_SIDE: u32 = 256;

/// A PhotoMaker file, loaded.
pub struct PhotoMakerIdentity {
    maker: PhotoMaker,
    vision: ClipVisionModel,
    processor: ClipImageProcessor,
    device: Device,
}

/// The two conditions of a run with PhotoMaker.
pub struct Stacked {
    pub text_only: TextCondition,
    pub with_person: TextCondition,
    /// For each step whether the person is heard.
    pub heard: Vec<bool>,
}

/// What a PhotoMaker file wants to know of every reference.
pub fn needs(maker: &PhotoMaker) -> IdentityNeeds {
    IdentityNeeds {
        kind: maker.version().to_string().to_lowercase().replace(' ', "-"),
        embedding_width: maker.embedding_width().map(|width| width as usize),
        raw_embedding: maker.embedding_width().is_some(),
        face_side: Some(FACE_SIDE),
        key_points: false,
        regions: false,
        groups: Vec::new(),
        trigger_word: Some(PhotoMaker::TRIGGER_WORD.into()),
    }
}

impl PhotoMakerIdentity {
    /// Opens a file. `vision` is a folder whose `config.json` describes the vision network in it, where
    /// that is not the published ViT-L/14.
    pub fn load(file: &Path, vision: Option<&Path>, target: Target) -> Result<Self, PipelineError> {
        let maker = PhotoMaker::open(file, None, target.device, target.kind)?;
        let config = match vision {
            None => ClipVisionConfig::vit_l_14(),
            Some(dir) => {
                let file: PathBuf = dir.join("config.json");
                ClipVisionConfig::from_file(&file).map_err(|e| config_error(file, e))?
            }
        };
        let vision = ClipVisionModel::new(&maker.vision(), &config)?;
        maker.finish(&ClipVisionModel::IGNORED)?;
        let processor = ClipImageProcessor::of_size(config.image_size as u32);
        Ok(Self { maker, vision, processor, device: target.device })
    }

    pub fn check_base(&self, unet: &UNetConfig) -> Result<(), PipelineError> {
        Ok(self.maker.check_base(unet)?)
    }

    /// What it wants to know of every reference.
    pub fn needs(&self) -> IdentityNeeds {
        needs(&self.maker)
    }

    /// Encodes the prompts with and without the person, for a run of `steps` evaluations. At a strength
    /// below 1 the words for the person move only so far from what they were.
    ///
    /// # Errors
    /// Several people, a region, or strengths by parts of the run; a prompt without the trigger word; references without a face.
    pub fn stack(
        &self,
        people: &[Identity],
        text: &TextConditioner,
        prompts: &Prompts,
        steps: usize,
    ) -> Result<Stacked, PipelineError> {
        let [person] = people else {
            let reason = "PhotoMaker draws one person; for several an adapter that knows regions is needed";
            return Err(PipelineError::Unsupported(reason.into()));
        };
        if person.region.is_some() {
            let reason = "PhotoMaker puts the person into the prompt and knows no regions of the picture";
            return Err(PipelineError::Unsupported(reason.into()));
        }
        if !person.stages.is_empty() {
            let reason = "PhotoMaker has one strength for the whole run: give a part of it, not several";
            return Err(PipelineError::Unsupported(reason.into()));
        }
        let tokens = self.tokens(person)?; // [K, C]
        let count = tokens.size().first().copied().unwrap_or_default() as usize;
        let encoded = text.encode_trigger(prompts, PhotoMaker::TRIGGER_WORD, count)?;
        let TriggerCondition { with_person, text_only, class_tokens } = encoded;
        let plain = with_person.prompt_states()?; // [1, S, C]
        let fused = self.maker.fuse(&plain, class_tokens.start, &tokens)?;
        let states = match person.scale {
            1.0 => fused,
            scale => &plain + (fused - &plain) * scale,
        };
        let [from, to] = person.steps;
        let last_without = merge_step(if from > 0.0 { from } else { STYLE_STRENGTH }, steps);
        let heard = |step: usize| step > last_without && (step as f64) < to * steps as f64;
        Ok(Stacked {
            with_person: with_person.with_prompt_states(&states)?,
            text_only,
            heard: (0..steps).map(heard).collect(),
        })
    }

    /// [K, C] of all references.
    fn tokens(&self, person: &Identity) -> Result<Tensor, PipelineError> {
        let (mut pixels, mut embeddings) = (Vec::new(), Vec::new());
        for reference in &person.references {
            let face = reference.face.as_ref().ok_or_else(|| {
                PipelineError::Unsupported("PhotoMaker looks at the face itself: photos are needed".into())
            })?;
            let picture = RgbImage::from_raw(face.width, face.height, face.rgb.clone());
            pixels.push(self.processor.preprocess(&picture.ok_or(RequestError::Pixels("face"))?)?);
            if !reference.embedding.is_empty() {
                let raw = Tensor::f_from_slice(&reference.embedding)? * f64::from(reference.norm);
                embeddings.push(raw.f_unsqueeze(0)?); // [1, E]
            }
        }
        let seen = self.vision.forward(&Tensor::f_cat(&pixels, 0)?.f_to_device(self.device)?)?;
        let no_projection =
            || PipelineError::Unsupported("PhotoMaker's vision network has no projection".into());
        let all = embeddings.len() == person.references.len();
        let features = PhotoMakerFeatures {
            pooled: seen.pooled,
            image_embeds: seen.image_embeds.ok_or_else(no_projection)?,
            last_hidden_state: seen.last_hidden_state,
            embeddings: if all { Some(Tensor::f_cat(&embeddings, 0)?) } else { None },
        };
        Ok(self.maker.tokens(&features)?)
    }
}
