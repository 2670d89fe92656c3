use imagine_contract::{
    FaceBox, FaceData, FaceReader, KeyPoints, PhotoProblem, PhotoReading, PhotoRefused, Reference, RgbPixels,
};

/// Reads photos that say in words what is on them.
pub struct StandInFaces;

/// A photo of these people, the largest face first: `ann`, `bob`; `dark-ann` cannot be used.
pub fn photo(faces: &[&str]) -> Vec<u8> {
    format!("photo {}", faces.join(" ")).into_bytes()
}

impl FaceReader for StandInFaces {
    fn encoder(&self) -> &str {
        "stand-in"
    }

    fn same_person(&self) -> f32 {
        0.4
    }

    fn read(&self, bytes: &[u8], face: Option<usize>) -> Result<PhotoReading, PhotoRefused> {
        let refused = |code: &str| PhotoRefused { code: code.into(), message: format!("refused: {code}") };
        // Real pictures, too, show somebody.
        let magic: [&[u8]; 3] = [b"\x89PNG", b"\xff\xd8\xff", b"RIFF"];
        let picture = magic.iter().any(|magic| bytes.starts_with(magic));
        let text = if picture { "photo somebody" } else { std::str::from_utf8(bytes).unwrap_or("") };
        let names: Vec<&str> = match text.strip_prefix("photo ") {
            Some(names) => names.split_whitespace().collect(),
            None if text == "bomb" => return Err(refused("too_large")),
            None if text == "damaged" => return Err(refused("damaged")),
            None => return Err(refused("unsupported_format")),
        };
        let index = face.unwrap_or(0);
        let chosen = names.get(index).copied();
        let problem = match chosen {
            None => Some(("no_face", "Show your face.")),
            Some(name) if name.starts_with("dark-") => Some(("too_dark", "Turn on a light.")),
            Some(_) => None,
        };
        let problems: Vec<PhotoProblem> = problem
            .into_iter()
            .map(|(code, advice)| PhotoProblem { code: code.into(), advice: advice.into(), blocks: true })
            .collect();
        let faces =
            (0..names.len()).map(|i| FaceBox { x: i as f32, y: 0.0, width: 9.0, height: 9.0 }).collect();
        let usable = chosen.filter(|_| problems.is_empty());
        Ok(PhotoReading {
            pixels: RgbPixels { width: 8, height: 8, rgb: vec![128; 192] },
            faces,
            problems,
            face: usable.map(|name| face_of(name, index)),
        })
    }

    fn likeness(&self, _: &[Reference], _: &RgbPixels) -> Option<f32> {
        Some(0.5)
    }
}

/// Everybody looks in a direction of their own.
fn face_of(name: &str, index: usize) -> FaceData {
    let axis = name.bytes().map(usize::from).sum::<usize>() % 4;
    let mut embedding = vec![0.0; 4];
    embedding[axis] = 1.0;
    let key_points = KeyPoints { points: [[1.0; 2]; 5], photo: [8, 8] };
    FaceData { index, embedding, norm: 1.0, crops: Vec::new(), key_points, card: None }
}
