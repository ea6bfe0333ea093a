"""Rebuild the pictures under ``src/motionstream/assets`` from unpacked packages.

The sources are fetched by package name and unpacked into one folder each::

    SOURCES/fluent/   npm  @lobehub/fluent-emoji-3d  1.1.0         (npm pack, untar)
    SOURCES/lomiri/   deb  lomiri-wallpapers-16.04   20.04.0-2     (apt-get download, dpkg-deb -x)
    SOURCES/skimage/  PyPI scikit-image              0.26.0        (pip download, unzip the wheel)
    SOURCES/sklearn/  PyPI scikit-learn              1.9.1         (pip download, unzip the wheel)

Then ``python tools/build_assets.py SOURCES`` with pillow installed. What is cut
from which picture, with its author, licence and caption, is listed in ``assets_list.py`` beside
this file.
"""

from __future__ import annotations

import argparse
import json
import unicodedata
from pathlib import Path

from assets_list import COMPOSED, CROPS, GALLERY, GALLERY_ORDER, HELD_OUT, PICTURES
from PIL import Image, ImageDraw, ImageFilter

OUT = Path(__file__).resolve().parents[1] / "src/motionstream/assets"
TILE, COLUMNS = 96, 20

# Code points (hex, ranges inclusive) of the emoji that make good movable things.
SPRITES = """
1f302 1f308 1f30b 1f30d 1f31d-1f31f 1f327 1f329 1f32d-1f330 1f332-1f340 1f344-1f357 1f359 1f35c-1f35f 1f361
1f363-1f364 1f366 1f368-1f370 1f372-1f373 1f375-1f37c 1f37e-1f37f 1f381-1f384 1f388-1f38a 1f38f 1f392-1f393 1f399
1f3a0-1f3a1 1f3a5 1f3a7-1f3aa 1f3ac 1f3ae-1f3b3 1f3b7-1f3bb 1f3be 1f3c0 1f3c6 1f3c8-1f3c9 1f3cd-1f3ce 1f3d0 1f3d3
1f3db 1f3dd 1f3e0-1f3e1 1f3ed-1f3f0 1f3f8-1f3fa 1f400-1f43c 1f43f 1f451-1f453 1f455-1f457 1f45c 1f45e-1f460 1f462
1f47b 1f47d-1f47e 1f480 1f484 1f48d-1f48e 1f490 1f4a1 1f4a3 1f4b0 1f4ba-1f4bc 1f4be 1f4d5 1f4da 1f4dc 1f4de 1f4e1
1f4e3 1f4e6 1f4ee-1f4ef 1f4f7 1f4f9-1f4fb 1f4fd 1f50b 1f50d 1f511-1f512 1f514 1f525-1f529 1f52c-1f52e 1f54a 1f56f-1f570
1f576-1f577 1f579 1f58c-1f58d 1f5a8 1f5ff 1f600 1f602 1f607 1f609 1f60d-1f60e 1f618 1f620 1f62d 1f631 1f634 1f63a
1f680-1f682 1f686 1f68b-1f68c 1f691-1f693 1f695 1f697 1f699-1f69c 1f6a2 1f6a4 1f6a6 1f6b2 1f6bd 1f6c1 1f6cb 1f6cd-1f6ce
1f6d2 1f6de-1f6df 1f6e1-1f6e2 1f6e9 1f6f0 1f6f4-1f6fc 1f910 1f913-1f914 1f916 1f920-1f921 1f929 1f93f 1f941 1f943
1f947 1f94a 1f94c 1f94e 1f950-1f958 1f95a-1f961 1f964-1f96f 1f973 1f976 1f97d-1f97e 1f980-1f989 1f98a-1f98e 1f98f-1f99f
1f9a1-1f9ad 1f9b4 1f9c0-1f9c1 1f9c3-1f9c5 1f9c7-1f9c8 1f9ca-1f9cb 1f9e0 1f9e2-1f9e6 1f9e9 1f9ed 1f9ef-1f9f4 1f9f6
1f9f8-1f9fa 1f9fc-1f9fd 1fa80-1fa81 1fa83-1fa86 1fa90-1fa91 1fa93 1fa95-1fa99 1fa9b 1faa3 1faa8-1faa9 1fab2 1fab4-1fab8
1faba 1fad0-1fad2 1fad6 1fad9 231b 23f0 2603 260e 2693 2702 2708 26bd-26be 26ea 26f2 26f5 26f8 26fa 2b50
"""

# Plainer words than the Unicode names, and a few names of code points newer than unicodedata.
NAMES = {
    "1f30d": "earth globe",
    "1f31d": "smiling full moon",
    "1f31e": "smiling sun",
    "1f33d": "corn cob",
    "1f33e": "ear of rice",
    "1f346": "eggplant",
    "1f363": "sushi",
    "1f366": "soft ice cream cone",
    "1f373": "fried egg in a pan",
    "1f36e": "custard pudding",
    "1f375": "green tea cup",
    "1f370": "strawberry cake slice",
    "1f372": "pot of stew",
    "1f378": "martini glass",
    "1f37e": "champagne bottle",
    "1f381": "gift box",
    "1f383": "halloween pumpkin",
    "1f38f": "carp streamer",
    "1f392": "school backpack",
    "1f3a7": "headphones",
    "1f3ac": "film clapper board",
    "1f3ae": "game controller",
    "1f3af": "dart board",
    "1f3b1": "billiard ball",
    "1f3b3": "bowling ball and pins",
    "1f3be": "tennis racket and ball",
    "1f3c0": "basketball",
    "1f3c8": "american football ball",
    "1f3c9": "rugby ball",
    "1f3cd": "motorcycle",
    "1f3d3": "table tennis paddle",
    "1f3db": "temple with columns",
    "1f3e0": "house",
    "1f3ee": "red lantern",
    "1f3f0": "castle",
    "1f3f8": "badminton racket",
    "1f400": "gray rat",
    "1f41d": "honey bee",
    "1f41e": "ladybug",
    "1f421": "puffer fish",
    "1f425": "front facing chick",
    "1f42a": "one hump camel",
    "1f42b": "two hump camel",
    "1f452": "straw hat",
    "1f45e": "brown shoe",
    "1f45f": "sneaker",
    "1f462": "leather boots",
    "1f47d": "alien",
    "1f47e": "purple pixel monster",
    "1f480": "skull",
    "1f48e": "blue gem",
    "1f4a1": "light bulb",
    "1f4ba": "airplane seat",
    "1f4bb": "laptop",
    "1f4d5": "red book",
    "1f4da": "stack of books",
    "1f4de": "telephone receiver",
    "1f4e1": "satellite dish",
    "1f4e3": "megaphone",
    "1f4e6": "cardboard box",
    "1f4fa": "old television",
    "1f50d": "magnifying glass",
    "1f525": "flame",
    "1f526": "flashlight",
    "1f54a": "white dove",
    "1f570": "mantel clock",
    "1f576": "dark sunglasses",
    "1f58c": "paintbrush",
    "1f58d": "crayon",
    "1f5ff": "stone statue head",
    "1f695": "taxi",
    "1f697": "red car",
    "1f699": "blue car",
    "1f69b": "semi truck",
    "1f692": "fire truck",
    "1f6a6": "traffic light",
    "1f6cb": "couch and lamp",
    "1f6ce": "service bell",
    "1f6d2": "shopping cart",
    "1f6df": "lifebuoy",
    "1f6fa": "auto rickshaw",
    "1f916": "robot head",
    "1f93f": "diving mask",
    "1f943": "whisky glass",
    "1f947": "gold medal",
    "1f94c": "curling stone",
    "1f957": "salad bowl",
    "1f958": "pan of paella",
    "1f959": "pita wrap",
    "1f961": "takeout box",
    "1f964": "cup with straw",
    "1f969": "steak",
    "1f96b": "food can",
    "1f96c": "green lettuce",
    "1f996": "green dinosaur",
    "1f995": "long necked dinosaur",
    "1f9c3": "juice box",
    "1f9e2": "blue cap",
    "1f9e9": "puzzle piece",
    "1f9f1": "brick",
    "1f9f3": "suitcase",
    "1f9f6": "ball of yarn",
    "1f9fc": "bar of soap",
    "1fa85": "pinata",
    "1fa98": "long drum",
    "1faa9": "mirror ball",
    "1fab5": "wood log",
    "23f0": "alarm clock",
    "2603": "snowman",
    "260e": "telephone",
    "2702": "scissors",
    "2708": "airplane",
    "26f8": "ice skate",
    "2b50": "yellow star",
    "1f41b": "green caterpillar",
    "1f414": "chicken head",
    "1f992": "giraffe",
    "1f993": "zebra",
    "1f33f": "green herb",
    "1f33c": "white daisy",
    "1f94e": "green softball",
    "1f6de": "wooden wheel",
    "1f35c": "noodle bowl",
    "1fab7": "lotus flower",
    "1fad6": "red teapot",
    "1f455": "green t-shirt",
    "1f345": "red tomato",
    "1f34c": "yellow banana",
    "1f34b": "yellow lemon",
    "1f388": "red balloon",
    "1f68c": "yellow bus",
    "1f69c": "green tractor",
    "1f680": "rocket",
    "1f6f4": "blue kick scooter",
    "1f6f5": "red motor scooter",
    "1f9f8": "brown teddy bear",
    "26bd": "soccer ball",
    "1f511": "golden key",
    "1f600": "grinning face",
    "1f607": "angel face with halo",
    "1f609": "winking face",
    "1f60d": "face with heart eyes",
    "1f60e": "face with sunglasses",
    "1f618": "kissing face",
    "1f63a": "smiling cat",
    "1f921": "clown face",
    "1f973": "party face",
    "1f929": "face with star eyes",
    "1f62d": "crying face",
    "1f631": "screaming face",
    "1f602": "laughing face",
    "1f9e0": "pink brain",
}


def fit(image: Image.Image, size: int, margin: int = 2) -> Image.Image:
    """Crop to the opaque part and centre it in a transparent square."""
    box = image.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox()
    image = image.crop(box)
    scale = (size - 2 * margin) / max(image.size)
    image = image.resize([max(1, round(s * scale)) for s in image.size], Image.Resampling.LANCZOS)
    tile = Image.new("RGBA", (size, size))
    tile.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return tile


def emoji_path(sources: Path, code: str) -> Path | None:
    folder = sources / "fluent/package/assets"
    return next((p for p in (folder / f"{code}.webp", folder / f"{code}-fe0f.webp") if p.exists()), None)


def emoji_name(code: str) -> str:
    return NAMES.get(code) or unicodedata.name(chr(int(code, 16))).lower().replace("-", " ")


def build_sprites(sources: Path) -> None:
    codes: list[str] = []
    for item in SPRITES.split():
        first, _, last = item.partition("-")
        codes += [f"{c:x}" for c in range(int(first, 16), int(last or first, 16) + 1)]
    found = [(c, p) for c in codes if (p := emoji_path(sources, c))]
    rows = -(-len(found) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * TILE, rows * TILE))
    for i, (_, path) in enumerate(found):
        atlas.paste(fit(Image.open(path).convert("RGBA"), TILE), (i % COLUMNS * TILE, i // COLUMNS * TILE))
    atlas.save(OUT / "sprites.webp", quality=82, alpha_quality=90, method=6)
    names: list[dict[str, object]] = [{"name": emoji_name(c), "tile": i} for i, (c, _) in enumerate(found)]
    write_list(OUT / "sprites.json", names)


def open_picture(sources: Path, key: str) -> Image.Image:
    return Image.open(sources / PICTURES[key][0]).convert("RGB")


def crop(image: Image.Image, cx: float, cy: float, width: float, size: tuple[int, int]) -> Image.Image:
    """A 4:3 crop around (cx, cy), moved inside the picture where it would stick out."""
    w = min(width * image.width, image.width, image.height * 4 / 3)
    h = w * 3 / 4
    x = min(max(cx * image.width - w / 2, 0), image.width - w)
    y = min(max(cy * image.height - h / 2, 0), image.height - h)
    return image.resize(size, Image.Resampling.LANCZOS, box=(x, y, x + w, y + h))


def write_list(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("[\n" + ",\n".join(" " + json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n")


def build_photos(sources: Path) -> None:
    rows: list[dict[str, object]] = []
    for key, crops in CROPS.items():
        _, package, author, licence = PICTURES[key]
        image = open_picture(sources, key)
        for i, (cx, cy, width, caption) in enumerate(crops):
            name = f"{key}_{i}.jpg"
            crop(image, cx, cy, width, (320, 240)).save(OUT / "photos" / name, quality=85, optimize=True)
            split = "eval" if key in HELD_OUT else "train"
            rows.append(
                {
                    "file": name,
                    "split": split,
                    "source": package,
                    "author": author,
                    "licence": licence,
                    "caption": caption,
                }
            )
    write_list(OUT / "photos/photos.json", rows)


def paste_object(image: Image.Image, sprite: Image.Image, x: int, y: int, shadow: bool) -> tuple[int, int, int, int]:
    """Paste a sprite centred on (x, y), on a soft ground shadow if asked; returns its box."""
    x0, y0 = x - sprite.width // 2, y - sprite.height // 2
    if shadow:
        mask = Image.new("L", image.size)
        rx, ry, base = sprite.width * 0.46, sprite.width * 0.09, y0 + sprite.height - sprite.width * 0.03
        ImageDraw.Draw(mask).ellipse((x - rx, base - ry, x + rx, base + ry), fill=215)
        image.paste((0, 0, 0), mask=mask.filter(ImageFilter.GaussianBlur(sprite.width * 0.04)))
    image.paste(sprite, (x0, y0), sprite)
    return x0, y0, x0 + sprite.width, y0 + sprite.height


def build_gallery(sources: Path) -> None:
    rows: list[dict[str, object]] = []

    def keep(name: str, key: str, image: Image.Image, caption: str, box: tuple[int, ...], emoji: bool) -> None:
        path, quality = OUT / "gallery" / f"{name}.jpg", 88
        image.save(path, quality=quality, optimize=True)
        while path.stat().st_size > 80_000:
            quality -= 3
            image.save(path, quality=quality, optimize=True)
        _, package, author, licence = PICTURES[key]
        if emoji:
            package += " + npm @lobehub/fluent-emoji-3d"
            author, licence = author + " + Microsoft, LobeHub", licence + " + MIT"
        rows.append(
            {
                "file": path.name,
                "caption": caption,
                "source": package,
                "author": author,
                "licence": licence,
                "object": list(box),
                "held_out": key in HELD_OUT,
            }
        )

    for name, key, cx, cy, width, caption, box in GALLERY:
        keep(name, key, crop(open_picture(sources, key), cx, cy, width, (640, 480)), caption, box, False)
    for name, key, cx, cy, width, caption, code, x, y, size, shadow in COMPOSED:
        image = crop(open_picture(sources, key), cx, cy, width, (640, 480))
        path = emoji_path(sources, code)
        if path is None:
            raise FileNotFoundError(f"emoji {code}")
        sprite = fit(Image.open(path).convert("RGBA"), size, 0)
        sprite = sprite.crop(sprite.getchannel("A").getbbox())
        keep(name, key, image, caption, paste_object(image, sprite, x, y, shadow), True)
    rows.sort(key=lambda row: GALLERY_ORDER.index(Path(row["file"]).stem))
    write_list(OUT / "gallery/gallery.json", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    arguments = parser.parse_args()
    build_sprites(arguments.sources)
    build_photos(arguments.sources)
    build_gallery(arguments.sources)
