//! Who is to be drawn and where, as `--person` spells it.

use std::path::PathBuf;
use std::str::FromStr;

use imagine_identity::CardError;

use crate::card_file::{Corrections, change};
use crate::strengths::{GroupScales, PartsOfRun, group_scales, parts_of_run};

/// One person on the command line. What is `None` is as for everybody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PersonSpec {
    pub photos: Vec<PathBuf>,
    pub embedding: Option<PathBuf>,
    /// An identity card.
    pub card: Option<PathBuf>,
    /// What is said of the card, that of photos too.
    pub corrections: Corrections,
    pub face: Option<usize>,
    pub scale: Option<f64>,
    pub steps: Option<PartsOfRun>,
    /// Strengths of groups of the card.
    pub card_scale: Option<GroupScales>,
    pub region: Option<RegionSpec>,
}

/// A part of the picture.
#[derive(Clone, Debug, PartialEq)]
pub enum RegionSpec {
    /// Left, top, right, bottom as parts of the picture.
    Box([f64; 4]),
    /// White where the person is.
    Mask(PathBuf),
}

impl FromStr for PersonSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut person = Self::default();
        for field in text.split(';').map(str::trim).filter(|field| !field.is_empty()) {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            let (key, value) = (key.trim(), value.trim());
            if value.is_empty() {
                return Err(format!("\"{field}\" has no value; a field is written photo=me.jpg"));
            }
            if let Some(what) = person.already_has(key) {
                return Err(format!("\"{field}\" is a second {what} of one person"));
            }
            match key {
                "photo" => person.photos.extend(value.split(',').map(|path| PathBuf::from(path.trim()))),
                "embedding" => person.embedding = Some(value.into()),
                "card" => person.card = Some(value.into()),
                "set" => {
                    for one in value.split(',') {
                        person.corrections.set.push(change(one.trim())?);
                    }
                }
                "without" => {
                    for part in value.split(',') {
                        person.corrections.without.push(part.trim().parse().map_err(said)?);
                    }
                }
                "face" => {
                    let face = value.parse().map_err(|_| format!("face={value} is no number of a face"))?;
                    person.face = Some(face);
                }
                "scale" => match value.parse::<f64>() {
                    Ok(scale) if (0.0..=10.0).contains(&scale) => person.scale = Some(scale),
                    _ => return Err(format!("scale={value} is not between 0 and 10")),
                },
                "steps" => person.steps = Some(parts_of_run(value)?),
                "card-scale" => person.card_scale = Some(group_scales(value)?),
                "box" => person.region = Some(RegionSpec::Box(corners(value)?)),
                "mask" => person.region = Some(RegionSpec::Mask(value.into())),
                _ => {
                    let known =
                        "photo, embedding, card, set, without, face, box, mask, scale, steps, card-scale";
                    return Err(format!("\"{key}\" is no field of a person; there are {known}"));
                }
            }
        }
        let PersonSpec { photos, embedding, card, corrections, face, .. } = &person;
        match (photos.is_empty(), embedding, card) {
            (true, None, None) => {
                Err("a person needs photo=FILE, card=FILE.json or embedding=FILE.npy".into())
            }
            (false, None, None) | (true, Some(_), None) | (true, None, Some(_)) => {
                if photos.is_empty() && face.is_some() {
                    Err("face=N chooses in photos; there are none".into())
                } else if embedding.is_some() && !corrections.is_empty() {
                    Err("set= and without= correct the card of photos or of a file; an embedding has none"
                        .into())
                } else {
                    Ok(person)
                }
            }
            _ => Err("a person has photos, a card or an embedding, not two of them".into()),
        }
    }
}

impl PersonSpec {
    /// What the field would overwrite.
    fn already_has(&self, key: &str) -> Option<&'static str> {
        let (has, what) = match key {
            "embedding" => (self.embedding.is_some(), "embedding"),
            "card" => (self.card.is_some(), "card"),
            "face" => (self.face.is_some(), "face"),
            "scale" => (self.scale.is_some(), "scale"),
            "steps" => (self.steps.is_some(), "part of the run"),
            "card-scale" => (self.card_scale.is_some(), "card-scale"),
            "box" | "mask" => (self.region.is_some(), "region"),
            _ => (false, ""),
        };
        has.then_some(what)
    }
}

fn said(error: CardError) -> String {
    error.to_string()
}

/// `LEFT,TOP,RIGHT,BOTTOM` between 0 and 1.
fn corners(value: &str) -> Result<[f64; 4], String> {
    let wrong =
        || format!("box={value}: left, top, right and bottom between 0 and 1 are needed, e.g. 0,0,0.5,1");
    let numbers: Option<Vec<f64>> = value.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[left, top, right, bottom])
            if 0.0 <= left && left < right && right <= 1.0 && 0.0 <= top && top < bottom && bottom <= 1.0 =>
        {
            Ok([left, top, right, bottom])
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use imagine_identity::card::PartName;

    use super::*;

    #[test]
    fn every_field_is_read() {
        let person: PersonSpec =
            "photo=a.jpg, b.jpg; face=1; box=0,0.1,0.5,1; scale=0.9; steps=0.1-0.8; card-scale=traits=0.5"
                .parse()
                .unwrap();
        assert_eq!(person.photos, ["a.jpg", "b.jpg"].map(PathBuf::from));
        assert_eq!(
            (person.face, person.scale, person.steps),
            (Some(1), Some(0.9), Some(PartsOfRun::One([0.1, 0.8])))
        );
        assert_eq!(person.card_scale, Some([("traits".into(), 0.5)].into()));
        assert_eq!(person.region, Some(RegionSpec::Box([0.0, 0.1, 0.5, 1.0])));
        let card: PersonSpec = "card=me.json;set=glasses=no, age=40;without=skin,pose".parse().unwrap();
        assert_eq!(card.card, Some("me.json".into()));
        assert_eq!(card.corrections.set, ["glasses=no", "age=40"]);
        assert_eq!(card.corrections.without, [PartName::Skin, PartName::Pose]);
        let other: PersonSpec = "embedding=me.npy;mask=left.png".parse().unwrap();
        assert_eq!(other.embedding, Some("me.npy".into()));
        assert_eq!(other.region, Some(RegionSpec::Mask("left.png".into())));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            ("", "needs photo=FILE"),
            ("box=0,0,1,1", "needs photo=FILE"),
            ("photo=a.jpg;embedding=b.npy", "not two of them"),
            ("photo=a.jpg;card=b.json", "not two of them"),
            ("card=a.json;card=b.json", "second card"),
            ("card=a.json;face=0", "there are none"),
            ("card=a.json;set=nose=long", "no part \"nose\""),
            ("card=a.json;set=glasses", "PART=VALUE"),
            ("card=a.json;without=nose", "no part \"nose\""),
            ("embedding=b.npy;set=glasses=no", "an embedding has none"),
            ("embedding=b.npy;face=0", "there are none"),
            ("photo", "has no value"),
            ("photo=a;colour=red", "\"colour\" is no field"),
            ("photo=a;scale=-1", "between 0 and 10"),
            ("photo=a;scale=nan", "between 0 and 10"),
            ("photo=a;face=first", "no number of a face"),
            ("photo=a;box=0,0,1", "0,0,0.5,1"),
            ("photo=a;box=0.5,0,0.5,1", "0,0,0.5,1"),
            ("photo=a;box=0,0,2,1", "0,0,0.5,1"),
            ("photo=a;steps=0.8-0.1", "no part of the run"),
            ("photo=a;steps=1", "no part of the run"),
            ("photo=a;card-scale=traits", "no group with a strength"),
            ("photo=a;box=0,0,1,1;box=0,0,0.5,1", "\"box=0,0,0.5,1\" is a second region"),
            ("photo=a;box=0,0,1,1;mask=b.png", "\"mask=b.png\" is a second region"),
            ("photo=a;face=0;face=1", "second face"),
            ("photo=a;scale=1;scale=0.5", "second scale"),
            ("photo=a;steps=0-1;steps=0-0.5", "second part of the run"),
            ("embedding=a.npy;embedding=b.npy", "second embedding"),
        ] {
            let message = text.parse::<PersonSpec>().unwrap_err();
            assert!(message.contains(says), "{text}: {message}");
        }
    }
}
