//! What adapters do to the U-Net's attention layers: a LoRA of their projections, and keys and values of the
//! identity tokens. Files number the layers 0, 1, 2, …, down blocks first, then up, then the middle;
//! self-attention is even, cross-attention odd.

use std::collections::BTreeSet;
use std::path::Path;

use imagine_unet::config::UNetConfig;
use imagine_unet::lora::LowRank;
use imagine_unet::unet_2d_condition::{AttentionLayer, attention_layers};
use imagine_unet::{Init, UNet2DConditionModel, Weights, WeightsError};

use super::error::AdapterError;

/// The projections that a LoRA changes: their names in adapter files and in a U-Net.
const LORA_TARGETS: [(&str, &str); 4] =
    [("to_q", "to_q"), ("to_k", "to_k"), ("to_v", "to_v"), ("to_out", "to_out.0")];

/// The part of an adapter file that belongs to the U-Net's layers.
pub(super) struct AdapterLayers<'a> {
    pub file: &'a Path,
    pub weights: &'a Weights,
    /// Width of the tokens.
    pub cross_dim: i64,
}

impl AdapterLayers<'_> {
    /// Merges the adapter's LoRA, if it has one, into the U-Net's weights before that is built.
    pub fn merge_lora(&self, unet: &Weights, config: &UNetConfig) -> Result<(), AdapterError> {
        self.check_base(config)?;
        let with_lora: BTreeSet<String> = self
            .weights
            .keys()
            .iter()
            .filter_map(|key| Some(key.split_once("_lora.")?.0.to_string()))
            .collect();
        for (n, layer) in attention_layers(config)?.iter().enumerate() {
            // All four or none: a layer with some of them is damaged.
            if LORA_TARGETS.iter().any(|(name, _)| with_lora.contains(&format!("ip_adapter.{n}.{name}"))) {
                self.merge_layer(unet, n, layer)?;
            }
        }
        Ok(())
    }

    fn merge_layer(&self, unet: &Weights, n: usize, layer: &AttentionLayer) -> Result<(), AdapterError> {
        for (name, target) in LORA_TARGETS {
            let target = format!("{}.{target}.weight", layer.path);
            let missing = || WeightsError::Missing { file: self.file.to_path_buf(), key: target.clone() };
            let shape = unet.shape(&target).ok_or_else(missing)?;
            let base = format!("ip_adapter.{n}.{name}_lora");
            // The rank is the file's choice; that both matrices have it is checked when they are read.
            let dim = |part: &str, at: usize| {
                self.weights.shape(&format!("{base}.{part}.weight"))?.get(at).copied()
            };
            let rank = dim("down", 0).or_else(|| dim("up", 1)).unwrap_or(0);
            let vs = &self.weights.root() / &base;
            let (out, inputs) = match shape.as_slice() {
                &[out, inputs] => (out, inputs),
                _ => return Err(missing().into()),
            };
            let change = LowRank {
                down: vs.get("down.weight", &[rank, inputs], Init::Zeros)?,
                up: vs.get("up.weight", &[out, rank], Init::Zeros)?,
                scale: 1.0,
            };
            change.merge_into(unet, &target)?;
        }
        Ok(())
    }

    /// Gives the U-Net the adapter's attention, then refuses keys that belong to nothing (a LoRA that was
    /// not merged among them).
    pub fn attach(&self, unet: &mut UNet2DConditionModel) -> Result<(), AdapterError> {
        self.check_base(unet.config())?;
        unet.attach_identity(&(&self.weights.root() / "ip_adapter"))?;
        Ok(self.weights.finish(&[])?)
    }

    /// Refuses a U-Net of another base model: another width of the text condition or another number of
    /// cross-attention layers.
    pub fn check_base(&self, config: &UNetConfig) -> Result<(), AdapterError> {
        let file = || self.file.to_path_buf();
        let (adapter, model) = (self.cross_dim, config.cross_dim()?);
        if adapter != model {
            return Err(AdapterError::WrongBase { file: file(), adapter, model });
        }
        let layers = attention_layers(config)?.iter().filter(|layer| layer.is_cross).count();
        match self.cross_layers() {
            Some(adapter) if adapter != layers => {
                Err(AdapterError::WrongLayers { file: file(), adapter, model: layers })
            }
            _ => Ok(()),
        }
    }

    /// How many cross-attention layers the file is for, if it numbers them without a gap. Where it does
    /// not, it is damaged, and the loader names the key.
    fn cross_layers(&self) -> Option<usize> {
        let numbers: BTreeSet<usize> = self
            .weights
            .keys()
            .iter()
            .filter_map(|key| key.strip_prefix("ip_adapter.")?.strip_suffix(".to_k_ip.weight")?.parse().ok())
            .collect();
        numbers.iter().enumerate().all(|(i, &n)| n == 2 * i + 1).then_some(numbers.len())
    }
}
