//! Identity adapters: networks that turn what is known of a face (an embedding, CLIP's states of a picture)
//! into tokens for the U-Net's parallel attention, in their published file layouts.

mod adapter;
mod card;
mod error;
mod faceid;
mod faceid_plus;
mod instant_id;
mod ip_adapter;
mod kind;
mod layers;
mod photomaker;
mod photomaker_prompt;
mod photomaker_v2;
mod resampler;

pub use adapter::{Adapter, AdapterOptions, ClipStates, Combine, Needs, ReferenceFeatures};
pub use card::{CARD_GROUPS, CardProjection};
pub use error::AdapterError;
pub use faceid::{FaceIdProjection, FaceIdSizes};
pub use faceid_plus::{FaceIdPlusProjection, FaceIdPlusSizes};
pub use instant_id::{FaceCondition, IdentityNet, IdentityNetError};
pub use ip_adapter::{FullFaceProjection, FullFaceSizes, ImageProjection, ImageProjectionSizes};
pub use kind::AdapterKind;
pub use photomaker::{PhotoMaker, PhotoMakerError, PhotoMakerFeatures, PhotoMakerVersion};
pub use photomaker_prompt::{SpecialTokens, TriggerPrompt, merge_step, split_at_trigger};
pub use resampler::{Perceiver, Resampler, ResamplerSizes};
