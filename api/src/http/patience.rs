//! A request's body has to arrive: it may pause for so long, and take so long altogether.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::app::App;
use crate::error::{Code, Problem};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the body took too long to arrive")]
struct Late;

/// Whoever reads the body sees it break off; the client is told why.
pub(crate) async fn wait_for_bodies(State(app): State<App>, request: Request, next: Next) -> Response {
    let server = &app.config.server;
    let pause = Duration::from_secs(server.body_pause_seconds);
    let whole = Duration::from_secs(server.body_seconds);
    let late = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&late);
    let request = request.map(|body| match body.is_end_stream() {
        true => body,
        false => Body::new(Patient { body, pause, end: Instant::now() + whole, waiting: None, late: flag }),
    });
    let response = next.run(request).await;
    if late.load(Ordering::Relaxed) {
        let detail = "the request's body did not arrive in time";
        return Problem::new(Code::RequestTimeout, detail).into_response();
    }
    response
}

struct Patient {
    body: Body,
    pause: Duration,
    end: Instant,
    /// While the next piece is waited for; what the reader does meanwhile is not the sender's time.
    waiting: Option<Pin<Box<Sleep>>>,
    late: Arc<AtomicBool>,
}

impl HttpBody for Patient {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.waiting = None;
            return Poll::Ready(frame);
        }
        let until = (Instant::now() + this.pause).min(this.end);
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(waiting.as_mut().poll(context));
        this.late.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(axum::Error::new(Late))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
