//! What each part says, in the words in which it is corrected, and which words it takes.

use super::colour::Lab;
use super::edit::{HAIR_COLOURS, PartName};
use super::parts::{IdentityCard, Part, Source};

/// How a part can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Measured only: it can be left out.
    Nothing,
    /// `#rrggbb`, or one of these names.
    Colour(&'static [&'static str]),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Years, as [`super::YEARS`].
    Years,
}

const HAIR_NAMES: [&str; HAIR_COLOURS.len()] = {
    let mut names = [""; HAIR_COLOURS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = HAIR_COLOURS[at].0;
        at += 1;
    }
    names
};

impl PartName {
    /// Which values [`IdentityCard::correct`] takes for this part.
    pub fn takes(self) -> Takes {
        match self {
            Self::Descriptor | Self::Geometry | Self::Pose => Takes::Nothing,
            Self::Skin => Takes::Colour(&[]),
            Self::HairColour => Takes::Colour(&HAIR_NAMES),
            Self::HairLength => Takes::Word(&["bald", "short", "long"]),
            Self::Beard | Self::Glasses => Takes::Word(&["yes", "no"]),
            Self::Sex => Takes::Word(&["woman", "man"]),
            Self::Age => Takes::Years,
        }
    }
}

/// A part to be looked at.
#[derive(Clone, PartialEq)]
pub struct Shown {
    /// As [`IdentityCard::correct`] takes it where the part can be said; the pose in degrees; none for what is
    /// only numbers.
    pub words: Option<String>,
    /// Numbers that the part is made of.
    pub numbers: usize,
    pub confidence: f32,
    pub source: Source,
}

impl IdentityCard {
    /// A part to be looked at; none where it is not there.
    pub fn show(&self, part: PartName) -> Option<Shown> {
        let yes_no = |yes: &bool| Some(if *yes { "yes" } else { "no" }.to_owned());
        match part {
            PartName::Descriptor => shown(&self.descriptor, |d| d.values().len(), |_| None),
            PartName::Geometry => shown(&self.geometry, |shape| 2 * shape.0.len(), |_| None),
            PartName::Pose => shown(
                &self.pose,
                |_| 3,
                |pose| Some(format!("yaw {:.0}, pitch {:.0}, roll {:.0}", pose.yaw, pose.pitch, pose.roll)),
            ),
            PartName::Skin => shown(&self.skin, |_| 3, hex),
            PartName::HairColour => shown(&self.hair_colour, |_| 3, hex),
            PartName::HairLength => shown(&self.hair_length, |_| 1, |length| Some(length.to_string())),
            PartName::Beard => shown(&self.beard, |_| 1, yes_no),
            PartName::Glasses => shown(&self.glasses, |_| 1, yes_no),
            PartName::Sex => shown(&self.sex, |_| 1, |sex| Some(sex.to_string())),
            PartName::Age => shown(&self.age, |_| 1, |years| Some(format!("{years:.0}"))),
        }
    }
}

fn shown<T>(
    part: &Option<Part<T>>,
    numbers: impl Fn(&T) -> usize,
    words: impl Fn(&T) -> Option<String>,
) -> Option<Shown> {
    let Part { value, confidence, source } = part.as_ref()?;
    Some(Shown { words: words(value), numbers: numbers(value), confidence: *confidence, source: *source })
}

fn hex(lab: &Lab) -> Option<String> {
    let [r, g, b] = lab.to_srgb();
    Some(format!("#{r:02x}{g:02x}{b:02x}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::super::descriptor::Descriptor;
    use super::super::pose::{Pose, Shape};
    use super::*;

    #[test]
    fn every_word_that_is_named_is_taken_and_shown_again() {
        let mut card = IdentityCard::default();
        for part in PartName::ALL {
            assert!(card.show(part).is_none());
            let words: Vec<String> = match part.takes() {
                Takes::Nothing => {
                    assert!(card.correct(&format!("{part}=0")).is_err());
                    continue;
                }
                Takes::Colour(names) => {
                    for name in names {
                        card.correct(&format!("{part}={name}")).unwrap();
                    }
                    vec!["#c58c6a".into(), "#1a1513".into()]
                }
                Takes::Word(words) => words.iter().map(|word| (*word).to_owned()).collect(),
                Takes::Years => vec!["18".into(), "61".into(), "100".into()],
            };
            for word in words {
                card.correct(&format!("{part}={word}")).unwrap();
                let shown = card.show(part).unwrap();
                assert_eq!((shown.words.as_deref(), shown.confidence), (Some(word.as_str()), 1.0));
                assert_eq!(shown.source, Source::Corrected);
            }
        }
    }

    #[test]
    fn of_what_is_measured_only_the_numbers_are_counted() {
        let card = IdentityCard {
            descriptor: Some(Part::measured(Descriptor(vec![0.25; 128]), 0.9)),
            geometry: Some(Part::measured(Shape(vec![[0.5, -0.5]; 68]), 0.8)),
            pose: Some(Part::measured(Pose { yaw: 10.4, pitch: -2.0, roll: 1.0 }, 0.7)),
            ..IdentityCard::default()
        };
        let of = |part| {
            let shown = card.show(part).unwrap();
            (shown.words, shown.numbers, shown.source)
        };
        assert_eq!(of(PartName::Descriptor), (None, 128, Source::Measured));
        assert_eq!(of(PartName::Geometry), (None, 136, Source::Measured));
        assert_eq!(of(PartName::Pose), (Some("yaw 10, pitch -2, roll 1".into()), 3, Source::Measured));
    }
}
