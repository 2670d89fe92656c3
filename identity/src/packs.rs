//! InsightFace's model packs as they lie on a person's disk: a folder of ONNX files, of which one finds faces
//! (SCRFD) and one knows them (ArcFace). Which is which is told by their inputs and outputs, as InsightFace
//! does; the others (age, more landmarks) are not used.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::IdentityError;
use crate::arcface::ARCFACE_WIDTH;
use crate::licences::{INSIGHTFACE, data_folder};
use crate::onnx_graph::{GraphSummary, ValueInfo};
use crate::scrfd::OUTPUTS as DETECTOR_OUTPUTS;

/// Names folders that hold packs; these go before every other place.
pub const PACKS_VARIABLE: &str = "IMAGINE_FACE_PACKS";
/// Packs with the recogniser that the FaceID adapters and PhotoMaker v2 were trained with (`w600k_r50`), best
/// first.
pub const FACE_ID_PACKS: &[&str] = &["buffalo_l", "buffalo_m"];
/// The pack with the recogniser that InstantID was trained with (`glintr100`).
pub const INSTANT_ID_PACKS: &[&str] = &["antelopev2"];

/// Detector and recogniser of the published packs, which hold other files as well.
const PUBLISHED: [(&str, &str, &str); 4] = [
    ("buffalo_l", "det_10g", "w600k_r50"),
    ("buffalo_m", "det_2.5g", "w600k_r50"),
    ("buffalo_s", "det_500m", "w600k_mbf"),
    ("antelopev2", "scrfd_10g_bnkps", "glintr100"),
];

/// A folder with both networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The folder's name, which is the pack's: `buffalo_l`. In a download cache, whose folders are named by
    /// numbers, the name of the published pack with the same files.
    pub name: String,
    pub folder: PathBuf,
    /// The SCRFD file.
    pub detector: PathBuf,
    /// The ArcFace file.
    pub recogniser: PathBuf,
}

/// What a model file of a pack is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Detector,
    /// A detector without key points, by which no face could be aligned.
    BoxesOnly,
    Recogniser,
    Other,
}

impl Pack {
    /// The pack that a person means: a folder's path, or the name of a pack in one of the [`places`].
    ///
    /// # Errors
    /// [`IdentityError::PackMissing`] with the places looked at, [`IdentityError::PackModel`].
    pub fn find(folder_or_name: &Path) -> Result<Self, IdentityError> {
        Self::find_in(folder_or_name, &places())
    }

    fn find_in(folder_or_name: &Path, places: &[PathBuf]) -> Result<Self, IdentityError> {
        let name = folder_or_name.file_name().filter(|name| *name == folder_or_name.as_os_str());
        let Some(name) = name else { return Self::open(folder_or_name) };
        let tried: Vec<PathBuf> = places.iter().map(|place| place.join(name)).collect();
        // what has that name in the working directory comes last: a name means an installed pack
        let installed = tried.iter().map(PathBuf::as_path).find(|folder| folder.is_dir());
        let found = installed.or_else(|| folder_or_name.exists().then_some(folder_or_name));
        match found {
            Some(folder) => Self::open(folder),
            None => Err(IdentityError::PackMissing { name: name.to_string_lossy().into_owned(), tried }),
        }
    }

    /// The first of the packs named that is installed, such as [`FACE_ID_PACKS`]. Other packs make embeddings of the
    /// same width with another meaning, so none of them is taken in its place.
    ///
    /// # Errors
    /// [`IdentityError::NoEncoder`], which says what would do, under which licence and where it belongs;
    /// [`IdentityError::PackModel`].
    pub fn first_of(names: &[&str]) -> Result<Self, IdentityError> {
        for name in names {
            match Self::find_in(Path::new(name), &places()) {
                Err(IdentityError::PackMissing { .. }) => {}
                found_or_damaged => return found_or_damaged,
            }
        }
        Err(none_of(names))
    }

    /// Looks through a folder. Of several files for one purpose the first by name is taken, as InsightFace
    /// does.
    ///
    /// # Errors
    /// [`IdentityError::PackMissing`], or [`IdentityError::PackModel`] naming a file that is no ONNX model or the
    /// network that is not there.
    pub fn open(folder: &Path) -> Result<Self, IdentityError> {
        let given = folder;
        let wrong = |path: &Path, reason: String| IdentityError::PackModel { path: path.to_owned(), reason };
        if !folder.is_dir() {
            let name = folder.display().to_string();
            return Err(if folder.exists() {
                wrong(folder, "it is a file; a face encoder is a folder of ONNX files".to_owned())
            } else {
                IdentityError::PackMissing { name, tried: vec![folder.to_owned()] }
            });
        }
        // Without this `.` and `..` would have no name.
        let folder = folder.canonicalize().map_err(|e| wrong(given, e.to_string()))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut files = models(&folder).map_err(|e| wrong(given, e.to_string()))?;
        let mut folder = folder;
        if files.is_empty() {
            // the archive of antelopev2 holds a folder of its own name, and is often unpacked into one
            let inner = folder.join(&name);
            files = models(&inner).unwrap_or_default();
            if files.is_empty() {
                return Err(wrong(given, "it holds no ONNX files".to_owned()));
            }
            folder = inner;
        }
        let (mut detector, mut recogniser, mut boxes_only) = (None, None, None);
        for file in files {
            let summary = GraphSummary::read(&file).map_err(|reason| wrong(&file, reason))?;
            let place = match role(&summary) {
                Role::Detector => &mut detector,
                Role::BoxesOnly => &mut boxes_only,
                Role::Recogniser => &mut recogniser,
                Role::Other => continue,
            };
            place.get_or_insert(file);
        }
        match (detector, recogniser) {
            (Some(detector), Some(recogniser)) => {
                let name = known_name(&name, &detector, &recogniser).unwrap_or(name);
                Ok(Self { name, folder, detector, recogniser })
            }
            (None, _) => Err(match boxes_only {
                Some(file) => {
                    wrong(&file, "this SCRFD detector gives no key points (6 outputs instead of 9)".into())
                }
                None => wrong(given, "it has no SCRFD detector, such as det_10g.onnx".into()),
            }),
            (_, None) => Err(wrong(given, "it has no ArcFace recogniser, such as w600k_r50.onnx".into())),
        }
    }
}

/// None of the packs is installed: what to get, its licence, where to put it, and what is there instead.
fn none_of(packs: &[&str]) -> IdentityError {
    let (first, place) = (packs.first().copied().unwrap_or_default(), places().pop().unwrap_or_default());
    let others: Vec<String> = installed().into_iter().map(|pack| pack.name).collect();
    let others = match others.is_empty() {
        true => String::new(),
        false => format!(
            "; installed are {}, whose embeddings mean something else: --face-encoder takes one all the same",
            others.join(", ")
        ),
    };
    let reason = format!(
        "the adapter wants face embeddings of {ARCFACE_WIDTH} values as the InsightFace pack {} makes them, which is \
         not installed: unpack it to {} ({}; {}){others}",
        packs.join(" or "),
        place.join(first).display(),
        INSIGHTFACE.terms,
        INSIGHTFACE.source,
    );
    IdentityError::NoEncoder { width: ARCFACE_WIDTH, reason }
}

/// The published name of a pack in a folder that is named by a commit.
fn known_name(folder: &str, detector: &Path, recogniser: &Path) -> Option<String> {
    if folder.len() < 32 || !folder.chars().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let is = |file: &Path, stem: &str| file.file_stem().is_some_and(|name| name == stem);
    let known = PUBLISHED.iter().find(|(_, d, r)| is(detector, d) && is(recogniser, r));
    known.map(|(name, ..)| (*name).to_owned())
}

/// The role of a network by its outside: InsightFace's rule, narrowed to what is used here.
fn role(summary: &GraphSummary) -> Role {
    let [input] = &summary.inputs[..] else { return Role::Other };
    let [_, Some(3), height, width] = input.shape[..] else { return Role::Other };
    match &summary.outputs[..] {
        all if all.len() == DETECTOR_OUTPUTS && height == width => Role::Detector,
        all if all.len() == 6 && height == width => Role::BoxesOnly,
        [one] if (height, width) == (Some(112), Some(112)) && gives_an_embedding(one) => Role::Recogniser,
        _ => Role::Other,
    }
}

fn gives_an_embedding(output: &ValueInfo) -> bool {
    matches!(output.shape[..], [_, Some(width)] if usize::try_from(width) == Ok(ARCFACE_WIDTH))
}

/// The ONNX files of a folder, by name.
fn models(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Folders that may hold packs, best first: those of `$IMAGINE_FACE_PACKS`, `imagine/face-packs` in the person's
/// data folder, and InsightFace's own `~/.insightface/models`.
pub fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = match env::var_os(PACKS_VARIABLE) {
        Some(paths) => env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => Vec::new(),
    };
    places.extend(data_folder().map(|data| data.join("face-packs")));
    places.extend(env::home_dir().map(|home| home.join(".insightface/models")));
    places
}

/// The usable packs in all [`places`], each name once, by name. Folders that are no packs are passed over.
pub fn installed() -> Vec<Pack> {
    let mut packs: Vec<Pack> = Vec::new();
    for place in places() {
        let Ok(entries) = fs::read_dir(place) else { continue };
        for folder in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            if let Ok(pack) = Pack::open(&folder)
                && packs.iter().all(|known| known.name != pack.name)
            {
                packs.push(pack);
            }
        }
    }
    packs.sort_by(|a, b| a.name.cmp(&b.name));
    packs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(shape: &[i64]) -> ValueInfo {
        ValueInfo { name: "x".into(), shape: shape.iter().map(|&d| (d > 0).then_some(d)).collect() }
    }

    fn role_of(inputs: &[&[i64]], outputs: &[&[i64]]) -> Role {
        let values = |shapes: &[&[i64]]| shapes.iter().map(|shape| value(shape)).collect();
        role(&GraphSummary { inputs: values(inputs), outputs: values(outputs), first_nodes: Vec::new() })
    }

    #[test]
    fn roles_of_the_published_files() {
        let nine: Vec<&[i64]> =
            [&[0, 1][..], &[0, 4], &[0, 10]].into_iter().flat_map(|shape| [shape; 3]).collect();
        // det_10g, scrfd_10g_bnkps; the same exported for one size
        assert_eq!(role_of(&[&[1, 3, 0, 0]], &nine), Role::Detector);
        assert_eq!(role_of(&[&[1, 3, 640, 640]], &nine), Role::Detector);
        assert_eq!(role_of(&[&[1, 3, 0, 0]], &nine[..6]), Role::BoxesOnly);
        // w600k_r50, glintr100, w600k_mbf
        assert_eq!(role_of(&[&[0, 3, 112, 112]], &[&[1, 512]]), Role::Recogniser);
        // SFace is no ArcFace
        assert_eq!(role_of(&[&[1, 3, 112, 112]], &[&[1, 128]]), Role::Other);
        // genderage, 2d106det, 1k3d68, inswapper
        assert_eq!(role_of(&[&[0, 3, 96, 96]], &[&[1, 3]]), Role::Other);
        assert_eq!(role_of(&[&[0, 3, 192, 192]], &[&[1, 212]]), Role::Other);
        assert_eq!(role_of(&[&[1, 3, 128, 128], &[1, 512]], &[&[1, 3, 128, 128]]), Role::Other);
        assert_eq!(role_of(&[&[1]], &[&[1, 512]]), Role::Other);
    }

    #[test]
    fn what_is_no_pack_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path();
        let refused =
            |name: &Path| Pack::find_in(name, &[place.to_owned()]).expect_err("no pack").to_string();
        let missing = refused(Path::new("buffalo_l"));
        assert!(
            missing.contains("\"buffalo_l\"")
                && missing.contains(&place.join("buffalo_l").display().to_string())
        );
        assert!(refused(&place.join("gone")).contains("gone"));
        fs::create_dir(place.join("buffalo_l")).expect("a folder");
        assert!(refused(Path::new("buffalo_l")).contains("no ONNX files"));
        fs::write(place.join("buffalo_l/det_10g.onnx"), "no model").expect("writing");
        let damaged = refused(Path::new("buffalo_l"));
        assert!(damaged.contains("det_10g.onnx") && damaged.contains("not an ONNX model"), "{damaged}");
        assert!(refused(&place.join("buffalo_l/det_10g.onnx")).contains("is a file"));
    }
}
