//! Renders the Mandelbrot set in tiles, into a PNG.
//!
//! `engine submit mandelbrot.wasm --dir HOST_DIR::/out -- /out/mandelbrot.png [WIDTH] [HEIGHT]`
//!
//! Each tile is a task; the main function puts them together and writes the file.

mod picture;
mod set;

use engine::prelude::*;
use picture::{Picture, Tile};
use serde_json::json;

/// The colours of a tile, three bytes for each pixel, row by row.
#[engine::task]
fn render(tile: (u32, u32, u32, u32), width: u32, height: u32) -> Bytes {
    let (left, top, columns, rows) = tile;
    let mut colours = Vec::with_capacity(columns as usize * rows as usize * 3);
    for y in top..top + rows {
        for x in left..left + columns {
            let point = set::point_of(x, y, width, height);
            colours.extend(set::colour(set::escape(point)));
        }
    }
    Bytes::from(colours)
}

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let path = args.first().context("usage: mandelbrot PATH.png [WIDTH] [HEIGHT]")?;
    let side = |index: usize, otherwise: u32| -> Result<u32> {
        const SIDE_MAX: u32 = 16_384;
        let side = args.get(index).map_or(Ok(otherwise), |text| text.parse()).context("WIDTH or HEIGHT")?;
        engine::ensure!((1..=SIDE_MAX).contains(&side), "a side has 1 to {SIDE_MAX} pixels, not {side}");
        Ok(side)
    };
    let (width, height) = (side(1, 1200)?, side(2, 800)?);

    let tiles = Tile::all(width, height);
    let mut rendered = Vec::new();
    for tile in &tiles {
        rendered.push(render::spawn((tile.left, tile.top, tile.columns, tile.rows), width, height)?);
    }
    let mut picture = Picture::new(width, height);
    for (tile, colours) in tiles.iter().zip(&rendered) {
        picture.place(tile, &colours.get()?);
    }
    picture.write(path)?;
    println!("{width} by {height} pixels in {} tiles, written to {path}", tiles.len());
    let inside = picture.count(set::INSIDE);
    let totals = json!({ "width": width, "height": height, "tiles": tiles.len(), "inside": inside });
    println!("{totals}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_give_the_picture_that_one_tile_of_the_whole_gives() {
        let (width, height) = (300, 200);
        let mut picture = Picture::new(width, height);
        for tile in Tile::all(width, height) {
            let colours = render((tile.left, tile.top, tile.columns, tile.rows), width, height);
            picture.place(&tile, &colours);
        }
        assert_eq!(picture.colours(), &render((0, 0, width, height), width, height)[..]);
        // The set covers 1.5066 of the 3 by 2 units that are shown.
        let share = picture.count(set::INSIDE) as f64 / f64::from(width * height);
        assert!((share - 1.5066 / 6.0).abs() < 0.01, "{share}");
    }
}
