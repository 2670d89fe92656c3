//! A local model in a GGUF file, by llama.cpp. One thread owns the model and its cache; ideas come to it in turn.

mod context;
mod self_test;
mod weights;
mod worker;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use imagine_contract::{CancelFlag, ExpandError, Expander, Expansion, Idea, Mode, NoteCode};

use crate::ground::Grounding;
use crate::knowledge::Knowledge;
use crate::query;

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct LlamaOptions {
    pub file: PathBuf,
    /// Threads to compute with; one less than there are cores if left out.
    pub threads: Option<usize>,
    /// Layers on the GPU, where the program is built for one; all of them if left out.
    pub gpu_layers: Option<u32>,
    /// How the model is used; measured if left out.
    pub mode: Option<Mode>,
    /// A folder in which the measured mode is remembered.
    pub cache: Option<PathBuf>,
    pub grounding: Option<Arc<Grounding>>,
}

/// A loaded model.
pub struct Llama {
    name: String,
    mode: Mode,
    knowledge: Arc<Knowledge>,
    grounding: Option<Arc<Grounding>>,
    jobs: Mutex<Sender<worker::Job>>,
}

impl Llama {
    /// Loads a model and finds out what it is good for.
    ///
    /// # Errors
    /// [`ExpandError::Unavailable`] where the file cannot be read, the processor lacks instructions, or the model
    /// passes not even the easier self-test.
    pub fn load(knowledge: Arc<Knowledge>, options: &LlamaOptions) -> Result<Self, ExpandError> {
        can_run()?;
        if !options.file.is_file() {
            return Err(ExpandError::Unavailable(format!(
                "there is no model file {}",
                options.file.display()
            )));
        }
        let (jobs, inbox) = channel();
        let (loaded, answer) = channel();
        let worker = worker::Worker { knowledge: knowledge.clone(), options: options.clone() };
        let thread = thread::Builder::new().name("llama".into());
        thread
            .spawn(move || worker.run(&inbox, &loaded))
            .map_err(|e| ExpandError::Unavailable(format!("no thread for the language model: {e}")))?;
        let mode = answer.recv().map_err(|_| gone())??;
        Ok(Self {
            name: name_of(&options.file),
            mode,
            knowledge,
            grounding: options.grounding.clone(),
            jobs: Mutex::new(jobs),
        })
    }

    /// What the self-test found, or the options said.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

/// A model's name: its file's, without the ending.
pub fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// llama.cpp is built for processors with these instructions (x86-64-v3: since 2013), and would crash without.
fn can_run() -> Result<(), ExpandError> {
    #[cfg(target_arch = "x86_64")]
    {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi2");
        if !has {
            let lacks = "this processor lacks AVX2, which the local language model needs";
            return Err(ExpandError::Unavailable(lacks.into()));
        }
    }
    Ok(())
}

fn gone() -> ExpandError {
    ExpandError::Unavailable("the language model's thread has ended".into())
}

impl Expander for Llama {
    fn expand(
        &self,
        idea: &Idea,
        on_text: &mut dyn FnMut(&str),
        cancel: &CancelFlag,
    ) -> Result<Expansion, ExpandError> {
        // Refused here, before the model is asked.
        let understood = self.knowledge.understand(idea)?;
        let (sources, note) = match self.grounding.as_ref().filter(|_| idea.ground) {
            Some(grounding) => match self.query(idea, cancel)? {
                Some(query) => grounding.look_up(&query, &self.knowledge),
                None => (Vec::new(), None),
            },
            None => (Vec::new(), None),
        };
        let task = worker::Task::Expand { understood, sources };
        match follow(&self.send(idea, task, cancel)?, on_text)? {
            worker::Made::Expansion(expansion) => Ok(expansion.with_note(NoteCode::SearchFailed, note)),
            worker::Made::Query(_) => Err(gone()),
        }
    }

    fn check(&self, text: &str) -> Result<(), ExpandError> {
        self.knowledge.safety.check(text)
    }

    fn can_ground(&self) -> bool {
        self.grounding.is_some()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Llama {
    /// What is looked up: a model that writes says so itself, or needs nothing, unless the idea names what nobody here
    /// knows; for one that chooses, the idea.
    fn query(&self, idea: &Idea, cancel: &CancelFlag) -> Result<Option<String>, ExpandError> {
        if self.mode != Mode::Write {
            return Ok(Some(query::of(idea, &self.knowledge)));
        }
        match follow(&self.send(idea, worker::Task::Query, cancel)?, &mut |_| {})? {
            worker::Made::Query(None) if query::names_the_unknown(idea, &self.knowledge) => {
                Ok(Some(query::of(idea, &self.knowledge)))
            }
            worker::Made::Query(query) => Ok(query),
            worker::Made::Expansion(_) => Err(gone()),
        }
    }

    fn send(
        &self,
        idea: &Idea,
        task: worker::Task,
        cancel: &CancelFlag,
    ) -> Result<Receiver<worker::Event>, ExpandError> {
        let (events, inbox) = channel();
        let (idea, cancel, name) = (idea.clone(), cancel.clone(), self.name.clone());
        let job = worker::Job { idea, task, cancel, events, name };
        self.jobs.lock().map_err(|_| gone())?.send(job).map_err(|_| gone())?;
        Ok(inbox)
    }
}

fn follow(
    inbox: &Receiver<worker::Event>,
    on_text: &mut dyn FnMut(&str),
) -> Result<worker::Made, ExpandError> {
    loop {
        match inbox.recv().map_err(|_| gone())? {
            worker::Event::Text(text) => on_text(&text),
            worker::Event::Done(result) => return result,
        }
    }
}
