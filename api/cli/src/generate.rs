//! `imagine generate`: from arguments to files.

use std::path::{Path, PathBuf};
use std::time::Instant;

use image::RgbImage;
use imagine_contract::{
    CancelFlag, Engine, EngineError, Event, GenerateRequest, Identity, ModelInfo, Picture,
};
use imagine_pipeline::{LoadOptions, StableDiffusion};

use crate::args::GenerateArgs;
use crate::contact_sheet::contact_sheet;
use crate::failure::Failure;
use crate::model_lookup::{find_adapter, find_model};
use crate::output::{self, Destination};
use crate::person::{self, Person};
use crate::png_text::{self, Parameters, Seeds};
use crate::progress::Progress;
use crate::report::{Likeness, PictureReport, Report, rounded};

/// Draws what the arguments ask for. What can be checked cheaply is checked first, so that a mistyped
/// path does not cost the time to load a model.
pub fn run(args: &GenerateArgs, cancel: &CancelFlag) -> Result<(), Failure> {
    let started = Instant::now();
    let progress = Progress::new(!args.json);
    let seed = first_seed(args)?;
    let destination = Destination::prepare(&args.out, args.n)?;
    let model = find_model(&args.model)?;
    let adapter = adapter(args, &model)?;
    let person = person::read(args, &progress)?;
    stop_if_canceled(cancel)?;

    progress.stage("loading the model");
    let loading = Instant::now();
    let options = LoadOptions { model, adapter, device: args.device, dtype: args.dtype };
    let mut engine = StableDiffusion::load(&options)
        .map_err(|e| if e.is_input() { Failure::input(e) } else { Failure::failed(e) })?;
    let load_seconds = loading.elapsed().as_secs_f64();
    if let Some(person) = &person {
        check_width(person, engine.info())?;
    }
    stop_if_canceled(cancel)?;

    let request = request(args, seed, person.as_ref());
    let drawn = draw(&mut engine, &request, &progress, cancel)?;
    let parameters = parameters(args, &request, engine.info(), &drawn);
    progress.stage("writing the pictures");
    let (pictures, sheet) = write(&drawn, person.as_ref(), &parameters, &destination, cancel)?;
    progress.clear();
    let report = Report {
        model: parameters.model,
        prompt: parameters.prompt,
        negative_prompt: parameters.negative_prompt,
        steps: parameters.steps,
        guidance_scale: parameters.guidance_scale,
        scheduler: parameters.scheduler,
        width: parameters.width,
        height: parameters.height,
        dtype: parameters.dtype,
        device: engine.info().device.clone(),
        identity_scale: parameters.identity_scale,
        pictures,
        contact_sheet: sheet,
        seconds_total: rounded(started.elapsed().as_secs_f64(), 3),
        load_seconds: rounded(load_seconds, 3),
    };
    report.print(args.json)
}

fn stop_if_canceled(cancel: &CancelFlag) -> Result<(), Failure> {
    if cancel.is_canceled() { Err(Failure::canceled()) } else { Ok(()) }
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

/// An adapter is needed where there is a person; without one the checkpoint runs as it is.
fn adapter(args: &GenerateArgs, model: &Path) -> Result<Option<PathBuf>, Failure> {
    if args.adapter.is_some() {
        return Ok(args.adapter.clone());
    }
    if args.photo.is_empty() && args.identity_embedding.is_none() {
        return Ok(None);
    }
    match find_adapter(model)? {
        Some(adapter) => Ok(Some(adapter)),
        None => Err(Failure::input(format!(
            "{} has no identity adapter, so it cannot draw a person from photos",
            model.display()
        ))
        .hint("name one with --adapter, or leave out the photos")),
    }
}

fn check_width(person: &Person, info: &ModelInfo) -> Result<(), Failure> {
    let given = person.embedding().len();
    match info.embedding_width {
        Some(width) if width != given => Err(Failure::input(format!(
            "the face embedding has {given} numbers, the adapter wants {width}: another face encoder made it"
        ))),
        _ => Ok(()),
    }
}

fn request(args: &GenerateArgs, seed: u64, person: Option<&Person>) -> GenerateRequest {
    let identity = person.map(|p| Identity { embedding: p.embedding().to_vec(), scale: args.identity_scale });
    GenerateRequest {
        negative_prompt: args.negative_prompt.clone(),
        width: args.size.map(|(width, _)| width),
        height: args.size.map(|(_, height)| height),
        steps: args.steps,
        guidance_scale: args.guidance,
        scheduler: args.scheduler.map(|scheduler| scheduler.to_string()),
        count: args.n,
        identity,
        ..GenerateRequest::new(args.prompt.clone(), seed)
    }
}

/// A picture and the seconds it took.
struct Drawn {
    picture: Picture,
    seconds: f64,
}

fn draw(
    engine: &mut dyn Engine,
    request: &GenerateRequest,
    progress: &Progress,
    cancel: &CancelFlag,
) -> Result<Vec<Drawn>, Failure> {
    let mut seconds = vec![0.0; request.count as usize];
    let mut on_event = |event: Event| {
        progress.follow(&event);
        if let Event::Finished { index, seconds: took } = event
            && let Some(place) = seconds.get_mut(index as usize)
        {
            *place = took;
        }
    };
    let pictures = engine.generate(request, &mut on_event, cancel).map_err(|e| match e {
        EngineError::Request(_) | EngineError::Unsupported(_) => Failure::input(e),
        EngineError::Canceled => Failure::canceled(),
        EngineError::Failed(_) => Failure::failed(e),
    })?;
    if pictures.len() != seconds.len() {
        return Err(Failure::failed(format!(
            "the engine made {} of {} pictures",
            pictures.len(),
            seconds.len()
        )));
    }
    Ok(pictures.into_iter().zip(seconds).map(|(picture, seconds)| Drawn { picture, seconds }).collect())
}

/// What all pictures of the run have in common; the seeds are all of theirs.
fn parameters(
    args: &GenerateArgs,
    request: &GenerateRequest,
    info: &ModelInfo,
    drawn: &[Drawn],
) -> Parameters {
    let size = drawn.first().map(|d| (d.picture.width, d.picture.height));
    let (width, height) = size.unwrap_or((info.width, info.height));
    Parameters {
        version: env!("CARGO_PKG_VERSION"),
        prompt: args.prompt.clone(),
        negative_prompt: args.negative_prompt.clone(),
        steps: request.steps.unwrap_or(info.steps),
        scheduler: request.scheduler.clone().unwrap_or_else(|| info.scheduler.clone()),
        guidance_scale: request.guidance_scale.unwrap_or(info.guidance_scale),
        seeds: Seeds::Seeds(drawn.iter().map(|d| d.picture.seed).collect()),
        width,
        height,
        model: info.name.clone(),
        identity_scale: request.identity.as_ref().map(|identity| identity.scale),
        dtype: info.dtype.clone(),
    }
}

/// Measures and writes every picture, then the sheet of them all.
fn write(
    drawn: &[Drawn],
    person: Option<&Person>,
    parameters: &Parameters,
    destination: &Destination,
    cancel: &CancelFlag,
) -> Result<(Vec<PictureReport>, Option<PathBuf>), Failure> {
    let mut reports = Vec::with_capacity(drawn.len());
    for Drawn { picture, seconds } in drawn {
        stop_if_canceled(cancel)?;
        let wrong = || Failure::failed("the engine made a picture whose size does not fit its pixels");
        let image =
            RgbImage::from_raw(picture.width, picture.height, picture.rgb.clone()).ok_or_else(wrong)?;
        let likeness = person.map_or(Ok(Likeness::NotMeasured), |person| person.likeness(&image))?;
        let parameters = Parameters { seeds: Seeds::Seed(picture.seed), ..parameters.clone() };
        let path = destination.picture(picture.seed);
        save(&path, &image, &parameters)?;
        reports.push(PictureReport { path, seed: picture.seed, likeness, seconds: rounded(*seconds, 3) });
    }
    let sheet = destination.contact_sheet().filter(|_| drawn.len() > 1);
    if let Some(path) = &sheet {
        stop_if_canceled(cancel)?;
        let pictures: Vec<&Picture> = drawn.iter().map(|d| &d.picture).collect();
        let sheet =
            contact_sheet(&pictures).ok_or_else(|| Failure::failed("the pictures fit on no sheet"))?;
        save(path, &sheet, parameters)?;
    }
    Ok((reports, sheet))
}

fn save(path: &Path, image: &RgbImage, parameters: &Parameters) -> Result<(), Failure> {
    let encoded = png_text::encode(image.width(), image.height(), image.as_raw(), parameters);
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
        let Command::Generate(args) = Cli::parse_from(all).command;
        *args
    }

    #[test]
    fn arguments_become_a_request() {
        let plain = request(&args(&[]), 9, None);
        assert_eq!(plain, GenerateRequest::new("x", 9));
        let flags = [
            "--size",
            "64x128",
            "--n",
            "3",
            "--guidance",
            "2.5",
            "--steps",
            "4",
            "--scheduler",
            "lms-karras",
        ];
        let full = request(&args(&flags), 9, None);
        assert_eq!((full.width, full.height, full.count), (Some(64), Some(128), 3));
        assert_eq!((full.guidance_scale, full.steps), (Some(2.5), Some(4)));
        assert_eq!(full.scheduler.as_deref(), Some("lms-karras"));
    }

    #[test]
    fn seeds_are_random_or_given_and_never_run_out() {
        assert_eq!(first_seed(&args(&["--seed", "77"])).unwrap(), 77);
        assert_ne!(first_seed(&args(&[])).unwrap(), first_seed(&args(&[])).unwrap());
        assert!(first_seed(&args(&["--seed", "18446744073709551615"])).is_err());
    }

    #[test]
    fn a_run_without_a_person_takes_no_adapter_unless_it_is_named() {
        let model = tempfile::tempdir().unwrap();
        assert_eq!(adapter(&args(&[]), model.path()).unwrap(), None);
        assert_eq!(adapter(&args(&["--adapter", "a"]), model.path()).unwrap(), Some("a".into()));
        let failure = adapter(&args(&["--photo", "me.jpg"]), model.path()).unwrap_err().to_string();
        assert!(failure.contains("no identity adapter") && failure.contains("--adapter"), "{failure}");
    }
}
