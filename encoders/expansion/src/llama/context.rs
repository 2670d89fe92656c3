//! The model's state: tokens in, likelihoods and text out. What consecutive calls begin with alike stays in the KV
//! cache.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::thread::available_parallelism;

use imagine_contract::ExpandError;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

use super::weights::Weights;
use crate::choose::Judge;

/// Tokens that the cache holds.
const WINDOW: u32 = 4096;
/// Tokens that are computed at once.
const BATCH: usize = 512;
/// Candidates that are weighed at once: each is a sequence beside the common one.
const BRANCHES: usize = 63;

/// A model and what it has read.
pub struct Context<'m> {
    pub(super) model: &'m LlamaModel,
    pub(super) llama: LlamaContext<'m>,
    pub(super) batch: LlamaBatch<'m>,
    /// What sequence 0 of the cache holds.
    pub(super) held: Vec<LlamaToken>,
    /// Weights after neutral contexts, by context and candidate.
    neutral: Weights,
}

pub(super) fn failed(error: impl std::fmt::Display) -> ExpandError {
    ExpandError::Failed(format!("the language model failed: {error}"))
}

pub(super) fn position(at: usize) -> Result<i32, ExpandError> {
    i32::try_from(at).map_err(failed)
}

impl<'m> Context<'m> {
    /// Makes room for a model's state.
    ///
    /// # Errors
    /// [`ExpandError::Failed`], for want of memory.
    pub fn new(
        backend: &LlamaBackend,
        model: &'m LlamaModel,
        threads: Option<usize>,
        cache: Option<PathBuf>,
    ) -> Result<Self, ExpandError> {
        // All cores would wait for one another, and for whatever else is running.
        let cores = available_parallelism().map_or(1, usize::from);
        let threads = position(threads.unwrap_or(cores.saturating_sub(1)).clamp(1, 16))?;
        let window = WINDOW.min(model.n_ctx_train().max(512));
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(window))
            .with_n_batch(BATCH as u32)
            .with_n_ubatch(BATCH as u32)
            .with_n_seq_max(BRANCHES as u32 + 1)
            .with_kv_unified(true)
            .with_n_threads(threads)
            .with_n_threads_batch(threads);
        let llama = model.new_context(backend, params).map_err(failed)?;
        let batch = LlamaBatch::new(BATCH, 1);
        Ok(Self { model, llama, batch, held: Vec::new(), neutral: Weights::new(cache) })
    }

    /// Keeps what has been learnt about phrases for the next start.
    pub fn forget_nothing(&mut self) {
        self.neutral.save();
    }

    pub(super) fn tokens(&self, text: &str) -> Vec<LlamaToken> {
        self.model.vocab().tokenize(text.as_bytes(), true, true)
    }

    /// Reads `tokens` in sequence 0, only what is new of them; the last one's logits are there afterwards at the
    /// returned index of the batch.
    pub(super) fn read(&mut self, tokens: &[LlamaToken]) -> Result<i32, ExpandError> {
        let room = self.llama.n_ctx() as usize;
        if tokens.is_empty() || tokens.len() + BATCH > room {
            return Err(failed(format!("a text of {} tokens does not fit", tokens.len())));
        }
        let common = self.held.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        // The last token is read again, for its logits.
        let keep = common.min(tokens.len() - 1);
        let from = u32::try_from(keep).map_err(failed)?;
        self.llama.kv_cache_seq_rm(0, Some(from), None).map_err(failed)?;
        self.held.truncate(keep);
        let mut at = keep;
        let mut last = 0;
        for chunk in tokens.get(keep..).unwrap_or_default().chunks(BATCH) {
            self.batch.clear();
            for token in chunk {
                let is_last = at + 1 == tokens.len();
                self.batch.add(*token, position(at)?, &[0], is_last).map_err(failed)?;
                at += 1;
            }
            last = position(chunk.len())? - 1;
            self.llama.decode(&mut self.batch).map_err(failed)?;
            self.held.extend_from_slice(chunk);
        }
        Ok(last)
    }

    /// Mean log-likelihood a token of each candidate after `context`.
    fn likelihoods(&mut self, context: &str, candidates: &[String]) -> Result<Vec<f64>, ExpandError> {
        let tokens = self.tokens(context);
        let last = self.read(&tokens)?;
        let first = LogSoftmax::of(self.llama.get_logits_ith(last));
        let begin = tokens.len();
        let vocab = self.model.vocab();
        let continued: Vec<Vec<LlamaToken>> =
            candidates.iter().map(|text| vocab.tokenize(text.as_bytes(), false, false)).collect();
        let mut sums: Vec<f64> = Vec::with_capacity(candidates.len());
        for tokens in &continued {
            sums.push(tokens.first().map_or(f64::NEG_INFINITY, |token| first.log_p(*token)));
        }
        let mut done = 0;
        while done < continued.len() {
            // As many candidates as fit a batch and the sequences.
            let mut many = 0;
            let mut room = BATCH;
            while let Some(tokens) = continued.get(done + many).filter(|_| many < BRANCHES) {
                match room.checked_sub(tokens.len()) {
                    Some(left) => room = left,
                    None => break,
                }
                many += 1;
            }
            let many = many.max(1);
            self.branch(begin, continued.get(done..done + many).unwrap_or_default(), done, &mut sums)?;
            done += many;
        }
        let mean = |(sum, tokens): (f64, &Vec<LlamaToken>)| sum / tokens.len().max(1) as f64;
        Ok(sums.into_iter().zip(&continued).map(mean).collect())
    }

    /// Adds to `sums`, from index `offset`, what the candidates' later tokens are likely after their earlier ones.
    fn branch(
        &mut self,
        begin: usize,
        candidates: &[Vec<LlamaToken>],
        offset: usize,
        sums: &mut [f64],
    ) -> Result<(), ExpandError> {
        self.batch.clear();
        let mut expected: Vec<(usize, LlamaToken)> = Vec::new();
        for (i, tokens) in candidates.iter().enumerate() {
            let sequence = position(i + 1)?;
            for (j, pair) in tokens.windows(2).enumerate() {
                if let [token, next] = pair {
                    self.batch.add(*token, position(begin + j)?, &[sequence], true).map_err(failed)?;
                    expected.push((offset + i, *next));
                }
            }
            if tokens.len() > 1 {
                self.llama.kv_cache_seq_cp(0, sequence, None, None).map_err(failed)?;
            }
        }
        if !expected.is_empty() {
            self.llama.decode(&mut self.batch).map_err(failed)?;
        }
        for (at, (sum, next)) in expected.iter().enumerate() {
            let logits = LogSoftmax::of(self.llama.get_logits_ith(position(at)?));
            if let Some(sum) = sums.get_mut(*sum) {
                *sum += logits.log_p(*next);
            }
        }
        for i in 0..candidates.len() {
            let sequence = u32::try_from(i + 1).map_err(failed)?;
            self.llama.kv_cache_seq_rm(sequence.cast_signed(), None, None).map_err(failed)?;
        }
        Ok(())
    }
}

impl Judge for Context<'_> {
    fn weigh(
        &mut self,
        context: &str,
        neutral: &str,
        candidates: &[String],
    ) -> Result<Vec<f64>, ExpandError> {
        let unknown: Vec<String> =
            candidates.iter().filter(|text| self.neutral.get(neutral, text).is_none()).cloned().collect();
        if !unknown.is_empty() {
            let weights = self.likelihoods(neutral, &unknown)?;
            self.neutral.add(neutral, &unknown, &weights);
        }
        let weights = self.likelihoods(context, candidates)?;
        let usual = |candidate: &str| self.neutral.get(neutral, candidate).unwrap_or_default();
        Ok(candidates.iter().zip(weights).map(|(candidate, weight)| weight - usual(candidate)).collect())
    }
}

/// Logarithms of probabilities.
struct LogSoftmax<'a> {
    logits: &'a [f32],
    log_sum: f64,
}

impl<'a> LogSoftmax<'a> {
    fn of(logits: &'a [f32]) -> Self {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
        Self { logits, log_sum: f64::from(most) + f64::from(sum).ln() }
    }

    fn log_p(&self, token: LlamaToken) -> f64 {
        let logit = usize::try_from(token.0).ok().and_then(|index| self.logits.get(index));
        logit.map_or(f64::NEG_INFINITY, |logit| f64::from(*logit) - self.log_sum)
    }
}
