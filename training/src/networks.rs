//! The networks that draw: text encoder, adapter of the identity card, U-Net.

use std::path::Path;

use imagine_encoders::{ClipTextConfig, ClipTextModel};
use imagine_identity::adapters::CardProjection;
use imagine_unet::{
    AutoencoderKl, AutoencoderKlConfig, Condition, CrossKv, IdentityTokens, UNet2DConditionModel, Weights,
};
use tch::{Device, Kind, Tensor};

use crate::batches::Batch;
use crate::error::TrainingError;
use crate::export;
use crate::recipe;

/// The three networks that are trained together.
pub struct Networks {
    text: ClipTextModel,
    identity: CardProjection,
    unet: UNet2DConditionModel,
}

impl Networks {
    /// Built of these weights, fresh or read.
    pub fn new(
        unet: &Weights,
        text: &Weights,
        adapter: &Weights,
        vocabulary: i64,
    ) -> Result<Self, TrainingError> {
        let text_config: ClipTextConfig = recipe::text_config(vocabulary);
        let root = adapter.root();
        let mut model = UNet2DConditionModel::new(&unet.root(), &recipe::unet_config())?;
        model.attach_identity(&(&root / "ip_adapter"))?;
        Ok(Self {
            text: ClipTextModel::new(&text.root(), &text_config)?,
            identity: CardProjection::new(&(&root / "image_proj"), recipe::IDENTITY)?,
            unet: model,
        })
    }

    /// Those of a checkpoint folder, not to be trained.
    pub fn open(folder: &Path, vocabulary: i64, device: Device, kind: Kind) -> Result<Self, TrainingError> {
        let open = |file: &str| Weights::open(&[folder.join(file)], device, kind);
        let (unet, text) = (open(export::UNET_FILE)?, open(export::TEXT_FILE)?);
        Self::new(&unet, &text, &open(export::ADAPTER_FILE)?, vocabulary)
    }

    /// What a batch's text and cards say to every layer.
    pub fn cross(&self, batch: &Batch) -> Result<CrossKv, TrainingError> {
        let scale = || Tensor::ones([batch.rows()], (Kind::Float, batch.cards.device()));
        let group = |tokens| IdentityTokens { tokens, scale: scale(), region: None };
        let condition = Condition {
            text: self.text.forward(&batch.ids, false)?.last_hidden_state,
            identities: self.identity.groups(&batch.cards).into_iter().map(group).collect(),
        };
        Ok(self.unet.cross_kv(&condition))
    }

    /// The predicted velocity, f32: [B, C, h, w]
    pub fn predict(&self, noisy: &Tensor, steps: &Tensor, cross: &CrossKv) -> Tensor {
        self.unet.forward(noisy, steps, cross, None, None).to_kind(Kind::Float)
    }
}

/// The trained autoencoder of a checkpoint folder, frozen.
pub fn open_vae(folder: &Path, device: Device, kind: Kind) -> Result<AutoencoderKl, TrainingError> {
    let folder = folder.join("vae");
    let config = AutoencoderKlConfig::from_file(&folder.join("config.json"))?;
    let weights = Weights::open_folder(&folder, device, kind)?;
    let vae = AutoencoderKl::new(&weights.root(), &config)?;
    weights.finish(&[])?;
    Ok(vae)
}
