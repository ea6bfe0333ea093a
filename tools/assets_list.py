"""What ``build_assets.py`` cuts from which picture: sources, training crops and the demo gallery."""

from __future__ import annotations

_LOM = "Debian lomiri-wallpapers-16.04"
_SKI = "PyPI scikit-image"
_SKL = "PyPI scikit-learn"
_BG = "lomiri/usr/share/backgrounds/"

# key: (path below SOURCES, package, author, licence)
PICTURES: dict[str, tuple[str, str, str, str]] = {
    "hills": (_BG + "aitzgorri_by_Aitzol_Berasategi.jpg", _LOM, "Aitzol Berasategi", "CC-BY-4.0"),
    "dogs": (_BG + "friends_by_Aitzol_Berasategi.jpg", _LOM, "Aitzol Berasategi", "CC-BY-4.0"),
    "brook": (_BG + "life_by_Aitzol_Berasategi.jpg", _LOM, "Aitzol Berasategi", "CC-BY-4.0"),
    "peaks": (_BG + "picosdeeuropa_by_Aitzol_Berasategi.jpg", _LOM, "Aitzol Berasategi", "CC-BY-4.0"),
    "sunset": (_BG + "sunset_by_Aitzol_Berasategi.jpg", _LOM, "Aitzol Berasategi", "CC-BY-4.0"),
    "fig": (_BG + "Picture_0B_by_freespace.jpg", _LOM, 'Trevor "Freespace"', "CC-BY-4.0"),
    "brushes": (_BG + "Picture_1A_by_freespace.jpg", _LOM, 'Trevor "Freespace"', "CC-BY-4.0"),
    "dandelion": (_BG + "seeding_by_Clements_Engelhardt.jpg", _LOM, "Clemens Engelhardt", "CC0-1.0"),
    "gradient": (_BG + "umang_by_Abhishek_Mudgal.jpg", _LOM, "Abhishek Mudgal", "CC-BY-4.0"),
    "room": (_BG + "Wine_by_Jakkub_Mede.jpg", _LOM, "Jakub Mede", "CC-BY-4.0"),
    "pagoda": ("sklearn/sklearn/datasets/images/china.jpg", _SKL, "danielbuechele", "CC-BY-2.0"),
    "dahlia": (
        "sklearn/sklearn/datasets/images/flower.jpg",
        _SKL,
        "vultilion (its page; the package's note also names danielbuechele)",
        "CC-BY-2.0",
    ),
    "astronaut": ("skimage/skimage/data/astronaut.png", _SKI, "NASA", "public domain"),
    "cat": ("skimage/skimage/data/chelsea.png", _SKI, "Stefan van der Walt", "CC0-1.0"),
    "coffee": ("skimage/skimage/data/coffee.png", _SKI, "Rachel Michetti", "CC0-1.0"),
    "rocket": ("skimage/skimage/data/rocket.jpg", _SKI, "SpaceX", "public domain"),
    "galaxies": ("skimage/skimage/data/hubble_deep_field.jpg", _SKI, "NASA (Hubble)", "public domain"),
}

# key: [(centre x, centre y, width, caption)] as parts of the picture's width and height; all 4:3.
CROPS: dict[str, list[tuple[float, float, float, str]]] = {
    "hills": [
        (0.50, 0.50, 0.88, "a green meadow below an autumn wood and grey mountains"),
        (0.25, 0.30, 0.45, "a rocky mountain ridge above an autumn wood"),
        (0.75, 0.50, 0.45, "dark fir trees between an autumn wood and a meadow"),
        (0.30, 0.62, 0.50, "an orange autumn wood above a green meadow"),
        (0.45, 0.80, 0.40, "a green grass meadow"),
    ],
    "brook": [
        (0.50, 0.50, 0.88, "a brook running over rocks in a green forest"),
        (0.45, 0.72, 0.45, "small waterfalls of a brook between mossy rocks"),
        (0.75, 0.70, 0.42, "grey rocks and roots in a forest"),
        (0.25, 0.25, 0.42, "green undergrowth and trees in a forest"),
        (0.72, 0.25, 0.42, "tree trunks and bushes in a forest"),
        (0.22, 0.72, 0.40, "grey rocks beside a forest brook"),
    ],
    "peaks": [
        (0.50, 0.50, 1.00, "a path over a mountain meadow to rocky peaks with snow"),
        (0.70, 0.38, 0.55, "grey rocky peaks with patches of snow"),
        (0.28, 0.28, 0.50, "a white cloud above dark mountain slopes"),
        (0.30, 0.72, 0.52, "a dirt path over a mountain meadow"),
        (0.75, 0.78, 0.42, "a brown mountain meadow below snow"),
        (0.55, 0.55, 0.45, "a mountain meadow below a rocky wall"),
    ],
    "sunset": [
        (0.50, 0.50, 0.88, "a low sun over dark hills"),
        (0.50, 0.36, 0.50, "a bright low sun in a clear sky over hills"),
        (0.25, 0.30, 0.46, "a clear evening sky over distant hills"),
        (0.25, 0.75, 0.42, "grass and stones on a hill in evening light"),
        (0.70, 0.68, 0.50, "a round stone table on a hill in evening light"),
    ],
    "dandelion": [
        (0.37, 0.50, 0.74, "a dandelion clock in a meadow against the light"),
        (0.28, 0.33, 0.40, "a dandelion clock close up in warm light"),
        (0.74, 0.55, 0.50, "several dandelion clocks in a dark green meadow"),
        (0.62, 0.30, 0.36, "blurred dandelions in warm light"),
        (0.85, 0.75, 0.30, "a dandelion clock in dark green grass"),
        (0.50, 0.78, 0.30, "dark green grass stems, out of focus"),
    ],
    "fig": [
        (0.55, 0.50, 0.88, "half a fig in a red bowl on grey concrete"),
        (0.58, 0.55, 0.45, "half a fig in a red wooden bowl"),
        (0.24, 0.24, 0.46, "the shadow of a bowl on grey concrete"),
        (0.17, 0.80, 0.32, "grey concrete beside a red bowl"),
        (0.80, 0.66, 0.36, "a red wooden bowl with a shadow"),
    ],
    "brushes": [
        (0.47, 0.50, 0.90, "colourful paint brushes"),
        (0.22, 0.45, 0.44, "paint brushes with blue and green bristles"),
        (0.60, 0.42, 0.46, "paint brushes with pink and yellow bristles"),
        (0.74, 0.64, 0.46, "a pale brush before a dark background"),
    ],
    "room": [
        (0.50, 0.17, 0.95, "a room with a glass brick window, a loudspeaker and a wine bottle on a table"),
        (0.60, 0.33, 0.80, "a wine bottle, a glass and a coffee mill on a wooden table"),
        (0.40, 0.70, 0.80, "a drum on a leather bean bag"),
        (0.45, 0.60, 0.45, "a drum lying on a bean bag"),
        (0.75, 0.85, 0.45, "a leather bean bag on a brown floor"),
        (0.24, 0.40, 0.46, "a loudspeaker beside a wooden table, out of focus"),
    ],
    "dogs": [
        (0.55, 0.40, 0.85, "two brown dogs looking out of a window"),
        (0.42, 0.32, 0.50, "a brown dog looking out of a window"),
        (0.60, 0.52, 0.48, "a brown spaniel looking over a wooden wall"),
        (0.27, 0.80, 0.52, "a grey wooden wall"),
        (0.76, 0.22, 0.46, "a white plank wall"),
        (0.74, 0.84, 0.50, "a rope on a plank wall and a post"),
    ],
    "gradient": [
        (0.45, 0.50, 0.74, "a soft colour gradient from blue to orange and purple"),
        (0.65, 0.60, 0.50, "a soft orange and green colour gradient"),
        (0.25, 0.70, 0.45, "a soft blue and purple colour gradient"),
    ],
    "pagoda": [
        (0.45, 0.50, 0.88, "a pagoda with red and green storeys above a lake"),
        (0.72, 0.62, 0.56, "a lake behind green trees in haze"),
        (0.30, 0.62, 0.56, "the storeys of a pagoda between trees"),
    ],
    "astronaut": [(0.50, 0.38, 1.00, "an astronaut in an orange suit before a flag and a model shuttle")],
    "galaxies": [
        (0.50, 0.50, 1.00, "many small galaxies on a black sky"),
        (0.30, 0.30, 0.45, "small galaxies on a black sky"),
        (0.70, 0.70, 0.40, "small coloured galaxies on a black sky"),
    ],
    "coffee": [
        (0.45, 0.50, 1.00, "a cup of coffee on a red saucer on a wooden table"),
        (0.22, 0.35, 0.42, "a wooden table beside a red saucer"),
        (0.75, 0.70, 0.45, "a spoon on a red saucer on a wooden table"),
    ],
    "cat": [
        (0.45, 0.50, 1.00, "a tabby cat looking to the side"),
        (0.80, 0.70, 0.40, "the striped fur of a tabby cat"),
    ],
    "rocket": [
        (0.50, 0.50, 1.00, "a white rocket on its launch pad at dusk"),
        (0.25, 0.35, 0.45, "a blue evening sky beside a launch pad"),
    ],
    "dahlia": [
        (0.50, 0.50, 1.00, "an orange dahlia before dark green leaves"),
        (0.50, 0.45, 0.42, "the petals of an orange dahlia"),
        (0.15, 0.80, 0.35, "dark green leaves"),
    ],
}

# Pictures that training never sees; their crops are the photo backgrounds of evaluation.
HELD_OUT = {"coffee", "cat", "rocket", "dahlia"}

# How the studio offers them: what moves well comes first, what hangs together with all that is around it last.
GALLERY_ORDER = [
    *("dahlia", "saucer", "airplane", "car", "sailboat", "balloon", "ball", "dandelion", "teddy", "pagoda", "dog", "fig"),
    *("drum", "cat", "coffee", "rocket"),
]

# (name, picture, centre x, centre y, width, caption, (x0, y0, x1, y1) of the draggable thing in 640x480)
GALLERY: list[tuple[str, str, float, float, float, str, tuple[int, int, int, int]]] = [
    ("cat", "cat", 0.45, 0.50, 1.00, "a tabby cat looking to the side", (90, 20, 590, 470)),
    ("coffee", "coffee", 0.45, 0.50, 1.00, "a cup of coffee on a red saucer on a wooden table", (200, 15, 470, 375)),
    ("rocket", "rocket", 0.50, 0.50, 1.00, "a white rocket on its launch pad at dusk", (302, 140, 342, 468)),
    ("dahlia", "dahlia", 0.50, 0.50, 1.00, "an orange dahlia before dark green leaves", (150, 92, 462, 398)),
    ("fig", "fig", 0.62, 0.55, 0.75, "half a fig in a red wooden bowl", (143, 126, 390, 352)),
    ("dog", "dogs", 0.50, 0.32, 0.62, "a brown dog looking out of a window", (118, 103, 346, 388)),
    ("dandelion", "dandelion", 0.34, 0.45, 0.60, "a dandelion clock in a meadow against the light", (100, 4, 445, 305)),
    ("pagoda", "pagoda", 0.40, 0.50, 1.00, "a pagoda above a lake", (78, 30, 412, 440)),
    ("drum", "room", 0.40, 0.66, 0.95, "a drum on a leather bean bag", (18, 58, 422, 330)),
]

# (name, picture, centre x, centre y, width, caption, emoji, centre x, centre y, size in px, casts a ground shadow)
COMPOSED: list[tuple[str, str, float, float, float, str, str, int, int, int, bool]] = [
    ("car", "peaks", 0.80, 0.82, 0.40, "a red car on a mountain meadow", "1f697", 440, 250, 200, True),
    ("ball", "hills", 0.45, 0.80, 0.50, "a soccer ball on a green meadow", "26bd", 400, 320, 150, True),
    (
        "balloon",
        "peaks",
        0.28,
        0.28,
        0.50,
        "a red balloon before a cloud and dark mountains",
        "1f388",
        420,
        200,
        190,
        False,
    ),
    ("airplane", "sunset", 0.25, 0.30, 0.46, "an airplane in an evening sky over hills", "2708", 280, 190, 200, False),
    ("saucer", "galaxies", 0.50, 0.50, 1.00, "a flying saucer before many galaxies", "1f6f8", 300, 240, 200, False),
    (
        "teddy",
        "room",
        0.75,
        0.85,
        0.70,
        "a teddy bear on a brown floor beside a bean bag",
        "1f9f8",
        535,
        290,
        180,
        True,
    ),
    ("sailboat", "pagoda", 0.80, 0.45, 0.75, "a toy sailboat on a misty lake", "26f5", 380, 245, 160, False),
]
