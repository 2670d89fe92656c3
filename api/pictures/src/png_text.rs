//! A PNG that says how it was made.
//!
//! Three text chunks: `parameters`, the lines that AUTOMATIC1111's web UI started and that gallery and
//! model sites read; `imagine`, the same as JSON under this program's own names; and an XMP packet with
//! IPTC's digital source type, by which a picture is recognised as made by a model. Nothing about the
//! person but the strength is written: no photo, no path, no embedding.

use std::collections::BTreeMap;
use std::fmt::Write;

use imagine_contract::{Identity, Stage};
use serde::Serialize;

/// How a picture, or a sheet of several, was made.
#[derive(Clone, Debug, Serialize)]
pub struct Parameters {
    /// Version of this program.
    pub version: &'static str,
    #[serde(flatten)]
    pub seeds: Seeds,
    #[serde(flatten)]
    pub recipe: Recipe,
}

/// What all pictures of a run have in common.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Recipe {
    pub prompt: String,
    /// What the person typed, where the prompt was made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idea: Option<String>,
    /// Addresses of what was looked up on the web for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    pub negative_prompt: String,
    pub steps: u32,
    pub scheduler: String,
    pub guidance_scale: f64,
    /// Pixels of one picture.
    pub width: u32,
    pub height: u32,
    /// Name of the model, not its folder.
    pub model: String,
    /// Strength of the person; none where nobody or several people were given.
    pub identity_scale: Option<f64>,
    /// Strengths of several people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identity_scales: Vec<f64>,
    /// The part of the run in which the person was heard, if not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_steps: Option<[f64; 2]>,
    /// The same of several people; empty where all of them were heard in all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identity_steps_each: Vec<[f64; 2]>,
    /// For each person the strengths of parts of the run; empty where nobody has any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identity_stages: Vec<Vec<Stage>>,
    /// For each person the strengths that were set for groups of the card; empty where none were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub card_scales: Vec<BTreeMap<String, f64>>,
    pub dtype: String,
    /// Of the change of a picture; none where there was none to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// What kind of mask a change had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_skip: Option<u32>,
    /// Names of LoRAs, not their folders, and their weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<(String, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
}

/// One picture has a seed, a sheet has several.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Seeds {
    Seed(u64),
    Seeds(Vec<u64>),
}

impl Parameters {
    /// The `parameters` text: the prompt, the negative prompt if any, and one line of `Name: value`.
    pub fn line(&self) -> String {
        let recipe = &self.recipe;
        let mut text = recipe.prompt.clone();
        if !recipe.negative_prompt.is_empty() {
            let _ = write!(text, "\nNegative prompt: {}", recipe.negative_prompt);
        }
        let seed = match &self.seeds {
            Seeds::Seed(seed) => format!(", Seed: {seed}"),
            Seeds::Seeds(_) => String::new(),
        };
        let _ = write!(
            text,
            "\nSteps: {}, Sampler: {}, CFG scale: {}{seed}, Size: {}x{}, Model: {}",
            recipe.steps,
            sampler(&recipe.scheduler),
            recipe.guidance_scale,
            recipe.width,
            recipe.height,
            quoted(&recipe.model),
        );
        for (name, value) in recipe.choices() {
            let _ = write!(text, ", {name}: {value}");
        }
        let _ = write!(text, ", Precision: {}, Version: Imagine {}", recipe.dtype, self.version);
        text
    }
}

impl Recipe {
    /// Strengths of parts of the run and of groups of the card, where anybody has any.
    pub fn set_strengths(&mut self, people: &[Identity]) {
        if people.iter().any(|person| !person.stages.is_empty()) {
            self.identity_stages = people.iter().map(|person| person.stages.clone()).collect();
        }
        if people.iter().any(|person| !person.group_scales.is_empty()) {
            self.card_scales = people.iter().map(|person| person.group_scales.clone()).collect();
        }
    }

    /// What not every picture has, as `Name: value`.
    fn choices(&self) -> Vec<(&'static str, String)> {
        let list = |values: Vec<String>| quoted(&values.join(", "));
        let mut choices = Vec::new();
        choices.extend(self.idea.as_ref().map(|idea| ("Idea", quoted(idea))));
        if !self.sources.is_empty() {
            choices.push(("Sources", list(self.sources.clone())));
        }
        choices.extend(self.strength.map(|strength| ("Denoising strength", strength.to_string())));
        choices.extend(self.mask.map(|mask| ("Mask", mask.into())));
        // Others count the last layer too.
        choices.extend(self.clip_skip.map(|skip| ("Clip skip", (skip + 1).to_string())));
        if !self.loras.is_empty() {
            let all = self.loras.iter().map(|(name, weight)| format!("{name}: {weight}"));
            choices.push(("LoRA", list(all.collect())));
        }
        choices.extend(self.preset.as_ref().map(|preset| ("Preset", quoted(preset))));
        choices.extend(self.identity_scale.map(|scale| ("Identity scale", scale.to_string())));
        if !self.identity_scales.is_empty() {
            let all = self.identity_scales.iter().map(f64::to_string);
            choices.push(("Identity scales", list(all.collect())));
        }
        let part = |[from, to]: [f64; 2]| format!("{from}-{to}");
        choices.extend(self.identity_steps.map(|steps| ("Identity steps", part(steps))));
        if !self.identity_steps_each.is_empty() {
            let all = self.identity_steps_each.iter().copied().map(part);
            choices.push(("Identity steps", list(all.collect())));
        }
        // One person after the other, as the command line takes them.
        let people = |all: Vec<String>| quoted(&all.join("; "));
        if !self.identity_stages.is_empty() {
            let one = |stage: &Stage| format!("{}:{}", part(stage.steps), stage.scale);
            let each = |stages: &Vec<Stage>| stages.iter().map(one).collect::<Vec<_>>().join(",");
            choices.push(("Identity stages", people(self.identity_stages.iter().map(each).collect())));
        }
        if !self.card_scales.is_empty() {
            let each = |scales: &BTreeMap<String, f64>| {
                scales.iter().map(|(name, scale)| format!("{name}={scale}")).collect::<Vec<_>>().join(",")
            };
            choices.push(("Card scales", people(self.card_scales.iter().map(each).collect())));
        }
        choices
    }
}

/// The name under which other programs know a sampler; an unknown one keeps its own.
pub fn sampler(scheduler: &str) -> &str {
    match scheduler {
        "ddim" => "DDIM",
        "ddpm" => "DDPM",
        "euler" => "Euler",
        "euler-karras" => "Euler Karras",
        "euler-a" => "Euler a",
        "dpm++2m" => "DPM++ 2M",
        "dpm++2m-karras" => "DPM++ 2M Karras",
        "heun" => "Heun",
        "heun-karras" => "Heun Karras",
        "lms" => "LMS",
        "lms-karras" => "LMS Karras",
        "pndm" => "PLMS",
        "unipc" => "UniPC",
        "unipc-karras" => "UniPC Karras",
        "lcm" => "LCM",
        "tcd" => "TCD",
        other => other,
    }
}

/// A value that would end its field early is put in quotes, as readers of the line expect.
fn quoted(value: &str) -> String {
    if value.contains([',', ':', '\n', '"']) {
        serde_json::Value::from(value).to_string()
    } else {
        value.to_string()
    }
}

/// Encodes 8-bit sRGB, row by row, with the text in front of the pixels.
pub fn encode(
    width: u32,
    height: u32,
    rgb: &[u8],
    parameters: &Parameters,
) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    let json = serde_json::to_string(parameters).map_err(|e| png::EncodingError::IoError(e.into()))?;
    for (keyword, text) in [("parameters", parameters.line()), ("imagine", json)] {
        // tEXt holds Latin-1 alone; anything else needs iTXt.
        if text.chars().all(|c| u32::from(c) < 256) {
            encoder.add_text_chunk(keyword.into(), text)?;
        } else {
            encoder.add_itxt_chunk(keyword.into(), text)?;
        }
    }
    encoder.add_itxt_chunk("XML:com.adobe.xmp".into(), xmp(parameters.version))?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}

/// XMP with `Iptc4xmpExt:DigitalSourceType` = `trainedAlgorithmicMedia`, IPTC's term for a picture made
/// by a trained model.
pub(crate) fn xmp(version: &str) -> String {
    format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
         <rdf:Description rdf:about=\"\" xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\" \
         xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\" \
         xmp:CreatorTool=\"Imagine {version}\" \
         Iptc4xmpExt:DigitalSourceType=\
         \"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia\"/>\
         </rdf:RDF></x:xmpmeta><?xpacket end=\"w\"?>"
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn parameters(prompt: &str) -> Parameters {
        Parameters {
            version: "1.2.3",
            seeds: Seeds::Seed(42),
            recipe: Recipe {
                prompt: prompt.into(),
                steps: 20,
                scheduler: "euler-a".into(),
                guidance_scale: 7.5,
                width: 2,
                height: 1,
                model: "starter".into(),
                dtype: "f32".into(),
                ..Recipe::default()
            },
        }
    }

    #[test]
    fn the_line_follows_the_convention() {
        let plain = parameters("a red hat");
        assert_eq!(
            plain.line(),
            "a red hat\nSteps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 42, Size: 2x1, Model: starter, \
             Precision: f32, Version: Imagine 1.2.3"
        );
        let recipe = Recipe {
            negative_prompt: "blurred".into(),
            identity_scale: Some(0.8),
            identity_steps: Some([0.0, 0.5]),
            idea: Some("me, in a hat".into()),
            sources: vec!["https://a.org/hat".into(), "https://b.org".into()],
            strength: Some(0.6),
            mask: Some("given"),
            clip_skip: Some(1),
            loras: vec![("style".into(), 0.7), ("line".into(), 1.0)],
            preset: Some("turbo".into()),
            model: "mine, v2".into(),
            ..plain.recipe.clone()
        };
        let full = Parameters { recipe, ..plain.clone() };
        assert!(full.line().starts_with("a red hat\nNegative prompt: blurred\nSteps: 20, "));
        let choices = "Model: \"mine, v2\", Idea: \"me, in a hat\", \
                       Sources: \"https://a.org/hat, https://b.org\", Denoising strength: 0.6, Mask: given, Clip skip: 2, \
                       LoRA: \"style: 0.7, line: 1\", Preset: turbo, Identity scale: 0.8, \
                       Identity steps: 0-0.5, Precision";
        assert!(full.line().contains(choices), "{}", full.line());
        let several = Recipe {
            identity_scales: vec![1.0, 0.5],
            identity_steps: None,
            identity_steps_each: vec![[0.0, 1.0], [0.2, 0.8]],
            ..full.recipe.clone()
        };
        let line = Parameters { recipe: several, ..full }.line();
        assert!(line.contains("Identity scales: \"1, 0.5\", Identity steps: \"0-1, 0.2-0.8\","), "{line}");
        let mut strong = plain.recipe.clone();
        let stages = vec![Stage { steps: [0.0, 0.3], scale: 0.5 }, Stage { steps: [0.3, 1.0], scale: 1.0 }];
        let person = Identity::of_embedding(vec![1.0], 1.0);
        let ann = Identity { stages, ..person.clone() };
        let bob = Identity { group_scales: [("traits".into(), 0.5)].into(), ..person.clone() };
        strong.set_strengths(&[ann, bob]);
        let line = Parameters { recipe: strong, ..plain.clone() }.line();
        let says = "Identity stages: \"0-0.3:0.5,0.3-1:1; \", Card scales: ; traits=0.5,";
        assert!(line.contains(says), "{line}");
        let mut plainly = plain.recipe.clone();
        plainly.set_strengths(&[person]);
        assert!(!Parameters { recipe: plainly, ..plain }.line().contains("Card scales"));
    }

    /// (keyword, text, whether it is an iTXt chunk) and the pixels.
    fn read(bytes: &[u8]) -> (Vec<(String, String, bool)>, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let info = reader.info();
        let latin = info.uncompressed_latin1_text.iter().map(|c| (c.keyword.clone(), c.text.clone(), false));
        let utf8 = info.utf8_text.iter().map(|c| (c.keyword.clone(), c.get_text().unwrap(), true));
        let chunks = latin.chain(utf8).collect();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        (chunks, pixels)
    }

    #[test]
    fn text_is_read_back_in_latin_1_and_beyond() {
        let rgb = [1, 2, 3, 250, 251, 252];
        for (prompt, international) in [("café", false), ("猫 in a hat", true)] {
            let made = parameters(prompt);
            let (chunks, pixels) = read(&encode(2, 1, &rgb, &made).unwrap());
            assert_eq!(pixels, rgb);
            let find = |key: &str| chunks.iter().find(|(keyword, ..)| keyword == key).unwrap();
            assert_eq!(find("parameters").1, made.line());
            assert_eq!(find("parameters").2, international);
            let json: serde_json::Value = serde_json::from_str(&find("imagine").1).unwrap();
            assert_eq!((&json["prompt"], &json["seed"]), (&prompt.into(), &42.into()));
            assert!(find("XML:com.adobe.xmp").1.contains("digitalsourcetype/trainedAlgorithmicMedia\""));
        }
    }
}
