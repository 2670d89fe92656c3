//! `imagine doctor`: what it says of this machine, and of one on which nothing is set up.

use serde_json::Value;

use crate::support::{Run, Workplace, finish};

fn doctor(place: &Workplace, args: &[&str], settings: &[(&str, &str)]) -> Run {
    let mut command = place.command();
    for unset in ["HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "ORT_DYLIB_PATH", "IMAGINE_FACE_PACKS"] {
        command.env_remove(unset);
    }
    command.arg("doctor").args(args).envs(settings.iter().copied());
    finish(command.output().unwrap())
}

fn rows<'a>(report: &'a Value, model: &str) -> Vec<&'a Value> {
    report["table"].as_array().unwrap().iter().filter(|row| row["model"] == model).collect()
}

#[test]
fn a_machine_that_is_set_up_can_run_the_starter_model() {
    let place = Workplace::new();
    let report = doctor(&place, &["--json"], &[]).done().json();
    assert_eq!(report["ok"], true);
    assert!(report["cpu"]["cores"].as_u64() > Some(0));
    assert!(report["memory"]["total_bytes"].as_u64() >= report["memory"]["available_bytes"].as_u64());
    assert_eq!(report["libtorch"]["version"], "2.11.0");
    for found in ["libtorch", "onnx_runtime", "face_models"] {
        let path = report[found]["path"].as_str().unwrap_or_else(|| panic!("{found}: {report}"));
        assert!(std::path::Path::new(path).exists(), "{found}: {path}");
        assert!(report[found]["problem"].is_null(), "{found}");
    }
    let models: Vec<&str> =
        report["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert!(models.contains(&"starter"), "{models:?}");
    let f32 = report["speeds"].as_array().unwrap().iter().find(|s| s["dtype"] == "f32").unwrap();
    assert!(f32["gflops"].as_f64() > Some(0.1), "{f32}");
}

#[test]
fn the_table_holds_together() {
    let place = Workplace::new();
    let report = doctor(&place, &["--json"], &[]).done().json();
    for (model, side) in [("starter", 128), ("SD 1.5", 512), ("SDXL", 1024)] {
        let rows = rows(&report, model);
        let types: Vec<&str> =
            rows.iter().filter(|r| r["device"] == "cpu").map(|r| r["dtype"].as_str().unwrap()).collect();
        assert_eq!(types, ["f32", "bf16", "f16", "auto"], "{model}");
        let auto = rows.iter().find(|r| r["device"] == "cpu" && r["dtype"] == "auto").unwrap();
        let features = report["cpu"]["features"].as_array().unwrap();
        let wide = model != "starter" && features.iter().any(|f| f == "avx512_bf16");
        assert_eq!(auto["computes"], if wide { "bf16, autoencoder f32" } else { "f32" }, "{model}");
        for row in rows {
            assert_eq!((&row["width"], &row["height"]), (&side.into(), &side.into()), "{model}");
            let [needed, available, weights, activations] =
                ["needed_bytes", "available_bytes", "weights_bytes", "activations_bytes"]
                    .map(|key| row[key].as_u64().unwrap());
            assert!(needed > weights + activations, "{row}");
            let verdict = row["verdict"].as_str().unwrap();
            assert!(["yes", "slow", "no"].contains(&verdict), "{row}");
            assert!(needed <= available || verdict == "no", "{row}");
            assert_eq!(verdict == "no", row["picture_seconds"].is_null(), "{row}");
        }
    }
    let weights = |model: &str, dtype: &str| {
        let rows = rows(&report, model);
        rows.iter().find(|r| r["dtype"] == dtype).unwrap()["weights_bytes"].as_u64().unwrap()
    };
    assert_eq!(weights("SD 1.5", "f32"), 2 * weights("SD 1.5", "f16"));
    assert_eq!(weights("SDXL", "bf16"), 2 * 3_468_837_867, "U-Net, autoencoder, both text encoders");
}

#[test]
fn lines_for_a_person() {
    let place = Workplace::new();
    let text = doctor(&place, &[], &[]).done().stdout;
    for head in ["Processor ", "Memory ", "libtorch ", "CUDA ", "ONNX Runtime ", "Face models ", "Models "] {
        assert!(text.lines().any(|line| line.starts_with(head)), "{head}: {text}");
    }
    let starter: Vec<&str> = text.lines().filter(|line| line.starts_with("  starter")).collect();
    assert!(starter.len() >= 3 && starter[0].contains("128x128") && starter[0].contains("f32"), "{text}");
    let help = place.run(["doctor", "--help"]).done().stdout;
    assert!(help.contains("Examples:") && help.contains("Exit codes: 0"), "{help}");
}

#[test]
fn an_empty_dependency_folder_is_named_with_the_command_that_fills_it() {
    let place = Workplace::new();
    let empty = place.path("nothing");
    std::fs::create_dir(&empty).unwrap();
    let settings = [("IMAGINE_DEPS", empty.to_str().unwrap())];
    let run = doctor(&place, &["--json"], &settings);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("cannot draw from a photo here") && run.stderr.contains("cargo xtask setup"));
    let report = run.json();
    assert_eq!(report["ok"], false);
    let needed: Vec<&Value> =
        report["missing"].as_array().unwrap().iter().filter(|m| m["needed"] == true).collect();
    assert_eq!(needed.len(), 2, "{needed:?}");
    for (missing, name) in needed.iter().zip(["ONNX Runtime", "the face models"]) {
        assert!(missing["what"].as_str().unwrap().starts_with(name), "{missing}");
        assert_eq!(missing["mend"], "cargo xtask setup");
    }
    assert!(report["onnx_runtime"]["path"].is_null());
    let lines = doctor(&place, &[], &settings).stdout;
    assert!(lines.contains("Missing:") && lines.contains("-> cargo xtask setup"), "{lines}");
}

#[test]
fn a_damaged_face_model_shows() {
    let place = Workplace::new();
    let deps = place.path("deps");
    std::fs::create_dir_all(deps.join("faces")).unwrap();
    std::fs::write(deps.join("faces/face_detection_yunet_2023mar.onnx"), "no model").unwrap();
    let report = doctor(&place, &["--json"], &[]).done().json();
    let library = report["onnx_runtime"]["path"].as_str().unwrap().to_string();
    let settings = [("IMAGINE_DEPS", deps.to_str().unwrap()), ("ORT_DYLIB_PATH", &library)];
    let run = doctor(&place, &["--json"], &settings);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let problem = run.json()["face_models"]["problem"].to_string();
    assert!(problem.contains("face_detection_yunet_2023mar.onnx"), "{problem}");
}
