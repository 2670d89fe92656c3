//! `imagine generate`: from arguments to files.

use std::path::{Path, PathBuf};
use std::time::Instant;

use image::RgbImage;
use imagine_contract::{
    CancelFlag, Edit, Engine, EngineError, Event, GenerateRequest, Identity, IdentityNeeds, ModelInfo,
    Picture,
};
use imagine_pictures::{Parameters, Recipe, Seeds};
use imagine_pipeline::{LoadOptions, LoraChoice, PipelineError, StableDiffusion, identity, threads};

use crate::contact_sheet::contact_sheet;
use crate::edit;
use crate::expand;
use crate::failure::Failure;
use crate::generate_args::GenerateArgs;
use crate::model_choice::{self, ModelChoice};
use crate::model_lookup::locate;
use crate::output::{self, Destination};
use crate::person::{self, People};
use crate::progress::Progress;
use crate::report::{PictureReport, Report, rounded};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Draws what the arguments ask for. What can be checked cheaply is checked first, so that a mistyped
/// path does not cost the time to load a model.
pub fn run(args: &GenerateArgs, cancel: &CancelFlag) -> Result<(), Failure> {
    let started = Instant::now();
    threads::limit();
    // Before a photo is looked at: that computes on the CPU, and libtorch looks for a GPU once, before it computes.
    args.device.resolve().map_err(pipeline_failure)?;
    let progress = Progress::new(!args.json);
    let seed = first_seed(args)?;
    let destination = Destination::prepare(&args.out, args.n)?;
    let located = locate(&args.model)?;
    let choice = model_choice(args);
    let adapter = choice.adapter(&located)?;
    let needs = match &adapter {
        Some(file) => Some(identity::needs_of(file, args.adapter_kind).map_err(pipeline_failure)?),
        None => None,
    };
    let options = choice.options(&located, adapter, needs.as_ref(), &progress);
    progress.stage("reading the prompt");
    let expansion = expand::of_prompt(args, &located, needs.as_ref(), seed, cancel)?;
    let idea = expansion.is_some().then(|| args.prompt.clone());
    let found = expansion.iter().flat_map(|expansion| &expansion.sources);
    let sources: Vec<String> = found.map(|source| source.url.clone()).collect();
    let args = &expand::spoken(args, expansion.as_ref());
    if let Some(expansion) = expansion.as_ref() {
        progress.note(format_args!("prompt: {} ({})", expansion.prompt, expansion.backend));
    }
    check_trigger(args, needs.as_ref())?;
    let edit = edit::read(args)?;
    let people = person::read(args, needs.as_ref(), located.face_encoder.as_deref(), &progress)?;
    stop_if_canceled(cancel)?;

    progress.stage("loading the model");
    let loading = Instant::now();
    let mut engine = StableDiffusion::load(&options).map_err(pipeline_failure)?;
    let load_seconds = loading.elapsed().as_secs_f64();
    stop_if_canceled(cancel)?;

    let request = request(args, seed, &people, engine.info().identity.as_ref(), edit);
    check_negative(&request, &engine)?;
    let order =
        Order { args, request: &request, options: &options, idea: idea.as_deref(), sources: &sources };
    let info = engine.info().clone();
    let gallery = Gallery { people: &people, destination: &destination, order: &order, info: &info };
    let drawn = draw(&mut engine, &gallery, &progress, cancel)?;
    let sheet = contact_sheet_of(&gallery, &drawn, cancel)?;
    progress.clear();
    let report = Report {
        recipe: order.recipe(&info, drawn.pictures.first()),
        device: info.device,
        pictures: drawn.reports,
        contact_sheet: sheet,
        seconds_total: rounded(started.elapsed().as_secs_f64(), 3),
        load_seconds: rounded(load_seconds, 3),
    };
    report.print(args.json)
}

/// PhotoMaker's person is a word of the prompt.
fn check_trigger(args: &GenerateArgs, needs: Option<&IdentityNeeds>) -> Result<(), Failure> {
    match needs.and_then(|needs| needs.trigger_word.as_ref()) {
        Some(word) if !args.everyone().is_empty() && !args.prompt.contains(word.as_str()) => {
            let message = format!("the prompt must say who the person is, with \"{word}\" behind the word");
            Err(Failure::input(message).hint(format!("--prompt \"a man {word} in the snow\"")))
        }
        _ => Ok(()),
    }
}

fn stop_if_canceled(cancel: &CancelFlag) -> Result<(), Failure> {
    if cancel.is_canceled() { Err(Failure::canceled()) } else { Ok(()) }
}

/// What the arguments say about what is loaded.
fn model_choice(args: &GenerateArgs) -> ModelChoice {
    ModelChoice {
        tokenizer: args.tokenizer.clone(),
        prediction: args.prediction,
        adapter: args.adapter.clone(),
        adapter_kind: args.adapter_kind,
        image_encoder: args.image_encoder.clone(),
        controlnet: args.controlnet.clone(),
        vae: args.vae.clone(),
        unet: args.unet.clone(),
        loras: args.lora.clone(),
        preset: args.preset.clone(),
        device: args.device,
        dtype: args.dtype,
        identity: if args.everyone().is_empty() {
            model_choice::Identity::None
        } else {
            model_choice::Identity::Needed
        },
    }
}

pub fn pipeline_failure(error: PipelineError) -> Failure {
    if error.is_input() { Failure::input(error) } else { Failure::failed(error) }
}

/// The seed given, or one of 32 random bits: so many does the generator take.
fn first_seed(args: &GenerateArgs) -> Result<u64, Failure> {
    let seed = match args.seed {
        Some(seed) => seed,
        None => getrandom::u32().map_err(|e| Failure::failed(format!("no random seed: {e}")))?.into(),
    };
    match seed.checked_add(u64::from(args.n)) {
        Some(_) => Ok(seed),
        None => {
            Err(Failure::input(format!("--seed {seed} leaves no room for the seeds of {} pictures", args.n)))
        }
    }
}

/// Without guidance by a second row nothing hears the negative prompt.
fn check_negative(request: &GenerateRequest, engine: &StableDiffusion) -> Result<(), Failure> {
    let guidance = request.guidance_scale.unwrap_or(engine.info().guidance_scale);
    if request.negative_prompt.is_empty() {
        return Ok(());
    }
    if engine.embeds_guidance() {
        let message = "--negative-prompt has no effect here: the U-Net takes the guidance as a number, and hears \
                       the prompt alone";
        return Err(Failure::input(message).hint("leave it out"));
    }
    if guidance > 1.0 {
        return Ok(());
    }
    let message =
        format!("--negative-prompt has no effect here: with a guidance of {guidance} it is not heard");
    Err(Failure::input(message).hint("leave it out, or set --guidance above 1"))
}

fn request(
    args: &GenerateArgs,
    seed: u64,
    people: &People,
    needs: Option<&IdentityNeeds>,
    edit: Option<Edit>,
) -> GenerateRequest {
    GenerateRequest {
        negative_prompt: args.negative_prompt.clone(),
        width: args.size.map(|(width, _)| width),
        height: args.size.map(|(_, height)| height),
        steps: args.steps,
        guidance_scale: args.guidance,
        scheduler: args.scheduler.map(|scheduler| scheduler.to_string()),
        count: args.n,
        people: people.identities(needs),
        edit,
        clip_skip: args.clip_skip,
        ..GenerateRequest::new(args.prompt.clone(), seed)
    }
}

/// What was ordered.
struct Order<'a> {
    args: &'a GenerateArgs,
    request: &'a GenerateRequest,
    options: &'a LoadOptions,
    /// What the person typed, where the prompt was made of it.
    idea: Option<&'a str>,
    /// Addresses of what was looked up for it.
    sources: &'a [String],
}

/// Where finished pictures go.
struct Gallery<'a> {
    people: &'a People,
    destination: &'a Destination,
    order: &'a Order<'a>,
    info: &'a ModelInfo,
}

/// What was drawn and written.
#[derive(Default)]
struct Drawn {
    /// Kept for the sheet.
    pictures: Vec<Picture>,
    reports: Vec<PictureReport>,
}

/// Writes every picture as soon as it is finished: what is done when the run is stopped stays.
fn draw(
    engine: &mut dyn Engine,
    gallery: &Gallery,
    progress: &Progress,
    cancel: &CancelFlag,
) -> Result<Drawn, Failure> {
    let mut drawn = Drawn::default();
    let mut failed = None;
    let mut on_event = |event: Event| {
        progress.follow(&event);
        if let Event::Finished { seconds, picture, .. } = event
            && failed.is_none()
        {
            match gallery.hang(&picture, seconds) {
                Ok(report) => {
                    drawn.reports.push(report);
                    drawn.pictures.push(picture);
                }
                Err(failure) => {
                    failed = Some(failure);
                    cancel.cancel();
                }
            }
        }
    };
    let result = engine.generate(gallery.order.request, &mut on_event, cancel);
    if let Some(failure) = failed {
        return Err(failure);
    }
    match result {
        Ok(()) => Ok(drawn),
        Err(e @ (EngineError::Request(_) | EngineError::Unsupported(_))) => Err(Failure::input(e)),
        Err(EngineError::Canceled) => Err(match drawn.reports.len() {
            0 => Failure::canceled(),
            done => {
                Failure::canceled().hint(format!("{done} of {} pictures were finished", gallery.order.args.n))
            }
        }),
        Err(e @ EngineError::Failed(_)) => Err(Failure::failed(e)),
        Err(e @ EngineError::OutOfMemory(_)) => {
            Err(Failure::failed(e).hint("a smaller --size needs less memory"))
        }
    }
}

impl Gallery<'_> {
    /// Measures and writes one picture.
    fn hang(&self, picture: &Picture, seconds: f64) -> Result<PictureReport, Failure> {
        let wrong = || Failure::failed("the engine made a picture whose size does not fit its pixels");
        let pixels = &picture.pixels;
        let image = RgbImage::from_raw(pixels.width, pixels.height, pixels.rgb.clone()).ok_or_else(wrong)?;
        let likeness = self.people.likeness(&image)?;
        let recipe = self.order.recipe(self.info, Some(picture));
        let parameters = Parameters { version: VERSION, seeds: Seeds::Seed(picture.seed), recipe };
        let path = self.destination.picture(picture.seed);
        save(&path, &image, &parameters)?;
        Ok(PictureReport { path, seed: picture.seed, likeness, seconds: rounded(seconds, 3) })
    }
}

/// The sheet of all pictures, where there are several.
fn contact_sheet_of(
    gallery: &Gallery,
    drawn: &Drawn,
    cancel: &CancelFlag,
) -> Result<Option<PathBuf>, Failure> {
    let sheet = gallery.destination.contact_sheet().filter(|_| drawn.pictures.len() > 1);
    if let Some(path) = &sheet {
        stop_if_canceled(cancel)?;
        let pictures: Vec<&Picture> = drawn.pictures.iter().collect();
        let sheet =
            contact_sheet(&pictures).ok_or_else(|| Failure::failed("the pictures fit on no sheet"))?;
        let seeds = Seeds::Seeds(drawn.pictures.iter().map(|p| p.seed).collect());
        let recipe = gallery.order.recipe(gallery.info, drawn.pictures.first());
        save(path, &sheet, &Parameters { version: VERSION, seeds, recipe })?;
    }
    Ok(sheet)
}

impl Order<'_> {
    /// What all pictures have in common; all are as large as this one.
    fn recipe(&self, info: &ModelInfo, picture: Option<&Picture>) -> Recipe {
        let Self { args, request, options, idea, sources } = self;
        let size = picture.map(|p| (p.pixels.width, p.pixels.height));
        let (width, height) = size.unwrap_or(info.size_of(request.people.len()).into());
        let file_name = |lora: &LoraChoice| {
            let name = lora.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            (name, lora.weight)
        };
        let people = &request.people;
        let (one, several) =
            if people.len() > 1 { (None, people.as_slice()) } else { (people.first(), &[][..]) };
        let part = |person: &&Identity| person.steps != [0.0, 1.0];
        let in_parts = several.iter().any(|person| part(&person));
        let edit = request.edit.as_ref();
        let mut recipe = Recipe {
            prompt: args.prompt.clone(),
            idea: idea.map(Into::into),
            sources: sources.to_vec(),
            negative_prompt: args.negative_prompt.clone(),
            steps: request.steps.unwrap_or(info.steps),
            scheduler: request.scheduler.clone().unwrap_or_else(|| info.scheduler.clone()),
            guidance_scale: request.guidance_scale.unwrap_or(info.guidance_scale),
            width,
            height,
            model: info.name.clone(),
            identity_scale: one.map(|person| person.scale),
            identity_scales: several.iter().map(|person| person.scale).collect(),
            identity_steps: one.filter(part).map(|person| person.steps),
            identity_steps_each: several.iter().map(|person| person.steps).filter(|_| in_parts).collect(),
            dtype: info.dtype.clone(),
            strength: edit.map(|edit| edit.strength),
            mask: edit
                .and_then(|edit| edit.mask.as_ref())
                .map(|_| if args.keep_face { "all but the faces" } else { "given" }),
            clip_skip: request.clip_skip,
            loras: options.loras.iter().map(file_name).collect(),
            preset: options.preset.clone(),
            ..Recipe::default()
        };
        recipe.set_strengths(people);
        recipe
    }
}

fn save(path: &Path, image: &RgbImage, parameters: &Parameters) -> Result<(), Failure> {
    let encoded = imagine_pictures::encode(image.width(), image.height(), image.as_raw(), parameters);
    let bytes = encoded.map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
    output::write(path, &bytes)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(more: &[&str]) -> GenerateArgs {
        let all = ["imagine", "generate", "--prompt", "x"].iter().chain(more);
        let Command::Generate(args) = Cli::parse_from(all).command else { panic!("another command") };
        *args
    }

    #[test]
    fn every_scheduler_has_a_name_that_others_know() {
        for name in imagine_pipeline::schedulers::SchedulerChoice::names() {
            assert_ne!(imagine_pictures::sampler(&name), name);
        }
    }

    fn nobody(args: &GenerateArgs) -> People {
        person::read(args, None, None, &Progress::new(false)).unwrap()
    }

    #[test]
    fn arguments_become_a_request() {
        let plain = args(&[]);
        assert_eq!(request(&plain, 9, &nobody(&plain), None, None), GenerateRequest::new("x", 9));
        let flags = "--size 64x128 --n 3 --guidance 2.5 --steps 4 --scheduler lms-karras --clip-skip 1";
        let full = args(&flags.split(' ').collect::<Vec<_>>());
        let full = request(&full, 9, &nobody(&full), None, None);
        assert_eq!((full.width, full.height, full.count), (Some(64), Some(128), 3));
        assert_eq!((full.guidance_scale, full.steps, full.clip_skip), (Some(2.5), Some(4), Some(1)));
        assert_eq!(full.scheduler.as_deref(), Some("lms-karras"));
    }

    fn needs_of_a_word(word: Option<&str>) -> IdentityNeeds {
        IdentityNeeds {
            kind: "photomaker-v1".into(),
            embedding_width: None,
            raw_embedding: false,
            face_side: Some(256),
            key_points: false,
            regions: false,
            groups: Vec::new(),
            trigger_word: word.map(Into::into),
        }
    }

    #[test]
    fn a_trigger_word_must_stand_in_the_prompt() {
        let needs = needs_of_a_word;
        let me = args(&["--photo", "me.jpg"]);
        let message = check_trigger(&me, Some(&needs(Some("img")))).unwrap_err().to_string();
        assert!(message.contains("\"img\"") && message.contains("a man img"), "{message}");
        assert!(
            check_trigger(&me, Some(&needs(Some("x")))).is_ok()
                && check_trigger(&me, Some(&needs(None))).is_ok()
        );
        assert!(check_trigger(&args(&[]), Some(&needs(Some("img")))).is_ok(), "nobody is to be drawn");
    }

    #[test]
    fn seeds_are_random_or_given_and_never_run_out() {
        assert_eq!(first_seed(&args(&["--seed", "77"])).unwrap(), 77);
        assert_ne!(first_seed(&args(&[])).unwrap(), first_seed(&args(&[])).unwrap());
        assert!(first_seed(&args(&["--seed", "18446744073709551615"])).is_err());
    }

    #[test]
    fn an_adapter_is_needed_for_people_alone() {
        assert_eq!(model_choice(&args(&[])).identity, model_choice::Identity::None);
        let full = args(&["--photo", "me.jpg", "--vae", "v", "--lora", "l:0.5", "--preset", "turbo"]);
        let choice = model_choice(&full);
        assert_eq!(
            (choice.identity, choice.vae, choice.loras.len()),
            (model_choice::Identity::Needed, Some("v".into()), 1)
        );
        assert_eq!(choice.preset.as_deref(), Some("turbo"));
    }
}
