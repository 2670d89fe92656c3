//! Adapters of every kind against diffusers, which loads the same files with its own converter (fixtures by
//! `generate/ip_adapters.py`): tokens, and a whole step of a U-Net.

use std::path::{Path, PathBuf};

use image::RgbImage;
use imagine_encoders::{ClipImageProcessor, ClipVisionModel};
use imagine_identity::adapters::{
    Adapter, AdapterError, AdapterKind, AdapterOptions, ClipStates, Combine, ReferenceFeatures,
};
use imagine_tests::{Golden, assert_close, device, fixtures, kind, relative_error};
use imagine_unet::unet_2d_condition::UNet2DConditionModel;
use imagine_unet::{AddedCondition, Condition, IdentityTokens, UNetConfig, Weights};
use tch::{Kind, Tensor};

use crate::broken_files::{Stored, read_safetensors, write_safetensors};

const TOLERANCE: f64 = 1e-5;
const SCALE: f64 = 0.7;

fn published(name: &str) -> PathBuf {
    fixtures("ip_adapters").join(name)
}

fn unet_folder(base: &str) -> PathBuf {
    fixtures("unet").join(base)
}

fn config(base: &str) -> UNetConfig {
    UNetConfig::from_file(&unet_folder(base).join("config.json")).expect("the fixture's config")
}

fn open(file: &Path, options: &AdapterOptions) -> Result<Adapter, AdapterError> {
    Adapter::open(file, options, device(), kind())
}

/// A tiny U-Net with an adapter, in the order in which a checkpoint is loaded.
fn load(
    base: &str,
    file: &Path,
    options: &AdapterOptions,
) -> Result<(Adapter, UNet2DConditionModel), AdapterError> {
    let config = config(base);
    let adapter = open(file, options)?;
    let weights = Weights::open_folder(&unet_folder(base), device(), kind())?;
    adapter.merge_lora(&weights, &config)?;
    let mut unet = UNet2DConditionModel::new(&weights.root(), &config).expect("the fixture's U-Net");
    weights.finish(&[])?;
    adapter.attach(&mut unet)?;
    Ok((adapter, unet))
}

/// One step of [nobody, the person].
fn step(base: &str, unet: &UNet2DConditionModel, io: &Golden, nobody: &Tensor, person: &Tensor) -> Tensor {
    let identity = IdentityTokens {
        tokens: Tensor::cat(&[nobody, person], 0),
        scale: Tensor::full([2], SCALE, (Kind::Float, device())),
        region: None,
    };
    let cross = unet.cross_kv(&Condition { text: io.get("text"), identities: vec![identity] });
    let added = (base == "sdxl")
        .then(|| AddedCondition { text_embeds: io.get("text_embeds"), time_ids: io.get("time_ids") });
    unet.forward(&io.get("sample"), &io.get("timesteps"), &cross, added.as_ref(), None)
}

fn picture(io: &Golden, index: usize) -> RgbImage {
    let pixels = io.get(&format!("picture.{index}")); // [H, W, 3]
    let (height, width, _) = pixels.size3().expect("a picture");
    let bytes = Vec::<u8>::try_from(pixels.flatten(0, 2)).expect("bytes");
    RgbImage::from_raw(width as u32, height as u32, bytes).expect("as many bytes as pixels")
}

/// The tiny image encoder on both pictures, by what an adapter needs of it: each picture's states, and those
/// of zero pixel values.
fn clip_states(io: &Golden, states: ClipStates) -> (Vec<Tensor>, Tensor) {
    let dir = published("image_encoder");
    let model = ClipVisionModel::from_folder(&dir, device(), kind()).expect("the fixture's encoder");
    let processor = ClipImageProcessor::from_folder(&dir, model.config().image_size as u32)
        .expect("CLIP's own steps of that size");
    let each = (0..2).map(|index| {
        let pixels = processor.preprocess(&picture(io, index)).expect("a picture");
        let out = model.forward(&pixels).expect("pixel values");
        match states {
            ClipStates::LastButOne => out.last_but_one,
            ClipStates::Projected => out.image_embeds.expect("a projection"),
        }
    });
    (each.collect(), model.of_zero_pixels().expect("the fixture's encoder"))
}

/// What `adapter` needs of both references, and CLIP's states of zero pixel values.
fn references(adapter: &Adapter, io: &Golden) -> (Vec<ReferenceFeatures>, Option<Tensor>) {
    let needs = adapter.needs();
    let clip = needs.clip_states.map(|states| clip_states(io, states));
    let face = |index: i64| {
        let name = if needs.raw_embedding { "raw_faces" } else { "faces" };
        needs.embedding_width.map(|_| io.get(name).narrow(0, index, 1))
    };
    let each = (0..2).map(|index| ReferenceFeatures {
        embedding: face(index).filter(|_| !needs.raw_embedding),
        raw_embedding: face(index).filter(|_| needs.raw_embedding),
        clip: clip.as_ref().and_then(|(each, _)| each.get(index as usize).map(Tensor::shallow_clone)),
    });
    (each.collect(), clip.map(|(_, zeros)| zeros).filter(|_| needs.zero_pixels()))
}

/// Compares tokens and steps of one reference and of two side by side. `name` begins the fixture's names.
fn compare(
    base: &str,
    file: &Path,
    name: &str,
    options: AdapterOptions,
    kind: AdapterKind,
    tokens_of_one: i64,
) {
    let io = Golden::here("ip_adapters", "io.safetensors");
    let options = AdapterOptions { combine: Some(Combine::Concatenate), ..options };
    let (adapter, unet) = load(base, file, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!((adapter.kind(), adapter.cross_dim()), (kind, 6));
    let (references, zeros) = references(&adapter, &io);
    for count in [1, 2] {
        let what = |what: &str| io.get(&format!("{name}.{what}.{count}"));
        let person = adapter.tokens(&references[..count]).unwrap_or_else(|e| panic!("{name}: {e}"));
        let nobody = adapter.unconditional(zeros.as_ref(), count).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(person.size(), [1, tokens_of_one * count as i64, 6], "{name}");
        assert_close(&format!("{name}: tokens of {count}"), &person, &what("tokens"), TOLERANCE);
        assert_close(&format!("{name}: nobody beside {count}"), &nobody, &what("nobody"), TOLERANCE);
        let output = step(base, &unet, &io, &nobody, &person);
        assert_close(&format!("{name}: step with {count}"), &output, &what("output"), TOLERANCE);
    }
}

fn plain(base: &str, file: &str, name: &str, kind: AdapterKind, tokens_of_one: i64) {
    compare(
        base,
        &published(file),
        &format!("{base}.{name}"),
        AdapterOptions::default(),
        kind,
        tokens_of_one,
    );
}

#[test]
fn ip_adapter() {
    plain("sd1", "ip-adapter_sd15.bin", "plain", AdapterKind::IpAdapter, 4);
    plain("sdxl", "ip-adapter_sdxl_vit-h.safetensors", "plain", AdapterKind::IpAdapter, 4);
}

#[test]
fn ip_adapter_plus_and_plus_face() {
    plain("sd1", "ip-adapter-plus-face_sd15.safetensors", "plus", AdapterKind::IpAdapterPlus, 5);
    plain("sdxl", "ip-adapter-plus_sdxl_vit-h.safetensors", "plus", AdapterKind::IpAdapterPlus, 5);
}

#[test]
fn ip_adapter_full_face() {
    for (base, file) in
        [("sd1", "ip-adapter-full-face_sd15.safetensors"), ("sdxl", "ip-adapter-full-face_sdxl.safetensors")]
    {
        plain(base, file, "full-face", AdapterKind::IpAdapterFullFace, 17);
    }
}

#[test]
fn faceid_with_its_lora() {
    plain("sd1", "ip-adapter-faceid_sd15.safetensors", "faceid", AdapterKind::FaceId, 4);
    plain("sdxl", "ip-adapter-faceid_sdxl.safetensors", "faceid", AdapterKind::FaceId, 4);
}

#[test]
fn faceid_portrait() {
    for (base, file) in
        [("sd1", "ip-adapter-faceid-portrait_sd15.bin"), ("sdxl", "ip-adapter-faceid-portrait_sdxl.bin")]
    {
        plain(base, file, "portrait", AdapterKind::FaceIdPortrait, 16);
    }
}

#[test]
fn instantid_reads_embeddings_that_are_not_normalised() {
    plain("sdxl", "ip-adapter_instantid.safetensors", "instantid", AdapterKind::InstantId, 3);
}

#[test]
fn faceid_plus_and_its_version_2_by_name_and_by_choice() {
    let by_choice = |kind| AdapterOptions { kind: Some(kind), ..AdapterOptions::default() };
    let weak = AdapterOptions { shortcut_scale: Some(0.4), ..AdapterOptions::default() };
    let (v1, v2) = (AdapterKind::FaceIdPlus, AdapterKind::FaceIdPlusV2);
    for (base, file, name, by_name) in [
        ("sd1", "ip-adapter-faceid-plus_sd15.safetensors", "faceid-plus", v1),
        ("sdxl", "ip-adapter-faceid-plusv2_sdxl.safetensors", "faceid-plus", v2),
        ("sdxl", "ip-adapter-faceid-plus_sdxl.safetensors", "faceid-plus-of-v1", v1),
    ] {
        let file = published(file);
        let name = |version: &str| format!("{base}.{name}.{version}");
        let recognised = open(&file, &AdapterOptions::default()).expect("the fixture's adapter");
        assert_eq!(recognised.kind(), by_name);
        compare(base, &file, &name("v1"), by_choice(v1), v1, 4);
        compare(base, &file, &name("v2"), by_choice(v2), v2, 4);
        let weak_v2 = AdapterOptions { kind: Some(v2), ..weak };
        compare(base, &file, &name("v2_weak"), weak_v2, v2, 4);
    }
}

#[test]
fn the_lora_acts_where_the_identity_does_not() {
    let io = Golden::here("ip_adapters", "io.safetensors");
    for (base, file, name) in [
        ("sd1", "ip-adapter-faceid_sd15.safetensors", "faceid"),
        ("sdxl", "ip-adapter-faceid_sdxl.safetensors", "faceid"),
        ("sd1", "ip-adapter-faceid-plus_sd15.safetensors", "faceid-plus"),
        ("sdxl", "ip-adapter-faceid-plusv2_sdxl.safetensors", "faceid-plus"),
        ("sdxl", "ip-adapter-faceid-plus_sdxl.safetensors", "faceid-plus-of-v1"),
    ] {
        let (_, unet) = load(base, &published(file), &AdapterOptions::default()).expect(name);
        let cross = unet.cross_kv(&Condition { text: io.get("text"), identities: Vec::new() });
        let added = (base == "sdxl")
            .then(|| AddedCondition { text_embeds: io.get("text_embeds"), time_ids: io.get("time_ids") });
        let output = unet.forward(&io.get("sample"), &io.get("timesteps"), &cross, added.as_ref(), None);
        assert_close(name, &output, &io.get(&format!("{base}.{name}.output.off")), TOLERANCE);
    }
}

#[test]
fn several_references_are_averaged_or_stand_side_by_side() {
    let io = Golden::here("ip_adapters", "io.safetensors");
    let tokens = |file: &str, options: AdapterOptions| {
        let adapter = open(&published(file), &options).expect(file);
        let (references, zeros) = references(&adapter, &io);
        let person = adapter.tokens(&references).expect(file);
        let nobody = adapter.unconditional(zeros.as_ref(), 2).expect(file);
        assert_eq!(person.size(), nobody.size(), "{file}");
        person
    };
    let usual = AdapterOptions::default();
    for (base, file) in
        [("sd1", "ip-adapter-faceid_sd15.safetensors"), ("sdxl", "ip-adapter-faceid_sdxl.safetensors")]
    {
        let mean = io.get(&format!("{base}.faceid.tokens.mean"));
        assert_close(file, &tokens(file, usual), &mean, TOLERANCE);
    }
    let file = "ip-adapter-faceid-plusv2_sdxl.safetensors";
    assert_close(file, &tokens(file, usual), &io.get("sdxl.faceid-plus.v2.tokens.mean"), TOLERANCE);
    // Published to stand side by side
    for (file, name) in [
        ("ip-adapter-faceid-portrait_sd15.bin", "sd1.portrait"),
        ("ip-adapter-plus-face_sd15.safetensors", "sd1.plus"),
    ] {
        assert_close(file, &tokens(file, usual), &io.get(&format!("{name}.tokens.2")), TOLERANCE);
    }
    let average = AdapterOptions { combine: Some(Combine::Average), ..usual };
    let both = io.get("sd1.plus.tokens.2").view([2, 5, 6]).mean_dim([0].as_slice(), true, None);
    let file = "ip-adapter-plus-face_sd15.safetensors";
    assert_close("mean of tokens", &tokens(file, average), &both, TOLERANCE);
}

#[test]
fn the_states_of_clip_are_those_of_diffusers() {
    let io = Golden::here("ip_adapters", "io.safetensors");
    for (states, name) in [(ClipStates::Projected, "plain"), (ClipStates::LastButOne, "plus")] {
        let (each, zeros) = clip_states(&io, states);
        let person = io.get(&format!("clip.{name}.person"));
        assert_close(name, &Tensor::cat(&each, 0), &person, TOLERANCE);
        if states == ClipStates::LastButOne {
            assert_close("zero pixels", &zeros, &io.get("clip.plus.nobody"), TOLERANCE);
        }
    }
}

#[test]
fn bf16_stays_near_f32() {
    let io = Golden::here("ip_adapters", "io.safetensors");
    let file = published("ip-adapter-faceid-plusv2_sdxl.safetensors");
    let adapter =
        Adapter::open(&file, &AdapterOptions::default(), device(), Kind::BFloat16).expect("an adapter");
    let (references, _) = references(&adapter, &io);
    let tokens = adapter.tokens(&references[..1]).expect("tokens");
    assert_eq!(tokens.kind(), Kind::BFloat16);
    let error = relative_error(&tokens, &io.get("sdxl.faceid-plus.v2.tokens.1"));
    assert!(error < 0.03, "{error}");
}

#[test]
fn names_of_kinds_are_read_back() {
    for kind in AdapterKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
    let error = "faceid-plus-v3".parse::<AdapterKind>().expect_err("no such kind");
    assert!(error.contains("faceid-plus-v3") && error.contains("faceid-plusv2"), "{error}");
}

#[test]
fn file_names_tell_versions_apart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let copy = |from: &str, to: &str| {
        let file = dir.path().join(to);
        std::fs::copy(published(from), &file).expect("a copy");
        open(&file, &AdapterOptions::default()).expect(to)
    };
    for (name, kind) in [
        ("ip-adapter-faceid-plusv2_sd15.safetensors", AdapterKind::FaceIdPlusV2),
        ("FaceID_Plus_V2.safetensors", AdapterKind::FaceIdPlusV2),
        ("adapter.safetensors", AdapterKind::FaceIdPlus),
    ] {
        assert_eq!(copy("ip-adapter-faceid-plus_sd15.safetensors", name).kind(), kind, "{name}");
    }
    let portrait = "ip-adapter-faceid-portrait_sd15.bin";
    let raw = |name: &str| copy(portrait, name).needs().raw_embedding;
    assert!(raw("ip-adapter-faceid-portrait_sdxl_unnorm.bin"));
    assert!(!raw("ip-adapter-faceid-portrait_sdxl.bin"));
}

fn refusal(base: &str, file: &Path, options: &AdapterOptions) -> String {
    load(base, file, options).map(drop).expect_err("this adapter must be refused").to_string()
}

#[test]
fn another_base_is_refused_with_the_reason() {
    let usual = AdapterOptions::default();
    let layers = refusal("sdxl", &published("ip-adapter-plus-face_sd15.safetensors"), &usual);
    assert!(layers.contains("plus-face_sd15") && layers.contains("another base model"), "{layers}");
    assert!(layers.contains("6 cross-attention layers") && layers.contains("has 8"), "{layers}");
    let layers = refusal("sd1", &published("ip-adapter-faceid_sdxl.safetensors"), &usual);
    assert!(layers.contains("8 cross-attention layers") && layers.contains("has 6"), "{layers}");
    let width = refusal("sd2", &published("ip-adapter_sd15.bin"), &usual);
    assert!(width.contains("6 wide") && width.contains("10 wide"), "{width}");
    assert!(width.contains("ip-adapter_sd15.bin") && width.contains("another base model"), "{width}");
}

#[test]
fn a_kind_that_the_tensors_cannot_be_is_refused() {
    let wanted = AdapterOptions { kind: Some(AdapterKind::FaceIdPlusV2), ..AdapterOptions::default() };
    let message = refusal("sd1", &published("ip-adapter-plus-face_sd15.safetensors"), &wanted);
    assert!(message.contains("ip-adapter-plus,") && message.contains("faceid-plusv2"), "{message}");
}

/// Writes a file with one change and returns how that is refused.
fn changed(from: &str, change: impl FnOnce(&mut std::collections::BTreeMap<String, Stored>)) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("changed.safetensors");
    let mut tensors = read_safetensors(&published(from));
    change(&mut tensors);
    write_safetensors(&file, &tensors);
    let message = refusal("sd1", &file, &AdapterOptions::default());
    assert!(message.contains("changed.safetensors"), "{message}");
    message
}

#[test]
fn damaged_adapters_are_refused_by_file_and_key() {
    let plus = "ip-adapter-plus-face_sd15.safetensors";
    for key in [
        "image_proj.layers.2.0.to_kv.weight",
        "image_proj.layers.3.1.0.bias",
        "image_proj.proj_in.weight",
        "image_proj.norm_out.bias",
        "ip_adapter.7.to_v_ip.weight",
        "ip_adapter.5.to_k_ip.weight",
    ] {
        let message = changed(plus, |t| drop(t.remove(key)));
        assert!(message.contains(key), "{key}: {message}");
    }
    for (key, shape, expected) in [
        ("image_proj.latents", vec![1, 5, 7], "[1, 5, 7]"),
        ("image_proj.layers.0.0.to_q.weight", vec![100, 6], "100 rows"),
        ("image_proj.layers.1.0.to_q.weight", vec![64, 6], "[64, 6], expected [128, 6]"),
        ("image_proj.proj_out.weight", vec![6], "[6]"),
        ("image_proj.layers.7.0.norm1.weight", vec![6], "layers.4.0.norm1.weight"),
        ("image_proj.something", vec![6], "image_proj.something"),
        ("ip_adapter.0.to_k_ip.weight", vec![4, 6], "ip_adapter.0.to_k_ip.weight"),
    ] {
        let message = changed(plus, |t| drop(t.insert(key.into(), Stored::zeros(&shape))));
        assert!(message.contains(expected), "{key}: {message}");
    }
    let faceid_plus = "ip-adapter-faceid-plus_sd15.safetensors";
    let key = "image_proj.perceiver_resampler.proj_out.weight";
    let message = changed(faceid_plus, |t| drop(t.insert(key.into(), Stored::zeros(&[7, 6]))));
    assert!(message.contains("6 wide") && message.contains("tokens of 7"), "{message}");
    let key = "ip_adapter.2.to_v_lora.up.weight";
    let message = changed(faceid_plus, |t| drop(t.remove(key)));
    assert!(message.contains("ip_adapter.2.to_v_lora"), "{message}");
    let full = "ip-adapter-full-face_sd15.safetensors";
    let message =
        changed(full, |t| drop(t.insert("image_proj.proj.2.weight".into(), Stored::zeros(&[6, 11]))));
    assert!(message.contains("[6, 11]") && message.contains("MLP"), "{message}");
    let sdxl = "ip-adapter_sdxl_vit-h.safetensors";
    let message = changed(sdxl, |t| drop(t.insert("image_proj.proj.weight".into(), Stored::zeros(&[25, 9]))));
    assert!(message.contains("[25, 9]") && message.contains("whole tokens"), "{message}");
}

#[test]
fn what_is_no_adapter_is_refused_with_what_it_seems_to_be() {
    let faceid = "ip-adapter-faceid_sd15.safetensors";
    let lora = changed(faceid, |t| t.retain(|key, _| key.contains("_lora.")));
    assert!(lora.contains("it is a LoRA"), "{lora}");
    let photomaker = changed(faceid, |t| {
        t.clear();
        t.insert("id_encoder.visual_projection_2.weight".into(), Stored::zeros(&[2, 2]));
    });
    assert!(photomaker.contains("PhotoMaker"), "{photomaker}");
    let unet = unet_folder("sd1").join("diffusion_pytorch_model.safetensors");
    let message = refusal("sd1", &unet, &AdapterOptions::default());
    assert!(message.contains("not an identity adapter") && message.contains("image_proj"), "{message}");
    let message = refusal("sd1", Path::new("no/such/adapter.safetensors"), &AdapterOptions::default());
    assert!(message.contains("no/such/adapter.safetensors"), "{message}");
}

#[test]
fn a_lora_that_was_not_merged_is_noticed() {
    let config = config("sd1");
    let file = published("ip-adapter-faceid_sd15.safetensors");
    let adapter = open(&file, &AdapterOptions::default()).expect("the fixture's adapter");
    let weights = Weights::open_folder(&unet_folder("sd1"), device(), kind()).expect("weights");
    let mut unet = UNet2DConditionModel::new(&weights.root(), &config).expect("the fixture's U-Net");
    let message = adapter.attach(&mut unet).expect_err("a LoRA is left").to_string();
    assert!(message.contains("_lora."), "{message}");
}

#[test]
fn features_that_are_missing_or_wrong_are_refused() {
    let io = Golden::here("ip_adapters", "io.safetensors");
    let adapter = |file: &str| open(&published(file), &AdapterOptions::default()).expect(file);
    let plus = adapter("ip-adapter-faceid-plus_sd15.safetensors");
    let tokens = |adapter: &Adapter, embedding: Option<&[i64]>, clip: Option<&[i64]>| {
        let zeros = |size: Option<&[i64]>| size.map(|s| Tensor::zeros(s, (Kind::Float, device())));
        let features =
            ReferenceFeatures { embedding: zeros(embedding), raw_embedding: None, clip: zeros(clip) };
        adapter.tokens(&[features]).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(tokens(&plus, Some(&[1, 12]), Some(&[1, 17, 10])), Ok(()));
    for (embedding, clip, expected) in [
        (None, Some(vec![1, 17, 10]), "needs a face embedding"),
        (Some(vec![1, 12]), None, "needs the CLIP hidden states"),
        (Some(vec![1, 13]), Some(vec![1, 17, 10]), "12 numbers, got 13"),
        (Some(vec![12]), Some(vec![1, 17, 10]), "[12], expected [1, width]"),
        (Some(vec![2, 12]), Some(vec![1, 17, 10]), "[2, 12]"),
        (Some(vec![1, 12]), Some(vec![1, 17, 9]), "10 wide, got 9"),
        (Some(vec![1, 12]), Some(vec![1, 10]), "[1, 10], expected [1, tokens, width]"),
        (Some(vec![1, 12]), Some(vec![1, 0, 10]), "[1, 0, 10]"),
    ] {
        let message = tokens(&plus, embedding.as_deref(), clip.as_deref()).expect_err(expected);
        assert!(message.contains(expected) && message.contains("faceid-plus_sd15"), "{message}");
    }
    let instant = adapter("ip-adapter_instantid.safetensors");
    let message = tokens(&instant, Some(&[1, 512]), None).expect_err("not the raw one");
    assert!(message.contains("not normalised"), "{message}");
    assert!(plus.tokens(&[]).expect_err("nobody").to_string().contains("at least one reference"));
    let message = plus.unconditional(None, 1).expect_err("no states of zeros").to_string();
    assert!(message.contains("zero pixel values"), "{message}");
    assert!(plus.check_embedding(12).is_ok() && plus.check_embedding(512).is_err());
    // Pictures through CLIP need no face recogniser, so any width will do.
    let face_free = adapter("ip-adapter-plus-face_sd15.safetensors");
    assert!(face_free.check_embedding(512).is_ok());
    assert_eq!(face_free.needs().embedding_width, None);
    // Two references of which one lacks what is needed
    let good = |index: i64| io.get("faces").narrow(0, index, 1);
    let references = [
        ReferenceFeatures { embedding: Some(good(0)), ..ReferenceFeatures::default() },
        ReferenceFeatures::default(),
    ];
    let faceid = adapter("ip-adapter-faceid_sd15.safetensors");
    assert!(faceid.tokens(&references).is_err());
}
