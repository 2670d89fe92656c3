use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use image::{DynamicImage, ImageFormat as Encoding, Rgb, RgbImage};
use imagine_contract::{CancelFlag, Expander, Idea};
use imagine_store::{Archive, Claim, Claimed, ImageFormat, JobError, NewImage, Notice, Outcome, Progress};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::StandInExpander;

/// Does the jobs, one after the other: pictures of one colour. A prompt with `fail` fails, with `fail the rules` by a safety rule; one with `wait` waits, in
/// its middle, until it is let go.
pub struct Artist {
    go: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Artist {
    pub fn start(archive: Archive) -> Self {
        let go = Arc::new(Semaphore::new(0));
        let gate = Arc::clone(&go);
        let task = tokio::spawn(async move {
            let mut notices = archive.store.notices();
            let claim = Claim { worker: "artist".into(), model: "stand-in".into(), most: 1 };
            loop {
                let claimed = archive.store.claim(&claim).await.unwrap();
                for claimed in &claimed {
                    draw(&archive, claimed, &gate).await;
                }
                if claimed.is_empty() {
                    // Whatever happened may have brought work.
                    let _ = tokio::time::timeout(Duration::from_millis(500), notices.recv()).await;
                }
            }
        });
        Self { go, task }
    }

    /// Lets one waiting job go on.
    pub fn go(&self) {
        self.go.add_permits(1);
    }
}

impl Drop for Artist {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn draw(archive: &Archive, claimed: &Claimed, gate: &Semaphore) {
    let (store, Claimed { job, lease }) = (&archive.store, claimed);
    let input = &job.input;
    if input.expand {
        let idea = Idea { ground: input.ground, ..Idea::new(input.prompt.clone(), input.seed) };
        let expansion = StandInExpander.expand(&idea, &mut |_| (), &CancelFlag::default()).unwrap();
        store.record_expansion(lease, &serde_json::to_value(expansion).unwrap()).await.unwrap();
    }
    let steps = input.steps.unwrap_or(8);
    for step in 1..=steps {
        let progress = f64::from(step) / f64::from(steps);
        let told = Progress { progress, step, steps, eta_seconds: Some(0.5) };
        if store.record_progress(lease, told).await.unwrap().cancel_requested {
            return store.finish(lease, &Outcome::Canceled).await.unwrap();
        }
        if input.previews > 0 && step % input.previews == 0 {
            for index in 0..input.n {
                store.show_preview(lease, index, step, encode(8, 8, 1, Encoding::Jpeg)).await.unwrap();
            }
        }
        if step == steps / 2 && input.prompt.contains("wait") {
            hold(archive, claimed, gate).await;
        }
    }
    if input.prompt.contains("fail") {
        let error = match input.prompt.contains("fail the rules") {
            true => {
                JobError { rule: Some("test-rule".into()), ..JobError::new("refused", "this is forbidden") }
            }
            false => JobError::new("out_of_memory", "it did not fit"),
        };
        return store.finish(lease, &Outcome::Failed(error)).await.unwrap();
    }
    for index in 0..input.n {
        let image = picture(archive, claimed, index).await;
        store.record_output(lease, &image).await.unwrap();
    }
    store.finish(lease, &Outcome::Succeeded).await.unwrap();
}

/// Until it is let go, or canceled.
async fn hold(archive: &Archive, claimed: &Claimed, gate: &Semaphore) {
    let mut notices = archive.store.notices();
    let canceled = async {
        while !archive.store.renew(&claimed.lease).await.unwrap().cancel_requested {
            while !matches!(notices.recv().await, Ok(Notice::Cancel { .. }) | Err(_)) {}
        }
    };
    tokio::select! {
        permit = gate.acquire() => permit.unwrap().forget(),
        () = canceled => (),
    }
}

/// A picture that a job asks for, its bytes stored.
pub async fn picture(archive: &Archive, claimed: &Claimed, index: u32) -> NewImage {
    let input = &claimed.job.input;
    let [width, height] = input.size.unwrap_or([64, 64]);
    let seed = input.seed + u64::from(index);
    let encoding = match input.output_format {
        ImageFormat::Png => Encoding::Png,
        ImageFormat::Jpeg => Encoding::Jpeg,
        ImageFormat::Webp => Encoding::WebP,
    };
    let bytes = encode(width, height, seed as u8, encoding);
    let thumb = encode(32, 32, seed as u8, Encoding::Jpeg);
    let job = claimed.job.id;
    let key = format!("images/{job}/{index}.{}", input.output_format.name()).parse().unwrap();
    let thumb_key = format!("images/{job}/{index}.thumb.jpeg").parse().unwrap();
    archive.blobs.put(&key, bytes.clone().into(), input.output_format.content_type()).await.unwrap();
    archive.blobs.put(&thumb_key, thumb.into(), "image/jpeg").await.unwrap();
    NewImage {
        index,
        seed,
        width,
        height,
        format: input.output_format,
        bytes: bytes.len() as u64,
        sha256: Sha256::digest(&bytes).into(),
        blob: key,
        thumb: thumb_key,
        likeness: vec![Some(0.5); input.people.len()],
    }
}

fn encode(width: u32, height: u32, shade: u8, encoding: Encoding) -> Vec<u8> {
    let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(width, height, Rgb([shade, 80, 160])));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, encoding).unwrap();
    bytes.into_inner()
}
