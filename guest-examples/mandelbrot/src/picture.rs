//! The picture: tiles put together, and the file.
use engine::prelude::*;
use std::fs::File;
use std::io::{BufWriter, Write};

/// The side of a tile, in pixels; those at the right and at the bottom may be smaller.
const TILE_SIDE: u32 = 128;

/// A part of the picture, in pixels.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    pub left: u32,
    pub top: u32,
    pub columns: u32,
    pub rows: u32,
}

impl Tile {
    /// Tiles that cover the picture.
    pub fn all(width: u32, height: u32) -> Vec<Tile> {
        let side = TILE_SIDE as usize;
        let rows = (0..height).step_by(side);
        let tiles = rows.flat_map(|top| {
            (0..width).step_by(side).map(move |left| Tile {
                left,
                top,
                columns: TILE_SIDE.min(width - left),
                rows: TILE_SIDE.min(height - top),
            })
        });
        tiles.collect()
    }
}

/// Three bytes for each pixel, row by row.
pub struct Picture {
    width: u32,
    height: u32,
    colours: Vec<u8>,
}

impl Picture {
    pub fn new(width: u32, height: u32) -> Self {
        Picture { width, height, colours: vec![0; width as usize * height as usize * 3] }
    }

    /// Puts a tile's pixels where they belong.
    pub fn place(&mut self, tile: &Tile, colours: &[u8]) {
        let (row_bytes, tile_bytes) = (self.width as usize * 3, tile.columns as usize * 3);
        for (row, from) in colours.chunks_exact(tile_bytes).enumerate() {
            let start = (tile.top as usize + row) * row_bytes + tile.left as usize * 3;
            self.colours[start..start + tile_bytes].copy_from_slice(from);
        }
    }

    /// How many pixels have this colour.
    pub fn count(&self, colour: [u8; 3]) -> usize {
        self.colours.chunks_exact(3).filter(|pixel| *pixel == colour).count()
    }

    #[cfg(test)]
    pub fn colours(&self) -> &[u8] {
        &self.colours
    }

    /// Writes the picture as a PNG.
    ///
    /// # Errors
    /// When the file cannot be written, such as where no directory was granted.
    pub fn write(&self, path: &str) -> Result<()> {
        let file = File::create(path)
            .context(format_args!("creating {path} (is its directory granted, with --dir HOST_DIR::DIR?)"))?;
        let mut file = BufWriter::new(file);
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.colours)?;
        writer.finish()?;
        Ok(file.flush()?)
    }
}
