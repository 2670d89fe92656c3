//! The identity card: what can be measured the same way on a photo and on a render, part by part, each with how
//! sure it is. A person may see every part, correct it, and leave it out; see docs/identity-card.md.

mod cells;
mod colour;
mod descriptor;
mod edit;
mod frame;
mod input;
mod landmarks;
mod measure;
mod packed;
mod parts;
mod pose;
mod probes;
mod reader;
mod shown;
mod vector;

pub use cells::{EYES, HEAD, MOUTH, Window};
pub use colour::{LIGHT_SHARE, Lab, Light, Sample};
pub use descriptor::{DESCRIPTOR_INPUT, DESCRIPTOR_WIDTH, Descriptor, DescriptorNetwork};
pub use edit::{CardError, PartName};
pub use frame::FaceFrame;
pub use input::{Cut, descriptor_rectangle};
pub use landmarks::{LANDMARKS_INPUT, LandmarkNetwork, POINTS, Points68};
pub use measure::{Measure, Measured};
pub use packed::PackedWeights;
pub use parts::{CARD_VERSION, HairLength, IdentityCard, Part, Sex, Source, YEARS};
pub use pose::{Fit, MeanShape, Pose, Shape, fit};
pub use probes::{Judge, PROBES, Probe, descriptor_mean};
pub use reader::CardReader;
pub use shown::{Shown, Takes};
pub use vector::{CARD_WIDTH, CardVectors, Columns, DESCRIPTOR_LENGTH, SAME_PERSON};
