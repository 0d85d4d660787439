"""Words of the made-up catalogue. No sentence names a colour or a pattern: only the pictures tell those."""

PATTERNS = ("plain", "striped", "dotted", "checked", "floral", "zigzag")
USES = ("running", "hiking", "work", "travel", "school", "dancing", "gardening", "camping")
BRANDS = (
    *("Nordvik", "Calla", "Tarn", "Osterby", "Lumen", "Pebblr", "Quince"),
    *("Halden", "Mirano", "Fjell", "Selby", "Arbor", "Wren", "Kestrel"),
)
DETAILS = (
    "reinforced seams",
    "a soft inner lining",
    "a five-year guarantee",
    "hand-finished edges",
    "a recycled label",
    "a hidden pocket for keys",
)

_CLOTH = ("cotton", "wool", "linen", "denim", "fleece")
MATERIALS = {
    "dress": _CLOTH[:4],
    "tee": _CLOTH[:3],
    "hoodie": ("cotton", "wool", "fleece"),
    "jacket": ("leather", "denim", "wool", "nylon"),
    "skirt": _CLOTH[:4],
    "backpack": ("nylon", "canvas", "leather"),
    "sneaker": ("canvas", "leather", "nylon"),
    "cap": ("cotton", "wool", "denim"),
    "mug": ("ceramic", "steel"),
    "lamp": ("ceramic", "steel", "linen"),
    "umbrella": ("nylon", "canvas"),
    "cushion": ("cotton", "wool", "linen", "canvas"),
}
PRODUCT_FIRST = (
    "This {category} by {brand} is made of {material}.",
    "Made in a small {brand} workshop, this {category} is of sturdy {material}.",
    "{brand} makes this {category} from {material} that ages well.",
    "The {material} of this {category} was chosen for comfort and long wear.",
)
PRODUCT_MORE = (
    "It was designed with {use} in mind.",
    "Customers like it best for {use}.",
    "It comes with {detail}.",
    "Care is simple: follow the label and let it air.",
    "Each one is inspected by hand before it ships, and has {detail}.",
    "A dependable choice for {use}, season after season.",
)

MOODS = ("playful", "calm", "dramatic", "dreamy", "cheerful")
CLIP_TITLES = (
    "{mood} {topic} at the {scene}",
    "A {topic} and the {scene}",
    "{topic} moments: {scene}",
    "The {mood} {topic}",
    "One {topic}, one {scene}",
)
CLIP_TEXT = (
    "A {seconds}-second clip about a {topic}.",
    "The mood is {mood} from the first frame to the last.",
    "Filmed in a {scene} setting with a still camera.",
    "For everyone who likes {mood} clips with a {topic} in them.",
    "Runs for {seconds} seconds and loops without a seam.",
)

REGIONS = ("europe", "asia", "africa", "america", "oceania")
TONES = ("hopeful", "serious", "curious", "critical", "witty")
FORMATS = ("report", "interview", "explainer", "column", "portrait")
SUBJECTS = {
    "science": ("a deep-sea survey", "a new telescope", "a gene study", "a battery lab"),
    "sport": ("a cup final", "a young relay team", "a mountain race", "a chess league"),
    "finance": ("a savings bank", "a pension plan", "a currency reform", "a market of small shops"),
    "culture": ("a street festival", "a lost symphony", "a museum wing", "a film school"),
    "health": ("a sleep clinic", "a vaccine trial", "a school lunch plan", "a rehabilitation centre"),
    "travel": ("a night train", "a coastal trail", "a mountain lodge", "an island ferry"),
}
HEADLINES = (
    "{topic}: what {subject} means for {region}",
    "{subject} that has {region} talking",
    "Inside {subject}: a {form} from {region}",
    "How {subject} changed {topic} in {region}",
    "{region} looks to {subject}",
)
NEWS_FIRST = (
    "In {region}, {subject} has become the talk of the {topic} pages.",
    "Our {form} follows {subject} in {region}.",
    "Few {topic} stories from {region} travelled as far as the one about {subject}.",
)
NEWS_MORE = (
    "The {form} keeps a {tone} tone throughout.",
    "People who took part describe months of preparation and one long evening.",
    "Experts on {topic} disagree about what comes next.",
    "Figures published last week suggest that the effect is larger than expected.",
    "Readers asked for a {tone} look at the matter, and this is it.",
    "Officials in {region} say a decision is due before the end of the year.",
)
