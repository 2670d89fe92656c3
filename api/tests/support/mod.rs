//! The service with stand-ins for what draws, looks and expands: no model, no network, no waiting.

mod addressed;
pub mod artist;
mod cards;
mod expander;
mod faces;

use std::path::Path;
use std::sync::Arc;

use imagine_api::config::Layers;
use imagine_api::{Config, ModelCard, Parts, Rules, Style};
use imagine_contract::{Dialect, Expander, IdentityNeeds, ModelInfo};
use imagine_store::{Archive, LocalBlobs, Policy, Store, Vault};

pub use addressed::Addressed;
pub use artist::Artist;
pub use cards::{SKIN, StandInCards};
pub use expander::StandInExpander;
pub use faces::StandInFaces;
pub use faces::photo;

/// Settings over the defaults, as variables.
pub fn config(settings: &[(&str, &str)]) -> Config {
    let variables =
        settings.iter().map(|(key, text)| (format!("IMAGINE_{}", key.to_uppercase()), (*text).to_owned()));
    Layers::default().environment(variables).finish().unwrap()
}

/// A store in a folder.
pub async fn archive(folder: &Path, policy: Policy) -> Archive {
    let store = Store::open_file(&folder.join("imagine.sqlite"), policy).await.unwrap();
    let blobs = LocalBlobs::open(folder.join("blobs")).unwrap();
    let vault = Vault::open_or_create(&folder.join("master.key")).unwrap();
    Archive::open(store, Arc::new(blobs), vault).await.unwrap()
}

/// What the service is put together from.
pub fn parts(archive: Archive) -> Parts {
    let style = Style { id: "oil".into(), name: "Oil painting".into(), text: "oil painting".into() };
    Parts {
        archive,
        studio: None,
        faces: Arc::new(StandInFaces),
        expander: Some(Arc::new(StandInExpander)),
        rules: Rules {
            prompt: Arc::new(|text| StandInExpander.check(text)),
            negative_prompt: Arc::new(|text| match text.contains("clothes") {
                true => StandInExpander.check("forbidden"),
                false => Ok(()),
            }),
        },
        models: vec![model()],
        styles: vec![style],
        gpu_memory: None,
        meter: imagine_api::Meter::default(),
    }
}

fn model() -> ModelCard {
    let identity = IdentityNeeds {
        kind: "faceid".into(),
        embedding_width: Some(4),
        raw_embedding: false,
        face_side: None,
        key_points: false,
        regions: true,
        groups: ["descriptor", "colours", "traits"].map(Into::into).to_vec(),
        trigger_word: None,
    };
    let info = ModelInfo {
        name: "stand-in".into(),
        width: 64,
        height: 64,
        width_per_person: 32,
        steps: 8,
        guidance_scale: 5.0,
        scheduler: "ddim".into(),
        side_multiple: 8,
        identity: Some(identity),
        inpainting: false,
        device: "cpu".into(),
        dtype: "f32".into(),
    };
    let schedulers = vec!["ddim".into(), "euler".into()];
    let sizes = vec![[64, 64], [64, 96]];
    ModelCard { info, dialect: Dialect::Tags, schedulers, sizes, created: 1_700_000_000, default: true }
}
