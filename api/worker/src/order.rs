//! From a job to what a studio is asked for.

use imagine_contract::{
    CancelFlag, Edit, EditMask, ExpandError, Expansion, FaceData, FaceReader, GenerateRequest, Idea,
    Identity, NoteCode, Reference, Region, Rest,
};
use imagine_store::{EditInput, EditSource, Job, JobError, Known, Lease, PersonInput, StoreError};

use crate::Worker;
use crate::retry::retry;

/// The adapter's own strength.
const SCALE: f64 = 1.0;

/// Why an idea was not looked up.
const BLIND: &str = "nothing was looked up: the worker has no search server";

/// A job made ready.
pub struct Prepared {
    /// For the pictures that are missing still.
    pub request: GenerateRequest,
    /// Index of the first of them.
    pub first: u32,
    /// Embeddings of each person, for likeness.
    pub people: Vec<Vec<Reference>>,
    /// Addresses of what was looked up on the web for the prompt.
    pub sources: Vec<String>,
}

/// Why a job cannot be made ready.
pub enum Unready {
    /// The job fails with this.
    Job(JobError),
    Store(StoreError),
}

impl From<StoreError> for Unready {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn fails(code: &str, message: impl ToString) -> Unready {
    Unready::Job(JobError::new(code, message.to_string()))
}

/// Expands, decrypts, decodes: everything but drawing.
pub async fn prepare(
    worker: &Worker,
    job: &Job,
    lease: &Lease,
    cancel: &CancelFlag,
) -> Result<Prepared, Unready> {
    let input = &job.input;
    // Pictures of an earlier attempt are not drawn again, as far as they are the first ones.
    let done = (0..).zip(&job.outputs).take_while(|(index, image)| *index == image.index).count();
    let first = u32::try_from(done).unwrap_or(input.n).min(input.n);
    let mut request = GenerateRequest::new(input.prompt.clone(), input.seed.wrapping_add(u64::from(first)));
    request.negative_prompt.clone_from(&input.negative_prompt);
    request.count = input.n - first;
    (request.width, request.height) = input.size.map(|[width, height]| (width, height)).unzip();
    request.steps = input.steps;
    request.guidance_scale = input.guidance_scale;
    request.scheduler.clone_from(&input.scheduler);
    if request.count == 0 {
        return Ok(Prepared { request, first, people: Vec::new(), sources: Vec::new() });
    }
    let mut sources = Vec::new();
    if let Some(expansion) = expansion(worker, job, lease, cancel).await? {
        sources.extend(expansion.sources.into_iter().map(|source| source.url));
        request.prompt = expansion.prompt;
        if request.negative_prompt.is_empty() {
            request.negative_prompt = expansion.negative_prompt;
        }
    }
    let mut people = Vec::new();
    for person in &input.people {
        let patience = worker.options.storage_patience;
        let load = || worker.archive.known(&job.tenant, person.person, true);
        let known = match retry("people", patience, load).await {
            Err(StoreError::NoPerson) => return Err(fails("person_deleted", "the person was deleted")),
            other => other?,
        };
        let faces = as_drawn(worker, known)?;
        let needs = worker.studio.info().identity.as_ref();
        request.people.push(Identity {
            references: faces.iter().map(|face| face.reference(needs)).collect(),
            scale: person.scale.unwrap_or(SCALE),
            steps: person.steps.unwrap_or([0.0, 1.0]),
            stages: person.stages.clone(),
            group_scales: person.card_scale.clone(),
            region: region(worker, job, person).await?,
        });
        people.push(faces.iter().map(|face| face.reference(None)).collect());
    }
    if let Some(edit) = &input.edit {
        request.edit = Some(read_edit(worker, job, edit).await?);
    }
    Ok(Prepared { request, first, people, sources })
}

/// By a person's identity card and what they say of it, where they have one.
fn as_drawn(worker: &Worker, known: Known) -> Result<Vec<FaceData>, Unready> {
    let Known { faces, changes } = known;
    match &worker.faces {
        Some(reader) => reader.as_drawn(faces, &changes).map_err(|e| fails("unsupported", e)),
        None if changes.is_empty() => Ok(faces),
        None => Err(fails("unsupported", "this worker has no face encoder, so it cannot correct a card")),
    }
}

/// The one that came with the job, or one that is made now and recorded.
async fn expansion(
    worker: &Worker,
    job: &Job,
    lease: &Lease,
    cancel: &CancelFlag,
) -> Result<Option<Expansion>, Unready> {
    if let Some(given) = &job.expansion {
        let read = serde_json::from_value(given.clone());
        return read
            .map(Some)
            .map_err(|e| fails("invalid_expansion", format!("the expansion cannot be read: {e}")));
    }
    let Some(expander) = worker.expander.clone().filter(|_| job.input.expand) else { return Ok(None) };
    let mut idea = Idea::new(job.input.prompt.clone(), job.input.seed);
    idea.style.clone_from(&job.input.style);
    idea.ground = job.input.ground;
    idea.trigger_word = worker.studio.info().identity.as_ref().and_then(|needs| needs.trigger_word.clone());
    // Workers of other machines have settings of their own.
    let cannot = (idea.ground && !expander.can_ground()).then(|| BLIND.to_owned());
    let flag = cancel.clone();
    let made = tokio::task::spawn_blocking(move || expander.expand(&idea, &mut |_| {}, &flag)).await;
    let expansion = match made {
        Ok(Ok(expansion)) => expansion.with_note(NoteCode::NoSearch, cannot),
        Ok(Err(ExpandError::Refused { rule, reason })) => {
            tracing::info!(job = %lease.job, %rule, "refused");
            return Err(Unready::Job(JobError { rule: Some(rule), ..JobError::new("refused", reason) }));
        }
        Ok(Err(error @ ExpandError::UnknownStyle { .. })) => return Err(fails("unknown_style", error)),
        Ok(Err(error)) => return Err(fails("expansion_failed", error)),
        Err(_) => return Err(fails("expansion_failed", "the expansion broke off")),
    };
    let json = serde_json::to_value(&expansion).map_err(|e| fails("expansion_failed", e))?;
    retry("expansion", worker.options.storage_patience, || {
        worker.archive.store.record_expansion(lease, &json)
    })
    .await?;
    Ok(Some(expansion))
}

/// Where a person belongs.
async fn region(worker: &Worker, job: &Job, person: &PersonInput) -> Result<Option<Region>, Unready> {
    let Some(mask) = person.mask else { return Ok(person.region.map(Region::Box)) };
    let gone = || fails("picture_deleted", "the mask of a person was deleted");
    let png = worker.archive.open_upload(&job.tenant, mask).await?.ok_or_else(gone)?;
    let decoded = tokio::task::spawn_blocking(move || imagine_pictures::decode_gray(&png)).await;
    let broken = |_| fails("invalid_picture", "a person's mask cannot be decoded");
    let pixels = decoded.map_err(broken)?.map_err(|e| fails("invalid_picture", e))?;
    Ok(Some(Region::Mask(pixels)))
}

async fn read_edit(worker: &Worker, job: &Job, edit: &EditInput) -> Result<Edit, Unready> {
    let archive = &worker.archive;
    let gone = || fails("picture_deleted", "the picture that was to be changed was deleted");
    let bytes = match edit.source {
        EditSource::Image(id) => {
            let image = archive.store.image(&job.tenant, id).await?.ok_or_else(gone)?;
            archive.blobs.get(&image.blob).await.map_err(StoreError::from)?.to_vec()
        }
        EditSource::Upload(id) => archive.open_upload(&job.tenant, id).await?.ok_or_else(gone)?.to_vec(),
    };
    let mask = match edit.mask {
        Some(id) => Some(archive.open_upload(&job.tenant, id).await?.ok_or_else(gone)?),
        None => None,
    };
    let (strength, keep_face, feather) = (edit.strength, edit.keep_face, edit.feather);
    let (faces, face_mask) = (worker.faces.clone(), worker.options.face_mask);
    let decode = move || {
        let wrong = |e: imagine_pictures::PictureError| fails("invalid_picture", e);
        let picture = imagine_pictures::decode(&bytes).map_err(wrong)?;
        let mask = if let Some(mask) = mask {
            let pixels = imagine_pictures::decode_gray(&mask).map_err(wrong)?;
            Some(EditMask { pixels, rest: Rest::Original { feather: feather.unwrap_or(8) } })
        } else if keep_face {
            let (Some(faces), Some(make)) = (faces, face_mask) else {
                return Err(fails(
                    "unsupported",
                    "this worker has no face detector, so it cannot keep faces",
                ));
            };
            let boxes = face_boxes(faces.as_ref(), &bytes)?;
            let pixels = make(picture.width, picture.height, &boxes);
            // Its edge is soft already.
            Some(EditMask { pixels, rest: Rest::Original { feather: feather.unwrap_or(0) } })
        } else {
            None
        };
        Ok(Edit { picture, strength, mask })
    };
    tokio::task::spawn_blocking(decode)
        .await
        .unwrap_or_else(|_| Err(fails("invalid_picture", "it cannot be decoded")))
}

fn face_boxes(faces: &dyn FaceReader, bytes: &[u8]) -> Result<Vec<[f32; 4]>, Unready> {
    let read = faces.read(bytes, None).map_err(|e| fails("invalid_picture", e))?;
    if read.faces.is_empty() {
        return Err(fails("no_face", "no face was found in the picture, so there is none to keep"));
    }
    Ok(read.faces.iter().map(|face| [face.x, face.y, face.width, face.height]).collect())
}
