//! How strongly somebody is heard: in parts of the run, and by groups of their card's tokens.

use std::collections::BTreeMap;

use imagine_contract::Stage;

/// In which part of the run somebody is heard, or how strongly in which.
#[derive(Clone, Debug, PartialEq)]
pub enum PartsOfRun {
    /// From and to, 0 to 1.
    One([f64; 2]),
    Stages(Vec<Stage>),
}

impl PartsOfRun {
    /// As a request takes them: the part in which the person is heard, and strengths within it.
    pub fn of_request(choice: Option<Self>) -> ([f64; 2], Vec<Stage>) {
        match choice {
            None => ([0.0, 1.0], Vec::new()),
            Some(Self::One(steps)) => (steps, Vec::new()),
            Some(Self::Stages(stages)) => ([0.0, 1.0], stages),
        }
    }
}

/// `A-B`, a part of the run from A to B between 0 and 1, or `A-B:F,A-B:F`, parts with a strength each.
pub fn parts_of_run(value: &str) -> Result<PartsOfRun, String> {
    if !value.contains(':') {
        return parts(value).map(PartsOfRun::One);
    }
    let stage = |text: &str| {
        let wrong = || format!("\"{text}\" is no part of the run with a strength; 0-0.3:0.5 is one");
        let (steps, scale) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Stage { steps: parts(steps.trim())?, scale: strength(scale).ok_or_else(wrong)? })
    };
    value.split(',').map(|text| stage(text.trim())).collect::<Result<_, String>>().map(PartsOfRun::Stages)
}

/// `A-B`, a part of the run from A to B between 0 and 1.
fn parts(value: &str) -> Result<[f64; 2], String> {
    let ends =
        value.split_once('-').and_then(|(a, b)| Some([a.trim().parse().ok()?, b.trim().parse().ok()?]));
    match ends {
        Some([from, to]) if 0.0 <= from && from <= to && to <= 1.0 => Ok([from, to]),
        _ => Err(format!("\"{value}\" is no part of the run; 0-0.8 is its first four fifths")),
    }
}

/// Strengths by names of groups. Which groups there are, the adapter knows.
pub type GroupScales = BTreeMap<String, f64>;

/// `GROUP=F,GROUP=F`.
pub fn group_scales(value: &str) -> Result<GroupScales, String> {
    let mut scales = GroupScales::new();
    for text in value.split(',').map(str::trim) {
        let read = text.split_once('=').and_then(|(name, scale)| Some((name.trim(), strength(scale)?)));
        let Some((name, scale)) = read.filter(|(name, _)| !name.is_empty()) else {
            return Err(format!(
                "\"{text}\" is no group with a strength between 0 and 10; descriptor=0.8 is one"
            ));
        };
        if scales.insert(name.into(), scale).is_some() {
            return Err(format!("\"{name}\" is named twice"));
        }
    }
    Ok(scales)
}

fn strength(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|scale| (0.0..=10.0).contains(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_may_have_strengths() {
        let stage = |from, to, scale| Stage { steps: [from, to], scale };
        assert_eq!(parts_of_run("0.1-0.8"), Ok(PartsOfRun::One([0.1, 0.8])));
        let two = PartsOfRun::Stages(vec![stage(0.0, 0.3, 0.5), stage(0.3, 1.0, 1.2)]);
        assert_eq!(parts_of_run("0-0.3:0.5, 0.3-1:1.2"), Ok(two));
        for wrong in ["1", "0.8-0.1", "0-0.3:0.5,0.3-1", "0-0.3:11", "0-0.3:", "0-2:1"] {
            assert!(parts_of_run(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn groups_have_strengths_of_their_own() {
        let read = group_scales("descriptor=0.8, traits=0");
        assert_eq!(read, Ok([("descriptor".into(), 0.8), ("traits".into(), 0.0)].into()));
        for wrong in ["descriptor", "descriptor=", "=1", "traits=-1", "traits=nan", "traits=1,traits=2", ""] {
            assert!(group_scales(wrong).is_err(), "{wrong}");
        }
    }
}
