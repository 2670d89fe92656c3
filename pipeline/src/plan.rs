//! A request with every choice made, before any network is asked.

use imagine_contract::{GenerateRequest, Limits, ModelInfo, RequestError, RgbPixels};

use crate::edit::Size;

/// A picture to be changed keeps its size up to so many times the pixels that the model draws by itself;
/// a larger one is shrunk to as many as it draws.
const EDITED_PIXELS: f64 = 2.0;

const INPAINTING_ONLY: &str =
    "this model is made for inpainting: it needs a picture and a mask of what to draw anew";

/// What a request asks for, with the model's defaults where it leaves a choice open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    pub size: Size,
    pub steps: usize,
    /// Strength of classifier-free guidance; none where it is off.
    pub guidance_scale: Option<f64>,
}

/// Why a request is refused before it is taken up.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    Request(RequestError),
    /// The model does not have what is asked for.
    Unsupported(String),
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl Plan {
    /// Checks a request against a model and fills in what it leaves open.
    ///
    /// # Errors
    /// Numbers out of range; people for a model without an adapter; no mask for a model that only inpaints.
    pub fn new(request: &GenerateRequest, info: &ModelInfo) -> Result<Self, Refusal> {
        let limits = Limits { side_multiple: info.side_multiple, ..Limits::default() };
        request.check(&limits)?;
        let usual = match &request.edit {
            Some(edit) => edited_size(&edit.picture, info),
            None => {
                let [width, height] = info.size_of(request.people.len());
                Size { width, height }
            }
        };
        let size = Size {
            width: request.width.unwrap_or(usual.width),
            height: request.height.unwrap_or(usual.height),
        };
        let steps = request.steps.unwrap_or(info.steps);
        let guidance = request.guidance_scale.unwrap_or(info.guidance_scale);
        // The checkpoint's own choices are no more trusted than a person's.
        let mut chosen = GenerateRequest::new("", request.seed);
        (chosen.width, chosen.height) = (Some(size.width), Some(size.height));
        (chosen.steps, chosen.guidance_scale) = (Some(steps), Some(guidance));
        chosen.check(&limits)?;
        if info.identity.is_none() && !request.people.is_empty() {
            let reason = "this model has no identity adapter, so it cannot draw a given person";
            return Err(Refusal::Unsupported(reason.into()));
        }
        for person in &request.people {
            // Checked above that there is one.
            let Some(needs) = &info.identity else { continue };
            needs.check_groups(person.group_scales.keys())?;
        }
        if info.inpainting && request.edit.as_ref().is_none_or(|edit| edit.mask.is_none()) {
            return Err(Refusal::Unsupported(INPAINTING_ONLY.into()));
        }
        let guidance_scale = (guidance > 1.0).then_some(guidance);
        Ok(Self { size, steps: steps as usize, guidance_scale })
    }
}

/// The size at which a picture is changed where the request names none: its own, cut down to whole latent
/// cells, or as many pixels as the model draws where it is far larger.
fn edited_size(picture: &RgbPixels, info: &ModelInfo) -> Size {
    let pixels = |w: u32, h: u32| f64::from(w) * f64::from(h);
    let (own, usual) = (pixels(picture.width, picture.height), pixels(info.width, info.height));
    let factor = if own > EDITED_PIXELS * usual { (usual / own).sqrt() } else { 1.0 };
    let side = |length: u32| {
        let cells = (f64::from(length) * factor / f64::from(info.side_multiple)).floor() as u32;
        cells.max(1) * info.side_multiple
    };
    Size { width: side(picture.width), height: side(picture.height) }
}

#[cfg(test)]
mod tests {
    use imagine_contract::{Edit, Identity, IdentityNeeds, Region};

    use super::*;

    fn info() -> ModelInfo {
        ModelInfo {
            name: "x".into(),
            width: 512,
            height: 512,
            width_per_person: 0,
            steps: 20,
            guidance_scale: 5.0,
            scheduler: "euler".into(),
            side_multiple: 8,
            identity: None,
            inpainting: false,
            device: "cpu".into(),
            dtype: "f32".into(),
        }
    }

    #[test]
    fn an_edited_picture_keeps_its_size_unless_it_is_far_too_large() {
        let size = |width, height| {
            let rgb = vec![0; (width * height * 3) as usize];
            let Size { width, height } = edited_size(&RgbPixels { width, height, rgb }, &info());
            (width, height)
        };
        assert_eq!(size(512, 512), (512, 512));
        assert_eq!(size(515, 767), (512, 760));
        assert_eq!(size(3, 5), (8, 8));
        assert_eq!(size(2048, 1024), (720, 360));
    }

    #[test]
    fn what_is_left_open_is_the_models_choice() {
        let request = GenerateRequest::new("a hat", 1);
        let usual = Plan { size: Size { width: 512, height: 512 }, steps: 20, guidance_scale: Some(5.0) };
        assert_eq!(Plan::new(&request, &info()), Ok(usual));
        let own = GenerateRequest { guidance_scale: Some(1.0), steps: Some(3), width: Some(64), ..request };
        let size = Size { width: 64, height: 512 };
        assert_eq!(Plan::new(&own, &info()), Ok(Plan { size, steps: 3, guidance_scale: None }));
    }

    #[test]
    fn what_the_model_does_not_have_is_refused() {
        let mut request = GenerateRequest::new("me", 1);
        request.people = vec![Identity::of_embedding(vec![1.0], 1.0)];
        let refused = |request: &GenerateRequest, info: &ModelInfo| match Plan::new(request, info) {
            Err(Refusal::Unsupported(reason)) => reason,
            other => format!("{other:?}"),
        };
        assert!(refused(&request, &info()).contains("no identity adapter"));
        let needs = IdentityNeeds {
            kind: "card".into(),
            embedding_width: Some(1),
            raw_embedding: false,
            face_side: None,
            key_points: false,
            regions: true,
            groups: vec!["colours".into(), "traits".into()],
            trigger_word: None,
        };
        let card = ModelInfo { identity: Some(needs), ..info() };
        request.people[0].group_scales.insert("traits".into(), 0.5);
        assert!(Plan::new(&request, &card).is_ok());
        let roomy = ModelInfo { width_per_person: 96, ..card.clone() };
        let width = |people, info: &ModelInfo| {
            let request = GenerateRequest { people, ..request.clone() };
            Plan::new(&request, info).map(|plan| plan.size.width)
        };
        let region = Region::Box([0.0, 0.0, 1.0, 1.0]);
        let two = vec![Identity { region: Some(region), ..request.people[0].clone() }; 2];
        assert_eq!([width(two.clone(), &card), width(two, &roomy)], [Ok(512), Ok(608)]);
        assert_eq!([width(Vec::new(), &roomy), width(request.people.clone(), &roomy)], [Ok(512), Ok(512)]);
        request.people[0].group_scales.insert("hands".into(), 0.5);
        let unknown = Plan::new(&request, &card).map(drop);
        let Err(Refusal::Request(error)) = unknown else { panic!("{unknown:?}") };
        let says = "the adapter (card) has no group of tokens \"hands\" whose strength could be set; there are: colours, traits";
        assert_eq!(error.to_string(), says);
        request.people.clear();
        let inpainting = ModelInfo { inpainting: true, ..info() };
        assert!(refused(&request, &inpainting).contains("made for inpainting"));
        let picture = RgbPixels { width: 8, height: 8, rgb: vec![0; 192] };
        request.edit = Some(Edit { picture, strength: 1.0, mask: None });
        assert!(refused(&request, &inpainting).contains("mask"));
        request.edit = None;
        request.count = 0;
        assert!(matches!(Plan::new(&request, &info()), Err(Refusal::Request(_))));
    }
}
