//! Whole pictures of Stable Diffusion 2.1 (an OpenCLIP text encoder padded with "!", v-prediction, linear
//! projections, heads by width) against diffusers' (fixtures by `generate/sd21.py`).

use imagine_contract::Engine;
use imagine_tests::{Golden, dtype, fixtures};

use crate::broken_files::CheckpointCopy;
use crate::picture_runs::{Comparison, Run, generate, load};

#[test]
fn every_picture_equals_diffusers() {
    let copy = CheckpointCopy::new();
    copy.json("model_index.json", "scheduler", serde_json::json!(["diffusers", "DDIMScheduler"]));
    copy.lay_over(&fixtures("sd21").join("parts"));
    let mut model = load(copy.path(""), None, dtype());
    assert_eq!(model.info().scheduler, "ddim");
    let golden = Golden::read("sd21", "pictures.safetensors");
    let mut comparison = Comparison::default();
    for run in Run::all("sd21") {
        comparison.compare(&run, generate(&mut model, &run.request(None)), &golden);
    }
    comparison.finish();
}
