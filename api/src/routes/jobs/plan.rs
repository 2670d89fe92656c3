//! From what a client asks for to what a worker is told, with every value checked.

use imagine_contract::{Expansion, Idea, Source, Stage, assemble};
use imagine_store::{JobInput, PersonInput, Priority, UploadId};
use serde_json::Value;

use super::handed_in::{Brought, JobFiles, PEOPLE};
use crate::app::App;
use crate::error::{Outcome, Problem};
use crate::http::auth::Caller;
use crate::wire::job::{Expand, JobPerson, JobRequest, StageBody};
use crate::wire::model::ModelCard;

/// A job that can be put into the queue.
pub(crate) struct Planned {
    pub input: JobInput,
    /// As the client is shown it.
    pub given: Value,
    pub expansion: Option<Value>,
    pub priority: Priority,
    pub webhook: Option<String>,
    /// Pictures and masks that were stored for it, to be forgotten if the job is not made after all.
    pub uploads: Vec<UploadId>,
}

/// Sources of an expansion that are kept.
const SOURCES: usize = 10;

/// JavaScript's numbers are exact up to here.
const LARGEST_SEED: u64 = (1 << 53) - 1;

/// Checks a request and fills in what it leaves open.
///
/// # Errors
/// The first value that cannot be used, by name.
pub(crate) async fn plan(
    app: &App,
    caller: &Caller,
    request: JobRequest,
    brought: Brought,
) -> Outcome<Planned> {
    let mut uploads = Vec::new();
    let planned = checked(app, caller, request, brought, &mut uploads).await;
    if planned.is_err()
        && !uploads.is_empty()
        && let Err(error) = app.parts.archive.delete_uploads(&uploads).await
    {
        tracing::warn!(%error, "pictures that were handed in could not be forgotten; the sweep will");
    }
    Ok(Planned { uploads, ..planned? })
}

async fn checked(
    app: &App,
    caller: &Caller,
    mut request: JobRequest,
    brought: Brought,
    uploads: &mut Vec<UploadId>,
) -> Outcome<Planned> {
    let Brought { person: one_shot, mut files } = brought;
    let limits = &app.config.limits;
    let model = model(app, request.model.as_deref())?;
    text("prompt", &request.prompt, limits.prompt_chars)?;
    text("negative_prompt", request.negative_prompt.as_deref().unwrap_or_default(), limits.prompt_chars)?;
    let n = request.n.unwrap_or(1);
    range("n", f64::from(n), 1.0, f64::from(limits.pictures))?;
    if let Some(steps) = request.steps {
        range("steps", f64::from(steps), 1.0, f64::from(limits.steps))?;
    }
    if let Some(guidance) = request.guidance_scale {
        range("guidance_scale", guidance, 0.0, 100.0)?;
    }
    let size = request.size.as_deref().map(|text| size(text, model, limits.side)).transpose()?.flatten();
    known("scheduler", request.scheduler.as_deref(), &model.schedulers)?;
    let styles: Vec<_> = app.parts.styles.iter().map(|style| style.id.clone()).collect();
    request.style = request.style.filter(|style| !style.is_empty());
    known("style", request.style.as_deref(), &styles)?;
    range("previews", f64::from(request.previews.unwrap_or(0)), 0.0, 1_000.0)?;
    let seed = request.seed.unwrap_or_else(random_seed);
    if seed > LARGEST_SEED - u64::from(n) {
        return Err(Problem::field("seed", format!("a seed is at most {}", LARGEST_SEED - u64::from(n))));
    }
    let class = class(caller, request.priority)?;
    if let Some(webhook) = &request.webhook {
        crate::webhook::check_url(&webhook.url, app.webhooks)?;
    }
    let mut people = match one_shot {
        Some(person) => vec![PersonInput::new(person)],
        None => people(app, caller, &request.people, model, &files).await?,
    };
    let (expand, expansion) = expansion(app, &request, model)?;
    if expansion.is_none() && request.prompt.trim().is_empty() {
        return Err(Problem::field("prompt", "say what is to be drawn"));
    }
    let drawn = expansion.as_ref().map_or(request.prompt.as_str(), |expansion| expansion.prompt.as_str());
    let rules = &app.parts.rules;
    (rules.prompt)(&request.prompt)?;
    (rules.prompt)(drawn)?;
    let edited = expansion.as_ref().map(|expansion| expansion.negative_prompt.as_str());
    for negative in [request.negative_prompt.as_deref(), edited].into_iter().flatten() {
        (rules.negative_prompt)(negative).map_err(|e| Problem::from(e).param("negative_prompt"))?;
    }
    // What takes a while comes last.
    for (index, (person, input)) in request.people.iter().zip(&mut people).enumerate() {
        input.mask = files.person_mask(app, caller, (index, person), uploads).await?;
    }
    files.check_people()?;
    let edit = files.edit(app, caller, request.edit.as_ref(), uploads).await?;
    request.n = Some(n);
    request.seed = Some(seed);
    let [width, height] = size.unwrap_or(model.info.size_of(people.len()));
    request.size = Some(format!("{width}x{height}"));
    request.expand = Some(Expand::Yes(expand || expansion.is_some()));
    let ground = expand && request.ground == Some(true);
    request.ground = ground.then_some(true);
    let input = JobInput {
        prompt: request.prompt.clone(),
        negative_prompt: request.negative_prompt.clone().unwrap_or_default(),
        people,
        // By name even where the request leaves it to the server: its default is not every worker's model.
        model: Some(model.info.name.clone()),
        n,
        size,
        steps: request.steps,
        guidance_scale: request.guidance_scale,
        scheduler: request.scheduler.clone(),
        seed,
        expand,
        ground,
        style: request.style.clone(),
        previews: request.previews.unwrap_or(0),
        output_format: request.output_format.unwrap_or_default(),
        quality: None,
        edit,
    };
    let (priority, webhook) = (class, request.webhook.take().map(|hook| hook.url));
    // Large, and stored by themselves.
    request.people.iter_mut().for_each(|person| person.mask = None);
    if let Some(edit) = &mut request.edit {
        edit.mask = None;
    }
    let info = &model.info;
    request.model.get_or_insert_with(|| info.name.clone());
    request.steps.get_or_insert(info.steps);
    request.guidance_scale.get_or_insert(info.guidance_scale);
    request.scheduler.get_or_insert_with(|| info.scheduler.clone());
    let given = serde_json::to_value(&request).map_err(Problem::internal)?;
    let expansion = expansion.map(serde_json::to_value).transpose().map_err(Problem::internal)?;
    Ok(Planned { input, given, expansion, priority, webhook, uploads: Vec::new() })
}

fn model<'a>(app: &'a App, name: Option<&str>) -> Outcome<&'a ModelCard> {
    app.model(name).ok_or_else(|| {
        let names: Vec<_> = app.parts.models.iter().map(|card| card.info.name.as_str()).collect();
        Problem::field("model", format!("this model is not loaded; there is {}", names.join(", ")))
            .specific("model_not_found")
    })
}

fn text(param: &str, text: &str, most: usize) -> Outcome<()> {
    let chars = text.chars().count();
    if chars > most {
        let detail = format!("\"{param}\" has {chars} characters, {most} are allowed");
        return Err(Problem::field(param, detail).with("most", most.into()));
    }
    if text.contains('\0') {
        return Err(Problem::field(param, format!("\"{param}\" holds a zero character")));
    }
    Ok(())
}

/// NaN is outside every range.
pub(super) fn range(param: &str, value: f64, least: f64, most: f64) -> Outcome<()> {
    if value >= least && value <= most {
        return Ok(());
    }
    let detail = format!("\"{param}\" is {value}, it must be between {least} and {most}");
    Err(Problem::field(param, detail).with("least", least.into()).with("most", most.into()))
}

/// The class that is asked for. Classes go before fairness, so that not everybody may choose theirs.
fn class(caller: &Caller, asked: Option<Priority>) -> Outcome<Priority> {
    let highest = caller.highest;
    match asked {
        // The highest comes first.
        Some(asked) if asked < highest => {
            let (asked, highest) = (asked.name(), highest.name());
            let detail = format!("\"priority\" is {asked}, and jobs of this API key have {highest} at most");
            Err(Problem::field("priority", detail).specific("priority_not_allowed"))
        }
        Some(asked) => Ok(asked),
        None => Ok(Priority::default().max(highest)),
    }
}

fn known(param: &str, value: Option<&str>, names: &[String]) -> Outcome<()> {
    match value {
        Some(value) if !names.iter().any(|name| name == value) => {
            Err(Problem::field(param, format!("\"{param}\" is one of {}", names.join(", "))))
        }
        _ => Ok(()),
    }
}

/// `WxH`, or `auto` for the model's own.
pub(crate) fn size(text: &str, model: &ModelCard, most: u32) -> Outcome<Option<[u32; 2]>> {
    if text == "auto" {
        return Ok(None);
    }
    let wrong = || Problem::field("size", "\"size\" is width and height in pixels, e.g. 512x512, or auto");
    let (width, height) = text.split_once('x').ok_or_else(wrong)?;
    let side = |text: &str| -> Outcome<u32> {
        let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let side = digits.then(|| text.parse().ok()).flatten().ok_or_else(wrong)?;
        let multiple = model.info.side_multiple.max(1);
        if side % multiple != 0 || side < multiple || side > most {
            let detail = format!("width and height are multiples of {multiple} from {multiple} to {most}");
            return Err(Problem::field("size", detail));
        }
        Ok(side)
    };
    Ok(Some([side(width)?, side(height)?]))
}

async fn people(
    app: &App,
    caller: &Caller,
    asked: &[JobPerson],
    model: &ModelCard,
    files: &JobFiles,
) -> Outcome<Vec<PersonInput>> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |detail: String| Err(Problem::field("people", detail));
    let Some(identity) = &model.info.identity else {
        return wrong(format!("the model {} knows no people", model.info.name));
    };
    if asked.len() > PEOPLE {
        return wrong(format!("{PEOPLE} people at most are drawn in one picture"));
    }
    let masked = |index: usize| asked.get(index).is_some_and(|p| p.mask.is_some()) || files.masks(index);
    if asked.len() > 1 && !identity.regions {
        return wrong(format!("the model {} draws one person at a time", model.info.name));
    }
    if asked.len() > 1 && (0..).zip(asked).any(|(index, person)| person.region.is_none() && !masked(index)) {
        return wrong("each of several people needs a \"box\" or a \"mask\"".into());
    }
    let mut people = Vec::with_capacity(asked.len());
    for (index, asked) in asked.iter().enumerate() {
        let JobPerson { person, scale, steps, stages, card_scale, region, mask: _ } = asked;
        let found = crate::routes::people::find(app, caller, person).await.map_err(|p| p.param("people"))?;
        if found.encoder != app.parts.faces.encoder() {
            let detail =
                format!("{person} was enrolled with the face encoder {}; enrol them again", found.encoder);
            return Err(Problem::field("people", detail).specific("enrol_again"));
        }
        if let Some(scale) = scale {
            range("people.scale", *scale, 0.0, 10.0)?;
        }
        if let Some([from, to]) = steps {
            range("people.steps", *from, 0.0, 1.0)?;
            range("people.steps", *to, *from, 1.0)?;
        }
        if steps.is_some() && !stages.is_empty() {
            return Err(Problem::field("people.stages", "either \"steps\" or \"stages\", not both"));
        }
        range("people.stages", stages.len() as f64, 0.0, 20.0)?;
        for StageBody { steps: [from, to], scale } in stages {
            range("people.stages", *from, 0.0, 1.0)?;
            range("people.stages", *to, *from, 1.0)?;
            range("people.stages", *scale, 0.0, 10.0)?;
        }
        identity
            .check_groups(card_scale.keys())
            .map_err(|e| Problem::field("people.card_scale", e.to_string()))?;
        card_scale.values().try_for_each(|scale| range("people.card_scale", *scale, 0.0, 10.0))?;
        if masked(index) && region.is_some() {
            return Err(Problem::field("people.mask", "either \"box\" or \"mask\", not both"));
        }
        if masked(index) && !identity.regions {
            return wrong(format!("the model {} knows no regions of the picture", model.info.name));
        }
        if let Some([left, top, right, bottom]) = region {
            [left, top, right, bottom]
                .into_iter()
                .try_for_each(|side| range("people.box", *side, 0.0, 1.0))?;
            if left >= right || top >= bottom {
                return Err(Problem::field("people.box", "a box is left, top, right, bottom, with an area"));
            }
        }
        let stage = |stage: &StageBody| Stage { steps: stage.steps, scale: stage.scale };
        people.push(PersonInput {
            scale: *scale,
            steps: *steps,
            stages: stages.iter().map(stage).collect(),
            card_scale: card_scale.clone(),
            region: *region,
            ..PersonInput::new(found.id)
        });
    }
    Ok(people)
}

/// Whether the worker is to expand, or what the person has edited, put together anew.
fn expansion(app: &App, request: &JobRequest, model: &ModelCard) -> Outcome<(bool, Option<Expansion>)> {
    let can = app.parts.expander.is_some();
    let ground = request.ground == Some(true);
    if ground {
        check_ground(app, request)?;
    }
    let idea = Idea::check(&request.prompt);
    match &request.expand {
        Some(Expand::Yes(true)) if !can => Err(Problem::field("expand", "this server expands no prompts")),
        Some(Expand::Yes(false)) => Ok((false, None)),
        // What is looked up is of use to nothing else.
        None if !ground => Ok((can && app.config.expand.expand_by_default && idea.is_ok(), None)),
        Some(Expand::Yes(true)) | None => {
            idea.map_err(|error| Problem::field("prompt", error.to_string())).map(|()| (true, None))
        }
        Some(Expand::Edited(edited)) => {
            let mut expansion = Expansion::clone(edited);
            // They come from the client, and are shown as links.
            expansion.sources.retain(Source::is_web);
            expansion.sources.truncate(SOURCES);
            let assembled = assemble(&expansion.parts, &model.dialect);
            text("expand", &assembled.prompt, app.config.limits.prompt_chars)?;
            if !assembled.prompt.is_empty() {
                expansion.prompt = assembled.prompt;
                expansion.dropped = assembled.dropped;
            }
            text("expand", &expansion.prompt, app.config.limits.prompt_chars)?;
            text("expand", &expansion.negative_prompt, app.config.limits.prompt_chars)?;
            if expansion.prompt.trim().is_empty() {
                return Err(Problem::field("expand", "the expansion says nothing"));
            }
            Ok((false, Some(expansion)))
        }
    }
}

/// Whether an idea can be looked up as the request wants.
fn check_ground(app: &App, request: &JobRequest) -> Outcome<()> {
    let wrong = |detail: &str| Err(Problem::field("ground", detail));
    match (&request.expand, &app.parts.expander) {
        (Some(Expand::Edited(_)), _) => Ok(()),
        (Some(Expand::Yes(false)), _) => wrong("ideas are looked up to be expanded, and \"expand\" is false"),
        (_, Some(expander)) if expander.can_ground() => Ok(()),
        _ => wrong("this server looks nothing up on the web"),
    }
}

/// By lot, small enough to be read aloud.
pub(crate) fn random_seed() -> u64 {
    u64::from(getrandom::u32().unwrap_or(0))
}
