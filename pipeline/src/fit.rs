//! Whether files hold all that a model of their kind asks for, in the right shapes, and nothing else. The model is that
//! of the `config.json` beside them, else the published one of this width. No weight is read.

use std::path::Path;
use std::sync::Arc;

use imagine_encoders::{ClipTextConfig, ClipTextModel, ClipVisionConfig, ClipVisionModel};
use imagine_identity::adapters::{Adapter, AdapterKind, AdapterOptions, PhotoMaker};
use imagine_unet::config::read_json;
use imagine_unet::weights::TensorFiles;
use imagine_unet::{
    AutoencoderKl, AutoencoderKlConfig, ControlNetConfig, ControlNetModel, UNet2DConditionModel, UNetConfig,
    Weights,
};
use serde_json::Value;
use tch::{Device, Kind};

use crate::error::PipelineError;
use crate::inspect::{FilePart, Inspected};
use crate::load::model_error;
use crate::lora::{LoraFile, TextEncoderSlot};
use crate::published::Published;
use crate::single_file::{AutoencoderFile, BaseModel, SingleFile, SingleFileOptions, UNetFile};

/// What came of holding files against a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// Which model that was; `None` where none is known, so that not all could be compared.
    pub with: Option<String>,
    /// Every key that is missing, left over or of another shape, each with its file.
    pub problems: Vec<String>,
}

/// A model, and what noted the tensors that it asked for.
type Checked = Result<(Option<String>, Vec<Weights>), PipelineError>;

/// Compares a file, open, of which [`crate::inspect::inspect`] has told what it is.
pub fn fit(path: &Path, files: &Arc<TensorFiles>, found: &Inspected) -> Fit {
    let _no_grad = tch::no_grad_guard();
    let config = path.with_file_name("config.json");
    if let Some(network) = class_of(&config).and_then(|class| Network::of_class(&class))
        && network.is(found.part)
    {
        if is_shard(path) {
            return Fit::default();
        }
        return told(network.check(&config, files));
    }
    told(match found.part {
        FilePart::Checkpoint => checkpoint(files),
        FilePart::UNet => unet(files, found.width),
        FilePart::OriginalUNet => original_unet(path, found.width),
        FilePart::Autoencoder => autoencoder(files),
        FilePart::Lora => lora(path, found.width),
        FilePart::Adapter => adapter(path, files),
        FilePart::PhotoMaker => photo_maker(path, files),
        FilePart::ImageEncoder => image_encoder(path, files),
        FilePart::TextEncoder => text_encoder(files, found.width),
        // Its sizes stand in its config.json alone.
        FilePart::ControlNet => Ok((None, Vec::new())),
    })
}

/// Compares a network's folder with its `config.json`; `None` where that is of no network that is known here. What
/// prevents its weights from being opened is left to whoever opens them.
pub fn fit_folder(dir: &Path) -> Option<Fit> {
    let _no_grad = tch::no_grad_guard();
    let config = dir.join("config.json");
    let network = Network::of_class(&class_of(&config)?)?;
    let files = Arc::new(TensorFiles::open_folder(dir).ok()?);
    Some(told(network.check(&config, &files)))
}

fn told(checked: Checked) -> Fit {
    match checked {
        Ok((with, outlines)) => {
            let noted = outlines.iter().flat_map(Weights::take_noted);
            Fit { with, problems: noted.map(|error| error.to_string()).collect() }
        }
        Err(error) => Fit { with: None, problems: vec![error.to_string()] },
    }
}

/// One of several files of a network, by the name that diffusers gives it.
fn is_shard(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    name.rsplit_once("-of-").is_some_and(|(_, count)| count.parse::<u32>().is_ok())
}

/// The class that a `config.json` names.
fn class_of(config: &Path) -> Option<String> {
    let json: Value = read_json(config).ok()?;
    let class = json.get("_class_name").or_else(|| json.get("architectures")?.get(0));
    Some(class?.as_str()?.to_owned())
}

/// A network whose configuration is read here.
#[derive(Clone, Copy)]
enum Network {
    UNet,
    Autoencoder,
    ControlNet,
    TextEncoder,
    ImageEncoder,
}

impl Network {
    fn of_class(class: &str) -> Option<Self> {
        Some(match class {
            "UNet2DConditionModel" => Self::UNet,
            "AutoencoderKL" => Self::Autoencoder,
            "ControlNetModel" => Self::ControlNet,
            "CLIPTextModel" | "CLIPTextModelWithProjection" => Self::TextEncoder,
            "CLIPModel" | "CLIPVisionModel" | "CLIPVisionModelWithProjection" => Self::ImageEncoder,
            _ => return None,
        })
    }

    fn is(self, part: FilePart) -> bool {
        matches!(
            (self, part),
            (Self::UNet, FilePart::UNet)
                | (Self::Autoencoder, FilePart::Autoencoder)
                | (Self::ControlNet, FilePart::ControlNet)
                | (Self::TextEncoder, FilePart::TextEncoder)
                | (Self::ImageEncoder, FilePart::ImageEncoder)
        )
    }

    fn check(self, file: &Path, files: &Arc<TensorFiles>) -> Checked {
        let wrong = |source| crate::checkpoint::config_error(file.to_path_buf(), source);
        let unfit = |error| model_error(file.to_path_buf(), error);
        let weights = match self {
            Self::ImageEncoder => ClipVisionModel::weights_of(files, Device::Cpu, Kind::Float)?,
            _ => Weights::from_files(files, Device::Cpu, Kind::Float),
        };
        let weights = weights.outline();
        let vs = weights.root();
        let ignored: &[&str] = match self {
            Self::UNet => {
                UNet2DConditionModel::new(&vs, &UNetConfig::from_file(file).map_err(wrong)?)
                    .map_err(unfit)?;
                &[]
            }
            Self::Autoencoder => {
                AutoencoderKl::new(&vs, &AutoencoderKlConfig::from_file(file).map_err(wrong)?)
                    .map_err(unfit)?;
                &[]
            }
            Self::ControlNet => {
                ControlNetModel::new(&vs, &ControlNetConfig::from_file(file).map_err(wrong)?)
                    .map_err(unfit)?;
                &[]
            }
            Self::TextEncoder => {
                ClipTextModel::new(&vs, &ClipTextConfig::from_file(file).map_err(wrong)?)?;
                &ClipTextModel::IGNORED
            }
            Self::ImageEncoder => {
                ClipVisionModel::new(&vs, &ClipVisionConfig::from_file(file).map_err(wrong)?)?;
                &ClipVisionModel::IGNORED
            }
        };
        weights.finish(ignored)?;
        Ok((Some("the config.json beside it".into()), vec![weights]))
    }
}

fn outline(files: &Arc<TensorFiles>) -> Weights {
    Weights::from_files(files, Device::Cpu, Kind::Float).outline()
}

/// Its own shapes say all of its configuration.
fn checkpoint(files: &Arc<TensorFiles>) -> Checked {
    let (cpu, kind) = (Device::Cpu, Kind::Float);
    let file = SingleFile::of_files(Arc::clone(files), &SingleFileOptions::default())?;
    let unfit = |error| model_error(files.path(), error);
    let (config, unet) = file.unet(cpu, kind)?;
    let unet = unet.outline();
    UNet2DConditionModel::new(&unet.root(), &config).map_err(unfit)?;
    let mut all = vec![unet];
    let texts = [Some(file.text_encoder(cpu, kind)?), file.text_encoder_2(cpu, kind)?];
    for (config, weights) in texts.into_iter().flatten() {
        let weights = weights.outline();
        ClipTextModel::new(&weights.root(), &config)?;
        all.push(weights);
    }
    if let Some((config, weights)) = file.vae(cpu, kind)? {
        let weights = weights.outline();
        AutoencoderKl::new(&weights.root(), &config).map_err(unfit)?;
        all.push(weights);
    }
    Ok((Some("its own shapes".into()), all))
}

fn autoencoder(files: &Arc<TensorFiles>) -> Checked {
    let file = AutoencoderFile::of_files(Arc::clone(files), BaseModel::Sd1)?;
    let weights = file.weights(Device::Cpu, Kind::Float)?.outline();
    AutoencoderKl::new(&weights.root(), file.config()).map_err(|e| model_error(files.path(), e))?;
    weights.finish(&[])?;
    Ok((Some("its own shapes".into()), vec![weights]))
}

fn unet(files: &Arc<TensorFiles>, width: Option<i64>) -> Checked {
    let Some(model) = width.and_then(Published::of_width) else { return Ok((None, Vec::new())) };
    let dim = |key: &str| files.shape(key).and_then(|shape| shape.get(1).copied());
    let config = UNetConfig {
        in_channels: dim("conv_in.weight").unwrap_or(model.unet.in_channels),
        time_cond_proj_dim: dim("time_embedding.cond_proj.weight"),
        ..model.unet.clone()
    };
    let weights = outline(files);
    UNet2DConditionModel::new(&weights.root(), &config).map_err(|e| model_error(files.path(), e))?;
    weights.finish(&[])?;
    Ok((Some(model.name()), vec![weights]))
}

fn original_unet(path: &Path, width: Option<i64>) -> Checked {
    let Some(model) = width.and_then(Published::of_width) else { return Ok((None, Vec::new())) };
    let files = TensorFiles::open(&[path.to_path_buf()])?;
    let Some(prefix) = UNetFile::prefix(&files) else { return Ok((None, Vec::new())) };
    let dim = |key: &str| files.shape(&format!("{prefix}{key}")).and_then(|shape| shape.get(1).copied());
    let config = UNetConfig {
        in_channels: dim("input_blocks.0.0.weight").unwrap_or(model.unet.in_channels),
        time_cond_proj_dim: dim("time_embed.cond_proj.weight"),
        ..model.unet.clone()
    };
    let pooled = model.pooled_width();
    let file = UNetFile::new(files, prefix, model.family(), pooled)?;
    let weights = file.weights(Device::Cpu, Kind::Float)?.outline();
    UNet2DConditionModel::new(&weights.root(), &config).map_err(|e| model_error(path.to_path_buf(), e))?;
    weights.finish(&[])?;
    Ok((Some(model.name()), vec![weights]))
}

fn text_encoder(files: &Arc<TensorFiles>, width: Option<i64>) -> Checked {
    let Some((config, name)) = width.and_then(Published::text_encoder) else { return Ok((None, Vec::new())) };
    let weights = outline(files);
    ClipTextModel::new(&weights.root(), &config)?;
    // Files of encoders alone are often cut out of a whole CLIP.
    weights.finish(&["embeddings.position_ids", "logit_scale"])?;
    Ok((Some(name), vec![weights]))
}

fn image_encoder(path: &Path, files: &Arc<TensorFiles>) -> Checked {
    let config = ClipVisionModel::published(path, files)?;
    let weights = ClipVisionModel::weights_of(files, Device::Cpu, Kind::Float)?.outline();
    ClipVisionModel::new(&weights.root(), &config)?;
    weights.finish(&ClipVisionModel::IGNORED)?;
    Ok((Some("the published image encoder of its width".into()), vec![weights]))
}

/// Every layer that it changes must be the base model's.
fn lora(path: &Path, width: Option<i64>) -> Checked {
    let Some(model) = width.and_then(Published::of_width) else { return Ok((None, Vec::new())) };
    let file = LoraFile::open(path)?;
    file.check_text_encoders(model.texts.len())?;
    merge(&file, &model, path)?;
    let slots = [TextEncoderSlot::First, TextEncoderSlot::Second];
    for (config, slot) in model.texts.iter().zip(slots) {
        let text = Weights::of_model();
        ClipTextModel::new(&text.root(), config)?;
        file.merge_into_text_encoder(&text, slot, 0.0)?;
    }
    Ok((Some(model.name()), Vec::new()))
}

/// With a weight of 0 all layers are looked for and nothing is computed.
fn merge(file: &LoraFile, model: &Published, path: &Path) -> Result<(), PipelineError> {
    let unet = Weights::of_model();
    UNet2DConditionModel::new(&unet.root(), &model.unet).map_err(|e| model_error(path.to_path_buf(), e))?;
    Ok(file.merge_into_unet(&unet, &model.unet, 0.0)?)
}

fn adapter(path: &Path, files: &Arc<TensorFiles>) -> Checked {
    let adapter = Adapter::of_weights(outline(files), path, &AdapterOptions::default())?;
    let model = match adapter.kind() {
        // Made for a U-Net of its own.
        AdapterKind::Card => None,
        _ => Published::of_width(adapter.cross_dim()),
    };
    let Some(model) = model else {
        return Ok((None, vec![adapter.into_weights()]));
    };
    let weights = Weights::of_model();
    let mut unet = UNet2DConditionModel::new(&weights.root(), &model.unet)
        .map_err(|e| model_error(path.to_path_buf(), e))?;
    adapter.merge_lora(&weights, &model.unet)?;
    adapter.attach(&mut unet)?;
    Ok((Some(model.name()), vec![adapter.into_weights()]))
}

fn photo_maker(path: &Path, files: &Arc<TensorFiles>) -> Checked {
    let weights = PhotoMaker::weights_of(path, Device::Cpu, Kind::Float)?.outline();
    let maker = PhotoMaker::of_weights(weights, path, None)?;
    let config = ClipVisionConfig::vit_l_14();
    let width = files.shape("id_encoder.vision_model.embeddings.class_embedding");
    if width != Some(&[config.hidden_size]) {
        return Ok((None, vec![maker.into_weights()]));
    }
    ClipVisionModel::new(&maker.vision(), &config)?;
    maker.finish(&ClipVisionModel::IGNORED)?;
    let model = Published::sdxl();
    if files.keys().iter().any(|key| key.starts_with(PhotoMaker::LORA_PREFIX)) {
        merge(&LoraFile::open_below(path, PhotoMaker::LORA_PREFIX)?, &model, path)?;
    }
    Ok((Some(format!("{} and CLIP ViT-L/14", model.name())), vec![maker.into_weights()]))
}
