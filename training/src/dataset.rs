//! The rendered people: what is known of each and of each of their pictures.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::error::TrainingError;

/// What is true of a person in all shots and visible in this one.
#[derive(Clone, Debug, Deserialize)]
pub struct IdentityWords {
    pub sex: String,
    pub age: String,
    pub skin: String,
    pub hair: String,
    pub hair_visible: bool,
    pub beard: Option<String>,
    pub glasses: Option<String>,
}

/// What is visible in one shot and does not belong to the person.
#[derive(Clone, Debug, Deserialize)]
pub struct Clauses {
    pub role: Option<String>,
    pub clothes: Option<String>,
    pub hat: Option<String>,
    /// A thing held or beside the person.
    pub prop: Option<String>,
    pub expression: String,
    pub pose: String,
    pub light: String,
    pub place: String,
}

/// What the renderer knows in numbers.
#[derive(Clone, Debug, Deserialize)]
pub struct Attributes {
    pub years: f32,
    /// 0 none, 1 short, 2 to the chin, 3 to the shoulders.
    pub hair_length: u8,
    pub hat: Option<String>,
    pub clothes_colour: Option<String>,
    /// Degrees that the head is turned.
    pub yaw: f32,
}

/// One line of `meta*.jsonl`.
#[derive(Clone, Debug, Deserialize)]
pub struct Frame {
    pub file: String,
    /// The picture as a camera kept it, of reference shots.
    pub photo: Option<String>,
    pub person: u32,
    pub shot: u32,
    /// L2-normalised SFace embedding of the picture at rendering resolution; null without a face.
    pub sface: Option<Vec<f32>>,
    pub identity: IdentityWords,
    pub clauses: Clauses,
    pub attributes: Attributes,
}

/// Frames with a face, and the frames of each person.
pub struct Dataset {
    pub frames: Vec<Frame>,
    /// [N, E], f32
    pub embeddings: Tensor,
    /// Mean of `embeddings`: [1, E]
    pub mean_embedding: Tensor,
    /// Indices into `frames`, one list a person; persons with fewer than two frames are left out.
    pub people: Vec<Vec<usize>>,
}

/// Reads the metadata of all frames with a face, ordered by person and shot.
pub fn read_frames(dir: &Path) -> Result<Vec<Frame>, TrainingError> {
    let mut frames = Vec::new();
    for entry in fs::read_dir(dir).map_err(TrainingError::io(dir))? {
        let path = entry.map_err(TrainingError::io(dir))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if !(name.starts_with("meta") && name.ends_with(".jsonl")) {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(TrainingError::io(&path))?;
        // A renderer that is still at work may have written half a line at the end.
        let whole = &text[..text.rfind('\n').map_or(0, |i| i + 1)];
        for (line, json) in whole.lines().enumerate() {
            let frame: Frame = serde_json::from_str(json).map_err(|source| TrainingError::Meta {
                path: path.clone(),
                line: line + 1,
                source,
            })?;
            if frame.sface.is_some() {
                frames.push(frame);
            }
        }
    }
    frames.sort_by_key(|f| (f.person, f.shot));
    Ok(frames)
}

impl Dataset {
    /// Reads a folder made by `render/make_dataset.py` or `render/pack.py`.
    pub fn read(dir: &Path) -> Result<Self, TrainingError> {
        let frames = read_frames(dir)?;
        if frames.len() < 2 {
            return Err(TrainingError::TooFew { path: dir.into(), found: frames.len(), needed: 2 });
        }
        let rows: Vec<Tensor> =
            frames.iter().filter_map(|f| f.sface.as_deref()).map(Tensor::from_slice).collect();
        let mut people: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (i, frame) in frames.iter().enumerate() {
            people.entry(frame.person).or_default().push(i);
        }
        let embeddings = Tensor::f_stack(&rows, 0)?; // [N, E]
        Ok(Self {
            mean_embedding: embeddings.mean_dim([0i64].as_slice(), true, Kind::Float),
            embeddings,
            people: people.into_values().filter(|p| p.len() >= 2).collect(),
            frames,
        })
    }
}

/// A frame as the renderer writes it, for tests: a reference of its person.
#[cfg(test)]
pub fn rendered(person: u32, shot: u32) -> Frame {
    let frame = serde_json::json!({
        "file": format!("images/{person:05}_{shot}.png"), "photo": format!("photos/{person:05}_{shot}.jpg"),
        "person": person, "shot": shot, "sface": null,
        "identity": {"sex": "woman", "age": "young", "skin": "tan", "hair": "brown bob", "hair_visible": true,
                     "beard": null, "glasses": "red glasses"},
        "clauses": {"role": null, "clothes": null, "hat": null, "expression": "smiling",
                    "pose": "facing the camera", "light": "neon light", "place": "forest"},
        "attributes": {"years": 30.0, "hair_length": 2, "hat": null, "clothes_colour": null, "yaw": 0.0},
    });
    serde_json::from_value(frame).unwrap_or_else(|e| panic!("{e}"))
}
