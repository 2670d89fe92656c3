//! Fills a data folder with finished pictures, by the store's own code, for trying a server that has many:
//! `fill FOLDER COUNT`. The folder is then served by `imagine serve --data-dir FOLDER`.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use imagine_contract::RgbPixels;
use imagine_pictures::{Parameters, Recipe, Seeds};
use imagine_store::{
    Archive, Claim, Claimed, ImageFormat, JobInput, LocalBlobs, NewImage, NewJob, Outcome, Policy, Store,
    Vault,
};
use sha2::{Digest, Sha256};

/// Pictures of one job.
const OF_JOB: u32 = 10;
/// Pixels along one side.
const SIDE: u32 = 64;
const IDEAS: [&str; 8] = [
    "me as a pirate on the open sea",
    "me as an astronaut in starry space",
    "me as a chef in a kitchen",
    "me as a wizard in a forest",
    "me in the mountains",
    "me on the beach at sunset",
    "me as a king in a castle hall",
    "me in a garden with a red hat",
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, count] = args.as_slice() else { return Err("fill FOLDER COUNT".into()) };
    let (folder, count): (&Path, u32) = (folder.as_ref(), count.parse()?);
    let store = Store::open_file(&folder.join("imagine.db"), Policy::default()).await?;
    let blobs = Arc::new(LocalBlobs::open(folder.join("blobs"))?);
    let vault = Vault::open_or_create(&folder.join("master.key"))?;
    let archive = Archive::open(store, blobs, vault).await?;
    let claim = Claim { worker: "fill".into(), model: "starter".into(), most: 1 };
    for first in (0..count).step_by(OF_JOB as usize) {
        let idea = IDEAS[(first / OF_JOB) as usize % IDEAS.len()];
        let n = OF_JOB.min(count - first);
        let size = Some([SIDE, SIDE]);
        let input = JobInput { n, size, ..JobInput::new(idea, u64::from(first)) };
        archive.store.create_job(NewJob::local(input)).await?;
        for claimed in archive.store.claim(&claim).await? {
            for index in 0..claimed.job.input.n {
                let image = picture(&archive, &claimed, index).await?;
                archive.store.record_output(&claimed.lease, &image).await?;
            }
            archive.store.finish(&claimed.lease, &Outcome::Succeeded).await?;
        }
    }
    Ok(())
}

/// A picture of its own, its bytes stored.
async fn picture(archive: &Archive, claimed: &Claimed, index: u32) -> Result<NewImage, Box<dyn Error>> {
    let input = &claimed.job.input;
    let seed = input.seed + u64::from(index);
    let pixels = pixels(seed);
    let recipe = Recipe { prompt: input.prompt.clone(), width: SIDE, height: SIDE, ..Recipe::default() };
    let parameters = Parameters { version: env!("CARGO_PKG_VERSION"), seeds: Seeds::Seed(seed), recipe };
    let bytes = imagine_pictures::encode(SIDE, SIDE, &pixels.rgb, &parameters)?;
    let job = claimed.job.id;
    let blob = format!("images/{job}/{index}.png").parse()?;
    let thumb = format!("images/{job}/{index}.thumb.jpg").parse()?;
    let sha256 = Sha256::digest(&bytes).into();
    let length = bytes.len() as u64;
    archive.blobs.put(&blob, bytes.into(), "image/png").await?;
    archive.blobs.put(&thumb, imagine_pictures::jpeg(&pixels, 85)?.into(), "image/jpeg").await?;
    let (width, height, format) = (SIDE, SIDE, ImageFormat::Png);
    Ok(NewImage {
        index,
        seed,
        width,
        height,
        format,
        bytes: length,
        sha256,
        blob,
        thumb,
        likeness: Vec::new(),
    })
}

/// A slope of two colours that no other seed has.
fn pixels(seed: u64) -> RgbPixels {
    let colour = |at: u64| Sha256::digest((seed * 2 + at).to_le_bytes());
    let (from, to) = (colour(0), colour(1));
    let mut rgb = Vec::with_capacity((SIDE * SIDE * 3) as usize);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let share = f64::from(x + y) / f64::from(2 * SIDE);
            rgb.extend((0..3).map(|c| (f64::from(from[c]) * (1.0 - share) + f64::from(to[c]) * share) as u8));
        }
    }
    RgbPixels { width: SIDE, height: SIDE, rgb }
}
