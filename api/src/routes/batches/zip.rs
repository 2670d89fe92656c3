//! A batch's pictures in one file.

use std::io::{self, Write};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use imagine_store::{BatchId, BlobError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{find, results};
use crate::app::App;
use crate::error::{Outcome, ProblemBody};
use crate::http::auth::Caller;

/// Every picture there is so far, as `LINE-INDEX.png`, and `manifest.jsonl` with the results.
#[utoipa::path(get, path = "/v1/batches/{id}/pictures.zip", tag = "batches", params(("id" = String, Path)), responses(
    (status = OK, body = Vec<u8>, content_type = "application/zip"),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn pictures(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Outcome<Response> {
    let batch = find(&app, &caller, &id).await?;
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(4);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let writer = ChannelWriter { sender: sender.clone(), buffer: Vec::new() };
        if let Err(error) = write_zip(&runtime, &app, &caller, batch.id, writer) {
            // A ZIP without its end is no ZIP: the connection is broken off.
            let _ = sender.blocking_send(Err(error));
        }
    });
    let disposition = format!("attachment; filename=\"{id}.zip\"");
    let headers =
        [(header::CONTENT_TYPE, "application/zip"), (header::CONTENT_DISPOSITION, disposition.as_str())];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

fn write_zip(
    runtime: &Handle,
    app: &App,
    caller: &Caller,
    id: BatchId,
    writer: ChannelWriter,
) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(writer);
    // Pictures are compressed already.
    let options =
        SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
    let mut manifest = String::new();
    let mut first = 0;
    loop {
        let lines = runtime
            .block_on(app.store().batch_results(id, first, results::PAGE))
            .map_err(io::Error::other)?;
        if lines.is_empty() {
            break;
        }
        first += lines.len() as u64;
        for result in &lines {
            let mut told = results::line(result, &app.link(caller));
            for (position, image) in result.result.iter().flat_map(|job| &job.outputs).enumerate() {
                let bytes = match runtime.block_on(app.parts.archive.blobs.get(&image.blob)) {
                    Ok(bytes) => bytes,
                    // Deleted since the line was read.
                    Err(BlobError::NotFound(_)) => continue,
                    Err(error) => return Err(io::Error::other(error)),
                };
                let name = format!("{:05}-{}.{}", result.line, image.index, image.format.name());
                zip.start_file(&name, options).map_err(io::Error::other)?;
                zip.write_all(&bytes)?;
                told["output"][position]["file"] = name.into();
            }
            manifest.push_str(&told.to_string());
            manifest.push('\n');
        }
    }
    zip.start_file("manifest.jsonl", options).map_err(io::Error::other)?;
    zip.write_all(manifest.as_bytes())?;
    let writer = zip.finish().map_err(io::Error::other)?;
    writer.into_inner().flush()
}

/// Hands what is written to the connection, which sets the pace.
struct ChannelWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

/// Bytes that are sent at once.
const CHUNK: usize = 64 << 10;

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        self.sender.blocking_send(Ok(bytes)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
