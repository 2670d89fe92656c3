//! Everything that a request's networks hear, computed once: text, sizes, people, each with the
//! unconditional row for guidance beside it.

use imagine_contract::{GenerateRequest, Identity, SizeCondition};
use imagine_unet::{AddedCondition, Condition, CrossKv};
use tch::{Kind, Tensor};

use crate::edit::Size;
use crate::error::PipelineError;
use crate::identity::{ControlCondition, IdentityModel, People};
use crate::model::StableDiffusion;
use crate::photo_maker::Stacked;
use crate::row::{Heard, HeardFace, Phase};
use crate::text_conditioning::{Prompts, TextCondition};

/// The condition of one request: computed once, used in every step and for every picture.
pub struct Prepared {
    pub heard: Heard,
    /// Words of the prompt that did not fit the text encoder.
    pub ignored_words: Option<String>,
}

/// What the U-Net hears of a prompt and of people.
struct PreparedText {
    /// Keys and values of [unconditional, conditional] rows, or of the conditional row alone.
    cross: CrossKv,
    added: Option<AddedCondition>,
    /// For each person the strength of each group of tokens that they have in `cross`.
    group_scales: Vec<Vec<f64>>,
}

/// A condition that holds for some of the steps.
#[derive(Clone, Debug, PartialEq)]
struct PreparedPhase {
    /// Which of the texts is heard.
    text: usize,
    /// Strengths of the people where they change on the way; else their own.
    scales: Option<Vec<f64>>,
}

impl PreparedPhase {
    fn heard(&self, texts: &[PreparedText], control: &[ControlCondition]) -> Option<Phase> {
        let text = texts.get(self.text)?;
        // No scales: all keep theirs.
        let people = self.scales.iter().flatten().zip(&text.group_scales);
        let scales: Vec<f64> =
            people.flat_map(|(scale, groups)| groups.iter().map(move |group| scale * group)).collect();
        let cross = text.cross.with_identity_scales(&scales);
        let added = text.added.as_ref().map(|added| AddedCondition::join(&[added]));
        let own = || control.iter().map(|control| control.scale).collect();
        Some(Phase { cross, added, control_scales: self.scales.clone().unwrap_or_else(own) })
    }
}

/// Everything that the networks hear in a run whose steps are in these phases.
fn heard(
    texts: &[PreparedText],
    control: Vec<ControlCondition>,
    phases: &[PreparedPhase],
    phase_of_step: Vec<usize>,
) -> Heard {
    Heard {
        phases: phases.iter().filter_map(|phase| phase.heard(texts, &control)).collect(),
        phase_of_step,
        faces: control.into_iter().map(|c| HeardFace { condition: c.face, region: c.region }).collect(),
    }
}

impl StableDiffusion {
    /// Encodes prompts and people for a run of `steps` evaluations. `guided` adds the unconditional row:
    /// the negative prompt and the identity of nobody.
    pub(crate) fn prepare(
        &self,
        request: &GenerateRequest,
        size: Size,
        steps: usize,
        guided: bool,
    ) -> Result<Prepared, PipelineError> {
        let prompts = Prompts {
            prompt: &request.prompt,
            negative: &request.negative_prompt,
            guided,
            clip_skip: request.clip_skip.unwrap_or(0),
        };
        if let (Some(IdentityModel::PhotoMaker(maker)), false) = (&self.identity, request.people.is_empty()) {
            let Stacked { text_only, with_person, heard: with_person_at } =
                maker.stack(&request.people, &self.text, &prompts, steps)?;
            let ignored_words = text_only.ignored_words.clone();
            let texts = [text_only, with_person]
                .map(|text| self.text(request, size, guided, text, People::default()));
            let phases = [0, 1].map(|text| PreparedPhase { text, scales: None }).to_vec();
            let texts: Vec<PreparedText> = texts.into_iter().collect::<Result<_, _>>()?;
            let phase_of_step = with_person_at.into_iter().map(usize::from).collect();
            let heard = heard(&texts, Vec::new(), &phases, phase_of_step);
            return Ok(Prepared { heard, ignored_words });
        }
        let text = self.text.encode(&prompts)?;
        let ignored_words = text.ignored_words.clone();
        let mut people = self.people(request, size, guided)?;
        let control = std::mem::take(&mut people.control);
        let texts = vec![self.text(request, size, guided, text, people)?];
        let (phases, phase_of_step) = phases(request, steps);
        Ok(Prepared { heard: heard(&texts, control, &phases, phase_of_step), ignored_words })
    }

    /// Projects a prompt and people through the U-Net's layers.
    fn text(
        &self,
        request: &GenerateRequest,
        size: Size,
        guided: bool,
        text: TextCondition,
        people: People,
    ) -> Result<PreparedText, PipelineError> {
        let added = match text.pooled {
            None => None,
            Some(pooled) => Some(self.added_condition(request, size, pooled, guided)?),
        };
        let condition = Condition { text: text.states, identities: people.tokens };
        Ok(PreparedText { cross: self.unet.cross_kv(&condition), added, group_scales: people.group_scales })
    }

    fn people(&self, request: &GenerateRequest, size: Size, guided: bool) -> Result<People, PipelineError> {
        match &self.identity {
            Some(IdentityModel::PhotoMaker(_)) => Ok(People::default()),
            Some(IdentityModel::Adapter(identity)) => {
                let cells = |side: u32| i64::from(side / self.info.side_multiple);
                let cells = (cells(size.height), cells(size.width));
                identity.people(&request.people, size, cells, guided)
            }
            // `Plan::new` has refused people.
            None => Ok(People::default()),
        }
    }

    /// SDXL's added condition: pooled text [rows, P] and sizes [rows, 6].
    fn added_condition(
        &self,
        request: &GenerateRequest,
        size: Size,
        pooled: Tensor,
        guided: bool,
    ) -> Result<AddedCondition, PipelineError> {
        let sides = [size.width, size.height];
        let own = SizeCondition { original: sides, crop: [0, 0], target: sides };
        let positive = request.size_condition.unwrap_or(own);
        let negative = request.negative_size_condition.unwrap_or(positive);
        // Height comes first in every pair.
        let numbers = |c: SizeCondition| [c.original, c.crop, c.target].map(|[x, y]| [y, x]).concat();
        let mut rows = numbers(positive);
        if guided {
            rows.splice(0..0, numbers(negative));
        }
        let rows: Vec<f32> = rows.into_iter().map(|n| n as f32).collect();
        let time_ids = Tensor::f_from_slice(&rows)?.f_view([-1, 6])?.f_to_device(self.device)?; // [rows, 6]
        Ok(AddedCondition { text_embeds: pooled.f_to_kind(Kind::Float)?, time_ids })
    }
}

/// The phases of a run with one text and the phase of every step: a new one begins where somebody is heard
/// for the first or last time, or otherwise than before.
fn phases(request: &GenerateRequest, steps: usize) -> (Vec<PreparedPhase>, Vec<usize>) {
    if request.people.iter().all(|person| person.steps == [0.0, 1.0] && person.stages.is_empty()) {
        return (vec![PreparedPhase { text: 0, scales: None }], vec![0; steps]);
    }
    let mut phases: Vec<PreparedPhase> = Vec::new();
    let mut phase_of_step = Vec::with_capacity(steps);
    for step in 0..steps {
        let strength = |person: &Identity| person.strength(step, steps);
        let now = PreparedPhase { text: 0, scales: Some(request.people.iter().map(strength).collect()) };
        let known = phases.iter().position(|before| *before == now);
        phase_of_step.push(known.unwrap_or_else(|| {
            phases.push(now);
            phases.len() - 1
        }));
    }
    (phases, phase_of_step)
}

#[cfg(test)]
mod tests {
    use imagine_contract::Stage;

    use super::*;

    #[test]
    fn people_are_heard_in_their_part_of_the_run() {
        let person = |scale, steps| Identity { steps, ..Identity::of_embedding(vec![1.0], scale) };
        let mut request = GenerateRequest::new("two people", 1);
        request.people = vec![person(0.8, [0.0, 1.0])];
        let phase = |scales| PreparedPhase { text: 0, scales };
        assert_eq!(phases(&request, 3), (vec![phase(None)], vec![0, 0, 0]));
        request.people.push(person(0.5, [0.25, 0.75]));
        let (found, phase_of_step) = phases(&request, 4);
        assert_eq!(found, [phase(Some(vec![0.8, 0.0])), phase(Some(vec![0.8, 0.5]))]);
        assert_eq!(phase_of_step, [0, 1, 1, 0]);
        request.people[1].stages = vec![Stage { steps: [0.5, 1.0], scale: 3.0 }];
        let (found, phase_of_step) = phases(&request, 4);
        assert_eq!(found, [phase(Some(vec![0.8, 0.0])), phase(Some(vec![0.8, 1.5]))]);
        assert_eq!(phase_of_step, [0, 0, 1, 0]);
    }
}
