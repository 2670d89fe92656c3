//! One LoRA file: its tensors sorted by layer, and merged into the weights of a model.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use imagine_unet::{UNetConfig, Weights};
use tch::{Device, Kind};

use super::entry::{Algorithm, Entry, Tensors};
use super::header::Header;
use super::kohya_keys::{self, Names};
use super::parts::{self, Part};
use super::{Layout, LoraError, Network, TextEncoderSlot, diffusers_keys};

/// An opened LoRA file.
pub struct LoraFile {
    path: PathBuf,
    weights: Weights,
    header: Header,
    layout: Layout,
    entries: Vec<Entry>,
    /// Changes that stand twice, under both names of the blocks; as diffusers does, those under the
    /// original names are left out.
    left_out: usize,
}

impl LoraFile {
    /// Opens a file and sorts its tensors.
    ///
    /// # Errors
    /// A file that cannot be read, and every tensor that is no part of a LoRA or of a kind that is not
    /// supported, by its key.
    pub fn open(path: &Path) -> Result<Self, LoraError> {
        Self::open_below(path, "")
    }

    /// Like [`LoraFile::open`], for a file that holds other things too: only the keys that start with
    /// `prefix` count (`lora_weights.` in a PhotoMaker file).
    pub fn open_below(path: &Path, prefix: &str) -> Result<Self, LoraError> {
        let files = [path.to_path_buf()];
        let weights = Weights::open(&files, Device::Cpu, Kind::Float)?;
        let keys = weights.keys();
        let header = Header::read(path, &keys)?;
        // Half types stay as they are: a LoRA takes no more memory than its file.
        let weights = match header.half {
            Some(kind) => Weights::open(&files, Device::Cpu, kind)?,
            None => weights,
        };
        let (layout, entries) = sort(path, keys.iter().filter(|key| key.starts_with(prefix)), prefix)?;
        let (entries, left_out) = without_repeats(path, layout, entries)?;
        let file = Self { path: path.to_path_buf(), weights, header, layout, entries, left_out };
        for entry in &file.entries {
            entry.check(&file.tensors())?;
        }
        Ok(file)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file holds.
    pub fn describe(&self) -> LoraDescription {
        let mut layers = BTreeMap::new();
        for entry in &self.entries {
            *layers.entry(entry.network).or_insert(0) += 1;
        }
        let ranks: BTreeSet<i64> = self.entries.iter().filter_map(|e| e.rank(&self.weights)).collect();
        let algorithms: BTreeSet<Algorithm> = self.entries.iter().map(Entry::algorithm).collect();
        let mut kinds: Vec<&'static str> = algorithms
            .into_iter()
            .map(|algorithm| match algorithm {
                Algorithm::Lora => "LoRA",
                Algorithm::Loha => "LoHa",
                Algorithm::Lokr => "LoKr",
            })
            .collect();
        if self.entries.iter().any(Entry::has_magnitude) {
            kinds.push("DoRA");
        }
        LoraDescription {
            layout: self.layout,
            kinds,
            ranks: ranks.first().copied().zip(ranks.last().copied()),
            layers,
            left_out: self.left_out,
        }
    }

    /// Refuses a file with changes for a text encoder beyond the `available` first ones: 1 for SD 1.x and
    /// 2.x, 2 for SDXL.
    pub fn check_text_encoders(&self, available: usize) -> Result<(), LoraError> {
        for (i, slot) in [TextEncoderSlot::First, TextEncoderSlot::Second].into_iter().enumerate() {
            let network = Network::TextEncoder(slot);
            let mut without = self.of(network);
            if i >= available
                && let Some(first) = without.next()
            {
                let (file, key) = (self.path.clone(), first.key().to_string());
                return Err(LoraError::NoTextEncoder { file, network, count: 1 + without.count(), key });
            }
        }
        Ok(())
    }

    /// Merges the U-Net's part, `weight` times as strong as the file has it, into weights from which no
    /// model has been built yet. Several files add up.
    ///
    /// # Errors
    /// The first layer that this U-Net does not have, or has in another shape.
    pub fn merge_into_unet(&self, unet: &Weights, config: &UNetConfig, weight: f64) -> Result<(), LoraError> {
        let layers = layers(unet);
        let names = Names::of_unet(layers.iter().map(String::as_str), config)?;
        self.merge(unet, Network::UNet, &names, weight)
    }

    /// Merges a text encoder's part; see [`LoraFile::merge_into_unet`].
    pub fn merge_into_text_encoder(
        &self,
        text_encoder: &Weights,
        slot: TextEncoderSlot,
        weight: f64,
    ) -> Result<(), LoraError> {
        let layers = layers(text_encoder);
        let names = Names::of_text_encoder(layers.iter().map(String::as_str));
        self.merge(text_encoder, Network::TextEncoder(slot), &names, weight)
    }

    fn of(&self, network: Network) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.network == network)
    }

    fn tensors(&self) -> Tensors<'_> {
        Tensors { weights: &self.weights, header: &self.header, file: &self.path }
    }

    fn merge(&self, model: &Weights, network: Network, names: &Names, weight: f64) -> Result<(), LoraError> {
        if !weight.is_finite() {
            return Err(LoraError::Weight { file: self.path.clone(), weight });
        }
        // All layers are checked before anything is changed.
        let mut changes: Vec<(&Entry, &str)> = Vec::new();
        let mut seen: HashMap<&str, &Entry> = HashMap::new();
        let mut unknown: Vec<&Entry> = Vec::new();
        for entry in self.of(network) {
            let Some(layer) = names.get(&entry.name) else {
                unknown.push(entry);
                continue;
            };
            if let Some(other) = seen.insert(layer, entry) {
                return Err(self.twice(other, entry));
            }
            self.check_shape(entry, network, &model.shape(&weight_of(layer)).unwrap_or_default())?;
            changes.push((entry, layer));
        }
        if let Some(first) = unknown.first() {
            let (file, key) = (self.path.clone(), first.key().to_string());
            return Err(LoraError::UnknownLayer { file, network, count: unknown.len(), key });
        }
        if weight == 0.0 {
            return Ok(());
        }
        for (entry, layer) in changes {
            entry.change(&self.tensors(), layer, weight)?.merge_into(model, &weight_of(layer))?;
        }
        Ok(())
    }

    fn check_shape(&self, entry: &Entry, network: Network, model: &[i64]) -> Result<(), LoraError> {
        let (out, inner) = entry.target(&self.weights).unwrap_or_default();
        let (Some(&model_out), Some(model_inner)) = (model.first(), model.get(1..)) else {
            return Err(self.other_shape(entry, network, out, &inner, model));
        };
        // A linear layer is a convolution of one pixel: SD 1.x has those where SDXL has linear layers.
        let trimmed = |dims: &[i64]| match *dims {
            [inputs, 1, 1] => vec![inputs],
            _ => dims.to_vec(),
        };
        let product: i64 = model_inner.iter().product();
        let same = trimmed(&inner) == trimmed(model_inner) || inner == [product];
        let magnitude = entry.parts.get(&Part::Magnitude).and_then(|key| self.weights.shape(key));
        let lengths = magnitude.as_ref().map(|shape| shape.iter().product::<i64>());
        if let (Some(shape), Some(key)) = (&magnitude, entry.parts.get(&Part::Magnitude))
            && (lengths != Some(model_out)
                || (shape.len() == 2 && shape.first() == Some(&1) && model_out != 1))
        {
            return Err(LoraError::Unsupported {
                file: self.path.clone(),
                key: key.clone(),
                reason: format!("lengths of shape {shape:?}, expected one for each of {model_out} outputs"),
            });
        }
        if same && out == model_out {
            Ok(())
        } else {
            Err(self.other_shape(entry, network, out, &inner, model))
        }
    }

    fn other_shape(
        &self,
        entry: &Entry,
        network: Network,
        out: i64,
        inner: &[i64],
        model: &[i64],
    ) -> LoraError {
        LoraError::Shape {
            file: self.path.clone(),
            network,
            key: entry.key().to_string(),
            lora: [&[out], inner].concat(),
            model: model.to_vec(),
        }
    }

    fn twice(&self, first: &Entry, second: &Entry) -> LoraError {
        let (first, second) = (first.key().to_string(), second.key().to_string());
        LoraError::Twice { file: self.path.clone(), first, second }
    }
}

/// The key of a layer's weight.
fn weight_of(layer: &str) -> String {
    format!("{layer}.weight")
}

/// The layers with a weight of two or more dimensions.
fn layers(weights: &Weights) -> Vec<String> {
    let keys = weights.keys();
    let matrix = |key: &String| weights.shape(key).is_some_and(|shape| shape.len() >= 2);
    keys.iter()
        .filter(|key| matrix(key))
        .filter_map(|key| Some(key.strip_suffix(".weight")?.to_string()))
        .collect()
}

/// The tensors by the layer that they change.
fn sort<'a>(
    path: &Path,
    keys: impl Iterator<Item = &'a String>,
    prefix: &str,
) -> Result<(Layout, Vec<Entry>), LoraError> {
    let file = || path.to_path_buf();
    let mut entries: BTreeMap<(Network, String), Entry> = BTreeMap::new();
    let mut first: BTreeMap<bool, &String> = BTreeMap::new();
    for key in keys {
        let bare = key.strip_prefix(prefix).unwrap_or(key);
        let (layer, part) = parts::split(bare).ok_or_else(|| match parts::unsupported(bare) {
            Some(reason) => LoraError::Unsupported { file: file(), key: key.clone(), reason: reason.into() },
            None => LoraError::NotALora { file: file(), key: Some(key.clone()) },
        })?;
        let underscored = kohya_keys::parse(layer).map(|(network, name)| (network, name.to_string()));
        first.entry(underscored.is_some()).or_insert(key);
        let (network, name) = underscored
            .or_else(|| diffusers_keys::parse(layer))
            .ok_or_else(|| LoraError::NotALora { file: file(), key: Some(key.clone()) })?;
        let entry = entries.entry((network, name.clone())).or_insert_with(|| Entry {
            network,
            name,
            parts: BTreeMap::new(),
        });
        if let Some(second) = entry.parts.insert(part, key.clone()) {
            return Err(LoraError::Twice { file: file(), first: second, second: key.clone() });
        }
    }
    let layout = match (first.get(&false), first.get(&true)) {
        (None, None) => return Err(LoraError::NotALora { file: file(), key: None }),
        (Some(_), None) => Layout::Diffusers,
        (None, Some(_)) => Layout::Kohya,
        (Some(dotted), Some(underscored)) => {
            let (dotted, underscored) = (dotted.to_string(), underscored.to_string());
            return Err(LoraError::MixedLayouts { file: file(), dotted, underscored });
        }
    };
    Ok((layout, entries.into_values().collect()))
}

/// Leaves out the U-Net's changes under original names where others have the names of diffusers.
fn without_repeats(
    path: &Path,
    layout: Layout,
    entries: Vec<Entry>,
) -> Result<(Vec<Entry>, usize), LoraError> {
    const BLOCKS: [&str; 3] = ["down_blocks", "mid_block", "up_blocks"];
    let unet = |entry: &Entry| entry.network == Network::UNet;
    let current = entries.iter().any(|e| unet(e) && BLOCKS.iter().any(|block| e.name.starts_with(block)));
    let original = |e: &Entry| unet(e) && kohya_keys::is_original(&e.name);
    if !(layout == Layout::Kohya && current) {
        return Ok((entries, 0));
    }
    let before = entries.len();
    let entries: Vec<Entry> = entries.into_iter().filter(|entry| !original(entry)).collect();
    let left_out = before - entries.len();
    if left_out > 0 {
        tracing::warn!(file = %path.display(), left_out, "the LoRA names blocks in two ways; one is left out");
    }
    Ok((entries, left_out))
}

/// What a LoRA file holds, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraDescription {
    pub layout: Layout,
    /// `LoRA`, `LoHa`, `LoKr`, `DoRA`
    pub kinds: Vec<&'static str>,
    /// The smallest and the largest rank.
    pub ranks: Option<(i64, i64)>,
    /// How many layers of each network it changes.
    pub layers: BTreeMap<Network, usize>,
    /// Changes under a second name of the same blocks, which are not used.
    pub left_out: usize,
}

impl fmt::Display for LoraDescription {
    /// E.g. `LoRA of rank 4 to 8 in kohya layout: 278 layers of the U-Net, 72 of the text encoder`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kinds.join(" + "))?;
        match self.ranks {
            Some((low, high)) if low == high => write!(f, " of rank {low}")?,
            Some((low, high)) => write!(f, " of rank {low} to {high}")?,
            None => {}
        }
        write!(f, " in {} layout: ", self.layout)?;
        for (i, (network, count)) in self.layers.iter().enumerate() {
            let (comma, noun) = if i == 0 { ("", " layers") } else { (", ", "") };
            write!(f, "{comma}{count}{noun} of the {network}")?;
        }
        if self.left_out > 0 {
            write!(f, "; {} under a second name left out", self.left_out)?;
        }
        Ok(())
    }
}
