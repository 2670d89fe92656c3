use imagine_contract::{
    CardChanges, CardPart, CardRefused, FaceData, FaceReader, PartInput, PartSource, PhotoReading,
    PhotoRefused, Reference, RgbPixels, SealedCard,
};

use super::StandInFaces;

/// Sees the same as [`StandInFaces`] and makes cards: of everybody it can tell the skin, whether they wear glasses,
/// and seven numbers.
pub struct StandInCards;

/// Parts, and what they take.
const PARTS: [(&str, PartInput, &[&str]); 4] = [
    ("descriptor", PartInput::Nothing, &[]),
    ("skin", PartInput::Colour, &[]),
    ("beard", PartInput::Choice, &["yes", "no"]),
    ("glasses", PartInput::Choice, &["yes", "no"]),
];
pub const SKIN: &str = "#c58c6a";

impl FaceReader for StandInCards {
    fn encoder(&self) -> &str {
        "stand-in-cards"
    }

    fn same_person(&self) -> f32 {
        StandInFaces.same_person()
    }

    fn read(&self, bytes: &[u8], face: Option<usize>) -> Result<PhotoReading, PhotoRefused> {
        let mut reading = StandInFaces.read(bytes, face)?;
        if let Some(face) = &mut reading.face {
            face.card = Some(SealedCard(format!("{SKIN} glasses")));
        }
        Ok(reading)
    }

    fn likeness(&self, person: &[Reference], picture: &RgbPixels) -> Option<f32> {
        StandInFaces.likeness(person, picture)
    }

    fn makes_cards(&self) -> bool {
        true
    }

    fn card(&self, faces: &[FaceData], changes: &CardChanges) -> Result<Vec<CardPart>, CardRefused> {
        for (part, value) in &changes.set {
            let takes = PARTS.iter().find(|(name, ..)| name == part);
            let fits = takes.is_some_and(|(_, input, choices)| match input {
                PartInput::Choice => choices.contains(&value.as_str()),
                PartInput::Colour => value.starts_with('#'),
                _ => false,
            });
            if !fits {
                return Err(CardRefused::Change(format!("{part}: \"{value}\" cannot be said")));
            }
        }
        if faces.iter().any(|face| face.card.is_none()) {
            return Err(CardRefused::Unreadable("a photo has none".into()));
        }
        let part = |(name, input, choices): (&str, PartInput, &[&str])| {
            let measured = match name {
                "skin" => Some(SKIN.to_owned()),
                "glasses" => Some("yes".to_owned()),
                _ => None,
            };
            let (source, value) = match changes.set.get(name) {
                _ if changes.without.contains(name) => (PartSource::LeftOut, None),
                Some(value) => (PartSource::Corrected, Some(value.clone())),
                None if name == "beard" => (PartSource::Unknown, None),
                None => (PartSource::Measured, measured.clone()),
            };
            CardPart {
                name: name.to_owned(),
                source,
                value,
                numbers: if name == "descriptor" { 7 } else { usize::from(measured.is_some()) },
                confidence: (name != "beard").then_some(0.5),
                measured,
                input,
                choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
            }
        };
        Ok(PARTS.map(part).to_vec())
    }

    fn as_drawn(&self, faces: Vec<FaceData>, _: &CardChanges) -> Result<Vec<FaceData>, CardRefused> {
        Ok(faces)
    }
}
