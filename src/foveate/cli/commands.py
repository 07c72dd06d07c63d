"""The commands of jobs: what each makes, its help, and what prints its run."""

from foveate.cli.fields import JobCommand

# What looks at imagery: after the demo the first that a newcomer meets.
IMAGERY = (
    JobCommand(
        "inspect", "foveate.pool.settings:PoolJob",
        "Say what a run would read: files, pairs, valid pixels, values, places and classes.",
        "foveate inspect images --masks masks",
        finish="foveate.cli.inspect:inspect",
        only=("images", "masks", "classes", "mask_suffix", "extra", "stack", "bands", "nodata",
              "min_valid", "tile", "assets", "datetime", "bbox", "max_cloud"),
    ),
    JobCommand(
        "curate", "foveate.curate.job:CurateJob",
        "Rank tiles of imagery, or a file of embeddings, and keep the best under a budget.",
        "foveate curate images --masks masks --classes classes.yaml --budget 10% --out RUN",
        show="foveate.cli.show:finished",
    ),
    JobCommand(
        "compare", "foveate.curate.compare_job:CompareJob",
        "Compare rankings: those of runs, and coordinate lists.",
        "foveate compare RUN OTHER_RUN list.txt --out COMPARED",
        show="foveate.cli.show:compared",
    ),
    JobCommand(
        "classify", "foveate.classify.job:ClassifyJob",
        "Say what each image shows: by class names (no training), or by a linear probe.",
        "foveate classify images --model open_clip:ViT-B-32@laion2b_s34b_b79k "
        "--labels forest,water,town --out RUN",
        show="foveate.cli.show:classified",
    ),
    JobCommand(
        "embed", "foveate.models.job:EmbedJob",
        "Turn the tiles of imagery into vectors, for other commands and other programs.",
        "foveate embed images --model timm:resnet18 --out RUN",
        show="foveate.cli.show:embedded", page=False,
    ),
    JobCommand(
        "tune-text", "foveate.models.tune_text.job:TuneTextJob",
        "Make any frozen image encoder understand text: minutes on a CPU, from captions or "
        "folders.",
        "foveate tune-text images --captions captions.json --model timm:resnet18 --out TUNED",
        show="foveate.cli.show:tuned", page=False,
    ),
)  # fmt: skip

FOCUS = (
    JobCommand(
        "look", "foveate.focus.job:LookJob",
        "Choose regions of images, and say what the model sees with and without the choice.",
        'foveate focus look scene.tif --probe objects.safetensors --query "storage tank" --out RUN',
        show="foveate.cli.show_focus:looked",
    ),
    JobCommand(
        "ask", "foveate.focus.job:AskJob",
        "Ask a generative model about images, with and without the regions that matter.",
        'foveate focus ask scene.tif --model hf:Qwen/Qwen2-VL-2B-Instruct --prompt "How many '
        'ships?" --out RUN',
        show="foveate.cli.show_focus:looked",
    ),
    JobCommand(
        "segment", "foveate.focus.job:SegmentJob",
        "Choose regions of images by the masks that a model expects there, and segment them.",
        "foveate focus segment scene.tif --model hf:facebook/sam-vit-base --out RUN",
        show="foveate.cli.show_focus:looked",
    ),
    JobCommand(
        "train-scorer", "foveate.focus.scorer_job:TrainScorerJob",
        "Train a small network on the scores of looks; with it a look saves the passes they take.",
        "foveate focus train-scorer scenes --model timm:resnet18 --out SCORER",
        show="foveate.cli.show_focus:scorer_trained", page=False,
    ),
)  # fmt: skip

OBSERVE = (
    JobCommand(
        "prepare", "foveate.observe.jobs:PrepareJob",
        "Pair high resolution with overviews, simulated or real, and label the tiles.",
        "foveate observe prepare images --masks masks --tiles 10x10 --ratio 10 --out PAIRS",
        show="foveate.cli.show_observe:prepared", page=False,
    ),
    JobCommand(
        "build", "foveate.observe.build.job:BuildJob",
        "Build pairs of your own country: from map data and two STAC catalogues.",
        "foveate observe build --anchors country.osm.pbf --rules osm-66 --lr sentinel2.parquet "
        "--hr aerial.json --out PAIRS",
        finish="foveate.cli.observe_build:build",
    ),
    JobCommand(
        "stats", "foveate.observe.statistics:StatsJob",
        "Count scenes, tiles, ground and concepts of pairs, by split and by region.",
        "foveate observe stats PAIRS --out STATS",
        finish="foveate.cli.observe:stats",
    ),
    JobCommand(
        "train", "foveate.observe.jobs:TrainJob",
        "Train a sampler and a predictor on pairs, and evaluate them on scenes held out.",
        "foveate observe train PAIRS --out OBSERVER",
        show="foveate.cli.show_observe:trained",
        without="foveate.observe.presets:FORMULA_OPTIONS",
    ),
    JobCommand(
        "select", "foveate.observe.jobs:SelectJob",
        "Choose the tiles of overviews that are worth seeing in high resolution.",
        "foveate observe select overviews --observer OBSERVER --budget 12% --out RUN",
        show="foveate.cli.show_observe:selected",
    ),
    JobCommand(
        "estimate", "foveate.observe.totals:EstimateJob",
        "Say how much of a concept there is, with an interval, from tiles drawn at random.",
        "foveate observe estimate PAIRS --concept forest --budget 5%",
        finish="foveate.cli.observe:estimate",
    ),
    JobCommand(
        "complete", "foveate.observe.jobs:CompleteJob",
        "Complete scenes of high-resolution features from overviews and the tiles that were "
        "acquired.",
        "foveate observe complete RUN --tiles acquired --out SCENES",
        show="foveate.cli.show_observe:completed",
    ),
)  # fmt: skip

BENCH = (
    JobCommand(
        "curate", "foveate.bench.curate.job:CurateBenchJob",
        "Train on what methods choose, test on other scenes, and say which method to take.",
        "foveate bench curate --pool images:masks --folds folder --method all --out RUN",
        show="foveate.cli.show:core_sets",
    ),
    JobCommand(
        "focus", "foveate.bench.focus.job:FocusBenchJob",
        "Look at scenes with known content, and compare looks with methods without a plan.",
        "foveate bench focus --scenes PATCHES --model MODEL --labels classes.txt --out RUN",
        show="foveate.cli.show_focus:benched",
    ),
    JobCommand(
        "observe", "foveate.bench.observe.job:BenchJob",
        "Compare policies and completions on pairs: a table with intervals, and what it says.",
        "foveate bench observe PAIRS --table main --seeds 5 --out RUN",
        show="foveate.cli.show_observe:benched",
    ),
)  # fmt: skip
