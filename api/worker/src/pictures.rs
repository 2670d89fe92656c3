//! From a drawn picture to stored bytes.

use std::sync::Arc;

use imagine_contract::{FaceReader, GenerateRequest, ModelInfo, Picture, Reference};
use imagine_pictures::{Parameters, PictureError, Recipe, Seeds};
use imagine_store::{BlobKey, ImageFormat, JobError, JobId, JobInput, Lease, NewImage, StoreError};
use sha2::{Digest, Sha256};

use crate::Worker;
use crate::retry::retry;

/// Pixels of a thumbnail's longer side.
const THUMB: u32 = 256;
const THUMB_QUALITY: u8 = 80;
/// Of pictures as JPEG where the job does not say.
const QUALITY: u8 = 92;

/// What all pictures of a job have in common.
pub struct Studio {
    pub input: JobInput,
    pub request: GenerateRequest,
    pub info: ModelInfo,
    pub people: Vec<Vec<Reference>>,
    /// Addresses of what was looked up on the web for the prompt.
    pub sources: Vec<String>,
    pub faces: Option<Arc<dyn FaceReader>>,
}

struct Encoded {
    bytes: Vec<u8>,
    thumb: Vec<u8>,
    likeness: Vec<Option<f32>>,
}

/// Why a picture was not stored.
pub enum Unstored {
    Job(JobError),
    Store(StoreError),
}

/// Measures, encodes and stores one picture under keys that the job and the index alone decide, then records
/// it: a second attempt writes over the first.
pub async fn store(
    worker: &Worker,
    lease: &Lease,
    studio: &Arc<Studio>,
    index: u32,
    picture: Picture,
) -> Result<(), Unstored> {
    let format = studio.input.output_format;
    let (seed, width, height) = (picture.seed, picture.pixels.width, picture.pixels.height);
    let shared = Arc::clone(studio);
    let encoded = tokio::task::spawn_blocking(move || shared.encode(&picture)).await;
    let failed = |e: String| Unstored::Job(JobError::new("encoding_failed", e));
    let encoded = encoded.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
    let keys = keys(lease.job, index, format).map_err(Unstored::Store)?;
    let new = NewImage {
        index,
        seed,
        width,
        height,
        format,
        bytes: encoded.bytes.len() as u64,
        sha256: Sha256::digest(&encoded.bytes).into(),
        blob: keys.0.clone(),
        thumb: keys.1.clone(),
        likeness: encoded.likeness,
    };
    let (archive, patience) = (&worker.archive, worker.options.storage_patience);
    let uploads = [
        (&keys.0, bytes::Bytes::from(encoded.bytes), format.content_type()),
        (&keys.1, bytes::Bytes::from(encoded.thumb), "image/jpeg"),
    ];
    for (key, bytes, kind) in uploads {
        let put = || async { archive.blobs.put(key, bytes.clone(), kind).await.map_err(StoreError::from) };
        retry("picture", patience, put).await.map_err(Unstored::Store)?;
    }
    match retry("output", patience, || archive.store.record_output(lease, &new)).await {
        Ok(_) => Ok(()),
        Err(error) => {
            // The job may have been deleted while this was uploaded: then nobody would ever take it away.
            if matches!(error, StoreError::LeaseLost(_))
                && matches!(archive.store.job_exists(lease.job).await, Ok(false))
            {
                for key in [&keys.0, &keys.1] {
                    archive.blobs.delete(key).await.map_err(|e| Unstored::Store(e.into()))?;
                }
            }
            Err(Unstored::Store(error))
        }
    }
}

/// Of the picture and of its thumbnail.
fn keys(job: JobId, index: u32, format: ImageFormat) -> Result<(BlobKey, BlobKey), StoreError> {
    let picture = format!("images/{job}/{index}.{}", format.name()).parse()?;
    let thumb = format!("images/{job}/{index}.thumb.jpg").parse()?;
    Ok((picture, thumb))
}

impl Studio {
    fn encode(&self, picture: &Picture) -> Result<Encoded, PictureError> {
        let pixels = &picture.pixels;
        let (width, height) = (pixels.width, pixels.height);
        if !pixels.is_whole() {
            return Err(PictureError::Pixels { width, height });
        }
        let bytes = match self.input.output_format {
            ImageFormat::Png => {
                imagine_pictures::encode(width, height, &pixels.rgb, &self.parameters(picture))?
            }
            ImageFormat::Jpeg => imagine_pictures::jpeg(pixels, self.input.quality.unwrap_or(QUALITY))?,
            ImageFormat::Webp => imagine_pictures::webp(pixels)?,
        };
        let thumb = imagine_pictures::jpeg(&imagine_pictures::shrunk(pixels, THUMB)?, THUMB_QUALITY)?;
        let measure =
            |person: &Vec<Reference>| self.faces.as_ref().and_then(|faces| faces.likeness(person, pixels));
        Ok(Encoded { bytes, thumb, likeness: self.people.iter().map(measure).collect() })
    }

    /// As the command line writes them. The prompt is the one that was drawn; the idea, what it was made of.
    fn parameters(&self, picture: &Picture) -> Parameters {
        let Self { request, info, .. } = self;
        let people = &request.people;
        let edit = request.edit.as_ref();
        let mut recipe = Recipe {
            idea: Some(&self.input.prompt).filter(|idea| **idea != request.prompt).cloned(),
            prompt: request.prompt.clone(),
            sources: self.sources.clone(),
            negative_prompt: request.negative_prompt.clone(),
            steps: request.steps.unwrap_or(info.steps),
            scheduler: request.scheduler.clone().unwrap_or_else(|| info.scheduler.clone()),
            guidance_scale: request.guidance_scale.unwrap_or(info.guidance_scale),
            width: picture.pixels.width,
            height: picture.pixels.height,
            model: info.name.clone(),
            identity_scale: people.first().filter(|_| people.len() == 1).map(|person| person.scale),
            identity_scales: people.iter().map(|p| p.scale).filter(|_| people.len() > 1).collect(),
            identity_steps: people.first().map(|p| p.steps).filter(|steps| *steps != [0.0, 1.0]),
            dtype: info.dtype.clone(),
            strength: edit.map(|edit| edit.strength),
            mask: edit.and_then(|edit| edit.mask.as_ref()).map(|_| {
                if self.input.edit.as_ref().is_some_and(|edit| edit.mask.is_some()) {
                    "given"
                } else {
                    "all but the faces"
                }
            }),
            ..Recipe::default()
        };
        recipe.set_strengths(people);
        Parameters { version: env!("CARGO_PKG_VERSION"), seeds: Seeds::Seed(picture.seed), recipe }
    }
}
