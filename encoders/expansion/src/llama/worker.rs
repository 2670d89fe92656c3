//! The thread that owns a model: loads it, tests it, and answers ideas one after the other.

use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, OnceLock};

use imagine_contract::{CancelFlag, ExpandError, Expansion, Idea, Mode, Source};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;

use super::LlamaOptions;
use super::context::Context;
use super::self_test;
use crate::choose;
use crate::compose::Draft;
use crate::ground::in_english;
use crate::knowledge::{Knowledge, Understood};
use crate::write;

/// An idea on its way.
pub struct Job {
    pub idea: Idea,
    pub task: Task,
    pub cancel: CancelFlag,
    pub events: Sender<Event>,
    pub name: String,
}

/// What is wanted of it.
pub enum Task {
    /// What the model would look up first.
    Query,
    Expand {
        understood: Understood,
        sources: Vec<Source>,
    },
}

/// What comes back.
pub enum Event {
    Text(String),
    Done(Result<Made, ExpandError>),
}

/// What a task comes to.
pub enum Made {
    Query(Option<String>),
    Expansion(Box<Expansion>),
}

/// Who works.
pub struct Worker {
    pub knowledge: Arc<Knowledge>,
    pub options: LlamaOptions,
}

/// llama.cpp itself is set up once a process.
fn backend() -> Result<&'static LlamaBackend, ExpandError> {
    static BACKEND: OnceLock<Option<LlamaBackend>> = OnceLock::new();
    let start = || {
        let mut backend = LlamaBackend::init().ok()?;
        backend.void_logs();
        Some(backend)
    };
    BACKEND
        .get_or_init(start)
        .as_ref()
        .ok_or_else(|| ExpandError::Unavailable("llama.cpp does not start".into()))
}

impl Worker {
    /// Loads, says how the model will be used, and works until nobody sends any more.
    pub fn run(self, inbox: &Receiver<Job>, loaded: &Sender<Result<Mode, ExpandError>>) {
        let model = match self.load() {
            Ok(model) => model,
            Err(error) => return drop(loaded.send(Err(error))),
        };
        let (mut context, mode) = match self.ready(&model) {
            Ok(ready) => ready,
            Err(error) => return drop(loaded.send(Err(error))),
        };
        if loaded.send(Ok(mode)).is_err() {
            return;
        }
        while let Ok(job) = inbox.recv() {
            let result = match &job.task {
                Task::Query => context.query(&job.idea.text, &job.cancel).map(Made::Query),
                Task::Expand { understood, sources } => self
                    .expand(&job, understood, sources, mode, &mut context)
                    .map(|made| Made::Expansion(Box::new(made))),
            };
            // Whoever asked may have left.
            let _ = job.events.send(Event::Done(result));
            context.forget_nothing();
        }
    }

    /// Room for the model's state, and how it is used.
    fn ready<'m>(&self, model: &'m LlamaModel) -> Result<(Context<'m>, Mode), ExpandError> {
        let cache = self_test::key(&self.options.file);
        let cache = self
            .options
            .cache
            .as_ref()
            .zip(cache)
            .map(|(folder, key)| folder.join(format!("weights-{}.json", key.replace('/', "-"))));
        let mut context = Context::new(backend()?, model, self.options.threads, cache)?;
        let mode = match self.options.mode {
            Some(mode) => mode,
            None => self_test::mode(&mut context, &self.knowledge, &self.options)?,
        };
        context.forget_nothing();
        context.warm(mode)?;
        Ok((context, mode))
    }

    fn load(&self) -> Result<LlamaModel, ExpandError> {
        let params = LlamaModelParams::default()
            .with_use_mmap(true)
            .with_n_gpu_layers(self.options.gpu_layers.unwrap_or(u32::MAX >> 8));
        LlamaModel::load_from_file(backend()?, &self.options.file, &params).map_err(|e| {
            ExpandError::Unavailable(format!("{} cannot be loaded: {e}", self.options.file.display()))
        })
    }

    fn expand(
        &self,
        job: &Job,
        understood: &Understood,
        sources: &[Source],
        mode: Mode,
        context: &mut Context,
    ) -> Result<Expansion, ExpandError> {
        let web = in_english(sources, &self.knowledge);
        let mut draft = Draft::new(&self.knowledge, &job.idea, understood.clone(), &web);
        let mut on_text = |text: &str| drop(job.events.send(Event::Text(text.to_owned())));
        let sources = sources.to_vec();
        match mode {
            Mode::Write => {
                let notes = write::notes(&sources);
                let answer =
                    context.write(&job.idea.text, &notes, job.idea.seed, &mut on_text, &job.cancel)?;
                let parts = write::parse(&answer).map_err(ExpandError::Failed)?;
                Ok(write::repair(&mut draft, &self.knowledge, &job.idea, parts, &job.name, sources))
            }
            _ => {
                let topics = self.knowledge.topics.names();
                let parts =
                    choose::fill(&mut draft, topics, context, job.idea.seed, &mut on_text, &job.cancel)?;
                Ok(draft.finish(&job.idea, parts, &job.name, Mode::Choose, sources))
            }
        }
    }
}
