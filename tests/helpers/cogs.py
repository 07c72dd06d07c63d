"""Small tiled rasters, and the many ways in which files store pixels."""

import numpy as np
import rasterio
from PIL import Image

CRS, PLACE = "EPSG:32633", rasterio.Affine(1, 0, 5e5, 0, -1, 5e6)


def pixels(seed=0, bands=3, side=512, dtype="uint8"):
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(1, 200, (bands, side // 32, side // 32)), np.ones((1, 32, 32)))
    return (coarse + rng.integers(0, 3, (bands, side, side))).astype(dtype)


def write(path, data, *, driver="GTiff", place=PLACE, mask=None, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    options = (
        {"tiled": True, "blockxsize": 128, "blockysize": 128}
        if driver == "GTiff" and more.get("tiled", True)
        else {}
    )
    options |= {"crs": CRS, "transform": place}
    with rasterio.open(
        path, "w", driver=driver, width=data.shape[2], height=data.shape[1], count=data.shape[0],
        dtype=data.dtype, **(options | more),
    ) as file:  # fmt: skip
        file.write(data)
        if mask is not None:
            file.write_mask(mask)
    return path


def kinds(root):
    """Write a file of each kind; return their names."""
    data, grey = pixels(), pixels(1, 1)
    write(root / "tiled.tif", data, compress="deflate")
    write(root / "cog.tif", data, driver="COG", blocksize=128, compress="zstd")
    write(root / "planar.tif", data, compress="lzw", interleave="band")
    write(root / "strips.tif", data, tiled=False, blockysize=16)
    write(root / "nodata.tif", grey.astype("int16"), nodata=7, compress="deflate", predictor=2)
    write(root / "jpeg.tif", data, compress="jpeg", photometric="ycbcr")
    alpha = np.concatenate([data, np.where(grey > 50, 255, 0).astype("uint8")])
    write(root / "alpha.tif", alpha, photometric="rgb", alpha="yes", compress="deflate")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(root / "mask.tif", data, mask=grey[0] > 50, compress="deflate")
    write(root / "beside.tif", data, mask=grey[0] > 90, compress="deflate")  # beside.tif.msk
    write(root / "big.tif", data, bigtiff="yes", sparse_ok=True)
    write(root / "floats.tif", np.where(grey > 9, grey, np.nan).astype("float32"), predictor=3,
          compress="zstd")  # fmt: skip
    for name in ("plain.png", "plain.jpg"):
        Image.fromarray(data.transpose(1, 2, 0)).save(root / name)
    return sorted(p.name for p in root.iterdir() if p.suffix in (".tif", ".png", ".jpg"))
