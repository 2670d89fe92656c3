//! What is loaded: what a person names, else what belongs to the model.

use std::path::{Path, PathBuf};

use imagine_contract::IdentityNeeds;
use imagine_identity::adapters::AdapterKind;
use imagine_pipeline::presets::Preset;
use imagine_pipeline::single_file::Prediction;
use imagine_pipeline::{DeviceChoice, DtypeChoice, LoadOptions, LoraChoice};

use crate::failure::Failure;
use crate::model_lookup::{Located, find_adapter};
use crate::progress::Progress;

/// Whether the model must be able to draw given people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// Without one the checkpoint runs as it is.
    #[default]
    None,
    /// If the model has an adapter.
    IfThere,
    Needed,
}

/// What is named; everything else is the model's own.
#[derive(Clone, Debug, Default)]
pub struct ModelChoice {
    pub tokenizer: Option<PathBuf>,
    pub prediction: Option<Prediction>,
    pub adapter: Option<PathBuf>,
    pub adapter_kind: Option<AdapterKind>,
    pub image_encoder: Option<PathBuf>,
    pub controlnet: Option<PathBuf>,
    pub vae: Option<PathBuf>,
    pub unet: Option<PathBuf>,
    pub loras: Vec<LoraChoice>,
    pub preset: Option<String>,
    pub device: DeviceChoice,
    pub dtype: DtypeChoice,
    pub identity: Identity,
}

impl ModelChoice {
    /// What to load of the model at `located`, with this adapter, whose `needs` these are. Of a combination's
    /// parts those that were pulled for its own adapter are left out where the adapter does not take them.
    pub fn options(
        &self,
        located: &Located,
        adapter: Option<PathBuf>,
        needs: Option<&IdentityNeeds>,
        progress: &Progress,
    ) -> LoadOptions {
        let own = |part: &Option<PathBuf>, takes: fn(&IdentityNeeds) -> bool| {
            part.clone().filter(|_| needs.is_some_and(takes))
        };
        let own_encoder =
            own(&located.image_encoder, |needs| needs.face_side.is_some() && needs.trigger_word.is_none());
        let own_controlnet = own(&located.controlnet, |needs| needs.key_points);
        let own_loras = located.loras.iter().map(|file| LoraChoice { file: file.clone(), weight: 1.0 });
        let unet = self.unet.clone().or_else(|| located.unet.clone());
        // A U-Net in the place of the model's is what the recipe belongs to.
        let (told, file) = match &unet {
            Some(unet) => (Preset::of_unet(unet), unet),
            None if located.model.is_file() => (Preset::of_checkpoint(&located.model), &located.model),
            // A download cache's folders have numbers for names.
            None => {
                let name = located.name.as_deref().map_or(located.model.as_path(), Path::new);
                (Preset::of_folder(name), &located.model)
            }
        };
        let own = located.preset.clone().filter(|_| self.unet.is_none() || told.is_none());
        let preset = self.preset.clone().or(own);
        if let (None, Some(told)) = (&preset, told) {
            let file = file.display();
            progress.note(format_args!("{file} is drawn by --preset {}, as its name says", told.name));
        }
        let preset = preset.or_else(|| told.map(|preset| preset.name.to_owned()));
        if told.is_none() {
            self.warn_of_presets(located, preset.as_deref(), progress);
        }
        // A combination's autoencoder is for f16 alone: elsewhere the checkpoint's own does not overflow, and
        // draws what diffusers draws with this checkpoint.
        let f16_vae = located.vae.clone().filter(|_| self.dtype == DtypeChoice::F16);
        LoadOptions {
            name: located.name.clone(),
            model: located.model.clone(),
            tokenizer: self.tokenizer.clone(),
            prediction: self.prediction,
            adapter,
            adapter_kind: self.adapter_kind,
            image_encoder: self.image_encoder.clone().or(own_encoder),
            controlnet: self.controlnet.clone().or(own_controlnet),
            vae: self.vae.clone().or(f16_vae),
            unet,
            loras: own_loras.chain(self.loras.iter().cloned()).collect(),
            preset,
            device: self.device,
            dtype: self.dtype,
        }
    }

    fn warn_of_presets(&self, located: &Located, preset: Option<&str>, progress: &Progress) {
        for LoraChoice { file, .. } in &self.loras {
            if let (Some(recipe), None) = (Preset::of_lora(file), preset) {
                let (file, name) = (file.display(), recipe.name);
                progress.warn(format_args!(
                    "{file} belongs to --preset {name}, which sets its sampler and steps"
                ));
            }
        }
        if let Some(recipe) = preset.and_then(|name| Preset::by_name(name).ok())
            && !recipe.loras.is_empty()
            && located.loras.is_empty()
        {
            let is_there = |file: &Path| recipe.loras.iter().any(|lora| lora.is_at(file));
            if !self.loras.iter().any(|lora| is_there(&lora.file)) {
                let files: Vec<String> = recipe
                    .loras
                    .iter()
                    .map(|lora| format!("for {} {} of {}", lora.base.name(), lora.file, lora.repository))
                    .collect();
                let (name, files) = (recipe.name, files.join(", "));
                progress.warn(format_args!(
                    "--preset {name} without its LoRA draws poorly: name the file with --lora ({files})"
                ));
            }
        }
    }

    /// The adapter to load: the one that is named, else the model's own where people are to be drawn.
    ///
    /// # Errors
    /// An adapter is needed and none or several are there.
    pub fn adapter(&self, located: &Located) -> Result<Option<PathBuf>, Failure> {
        if self.adapter.is_some() {
            return Ok(self.adapter.clone());
        }
        if self.identity == Identity::None {
            return Ok(None);
        }
        let model = &located.model;
        let beside = if model.is_dir() { find_adapter(model)? } else { None };
        match located.adapter.clone().or(beside) {
            None if self.identity == Identity::Needed => Err(Failure::input(format!(
                "{} has no identity adapter, so it cannot draw a person from photos",
                model.display()
            ))
            .hint("name one with --adapter, or leave out the photos")),
            found => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn what_belongs_to_the_model_is_loaded_unless_something_else_is_named() {
        let model = tempfile::tempdir().unwrap();
        let own = Located {
            model: model.path().to_path_buf(),
            adapter: Some("own.bin".into()),
            vae: Some("own-vae".into()),
            loras: vec!["own-lora".into()],
            preset: Some("lightning-4".into()),
            ..Located::default()
        };
        let of = |choice: &ModelChoice| {
            let adapter = choice.adapter(&own).unwrap();
            choice.options(&own, adapter, None, &Progress::new(false))
        };
        assert_eq!(of(&ModelChoice::default()).adapter, None, "nobody is to be drawn");
        for identity in [Identity::IfThere, Identity::Needed] {
            let usual = of(&ModelChoice { identity, ..ModelChoice::default() });
            assert_eq!((usual.adapter, usual.prediction), (Some("own.bin".into()), None));
            assert_eq!((usual.loras[0].weight, usual.preset.as_deref()), (1.0, Some("lightning-4")));
        }
        for dtype in [DtypeChoice::Auto, DtypeChoice::F32, DtypeChoice::Bf16] {
            let choice = ModelChoice { dtype, ..ModelChoice::default() };
            assert_eq!(of(&choice).vae, None, "{dtype:?}: the checkpoint's own");
            assert_eq!(of(&ModelChoice { vae: Some("v".into()), ..choice }).vae, Some("v".into()));
        }
        let f16 = ModelChoice { dtype: DtypeChoice::F16, ..ModelChoice::default() };
        assert_eq!(of(&f16).vae, Some("own-vae".into()));
        assert_eq!(of(&ModelChoice { vae: Some("v".into()), ..f16 }).vae, Some("v".into()));
        let over = |unet: &str| of(&ModelChoice { unet: Some(unet.into()), ..ModelChoice::default() });
        let dmd2 = over("dmd2_sdxl_4step_unet_fp16.bin");
        assert_eq!(
            (dmd2.unet.is_some(), dmd2.preset.as_deref()),
            (true, Some("dmd2-4")),
            "the U-Net's recipe"
        );
        assert_eq!(over("my_unet.safetensors").preset.as_deref(), Some("lightning-4"), "the combination's");
        let cached = Located { name: Some("stabilityai/sdxl-turbo".into()), preset: None, ..own.clone() };
        let turbo = ModelChoice::default().options(&cached, None, None, &Progress::new(false));
        assert_eq!(turbo.preset.as_deref(), Some("turbo"), "told by its name");
        let prediction = Some(Prediction::V);
        assert_eq!(of(&ModelChoice { prediction, ..ModelChoice::default() }).prediction, prediction);
        let named = ModelChoice {
            adapter: Some("a".into()),
            vae: Some("v".into()),
            loras: vec![LoraChoice { file: "l".into(), weight: 0.5 }],
            preset: Some("turbo".into()),
            ..ModelChoice::default()
        };
        let named = of(&named);
        assert_eq!((named.adapter, named.vae), (Some("a".into()), Some("v".into())));
        assert_eq!((named.loras.len(), named.preset.as_deref()), (2, Some("turbo")));
    }

    #[test]
    fn a_combination_s_parts_go_with_adapters_that_take_them() {
        let parts = Located {
            image_encoder: Some("vit".into()),
            controlnet: Some("net".into()),
            ..Located::default()
        };
        let taken = |needs: Option<&IdentityNeeds>, choice: &ModelChoice| {
            let options = choice.options(&parts, None, needs, &Progress::new(false));
            (options.image_encoder.is_some(), options.controlnet.is_some())
        };
        let needs = |face_side, key_points, word: Option<&str>| IdentityNeeds {
            kind: "any".into(),
            embedding_width: None,
            raw_embedding: false,
            face_side,
            key_points,
            regions: false,
            groups: Vec::new(),
            trigger_word: word.map(Into::into),
        };
        let nothing = ModelChoice::default();
        assert_eq!(taken(None, &nothing), (false, false));
        assert_eq!(taken(Some(&needs(Some(224), false, None)), &nothing), (true, false));
        assert_eq!(taken(Some(&needs(None, true, None)), &nothing), (false, true));
        assert_eq!(taken(Some(&needs(Some(256), false, Some("img"))), &nothing), (false, false));
        let named = ModelChoice {
            image_encoder: Some("x".into()),
            controlnet: Some("y".into()),
            ..ModelChoice::default()
        };
        assert_eq!(taken(None, &named), (true, true), "refused later");
    }

    #[test]
    fn a_model_without_an_adapter_draws_no_given_person() {
        let model = tempfile::tempdir().unwrap();
        let own = Located { model: model.path().to_path_buf(), ..Located::default() };
        let of = |identity| {
            let choice = ModelChoice { identity, ..ModelChoice::default() };
            choice.adapter(&own).map_err(|e| e.to_string())
        };
        assert_eq!(of(Identity::IfThere).unwrap(), None);
        let failure = of(Identity::Needed).unwrap_err();
        assert!(failure.contains("no identity adapter") && failure.contains("--adapter"), "{failure}");
    }
}
