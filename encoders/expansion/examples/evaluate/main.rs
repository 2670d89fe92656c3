//! Prints how every backend does on the committed ideas:
//!
//! ```sh
//! cargo run -p imagine-expansion --features llama --example evaluate -- tests/expansion/ideas.tsv [MODEL.gguf...]
//! ```
//!
//! A server is evaluated too where `IMAGINE_LLM_URL` and `IMAGINE_LLM_MODEL` name one (`IMAGINE_LLM_SECONDS` for an answer).
//! `--failures` lists what failed; `--each=N` takes N ideas of each language, from all over the list; `--keep=FOLDER` writes
//! down what each model made of each idea, and does not ask again; `--write` has local models write, whatever their self-test says.

mod kept;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use imagine_contract::{CancelFlag, Expander, token_bound};
use imagine_expansion::evaluate::{evaluate, read, share, table};
use imagine_expansion::{Knowledge, Remote, RemoteOptions, Template};

/// Backends with the names that the table has for them.
type Backends = Vec<(String, Box<dyn Expander>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let (ideas, models) = files.split_first().ok_or("name the file of ideas")?;
    let knowledge = Arc::new(Knowledge::built_in()?);
    let value = |name: &str| flags.iter().find_map(|flag| flag.strip_prefix(name)?.strip_prefix('='));
    let mut cases = read(&std::fs::read_to_string(ideas)?, &knowledge)?;
    if let Some(each) = value("--each") {
        cases = share(&cases, each.parse()?);
    }
    let mut backends: Backends = vec![("template".into(), Box::new(Template::new(knowledge.clone())))];
    backends.extend(local(models, &knowledge, flags.iter().any(|flag| flag == "--write"))?);
    if let (Ok(url), Ok(model)) = (std::env::var("IMAGINE_LLM_URL"), std::env::var("IMAGINE_LLM_MODEL")) {
        let mut options = RemoteOptions::new(&url, &model);
        if let Ok(seconds) = std::env::var("IMAGINE_LLM_SECONDS") {
            options.timeout = std::time::Duration::from_secs(seconds.parse()?);
        }
        let remote = Remote::new(knowledge.clone(), options);
        backends.push((format!("{model} (server)"), Box::new(remote)));
    }
    if let Some(folder) = value("--keep") {
        for (name, backend) in &mut backends {
            let inner = std::mem::replace(backend, Box::new(Template::new(knowledge.clone())));
            let file = Path::new(folder).join(format!("{}.jsonl", name.replace(['/', ' '], "-")));
            *backend = Box::new(kept::Kept::open(inner, &file)?);
        }
    }
    let mut scores = Vec::new();
    for (name, backend) in backends {
        let score = evaluate(backend.as_ref(), &cases, &knowledge, &token_bound, &CancelFlag::default());
        if flags.iter().any(|flag| flag == "--failures") {
            score.failures.iter().for_each(|line| println!("{name}: {line}"));
        }
        scores.push((name, score));
    }
    println!("{} ideas\n\n{}", cases.len(), table(&scores));
    Ok(())
}

#[cfg(feature = "llama")]
fn local(models: &[String], knowledge: &Arc<Knowledge>, write: bool) -> Result<Backends, Box<dyn Error>> {
    use imagine_contract::Mode;
    use imagine_expansion::{Llama, LlamaOptions};
    let mut backends: Backends = Vec::new();
    for file in models {
        let start = std::time::Instant::now();
        let options = LlamaOptions {
            file: file.into(),
            cache: std::env::var_os("IMAGINE_CACHE").map(Into::into),
            mode: write.then_some(Mode::Write),
            ..LlamaOptions::default()
        };
        let llama = Llama::load(knowledge.clone(), &options)?;
        eprintln!("{file}: {:?} after {:.1} s", llama.mode(), start.elapsed().as_secs_f64());
        backends.push((format!("{} ({:?})", llama.name(), llama.mode()).to_lowercase(), Box::new(llama)));
    }
    Ok(backends)
}

#[cfg(not(feature = "llama"))]
fn local(models: &[String], _: &Arc<Knowledge>, _: bool) -> Result<Backends, Box<dyn Error>> {
    if models.is_empty() { Ok(Vec::new()) } else { Err("built without --features llama".into()) }
}
