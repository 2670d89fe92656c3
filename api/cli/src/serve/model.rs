//! The model of a service: loaded as `imagine generate` loads it, drawn with by a studio, described for clients.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use imagine_api::ModelCard;
use imagine_api::config::{Config, ModelSettings};
use imagine_contract::{FaceReader, IdentityNeeds, ModelInfo};
use imagine_identity::packs::{FACE_ID_PACKS, INSTANT_ID_PACKS};
use imagine_identity::{EncoderChoice, IdentityError, Limits};
use imagine_pipeline::schedulers::SchedulerChoice;
use imagine_pipeline::{BatchStudio, LoadOptions, StableDiffusion, StudioOptions, identity, threads};

use crate::expand::dialect;
use crate::face_encoder;
use crate::faces::Faces;
use crate::failure::Failure;
use crate::generate::pipeline_failure;
use crate::generate_args;
use crate::model_choice::{Identity, ModelChoice};
use crate::model_lookup::{Located, locate};
use crate::progress::Progress;

/// Orders that may wait in the studio: the worker takes no more jobs than it has drawn soon.
const STUDIO_QUEUE: usize = 256;

/// A model with the eyes that belong to it.
pub struct Loaded {
    pub model: StableDiffusion,
    pub known: Known,
}

/// What is known of a model, and the eyes that belong to it.
pub struct Known {
    pub faces: Arc<dyn FaceReader>,
    pub card: ModelCard,
}

/// Loads the model and the face encoder that the configuration names. Blocks.
///
/// # Errors
/// Neither is there, or they cannot be loaded.
pub fn load(config: &Config) -> Result<Loaded, Failure> {
    threads::limit();
    let progress = Progress::new(true);
    let (located, options) = options(config, &config.model.device, &progress)?;
    progress.stage("loading the model");
    let model = StableDiffusion::load(&options).map_err(pipeline_failure)?;
    let info = imagine_contract::Engine::info(&model).clone();
    Ok(Loaded { known: known(config, info, &located, &progress)?, model })
}

/// What [`load`] would know, without the model: for a server that draws nothing itself. Blocks.
///
/// # Errors
/// As for [`load`].
pub fn describe(config: &Config) -> Result<Known, Failure> {
    let progress = Progress::new(true);
    // Where the workers draw is theirs to know; this machine may have no such device.
    let (located, options) = options(config, "cpu", &progress)?;
    let info = StableDiffusion::describe(&options).map_err(pipeline_failure)?;
    known(config, info, &located, &progress)
}

fn options(config: &Config, device: &str, progress: &Progress) -> Result<(Located, LoadOptions), Failure> {
    let settings = &config.model;
    let located = locate(Path::new(&settings.model))?;
    let choice = choice(settings, device)?;
    let adapter = choice.adapter(&located)?;
    let needs = match &adapter {
        Some(file) => Some(identity::needs_of(file, choice.adapter_kind).map_err(pipeline_failure)?),
        None => None,
    };
    let options = choice.options(&located, adapter, needs.as_ref(), progress);
    Ok((located, options))
}

/// What the settings name, as the flags of `imagine generate` do.
fn choice(settings: &ModelSettings, device: &str) -> Result<ModelChoice, Failure> {
    let lora = |text: &String| {
        generate_args::lora(text).map_err(|e| Failure::input(format!("\"lora\" cannot be used: {text}: {e}")))
    };
    Ok(ModelChoice {
        tokenizer: settings.tokenizer.clone(),
        prediction: read("prediction", settings.prediction.as_deref())?,
        adapter: settings.adapter.clone(),
        adapter_kind: read("adapter_kind", settings.adapter_kind.as_deref())?,
        image_encoder: settings.image_encoder.clone(),
        controlnet: settings.controlnet.clone(),
        vae: settings.vae.clone(),
        unet: settings.unet.clone(),
        loras: settings.lora.iter().map(lora).collect::<Result<_, _>>()?,
        preset: settings.preset.clone(),
        device: device.parse().map_err(Failure::input)?,
        dtype: settings.dtype.parse().map_err(Failure::input)?,
        identity: Identity::IfThere,
    })
}

fn read<T: FromStr<Err: Display>>(key: &str, text: Option<&str>) -> Result<Option<T>, Failure> {
    let wrong = |e: T::Err| Failure::input(format!("\"{key}\" cannot be used: {e}"));
    text.map(str::parse).transpose().map_err(wrong)
}

fn known(config: &Config, info: ModelInfo, located: &Located, progress: &Progress) -> Result<Known, Failure> {
    let faces = faces(config, located, info.identity.as_ref(), progress)?;
    Ok(Known { card: card(info, located)?, faces: Arc::new(faces) })
}

impl Loaded {
    /// Opens a studio over the model, and gives what is known of it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn studio(self, settings: &ModelSettings) -> Result<(BatchStudio, Known), Failure> {
        let info = &self.known.card.info;
        let cells = |side: u32| i64::from(side / info.side_multiple);
        let of_one = cells(info.width) * cells(info.height);
        let cells = settings.rows.map(|rows| of_one * i64::try_from(rows.max(1)).unwrap_or(1));
        let options = StudioOptions { queue: STUDIO_QUEUE, cells, observer: None };
        Ok((BatchStudio::open(self.model, options).map_err(Failure::failed)?, self.known))
    }
}

/// The encoder whose embeddings the model's adapter takes, as in `imagine generate`.
fn faces(
    config: &Config,
    located: &Located,
    needs: Option<&IdentityNeeds>,
    progress: &Progress,
) -> Result<Faces, Failure> {
    let instant_id = needs.is_some_and(|needs| needs.key_points);
    let choice = EncoderChoice {
        named: config.model.face_encoder.as_deref().map(Path::new),
        pulled: located.face_encoder.as_deref(),
        packs: if instant_id { INSTANT_ID_PACKS } else { FACE_ID_PACKS },
        width: needs.and_then(|needs| needs.embedding_width),
    };
    let encoder = face_encoder::open(choice, config.model.accept_licence.as_deref(), progress)
        .map_err(|e: IdentityError| Failure::failed(e))?;
    let limits = Limits { bytes: config.limits.photo_bytes as u64, ..Limits::default() };
    Ok(Faces::new(encoder, limits))
}

fn card(info: ModelInfo, located: &Located) -> Result<ModelCard, Failure> {
    let modified = std::fs::metadata(&located.model).and_then(|found| found.modified()).ok();
    let created = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(ModelCard {
        dialect: dialect::of(&located.model)?,
        schedulers: SchedulerChoice::names(),
        sizes: sizes(&info),
        created: created.map_or(0, |age| age.as_secs() as i64),
        default: true,
        info,
    })
}

/// The size that the model was made for, and an upright and a lying one of about as many pixels, which models of
/// small pictures have never seen.
fn sizes(info: &ModelInfo) -> Vec<[u32; 2]> {
    const SMALL: u32 = 256;
    if info.width.min(info.height) < SMALL {
        return vec![[info.width, info.height]];
    }
    // So that the feature maps stay whole after three halvings, as in published models.
    let grid = info.side_multiple * 8;
    let near = |side: f64| ((side / f64::from(grid)).round() as u32).max(1) * grid;
    let (side, stretch) = (f64::from(info.width) * f64::from(info.height), 1.5f64);
    let (short, long) = (near((side / stretch).sqrt()), near((side * stretch).sqrt()));
    let mut sizes = vec![[info.width, info.height]];
    for size in [[short, long], [long, short]] {
        if !sizes.contains(&size) {
            sizes.push(size);
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(side: u32, side_multiple: u32) -> ModelInfo {
        ModelInfo {
            name: "x".into(),
            width: side,
            height: side,
            width_per_person: 0,
            steps: 20,
            guidance_scale: 5.0,
            scheduler: "euler".into(),
            side_multiple,
            identity: None,
            inpainting: false,
            device: "cpu".into(),
            dtype: "f32".into(),
        }
    }

    #[test]
    fn upright_and_lying_pictures_have_about_as_many_pixels() {
        assert_eq!(sizes(&info(512, 8)), [[512, 512], [448, 640], [640, 448]]);
        assert_eq!(sizes(&info(1024, 8)), [[1024, 1024], [832, 1280], [1280, 832]]);
        assert_eq!(sizes(&info(64, 4)), [[64, 64]]);
    }
}
