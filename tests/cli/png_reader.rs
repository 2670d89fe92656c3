//! A PNG read back: its pixels and its text chunks.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

pub struct Png {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
    /// Keyword and text, of tEXt and iTXt chunks.
    pub texts: Vec<(String, String)>,
}

impl Png {
    pub fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut rgb).unwrap();
        assert_eq!((frame.color_type, frame.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        let info = reader.info();
        let latin = info.uncompressed_latin1_text.iter().map(|c| (c.keyword.clone(), c.text.clone()));
        let utf8 = info.utf8_text.iter().map(|c| (c.keyword.clone(), c.get_text().unwrap()));
        Self { width: frame.width, height: frame.height, rgb, texts: latin.chain(utf8).collect() }
    }

    pub fn text(&self, keyword: &str) -> &str {
        let found = self.texts.iter().find(|(key, _)| key == keyword);
        &found.unwrap_or_else(|| panic!("no text chunk \"{keyword}\"")).1
    }
}
