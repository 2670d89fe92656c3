//! Seeing, correcting and leaving out parts of a card, by name.

use std::fmt;
use std::str::FromStr;

use super::colour::Lab;
use super::parts::{HairLength, IdentityCard, Part, Sex, YEARS};

/// A part of the card by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartName {
    Descriptor,
    Geometry,
    Pose,
    Skin,
    HairColour,
    HairLength,
    Beard,
    Glasses,
    Sex,
    Age,
}

impl PartName {
    /// All parts, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::Descriptor,
        Self::Geometry,
        Self::Pose,
        Self::Skin,
        Self::HairColour,
        Self::HairLength,
        Self::Beard,
        Self::Glasses,
        Self::Sex,
        Self::Age,
    ];

    /// As it is written on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Descriptor => "descriptor",
            Self::Geometry => "geometry",
            Self::Pose => "pose",
            Self::Skin => "skin",
            Self::HairColour => "hair-colour",
            Self::HairLength => "hair-length",
            Self::Beard => "beard",
            Self::Glasses => "glasses",
            Self::Sex => "sex",
            Self::Age => "age",
        }
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PartName {
    type Err = CardError;

    /// The name with a hyphen or, as in JSON, an underscore.
    fn from_str(text: &str) -> Result<Self, CardError> {
        let wanted = text.replace('_', "-");
        Self::ALL
            .into_iter()
            .find(|part| part.name() == wanted)
            .ok_or_else(|| CardError::NoSuchPart(text.to_owned()))
    }
}

/// Why a card, or a change of one, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    #[error("not an identity card: {0}")]
    Json(String),
    #[error("an identity card of version {0}; this program reads version {version}", version = super::parts::CARD_VERSION)]
    Version(u32),
    #[error("there is no part \"{0}\" of an identity card; the parts are {parts}", parts = names())]
    NoSuchPart(String),
    #[error("{part}: {reason}")]
    Value { part: PartName, reason: String },
    #[error("\"{0}\" is no PART=VALUE, such as skin=#c58c6a or glasses=no")]
    NotAChange(String),
}

fn names() -> String {
    PartName::ALL.map(PartName::name).join(", ")
}

/// Colours of hair by name: sRGB.
pub(super) const HAIR_COLOURS: [(&str, [u8; 3]); 9] = [
    ("black", [26, 21, 19]),
    ("dark-brown", [56, 37, 27]),
    ("brown", [102, 69, 45]),
    ("auburn", [131, 57, 30]),
    ("red", [176, 80, 31]),
    ("blonde", [207, 165, 96]),
    ("platinum", [230, 211, 168]),
    ("grey", [141, 138, 136]),
    ("white", [222, 219, 214]),
];

impl IdentityCard {
    /// The names of the parts that are there.
    pub fn parts(&self) -> impl Iterator<Item = PartName> {
        self.confidences().map(|(name, _)| name)
    }

    /// The parts that are there, with how sure each is.
    pub fn confidences(&self) -> impl Iterator<Item = (PartName, f32)> {
        let of = |name: PartName| match name {
            PartName::Descriptor => self.descriptor.as_ref().map(|p| p.confidence),
            PartName::Geometry => self.geometry.as_ref().map(|p| p.confidence),
            PartName::Pose => self.pose.as_ref().map(|p| p.confidence),
            PartName::Skin => self.skin.as_ref().map(|p| p.confidence),
            PartName::HairColour => self.hair_colour.as_ref().map(|p| p.confidence),
            PartName::HairLength => self.hair_length.as_ref().map(|p| p.confidence),
            PartName::Beard => self.beard.as_ref().map(|p| p.confidence),
            PartName::Glasses => self.glasses.as_ref().map(|p| p.confidence),
            PartName::Sex => self.sex.as_ref().map(|p| p.confidence),
            PartName::Age => self.age.as_ref().map(|p| p.confidence),
        };
        let found: Vec<(PartName, f32)> =
            PartName::ALL.into_iter().filter_map(|name| Some((name, of(name)?))).collect();
        found.into_iter()
    }

    /// The card without a part.
    pub fn leave_out(&mut self, part: PartName) {
        match part {
            PartName::Descriptor => self.descriptor = None,
            PartName::Geometry => self.geometry = None,
            PartName::Pose => self.pose = None,
            PartName::Skin => self.skin = None,
            PartName::HairColour => self.hair_colour = None,
            PartName::HairLength => self.hair_length = None,
            PartName::Beard => self.beard = None,
            PartName::Glasses => self.glasses = None,
            PartName::Sex => self.sex = None,
            PartName::Age => self.age = None,
        }
    }

    /// Corrects a part as `PART=VALUE` says: a colour as `#rrggbb` (hair also by name), a length as `bald`,
    /// `short` or `long`, beard and glasses as `yes` or `no`, sex as `woman` or `man`, age in years.
    ///
    /// # Errors
    /// A part that is not there or cannot be said in words, a value that it does not have.
    pub fn correct(&mut self, change: &str) -> Result<PartName, CardError> {
        let (name, value) = change.split_once('=').ok_or_else(|| CardError::NotAChange(change.to_owned()))?;
        let (part, value) = (name.trim().parse::<PartName>()?, value.trim().to_lowercase());
        let wrong = |reason: String| CardError::Value { part, reason };
        match part {
            PartName::Skin => self.skin = Some(Part::corrected(hex(&value).map_err(wrong)?)),
            PartName::HairColour => {
                let named = HAIR_COLOURS.iter().find(|(name, _)| *name == value.replace(' ', "-"));
                let colour = match named {
                    Some((_, rgb)) => Lab::of_srgb(*rgb),
                    None => hex(&value).map_err(|reason| {
                        let names = HAIR_COLOURS.map(|(name, _)| name).join(", ");
                        wrong(format!("{reason}, nor one of {names}"))
                    })?,
                };
                self.hair_colour = Some(Part::corrected(colour));
            }
            PartName::HairLength => {
                let length = match value.as_str() {
                    "bald" => HairLength::Bald,
                    "short" => HairLength::Short,
                    "long" => HairLength::Long,
                    _ => return Err(wrong(format!("\"{value}\" is not bald, short or long"))),
                };
                self.hair_length = Some(Part::corrected(length));
            }
            PartName::Beard => self.beard = Some(Part::corrected(yes_or_no(&value).map_err(wrong)?)),
            PartName::Glasses => self.glasses = Some(Part::corrected(yes_or_no(&value).map_err(wrong)?)),
            PartName::Sex => {
                let sex = match value.as_str() {
                    "woman" => Sex::Woman,
                    "man" => Sex::Man,
                    _ => return Err(wrong(format!("\"{value}\" is not woman or man; it can be left out"))),
                };
                self.sex = Some(Part::corrected(sex));
            }
            PartName::Age => {
                let years = value.parse::<f32>().ok().filter(|years| YEARS.contains(years));
                let years = years.ok_or_else(|| wrong(format!("\"{value}\" is no age from 18 to 100")))?;
                self.age = Some(Part::corrected(years));
            }
            PartName::Descriptor | PartName::Geometry | PartName::Pose => {
                return Err(wrong("it cannot be said in words; it can be left out".to_owned()));
            }
        }
        Ok(part)
    }
}

fn yes_or_no(value: &str) -> Result<bool, String> {
    match value {
        "yes" | "true" => Ok(true),
        "no" | "false" | "none" => Ok(false),
        _ => Err(format!("\"{value}\" is neither yes nor no")),
    }
}

fn hex(value: &str) -> Result<Lab, String> {
    let digits = value.strip_prefix('#').unwrap_or(value);
    let wrong = || format!("\"{value}\" is no colour such as #c58c6a");
    if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let number = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
    let [_, r, g, b] = number.to_be_bytes();
    Ok(Lab::of_srgb([r, g, b]))
}

/// Mean of vectors of one length (the first's) with weights.
pub(super) fn mix(values: &[(&Vec<f32>, f32)]) -> Vec<f32> {
    let width = values.first().map_or(0, |(v, _)| v.len());
    let total: f32 = values.iter().map(|(_, w)| w).sum();
    let mut mean = vec![0.0; width];
    for (vector, weight) in values {
        for (m, v) in mean.iter_mut().zip(vector.iter()) {
            *m += v * weight / total;
        }
    }
    mean
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::descriptor::Descriptor;
    use super::super::parts::Source;
    use super::super::pose::{Pose, Shape};
    use super::*;

    fn card() -> IdentityCard {
        IdentityCard {
            descriptor: Some(Part::measured(Descriptor(vec![0.25; 128]), 0.9)),
            geometry: Some(Part::measured(Shape(vec![[0.5, -0.5]; 68]), 0.8)),
            pose: Some(Part::measured(Pose { yaw: 10.0, pitch: -2.0, roll: 1.0 }, 0.7)),
            skin: Some(Part::measured(Lab { l: 60.0, a: 12.0, b: 18.0 }, 0.6)),
            hair_length: Some(Part::measured(HairLength::Short, 0.5)),
            glasses: Some(Part::measured(true, 0.4)),
            sex: Some(Part::measured(Sex::Woman, 0.9)),
            age: Some(Part::measured(40.0, 0.5)),
            ..IdentityCard::default()
        }
    }

    #[test]
    fn parts_are_corrected_and_left_out_by_name() {
        let mut card = card();
        for part in PartName::ALL {
            assert_eq!(part.name().parse::<PartName>().unwrap(), part);
            assert_eq!(part.name().replace('-', "_").parse::<PartName>().unwrap(), part);
        }
        card.correct("glasses=no").unwrap();
        card.correct("hair_length = Long").unwrap();
        card.correct("skin=#C58C6A").unwrap();
        card.correct("hair-colour=dark brown").unwrap();
        card.correct("sex=man").unwrap();
        card.correct("age=61.5").unwrap();
        assert_eq!(
            (card.sex.clone(), card.age.clone()),
            (Some(Part::corrected(Sex::Man)), Some(Part::corrected(61.5)))
        );
        assert_eq!(card.glasses, Some(Part { value: false, confidence: 1.0, source: Source::Corrected }));
        assert_eq!(card.hair_length.as_ref().unwrap().value, HairLength::Long);
        assert_eq!(card.skin.as_ref().unwrap().value.to_srgb(), [0xc5, 0x8c, 0x6a]);
        assert_eq!(card.hair_colour.as_ref().unwrap().value.to_srgb(), [56, 37, 27]);
        for part in PartName::ALL {
            card.leave_out(part);
        }
        assert_eq!(card, IdentityCard::default());
    }

    #[test]
    fn what_cannot_be_said_is_refused_with_the_part() {
        let mut card = card();
        let before = card.clone();
        for (change, words) in [
            ("glasses", "PART=VALUE"),
            ("nose=long", "there is no part \"nose\""),
            ("glasses=maybe", "glasses: \"maybe\" is neither yes nor no"),
            ("skin=#12345", "skin: \"#12345\" is no colour"),
            ("skin=#12345é", "no colour"),
            ("hair-colour=mauve", "black, dark-brown"),
            ("hair-length=curly", "not bald, short or long"),
            ("sex=other", "sex: \"other\" is not woman or man; it can be left out"),
            ("age=12", "age: \"12\" is no age from 18 to 100"),
            ("age=nan", "no age"),
            ("descriptor=0", "descriptor: it cannot be said in words"),
        ] {
            let error = card.correct(change).unwrap_err().to_string();
            assert!(error.contains(words), "{change}: {error}");
        }
        assert_eq!(card, before);
    }

    #[test]
    fn json_keeps_every_part_and_what_does_not_fit_is_refused() {
        let card = card();
        let json = serde_json::to_string(&card).unwrap();
        assert_eq!(IdentityCard::from_json(&json).unwrap(), card);
        assert!(!json.contains("beard"), "a part that is not there is not written");
        assert_eq!(IdentityCard::from_json("{\"version\":2}").unwrap(), IdentityCard::default());
        let broken = |from: &str, to: &str| {
            assert!(json.contains(from), "{from}");
            IdentityCard::from_json(&json.replacen(from, to, 1)).unwrap_err().to_string()
        };
        assert!(broken("\"version\":2", "\"version\":3").contains("version 3"));
        assert!(broken("[0.25,", "[").contains("descriptor: it should be 128"));
        assert!(broken("[[0.5,-0.5],", "[").contains("geometry: it should be 68"));
        assert!(broken("60.0", "160.0").contains("skin: it should be a colour"));
        assert!(broken("40.0", "4.0").contains("age: it should be from 18"));
        assert!(broken("\"confidence\":0.9", "\"confidence\":9").contains("descriptor: its confidence"));
        assert!(broken("\"glasses\"", "\"spectacles\"").contains("spectacles"));
        assert!(IdentityCard::from_json("nonsense").is_err());
    }

    #[test]
    fn several_photos_are_averaged_and_what_was_said_stays() {
        let (one, mut other) = (card(), card());
        other.skin = Some(Part::measured(Lab { l: 70.0, a: 12.0, b: 18.0 }, 0.2));
        other.glasses = Some(Part::measured(false, 0.9));
        other.age = Some(Part::measured(50.0, 0.5));
        other.beard = Some(Part::measured(true, 0.3));
        other.correct("hair-length=bald").unwrap();
        let mean = IdentityCard::mean(&[one.clone(), other]);
        assert!((mean.skin.unwrap().value.l - 62.5).abs() < 1e-3);
        assert_eq!((mean.glasses.unwrap().value, mean.beard.unwrap().value), (false, true));
        assert_eq!(mean.hair_length.unwrap(), Part::corrected(HairLength::Bald));
        assert!((mean.age.unwrap().value - 45.0).abs() < 1e-3);
        assert_eq!(mean.descriptor, one.descriptor);
        assert_eq!(IdentityCard::mean(&[]), IdentityCard::default());
    }

    #[test]
    fn nothing_of_a_face_is_shown_by_debug() {
        let shown = format!("{:?} {:?}", card(), card().descriptor);
        assert!(!shown.contains("0.25") && shown.contains("descriptor, geometry"), "{shown}");
    }
}
