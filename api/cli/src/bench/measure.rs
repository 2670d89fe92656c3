//! One measured run: load, draw, note the times.

use std::time::Instant;

use imagine_contract::{CancelFlag, Engine, EngineError, Event, GenerateRequest};
use imagine_pipeline::device_memory::gpu_memory_in_use;
use imagine_pipeline::{LoadOptions, StableDiffusion};
use serde::Serialize;

use super::process;
use crate::failure::Failure;
use crate::report::rounded;

/// What is drawn.
pub struct Workload {
    pub size: Option<(u32, u32)>,
    pub steps: u32,
    pub guidance_scale: f64,
    pub pictures: u32,
}

/// What it cost. Times in seconds; medians over all pictures.
#[derive(Debug, Serialize)]
pub struct Costs {
    model: String,
    device: String,
    dtype: String,
    threads: i32,
    width: u32,
    height: u32,
    steps: u32,
    guidance_scale: f64,
    pictures: u32,
    /// Process start to the first evaluation of the U-Net: linking, loading, encoding the prompt.
    cold_start_seconds: Option<f64>,
    load_seconds: f64,
    first_step_seconds: f64,
    /// One step, the first of each picture left out.
    step_seconds: f64,
    decode_seconds: f64,
    /// From the request to the picture, without loading.
    picture_seconds: f64,
    peak_memory_bytes: Option<u64>,
    /// In use on the GPU at the end, by this process and all others: libtorch keeps what it has needed once, so that
    /// of an idle GPU this is the most that was needed.
    gpu_memory_bytes: Option<u64>,
}

/// Loads the model and draws the pictures, one a request.
pub fn measure(options: &LoadOptions, workload: &Workload, cancel: &CancelFlag) -> Result<Costs, Failure> {
    let loading = Instant::now();
    let mut engine = StableDiffusion::load(options)
        .map_err(|e| if e.is_input() { Failure::input(e) } else { Failure::failed(e) })?;
    let load_seconds = loading.elapsed().as_secs_f64();
    let info = engine.info().clone();
    let (width, height) = workload.size.unwrap_or((info.width, info.height));
    let mut cold_start = None;
    let (mut first, mut steps, mut decodes, mut pictures) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for index in 0..workload.pictures {
        let request = GenerateRequest {
            width: Some(width),
            height: Some(height),
            steps: Some(workload.steps),
            guidance_scale: Some(workload.guidance_scale),
            ..GenerateRequest::new("a portrait of a person", u64::from(index))
        };
        let asked = Instant::now();
        let mut last = asked;
        let mut on_event = |event: Event| {
            let now = Instant::now();
            let passed = (now - last).as_secs_f64();
            last = now;
            match event {
                Event::Started { .. } => cold_start = cold_start.or_else(process::age),
                Event::Progress { done: 1, .. } => first.push(passed),
                Event::Progress { .. } => steps.push(passed),
                Event::Finished { .. } => decodes.push(passed),
            }
        };
        engine.generate(&request, &mut on_event, cancel).map_err(|e| match e {
            EngineError::Request(_) | EngineError::Unsupported(_) => Failure::input(e),
            EngineError::Canceled | EngineError::Failed(_) | EngineError::OutOfMemory(_) => {
                Failure::failed(e)
            }
        })?;
        pictures.push(asked.elapsed().as_secs_f64());
    }
    let gpu: Option<usize> = info.device.strip_prefix("cuda:").and_then(|index| index.parse().ok());
    Ok(Costs {
        model: info.name,
        device: info.device,
        dtype: info.dtype,
        threads: imagine_pipeline::device::threads(),
        width,
        height,
        steps: workload.steps,
        guidance_scale: workload.guidance_scale,
        pictures: workload.pictures,
        cold_start_seconds: cold_start.map(|age| rounded(age.as_secs_f64(), 3)),
        load_seconds: rounded(load_seconds, 3),
        first_step_seconds: median(first),
        step_seconds: median(steps),
        decode_seconds: median(decodes),
        picture_seconds: median(pictures),
        peak_memory_bytes: process::peak_memory(),
        gpu_memory_bytes: gpu.and_then(gpu_memory_in_use),
    })
}

/// The middle value, to a tenth of a millisecond; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let value = match values.len() % 2 {
        0 if values.is_empty() => 0.0,
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    };
    rounded(value, 4)
}

impl Costs {
    /// Prints lines, or one JSON object.
    pub fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            let text = serde_json::to_string(self).map_err(Failure::failed)?;
            println!("{text}");
            return Ok(());
        }
        let guidance = if self.guidance_scale > 1.0 { "with guidance" } else { "without guidance" };
        println!("{} on {}, {}, {} threads", self.model, self.device, self.dtype, self.threads);
        println!(
            "{} × {}, {} steps {guidance}, {} pictures",
            self.width, self.height, self.steps, self.pictures
        );
        let line = |name: &str, seconds: f64| println!("  {name:<34} {seconds:>9.3} s");
        if let Some(seconds) = self.cold_start_seconds {
            line("process start to first step", seconds);
        }
        line("loading the model", self.load_seconds);
        line("first step", self.first_step_seconds);
        line("a step", self.step_seconds);
        line("decoding a picture", self.decode_seconds);
        line("a picture", self.picture_seconds);
        let memory = [("peak memory", self.peak_memory_bytes), ("memory of the GPU", self.gpu_memory_bytes)];
        for (name, bytes) in memory {
            if let Some(bytes) = bytes {
                println!("  {name:<34} {:>9.2} GB", bytes as f64 / 1e9);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
