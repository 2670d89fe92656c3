//! PhotoMaker of both versions against a reference in Python (fixtures by `generate/photomaker.py`): the person's
//! tokens, the prompt with them, and the ids of a prompt with the trigger word.

use std::path::PathBuf;

use imagine_encoders::clip_vision::ClipVisionModel;
use imagine_encoders::clip_vision_config::ClipVisionConfig;
use imagine_encoders::{ClipTokenizer, TokenizerError};
use imagine_identity::adapters::{
    PhotoMaker, PhotoMakerError, PhotoMakerFeatures, PhotoMakerVersion, SpecialTokens, TriggerPrompt,
    split_at_trigger,
};
use imagine_pipeline::lora::{LoraFile, Network};
use imagine_tests::{Golden, assert_close, device, fixtures, kind, relative_error};
use imagine_unet::{UNetConfig, Weights};
use serde::Deserialize;
use tch::Tensor;

const TOLERANCE: f64 = 1e-5;

type Failure = Box<dyn std::error::Error>;

fn file(version: u8) -> PathBuf {
    fixtures("photomaker").join(format!("photomaker-v{version}.bin"))
}

/// A file with its vision network, every key used.
fn load(version: u8) -> Result<(PhotoMaker, ClipVisionModel), Failure> {
    let config: ClipVisionConfig =
        serde_json::from_str(&std::fs::read_to_string(fixtures("photomaker").join("vision.json"))?)?;
    let photomaker = PhotoMaker::open(&file(version), None, device(), kind())?;
    let vision = ClipVisionModel::new(&photomaker.vision(), &config)?;
    photomaker.finish(&ClipVisionModel::IGNORED)?;
    Ok((photomaker, vision))
}

fn features(
    vision: &ClipVisionModel,
    golden: &Golden,
    people: i64,
    embedded: bool,
) -> Result<PhotoMakerFeatures, Failure> {
    let seen = vision.forward(&golden.get("pixels").narrow(0, 0, people))?;
    Ok(PhotoMakerFeatures {
        pooled: seen.pooled,
        image_embeds: seen.image_embeds.ok_or("the vision network has a projection")?,
        last_hidden_state: seen.last_hidden_state,
        embeddings: embedded.then(|| golden.get("embeddings").narrow(0, 0, people)),
    })
}

fn compare(version: u8, embedded: bool) -> Result<(), Failure> {
    let _no_grad = tch::no_grad_guard();
    let (photomaker, vision) = load(version)?;
    let golden = Golden::here("photomaker", "io.safetensors");
    let prompt = golden.get("prompt");
    for people in [1, 3] {
        let tokens = photomaker.tokens(&features(&vision, &golden, people, embedded)?)?;
        let name = |what: &str| format!("v{version}.{people}.{what}");
        assert_close(&name("tokens"), &tokens, &golden.get(&name("tokens")), TOLERANCE);
        assert_eq!(tokens.size()[0], people * photomaker.version().tokens() as i64);
        let fused = photomaker.fuse(&prompt, 3, &tokens)?;
        assert_close(&name("fused"), &fused, &golden.get(&name("fused")), TOLERANCE);
        assert!(relative_error(&fused, &prompt) > 1e-2, "the person changes the prompt");
        assert_close("the words before", &fused.narrow(1, 0, 3), &prompt.narrow(1, 0, 3), 0.0);
    }
    Ok(())
}

#[test]
fn version_1_stacks_clips_embeddings() -> Result<(), Failure> {
    compare(1, false)?;
    let (photomaker, _) = load(1)?;
    assert_eq!((photomaker.version(), photomaker.embedding_width()), (PhotoMakerVersion::V1, None));
    Ok(())
}

#[test]
fn version_2_reads_the_picture_with_the_face_embedding() -> Result<(), Failure> {
    compare(2, true)?;
    let (photomaker, _) = load(2)?;
    assert_eq!((photomaker.version(), photomaker.embedding_width()), (PhotoMakerVersion::V2, Some(12)));
    Ok(())
}

/// The LoRA stands in the same file.
#[test]
fn the_lora_is_read_from_the_file() -> Result<(), Failure> {
    let _no_grad = tch::no_grad_guard();
    let base = fixtures("lora").join("sdxl/unet");
    let weights = Weights::open_folder(&base, device(), kind())?;
    let lora = LoraFile::open_below(&file(1), PhotoMaker::LORA_PREFIX)?;
    assert_eq!(lora.describe().ranks, Some((2, 2)));
    let count = lora.describe().layers[&Network::UNet];
    assert!(count >= 4, "{count}");
    lora.merge_into_unet(&weights, &UNetConfig::from_file(&base.join("config.json"))?, 1.0)?;
    Ok(())
}

#[derive(Deserialize)]
struct Prompts {
    trigger: String,
    length: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prompt: String,
    tokens: usize,
    ids: Vec<i64>,
    first: usize,
    text_only: Vec<i64>,
}

#[test]
fn prompts_are_those_of_the_published_pipeline() -> Result<(), Failure> {
    let text = std::fs::read_to_string(fixtures("photomaker").join("prompts.json"))?;
    let prompts: Prompts = serde_json::from_str(&text)?;
    let tokenizer = ClipTokenizer::from_folder(&fixtures("tokenizer").join("openai_saved"))?;
    let special = SpecialTokens {
        start: tokenizer.bos_id(),
        end: tokenizer.eos_id(),
        padding: tokenizer.pad_id(),
        length: prompts.length,
    };
    assert!(prompts.cases.len() >= 16);
    for case in &prompts.cases {
        let ids = |text: &str| -> Result<Vec<i64>, TokenizerError> { tokenizer.text_ids(text) };
        let (before, after) = split_at_trigger(&case.prompt, &prompts.trigger)?;
        let made = TriggerPrompt::new(&ids(before)?, &ids(after)?, &prompts.trigger, case.tokens, special)?;
        assert_eq!(made.ids, case.ids, "{}, {} tokens", case.prompt, case.tokens);
        assert_eq!(made.class_tokens, case.first..case.first + case.tokens, "{}", case.prompt);
        assert_eq!(made.text_only, case.text_only, "{}", case.prompt);
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() -> Result<(), Failure> {
    let golden = Golden::here("photomaker", "io.safetensors");
    let open = |path: PathBuf, wanted| PhotoMaker::open(&path, wanted, device(), kind());
    let message =
        |result: Result<PhotoMaker, PhotoMakerError>| result.err().map(|e| e.to_string()).unwrap_or_default();
    let other = message(open(file(1), Some(PhotoMakerVersion::V2)));
    assert!(other.contains("photomaker-v1.bin") && other.contains("of PhotoMaker v1"), "{other}");
    let adapter = message(open(fixtures("faceid").join("arcface.safetensors"), None));
    assert!(adapter.contains("not a PhotoMaker file: it has no \"id_encoder."), "{adapter}");

    let (photomaker, vision) = load(2)?;
    let failed =
        |result: Result<Tensor, PhotoMakerError>| result.err().map(|e| e.to_string()).unwrap_or_default();
    let without = failed(photomaker.tokens(&features(&vision, &golden, 1, false)?));
    assert!(without.contains("needs a face embedding"), "{without}");
    let mut wrong = features(&vision, &golden, 2, true)?;
    wrong.embeddings = Some(golden.get("embeddings").narrow(0, 0, 1));
    let rows = failed(photomaker.tokens(&wrong));
    assert!(rows.contains("[1, 12], expected [2, 12]"), "{rows}");
    let tokens = photomaker.tokens(&features(&vision, &golden, 3, true)?)?;
    let beyond = failed(photomaker.fuse(&golden.get("prompt"), 8, &tokens));
    assert!(beyond.contains("expected [1, at least 14, 16]"), "{beyond}");

    let config = UNetConfig::from_file(&fixtures("lora").join("sd1/unet/config.json"))?;
    let base = photomaker.check_base(&config).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(base.contains("16 wide") && base.contains("6 wide"), "{base}");

    // The vision network left out: its keys belong to nothing.
    let alone = open(file(1), None)?;
    let left = alone.finish(&[]).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(left.contains("id_encoder.vision") && left.contains("do not belong"), "{left}");
    Ok(())
}
