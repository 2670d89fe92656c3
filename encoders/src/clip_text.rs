//! CLIP's text encoder: `CLIPTextModel` and `CLIPTextModelWithProjection` of transformers
//! (Radford et al. 2021, arXiv 2103.00020). Stable Diffusion attends to its last hidden state, SDXL
//! to the last but one of two of them and to the second's projected embedding.

use std::path::{Path, PathBuf};

use imagine_unet::config::ConfigError;
use imagine_unet::layers::{LayerNorm, Linear};
use imagine_unet::weights::{Init, Vs, Weights, WeightsError};
use tch::{Device, Kind, TchError, Tensor};

use crate::clip_encoder::ClipEncoder;
use crate::clip_text_config::ClipTextConfig;

/// Why a text encoder could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum ClipTextError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{file}: {source}")]
    ConfigFile { file: PathBuf, source: ConfigError },
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("token ids have shape {found:?} and type {kind:?}, expected [batch, length] of integers")]
    Input { found: Vec<i64>, kind: Kind },
    #[error("the prompt has {found} tokens, more than max_position_embeddings = {limit}")]
    TooLong { found: i64, limit: i64 },
    #[error("token id {id} is outside the text encoder's vocabulary of {vocab_size}")]
    OutOfVocabulary { id: i64, vocab_size: i64 },
    #[error("hidden state {skip} before the last is not there: {available} were kept")]
    NoHiddenState { skip: usize, available: usize },
    #[error(transparent)]
    Tensor(#[from] TchError),
}

/// What the encoder makes of B prompts of S tokens.
#[derive(Debug)]
pub struct ClipTextOutput {
    /// [B, S, hidden], after the final layer norm.
    pub last_hidden_state: Tensor,
    /// The embeddings and each layer's output, [B, S, hidden] each, before the final layer norm; empty
    /// unless asked for.
    pub hidden_states: Vec<Tensor>,
    /// [B, hidden]: the last hidden state at the end token.
    pub pooled: Tensor,
    /// [B, projection]: the projected pooled state, where the model has a projection.
    pub text_embeds: Option<Tensor>,
}

impl ClipTextOutput {
    /// The output of the layer `skip` before the last, without the final layer norm: SDXL conditions
    /// on `skip` = 1; Stable Diffusion's clip skip n takes `skip` = n and then
    /// [`ClipTextModel::final_layer_norm`].
    pub fn hidden_state(&self, skip: usize) -> Result<&Tensor, ClipTextError> {
        let available = self.hidden_states.len();
        available
            .checked_sub(skip + 1)
            .and_then(|index| self.hidden_states.get(index))
            .ok_or(ClipTextError::NoHiddenState { skip, available })
    }
}

/// CLIP's text encoder, with its projection where the checkpoint has one.
pub struct ClipTextModel {
    token_embedding: Tensor,
    position_embedding: Tensor,
    encoder: ClipEncoder,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
    config: ClipTextConfig,
}

impl ClipTextModel {
    /// Weights under `text_model` below `vs`, or directly below it (as transformers 5 saves a model
    /// without projection), and `text_projection.weight` [projection, hidden] if the configuration
    /// names `CLIPTextModelWithProjection` or the files hold it. Fresh weights start as OpenAI's CLIP
    /// starts them.
    pub fn new(vs: &Vs, config: &ClipTextConfig) -> Result<Self, ClipTextError> {
        config.check()?;
        let shape = config.encoder_shape()?;
        let (d, factor) = (config.hidden_size, config.initializer_factor);
        let bare = vs.contains("embeddings.token_embedding.weight");
        let model = if bare { vs.clone() } else { vs / "text_model" };
        let table = |name: &str, rows: i64, std: f64| {
            (&model / "embeddings" / name).get("weight", &[rows, d], Init::Normal(std * factor))
        };
        let token_embedding = table("token_embedding", config.vocab_size, 0.02)?;
        let position_embedding = table("position_embedding", config.max_position_embeddings, 0.01)?;
        let encoder = ClipEncoder::new(&(&model / "encoder"), &shape)?;
        let final_layer_norm = LayerNorm::new(&(&model / "final_layer_norm"), d, config.layer_norm_eps)?;
        let text_projection = if config.has_projection() || vs.contains("text_projection.weight") {
            let init = Init::Normal(factor * (d as f64).powf(-0.5));
            Some(Linear::with_init(&(vs / "text_projection"), d, config.projection()?, false, init)?)
        } else {
            None
        };
        let config = config.clone();
        Ok(Self { token_embedding, position_embedding, encoder, final_layer_norm, text_projection, config })
    }

    /// Loads the `text_encoder` folder of a checkpoint: `config.json` and safetensors, which must fit
    /// each other exactly.
    pub fn from_folder(dir: &Path, device: Device, kind: Kind) -> Result<Self, ClipTextError> {
        let file = dir.join("config.json");
        let config = ClipTextConfig::from_file(&file).map_err(|source| match source {
            // The other kinds name the file themselves.
            ConfigError::Unsupported { .. } => ClipTextError::ConfigFile { file, source },
            other => ClipTextError::Config(other),
        })?;
        let weights = Weights::open_folder(dir, device, kind)?;
        let model = Self::new(&weights.root(), &config)?;
        weights.finish(&Self::IGNORED)?;
        Ok(model)
    }

    /// Ends of keys that checkpoints may hold and no model needs, for [`Weights::finish`]: transformers
    /// before 4.31 saved the numbers 0, 1, 2, … of the positions.
    pub const IGNORED: [&'static str; 1] = ["embeddings.position_ids"];

    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// The norm that follows the last layer. [.., hidden] → [.., hidden]
    pub fn final_layer_norm(&self, x: &Tensor) -> Tensor {
        self.final_layer_norm.forward(x)
    }

    /// Encodes token ids [B, S] of an integer type, S at most `max_position_embeddings`;
    /// `hidden_states` keeps every layer's output. Ids outside the vocabulary are an error.
    pub fn forward(&self, input_ids: &Tensor, hidden_states: bool) -> Result<ClipTextOutput, ClipTextError> {
        let length = self.check_input(input_ids)?;
        let ids = input_ids.to_device(self.token_embedding.device()).to_kind(Kind::Int64);
        let tokens = Tensor::f_embedding(&self.token_embedding, &ids, -1, false, false)?;
        // [B, S, D] + [S, D]
        let x = tokens.f_add(&self.position_embedding.f_narrow(0, 0, length)?)?;
        let mut states = Vec::new();
        let x = self.encoder.forward(&x, true, |state| {
            if hidden_states {
                states.push(state.shallow_clone());
            }
        });
        let last_hidden_state = self.final_layer_norm.forward(&x);
        let pooled = self.pool(&last_hidden_state, &ids)?;
        let text_embeds = self.text_projection.as_ref().map(|projection| projection.forward(&pooled));
        Ok(ClipTextOutput { last_hidden_state, hidden_states: states, pooled, text_embeds })
    }

    /// The state of each row's end token: [B, S, D] with ids [B, S] → [B, D]. The first such token
    /// counts, as padding often repeats it; without any it is the first position.
    fn pool(&self, states: &Tensor, ids: &Tensor) -> Result<Tensor, TchError> {
        let at = match self.config.eos_token_id {
            2 => ids.f_argmax(-1, false)?,
            eos => ids.f_eq(eos)?.f_to_kind(Kind::Int)?.f_argmax(-1, false)?,
        };
        let (b, d) = (states.size()[0], states.size()[2]);
        // [B] → [B, 1, D], then [B, 1, D] → [B, D]
        let at = at.f_view([b, 1, 1])?.f_expand([b, 1, d], false)?;
        states.f_gather(1, &at, false)?.f_squeeze_dim(1)
    }

    /// The length S of valid ids [B, S].
    fn check_input(&self, ids: &Tensor) -> Result<i64, ClipTextError> {
        let wrong = || ClipTextError::Input { found: ids.size(), kind: ids.kind() };
        let (batch, length) = ids.size2().map_err(|_| wrong())?;
        if batch == 0 || length == 0 || !matches!(ids.kind(), Kind::Int64 | Kind::Int) {
            return Err(wrong());
        }
        let limit = self.config.max_position_embeddings;
        if length > limit {
            return Err(ClipTextError::TooLong { found: length, limit });
        }
        let vocab_size = self.config.vocab_size;
        // An index outside the table would be undefined on a GPU and an exception on a CPU.
        for id in [ids.f_min()?.int64_value(&[]), ids.f_max()?.int64_value(&[])] {
            if !(0..vocab_size).contains(&id) {
                return Err(ClipTextError::OutOfVocabulary { id, vocab_size });
            }
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn tiny() -> ClipTextConfig {
        ClipTextConfig {
            architectures: vec!["CLIPTextModelWithProjection".into()],
            vocab_size: 20,
            hidden_size: 8,
            intermediate_size: 16,
            projection_dim: Some(6),
            num_hidden_layers: 2,
            num_attention_heads: 2,
            max_position_embeddings: 5,
            eos_token_id: 19,
            ..ClipTextConfig::default()
        }
    }

    fn model() -> (Weights, ClipTextModel) {
        let weights = Weights::fresh(Device::Cpu, Kind::Float);
        let model = ClipTextModel::new(&weights.root(), &tiny()).unwrap();
        (weights, model)
    }

    #[test]
    fn input_of_a_wrong_shape_length_or_id_is_refused_with_numbers() {
        let (_weights, model) = model();
        let message = |ids: Tensor| model.forward(&ids, false).unwrap_err().to_string();
        let ids = |list: &[i64]| Tensor::from_slice(list).view([1, -1]);
        assert!(
            message(ids(&[1, 2, 3, 4, 5, 6])).contains("6 tokens, more than max_position_embeddings = 5")
        );
        assert!(message(ids(&[1, 20])).contains("id 20 is outside the text encoder's vocabulary of 20"));
        assert!(message(ids(&[-1, 2])).contains("id -1"));
        assert!(message(Tensor::from_slice(&[1_i64, 2])).contains("shape [2]"));
        assert!(message(ids(&[1, 2]).to_kind(Kind::Float)).contains("Float"));
        assert!(message(Tensor::zeros([1, 0], (Kind::Int64, Device::Cpu))).contains("[1, 0]"));
    }

    #[test]
    fn every_fresh_weight_that_a_prompt_touches_learns() {
        tch::manual_seed(7);
        let (weights, model) = model();
        let ids = Tensor::from_slice(&[18_i64, 3, 4, 5, 19]).view([1, 5]);
        let out = model.forward(&ids, true).unwrap();
        let loss = out.last_hidden_state.square().sum(Kind::Float)
            * out.text_embeds.unwrap().square().sum(Kind::Float);
        // A row of the token table that no token uses stays without a gradient; whole tensors do not.
        loss.backward();
        let parameters = weights.parameters();
        assert_eq!(parameters.len(), 2 + 2 * 16 + 2 + 1);
        for (key, tensor) in &parameters {
            // A bias on all keys cancels in the softmax.
            if !key.ends_with("k_proj.bias") {
                assert!(tensor.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0, "{key}");
            }
        }
    }

    #[test]
    fn fresh_weights_start_with_the_deviations_of_clip() {
        tch::manual_seed(7);
        let weights = Weights::fresh(Device::Cpu, Kind::Float);
        let config = ClipTextConfig { vocab_size: 2000, num_hidden_layers: 3, ..ClipTextConfig::default() };
        ClipTextModel::new(&weights.root(), &config).unwrap();
        let parameters = weights.parameters();
        let std = |key: &str| parameters[key].std(true).double_value(&[]);
        let layer = "text_model.encoder.layers.1";
        for (key, expected) in [
            ("text_model.embeddings.token_embedding.weight".to_string(), 0.02),
            ("text_model.embeddings.position_embedding.weight".to_string(), 0.01),
            (format!("{layer}.self_attn.q_proj.weight"), 512_f64.powf(-0.5)),
            (format!("{layer}.self_attn.out_proj.weight"), 512_f64.powf(-0.5) * 6_f64.powf(-0.5)),
            (format!("{layer}.mlp.fc1.weight"), 1024_f64.powf(-0.5)),
            (format!("{layer}.mlp.fc2.weight"), 512_f64.powf(-0.5) * 6_f64.powf(-0.5)),
        ] {
            assert!((std(&key) / expected - 1.0).abs() < 0.02, "{key}: {}", std(&key));
        }
    }

    #[test]
    fn later_tokens_do_not_change_earlier_states() {
        let (_weights, model) = model();
        let run = |ids: [i64; 5]| {
            let ids = Tensor::from_slice(&ids).view([1, 5]);
            model.forward(&ids, false).unwrap().last_hidden_state
        };
        let difference = (run([18, 1, 2, 3, 19]) - run([18, 1, 2, 9, 19])).abs().amax([0, 2], false);
        let by_position: Vec<f64> = Vec::try_from(difference.to_kind(Kind::Double)).unwrap();
        assert!(by_position[..3].iter().all(|d| *d < 1e-6), "{by_position:?}");
        assert!(by_position[3] > 1e-3, "{by_position:?}");
    }

    #[test]
    fn hidden_states_are_counted_from_the_end() {
        let (_weights, model) = model();
        let ids = Tensor::from_slice(&[18_i64, 19]).view([1, 2]);
        let out = model.forward(&ids, true).unwrap();
        assert_eq!(out.hidden_states.len(), 3);
        let last = model.final_layer_norm(out.hidden_state(0).unwrap());
        assert_eq!(last, out.last_hidden_state);
        assert!(out.hidden_state(3).unwrap_err().to_string().contains("3 were kept"));
        let short = model.forward(&ids, false).unwrap();
        assert!(short.hidden_state(0).is_err());
    }

    #[test]
    fn settings_that_would_go_wrong_are_refused() {
        let refuse = |change: fn(&mut ClipTextConfig), key: &str| {
            let mut config = tiny();
            change(&mut config);
            let message = config.check().unwrap_err().to_string();
            assert!(message.starts_with(key), "{message}");
        };
        refuse(|c| c.hidden_act = "relu".into(), "hidden_act = relu");
        refuse(|c| c.num_attention_heads = 3, "num_attention_heads = 3");
        refuse(|c| c.model_type = "clip".into(), "model_type = clip");
        refuse(|c| c.projection_dim = None, "projection_dim = null");
        refuse(|c| c.num_hidden_layers = -1, "num_hidden_layers = -1");
        refuse(|c| c.use_attention_mask = true, "use_attention_mask = true");
    }
}
