//! The same as events.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use imagine_store::{Follow, Job, JobEvent};
use serde_json::{Value, json};

use super::{answer, finished};
use crate::app::{App, Watching};
use crate::error::{Outcome, Problem};
use crate::http::auth::Caller;
use crate::http::sse::{keep_alive, named};

/// What the events are called: OpenAI's two routes differ in that alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub partial: &'static str,
    pub completed: &'static str,
}

pub(super) const GENERATION: Names =
    Names { partial: "image_generation.partial_image", completed: "image_generation.completed" };
pub(super) const EDIT: Names =
    Names { partial: "image_edit.partial_image", completed: "image_edit.completed" };

pub(super) async fn events(
    app: App,
    caller: Caller,
    job: Job,
    names: Names,
    partial: u32,
) -> Outcome<Response> {
    let gone = || Problem::not_found("job", &job.id.to_string());
    let follow = app.store().follow(&caller.tenant, job.id, 0).await?.ok_or_else(gone)?;
    let left = vec![partial; usize::try_from(job.input.n).unwrap_or(0)];
    let watch = Watch {
        _watching: app.watching(),
        app,
        caller,
        job,
        names,
        partial,
        left,
        follow,
        ready: VecDeque::new(),
    };
    let stream = stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        match watch.next().await {
            Ok(Some(event)) => Some((Ok::<_, Infallible>(event), Some(watch))),
            Ok(None) => None,
            Err(problem) => Some((Ok(named("error", &error(&problem))), None)),
        }
    });
    Ok(Sse::new(stream).keep_alive(keep_alive()).into_response())
}

/// As OpenAI's clients read an error in a stream.
fn error(problem: &Problem) -> Value {
    let body = problem.body("");
    json!({"type": "error", "error": body.error})
}

struct Watch {
    _watching: Watching,
    app: App,
    caller: Caller,
    job: Job,
    names: Names,
    /// Previews that were asked for of each picture, and those that are left.
    partial: u32,
    left: Vec<u32>,
    follow: Follow,
    ready: VecDeque<Event>,
}

impl Watch {
    async fn next(&mut self) -> Outcome<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let app = self.app.clone();
            let event = tokio::select! {
                event = self.follow.next() => event?,
                () = app.closed() => {
                    return Err(Problem::new(crate::error::Code::Draining, "the server is shutting down"));
                }
            };
            let Some(event) = event else { return Ok(None) };
            match event.event {
                JobEvent::Preview { index, jpeg, .. } => self.preview(index, &jpeg),
                JobEvent::Output(image) => {
                    let fields = json!({
                        "type": self.names.completed, "b64_json": answer::encoded(&self.app, &image).await?,
                        "created_at": image.created.seconds(), "size": answer::size(&image),
                        "output_format": image.format.name(), "quality": "auto", "background": "opaque",
                        "index": image.index, "seed": image.seed, "job": self.job.id.to_string(),
                        "revised_prompt": self.revised().await?,
                    });
                    self.ready.push_back(named(self.names.completed, &fields));
                }
                JobEvent::Failed | JobEvent::Canceled => finished(&self.read().await?)?,
                _ => {}
            }
        }
    }

    fn preview(&mut self, index: u32, jpeg: &[u8]) {
        let Some(left) = usize::try_from(index).ok().and_then(|i| self.left.get_mut(i)) else { return };
        if *left == 0 {
            return;
        }
        let number = self.partial - *left;
        *left -= 1;
        let fields = json!({
            "type": self.names.partial, "b64_json": STANDARD.encode(jpeg), "partial_image_index": number,
            "created_at": crate::app::now(), "size": self.job.given["size"], "output_format": "jpeg",
            "quality": "auto", "background": "opaque", "index": index,
        });
        self.ready.push_back(named(self.names.partial, &fields));
    }

    async fn read(&self) -> Outcome<Job> {
        let gone = || Problem::not_found("job", &self.job.id.to_string());
        self.app.store().job(&self.caller.tenant, self.job.id).await?.ok_or_else(gone)
    }

    async fn revised(&self) -> Outcome<Option<String>> {
        Ok(answer::revised(&self.read().await?))
    }
}
