//! InstantID (adapter, IdentityNet and drawing together) against diffusers' modules (fixtures by
//! `generate/instant_id.py`).

use std::path::PathBuf;

use imagine_identity::adapters::{
    Adapter, AdapterKind, AdapterOptions, FaceCondition, IdentityNet, ReferenceFeatures,
};
use imagine_identity::key_point_image::{KeyPointImage, KeyPoints};
use imagine_tests::{Golden, assert_close, device, fixtures, kind};
use imagine_unet::{
    AddedCondition, Condition, CrossKv, IdentityTokens, UNet2DConditionModel, UNetConfig, Weights,
};
use serde_json::Value;
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-5;
/// Of the latents, in cells.
const SIZE: (i64, i64) = (9, 8);

fn dir(name: &str) -> PathBuf {
    fixtures("instant_id").join(name)
}

struct InstantId {
    adapter: Adapter,
    net: IdentityNet,
    unet: UNet2DConditionModel,
    io: Golden,
}

impl InstantId {
    /// In the order in which a checkpoint is loaded.
    fn load() -> Self {
        Self::load_with(|_| {
            IdentityNet::open(&dir("ControlNetModel"), device(), kind()).unwrap_or_else(|e| panic!("{e}"))
        })
    }

    fn load_with(net: impl FnOnce(&UNetConfig) -> IdentityNet) -> Self {
        let (device, kind) = (device(), kind());
        let adapter = Adapter::open(&dir("ip-adapter.bin"), &AdapterOptions::default(), device, kind)
            .unwrap_or_else(|e| panic!("{e}"));
        let config = UNetConfig::from_file(&dir("unet/config.json")).expect("the fixture's config");
        let weights = Weights::open_folder(&dir("unet"), device, kind).expect("the fixture's U-Net");
        adapter.merge_lora(&weights, &config).unwrap_or_else(|e| panic!("{e}"));
        let mut unet = UNet2DConditionModel::new(&weights.root(), &config).expect("the fixture's U-Net");
        weights.finish(&[]).expect("no other tensors");
        adapter.attach(&mut unet).unwrap_or_else(|e| panic!("{e}"));
        let net = net(&config);
        net.check_base(&config).expect("made for each other");
        Self { adapter, net, unet, io: Golden::here("instant_id", "io.safetensors") }
    }

    /// Tokens of [nobody, the person]: [2, T, C]
    fn tokens(&self) -> Tensor {
        let raw_embedding = Some(self.io.get("embedding"));
        let reference = ReferenceFeatures { raw_embedding, ..ReferenceFeatures::default() };
        let person = self.adapter.tokens(&[reference]).unwrap_or_else(|e| panic!("{e}"));
        let nobody = self.adapter.unconditional(None, 1).unwrap_or_else(|e| panic!("{e}"));
        Tensor::cat(&[nobody, person], 0)
    }

    fn face(&self) -> FaceCondition {
        let text = std::fs::read_to_string(dir("face.json")).expect("the key points");
        let value: Value = serde_json::from_str(&text).expect("the key points are JSON");
        let points: KeyPoints = serde_json::from_value(value["points"].clone()).expect("five points");
        let drawing = KeyPointImage::draw(&[points], 64, 72).expect("points on the picture");
        self.net.condition(&self.tokens(), &drawing, SIZE).unwrap_or_else(|e| panic!("{e}"))
    }

    fn cross(&self, scale: f64) -> CrossKv {
        let scale = Tensor::full([2], scale, (Kind::Float, device()));
        let identities = vec![IdentityTokens { tokens: self.tokens(), scale, region: None }];
        self.unet.cross_kv(&Condition { text: self.io.get("text"), identities })
    }

    /// The prediction of both rows for `count` pictures of each.
    fn step(&self, cross: &CrossKv, face: &FaceCondition, net_scale: f64, count: i64) -> Tensor {
        let rows = |name: &str| self.io.get(name).repeat([count, 1]);
        let sample = self.io.get("sample").expand([2 * count, -1, -1, -1], false);
        let timesteps = self.io.get("timesteps").expand([2 * count], false);
        let added = AddedCondition { text_embeds: rows("text_embeds"), time_ids: rows("time_ids") };
        let residuals = self.net.residuals(face, &sample, &timesteps, Some(&added), net_scale);
        self.unet.forward(&sample, &timesteps, cross, Some(&added), Some(&residuals))
    }
}

#[test]
fn the_files_say_what_they_are() {
    let InstantId { adapter, .. } = InstantId::load();
    assert_eq!(adapter.kind(), AdapterKind::InstantId);
    let needs = adapter.needs();
    assert_eq!((needs.embedding_width, needs.raw_embedding), (Some(512), true));
    assert_eq!(needs.clip_vision_width, None);
}

#[test]
fn tokens_of_nobody_and_of_the_person() {
    let model = InstantId::load();
    assert_close("tokens", &model.tokens(), &model.io.get("tokens"), TOLERANCE);
}

#[test]
fn a_guided_step() {
    let model = InstantId::load();
    let face = model.face();
    let cross = model.cross(0.3);
    for (name, adapter_scale, net_scale) in
        [("0.8.0.8", 0.8, 0.8), ("0.5.1.0", 0.5, 1.0), ("0.0.0.8", 0.0, 0.8), ("0.8.0.0", 0.8, 0.0)]
    {
        let cross = cross.with_identity_scales(&[adapter_scale]);
        let output = model.step(&cross, &face, net_scale, 1);
        assert_close(name, &output, &model.io.get(&format!("output.{name}")), TOLERANCE);
        let rows = output.chunk(2, 0);
        let guided = &rows[0] + (&rows[1] - &rows[0]) * 5.0;
        assert_close(&format!("guided {name}"), &guided, &model.io.get(&format!("guided.{name}")), 3e-5);
    }
}

/// As other programs keep it: one file, and no `config.json` near it.
#[test]
fn the_weights_alone_are_enough() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("control_instant_id_sdxl.safetensors");
    std::fs::copy(dir("ControlNetModel/diffusion_pytorch_model.safetensors"), &file).expect("a copy");
    let mut base = None;
    let model = InstantId::load_with(|unet| {
        base = Some(unet.clone());
        IdentityNet::open_file(&file, unet, device(), kind()).unwrap_or_else(|e| panic!("{e}"))
    });
    let cross = model.cross(0.3).with_identity_scales(&[0.8]);
    let output = model.step(&cross, &model.face(), 0.8, 1);
    assert_close("a step", &output, &model.io.get("output.0.8.0.8"), TOLERANCE);

    let base = base.expect("the fixture's U-Net");
    let refused = |file: &std::path::Path, unet: &UNetConfig, says: &[&str]| {
        let error = IdentityNet::open_file(file, unet, device(), kind()).map(drop).expect_err("refused");
        let message = error.to_string();
        assert!(message.contains(&file.display().to_string()), "{message}");
        assert!(says.iter().all(|part| message.contains(part)), "{message}");
    };
    let unet = dir("unet/diffusion_pytorch_model.safetensors");
    refused(&unet, &base, &["no ControlNet", "controlnet_cond_embedding.conv_in.weight"]);
    let other = UNetConfig::from_file(&fixtures("unet").join("sd1/config.json")).expect("a config");
    refused(&file, &other, &["controlnet_down_blocks.3.weight", "[6, 6, 1, 1]", "expected [4, 4, 1, 1]"]);
    let short = folder.path().join("short.safetensors");
    let whole = std::fs::read(&file).expect("the file");
    std::fs::write(&short, &whole[..whole.len() - 9]).expect("a writable folder");
    refused(&short, &base, &[]);
}

#[test]
fn several_pictures_of_one_face() {
    let model = InstantId::load();
    let cross = model.cross(0.8);
    let output = model.step(&CrossKv::join(&[&cross; 3]), &model.face().times(3), 0.8, 3);
    let expected = model.io.get("output.0.8.0.8").repeat([3, 1, 1, 1]);
    assert_close("three pictures", &output, &expected, TOLERANCE);
}

#[test]
fn what_does_not_fit_is_refused_with_both_sizes() {
    let model = InstantId::load();
    let condition = |tokens: &Tensor, width: u32| {
        let drawing = KeyPointImage::draw(&[], width, 72).expect("a picture");
        model.net.condition(tokens, &drawing, SIZE).map(drop).expect_err("does not fit").to_string()
    };
    let error = condition(&model.tokens(), 72);
    assert!(error.contains("[1, 3, 72, 72]") && error.contains("[rows, 3, 72, 64]"), "{error}");
    let error = condition(&Tensor::zeros([2, 4, 8], (Kind::Float, device())), 64);
    assert!(error.contains("ControlNetModel") && error.contains("6 wide"), "{error}");
    assert!(error.contains("[2, 4, 8]"), "{error}");
    let other = UNetConfig::from_file(&fixtures("unet").join("sd1/config.json")).expect("a config");
    let error = model.net.check_base(&other).expect_err("another base").to_string();
    assert!(error.contains("ControlNetModel/config.json") && error.contains("block_out_channels"), "{error}");
}

#[test]
fn damaged_folders_are_refused_by_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open =
        || IdentityNet::open(folder.path(), device(), kind()).map(drop).expect_err("damaged").to_string();
    assert!(open().contains("config.json"), "{}", open());
    let config = std::fs::read_to_string(dir("ControlNetModel/config.json")).expect("the config");
    let file = folder.path().join("config.json");
    std::fs::write(&file, config.replace("\"rgb\"", "\"grey\"")).expect("a writable folder");
    let error = open();
    assert!(error.contains("config.json") && error.contains("grey"), "{error}");
    std::fs::write(&file, &config).expect("a writable folder");
    assert!(open().contains("no weights found"), "{}", open());
    let weights = dir("unet/diffusion_pytorch_model.safetensors");
    std::fs::copy(weights, folder.path().join("diffusion_pytorch_model.safetensors")).expect("a copy");
    let error = open();
    assert!(
        error.contains("diffusion_pytorch_model.safetensors") && error.contains("controlnet_"),
        "{error}"
    );
}
