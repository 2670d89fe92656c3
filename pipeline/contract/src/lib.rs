//! What the rooms say to each other: requests, events, errors and the engine's trait.
//!
//! Plain data only. No tensors, no files, no network may enter, so that the API, the page and tests
//! build in seconds and run against a mock engine.

mod card;
pub mod clauses;
mod dialect;
mod edit;
mod engine;
mod expansion;
mod people;
mod pixels;
mod request;
mod studio;

pub use card::{CardChanges, CardPart, CardRefused, PartInput, PartSource, SealedCard};
pub use dialect::{Assembled, Dialect, Vocabulary, WINDOW, assemble, token_bound};
pub use edit::{Edit, EditMask, Rest};
pub use engine::{CancelFlag, Engine, EngineError, Event, IdentityNeeds, ModelInfo, Picture};
pub use expansion::{ExpandError, Expander, Expansion, Idea, Language, Mode, NoteCode, Parts, Slot, Source};
pub use people::{Identity, KeyPoints, Reference, Region, Stage};
pub use pixels::{GrayPixels, RgbPixels};
pub use request::{GenerateRequest, Limits, RequestError, SizeCondition};
pub use studio::{
    FaceBox, FaceData, FaceReader, Load, Order, OrderEvent, PhotoProblem, PhotoReading, PhotoRefused, Studio,
    SubmitError,
};
