//! The denoising step: it stands here once, for every scheduler, kind of condition and number of pictures.

use std::rc::Rc;

use imagine_identity::adapters::IdentityNet;
use imagine_unet::{AddedCondition, ControlResiduals, CrossKv, UNet2DConditionModel};
use tch::{Kind, Tensor};

use crate::error::PipelineError;
use crate::row::{Heard, Phase, Row};

/// The networks' part in a step.
pub struct Networks<'a> {
    pub unet: &'a UNet2DConditionModel,
    pub identity_net: Option<&'a IdentityNet>,
}

/// The conditions of pictures that are drawn together: joined once, used while the same ones go on.
pub struct Joined {
    /// Whose conditions, in which phase of each.
    of: Vec<(Rc<Heard>, usize)>,
    cross: CrossKv,
    added: Option<AddedCondition>,
}

impl Joined {
    fn new(of: Vec<(Rc<Heard>, usize)>) -> Result<Self, PipelineError> {
        let phases = of.iter().map(|(heard, phase)| phase_of(heard, *phase));
        let phases: Vec<&Phase> = phases.collect::<Result<_, _>>()?;
        let cross: Vec<&CrossKv> = phases.iter().map(|phase| &phase.cross).collect();
        let cross = CrossKv::join(&cross);
        let added: Vec<&AddedCondition> = phases.iter().filter_map(|phase| phase.added.as_ref()).collect();
        let added = (!added.is_empty()).then(|| AddedCondition::join(&added));
        Ok(Self { of, cross, added })
    }

    fn is_of(&self, of: &[(Rc<Heard>, usize)]) -> bool {
        let mut pairs = self.of.iter().zip(of);
        self.of.len() == of.len() && pairs.all(|(a, b)| Rc::ptr_eq(&a.0, &b.0) && a.1 == b.1)
    }
}

fn phase_of(heard: &Heard, phase: usize) -> Result<&Phase, PipelineError> {
    heard.phases.get(phase).ok_or_else(|| PipelineError::Internal(format!("no phase {phase}")))
}

impl Networks<'_> {
    /// The guided prediction for each of `rows`, [1, C, h, w] in f32, by one call of the U-Net. Nothing is
    /// changed in the rows, so that a call that fails can be tried again with fewer.
    pub fn predict(&self, rows: &[&Row], joined: &mut Option<Joined>) -> Result<Vec<Tensor>, PipelineError> {
        let (mut inputs, mut timesteps, mut of) = (Vec::new(), Vec::new(), Vec::new());
        let mut guidance = Vec::new();
        for row in rows {
            let (input, timestep) = (row.input()?, row.timestep()? as f32);
            for _ in 0..row.width() {
                inputs.push(input.shallow_clone());
                timesteps.push(timestep);
                guidance.extend(row.guidance_embedding());
            }
            of.push((Rc::clone(row.heard()), row.phase()?));
        }
        let input = Tensor::f_cat(&inputs, 0)?; // [B, C, h, w]
        let timesteps = Tensor::f_from_slice(&timesteps)?.f_to_device(input.device())?; // [B]
        let joined = match joined.take().filter(|joined| joined.is_of(&of)) {
            Some(known) => joined.insert(known),
            None => joined.insert(Joined::new(of)?),
        };
        let residuals = self.residuals(rows, joined, &input, &timesteps)?;
        let (cross, added) = (&joined.cross, joined.added.as_ref());
        // All rows of a model have one, or none has.
        let guidance = if guidance.is_empty() { None } else { Some(Tensor::f_cat(&guidance, 0)?) }; // [B, D]
        let guidance = guidance.as_ref();
        let output = self.unet.forward_guided(&input, &timesteps, guidance, cross, added, residuals.as_ref());
        let output = output.f_to_kind(Kind::Float)?;
        let mut begin = 0;
        let guided = |row: &&Row| {
            let own = output.f_narrow(0, begin, row.width())?; // [1 or 2, C, h, w]
            begin += row.width();
            match row.guidance_scale() {
                None => Ok(own),
                Some(scale) => {
                    let parts = own.f_chunk(2, 0)?; // 2 × [1, C, h, w]
                    Ok(&parts[0] + (&parts[1] - &parts[0]) * scale)
                }
            }
        };
        rows.iter().map(guided).collect()
    }

    /// What InstantID's ControlNet adds to every row. Neighbours with the same condition share its calls.
    fn residuals(
        &self,
        rows: &[&Row],
        joined: &Joined,
        input: &Tensor,
        timesteps: &Tensor,
    ) -> Result<Option<ControlResiduals>, PipelineError> {
        let Some(net) = self.identity_net else { return Ok(None) };
        let mut begin = 0;
        let mut parts = Vec::new();
        let paired: Vec<_> = rows.iter().zip(&joined.of).collect();
        for alike in paired.chunk_by(|(_, a), (_, b)| Rc::ptr_eq(&a.0, &b.0) && a.1 == b.1) {
            let count: i64 = alike.iter().map(|(row, _)| row.width()).sum();
            let Some((_, (heard, phase))) = alike.first() else { continue };
            let input = input.f_narrow(0, begin, count)?;
            let timesteps = timesteps.f_narrow(0, begin, count)?;
            let phase = phase_of(heard, *phase)?;
            parts.push((count, Self::of_people(net, heard, phase, alike.len(), &input, &timesteps)));
            begin += count;
        }
        let Some(like) = parts.iter().find_map(|(_, part)| part.as_ref()) else { return Ok(None) };
        let blank: Vec<ControlResiduals> = parts.iter().map(|(count, _)| like.nothing(*count)).collect();
        let all = parts.iter().zip(&blank).map(|((_, part), blank)| part.as_ref().unwrap_or(blank));
        let all: Vec<&ControlResiduals> = all.collect();
        Ok(Some(ControlResiduals::join(&all)))
    }

    /// Of each person in their region, summed as their attention is; for `count` pictures of one condition.
    fn of_people(
        net: &IdentityNet,
        heard: &Heard,
        phase: &Phase,
        count: usize,
        input: &Tensor,
        timesteps: &Tensor,
    ) -> Option<ControlResiduals> {
        let added = phase.added.as_ref().map(|added| AddedCondition::join(&vec![added; count]));
        let faces = heard.faces.iter().zip(&phase.control_scales).filter(|&(_, &scale)| scale != 0.0);
        let each = faces.map(|(face, &scale)| {
            let condition = face.condition.times(count);
            let whole = net.residuals(&condition, input, timesteps, added.as_ref(), scale);
            match &face.region {
                Some(region) => whole.within(region),
                None => whole,
            }
        });
        each.reduce(|sum, one| sum.plus(&one))
    }
}
