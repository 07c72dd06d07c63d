"""The commands of jobs: their help, examples, and the functions that print their runs."""

from foveate.cli.fields import JobCommand

# Top-level commands on imagery.
IMAGERY = (
    JobCommand(
        "inspect", "foveate.pool.settings:PoolJob",
        "Show what a run would read: files, pairs, valid pixels, values, locations and classes.",
        "foveate inspect images --masks masks",
        finish="foveate.cli.inspect:inspect",
        only=("images", "masks", "classes", "mask_suffix", "extra", "stack", "bands", "nodata",
              "min_valid", "tile", "assets", "datetime", "bbox", "max_cloud"),
    ),
    JobCommand(
        "curate", "foveate.curate.job:CurateJob",
        "Rank tiles of imagery, or a file of embeddings, and select the best under a budget.",
        "foveate curate images --masks masks --classes classes.yaml --budget 10% --out RUN",
        show="foveate.cli.show:finished",
    ),
    JobCommand(
        "compare", "foveate.curate.compare_job:CompareJob",
        "Compare rankings of runs and coordinate lists.",
        "foveate compare RUN OTHER_RUN list.txt --out COMPARED",
        show="foveate.cli.show:compared",
    ),
    JobCommand(
        "classify", "foveate.classify.job:ClassifyJob",
        "Classify images zero-shot by class names, or with a linear probe.",
        "foveate classify images --model open_clip:ViT-B-32@laion2b_s34b_b79k "
        "--labels forest,water,town --out RUN",
        show="foveate.cli.show:classified",
    ),
    JobCommand(
        "embed", "foveate.models.job:EmbedJob",
        "Embed the tiles of imagery, for other commands and other programs.",
        "foveate embed images --model timm:resnet18 --out RUN",
        show="foveate.cli.show:embedded", page=False,
    ),
    JobCommand(
        "tune-text", "foveate.models.tune_text.job:TuneTextJob",
        "Align a frozen image encoder with text, from captions or class folders: minutes on a "
        "CPU.",
        "foveate tune-text images --captions captions.json --model timm:resnet18 --out TUNED",
        show="foveate.cli.show:tuned", page=False,
    ),
)  # fmt: skip

FOCUS = (
    JobCommand(
        "look", "foveate.focus.job:LookJob",
        "Select regions of images, and compare predictions with and without the selection.",
        'foveate focus look scene.tif --probe objects.safetensors --query "storage tank" --out RUN',
        show="foveate.cli.show_focus:looked",
    ),
    JobCommand(
        "ask", "foveate.focus.job:AskJob",
        "Ask a generative model about images, with and without the selected regions.",
        'foveate focus ask scene.tif --model hf:Qwen/Qwen2-VL-2B-Instruct --prompt "How many '
        'ships?" --out RUN',
        show="foveate.cli.show_focus:looked",
    ),
    JobCommand(
        "segment", "foveate.focus.job:SegmentJob",
        "Select regions of images by their predicted mask quality, and segment them.",
        "foveate focus segment scene.tif --model hf:facebook/sam-vit-base --out RUN",
        show="foveate.cli.show_focus:looked",
    ),
    JobCommand(
        "train-scorer", "foveate.focus.scorer_job:TrainScorerJob",
        "Train a small network to predict the scores of looks, which saves passes.",
        "foveate focus train-scorer scenes --model timm:resnet18 --out SCORER",
        show="foveate.cli.show_focus:scorer_trained", page=False,
    ),
)  # fmt: skip

OBSERVE = (
    JobCommand(
        "prepare", "foveate.observe.jobs:PrepareJob",
        "Pair high-resolution imagery with simulated or real overviews, and label the tiles.",
        "foveate observe prepare images --masks masks --tiles 10x10 --ratio 10 --out PAIRS",
        show="foveate.cli.show_observe:prepared", page=False,
    ),
    JobCommand(
        "build", "foveate.observe.build.job:BuildJob",
        "Build pairs from map data and two STAC catalogues, for example of your country.",
        "foveate observe build --anchors country.osm.pbf --rules osm-66 --lr sentinel2.parquet "
        "--hr aerial.json --out PAIRS",
        finish="foveate.cli.observe_build:build",
    ),
    JobCommand(
        "stats", "foveate.observe.totals.statistics:StatsJob",
        "Count scenes, tiles, area and concepts of pairs, by split and by region.",
        "foveate observe stats PAIRS --out STATS",
        finish="foveate.cli.observe:stats",
    ),
    JobCommand(
        "train", "foveate.observe.jobs:TrainJob",
        "Train a sampler and a predictor on pairs, and evaluate them on held-out scenes.",
        "foveate observe train PAIRS --out OBSERVER",
        show="foveate.cli.show_observe:trained",
        without="foveate.observe.presets:FORMULA_OPTIONS",
    ),
    JobCommand(
        "select", "foveate.observe.jobs:SelectJob",
        "Select the tiles of overviews to observe in high resolution.",
        "foveate observe select overviews --observer OBSERVER --budget 12% --out RUN",
        show="foveate.cli.show_observe:selected",
    ),
    JobCommand(
        "estimate", "foveate.observe.totals.estimation:EstimateJob",
        "Estimate the total of a concept, with an interval, from a random sample of tiles.",
        "foveate observe estimate PAIRS --concept forest --budget 5%",
        finish="foveate.cli.observe:estimate",
    ),
    JobCommand(
        "complete", "foveate.observe.jobs:CompleteJob",
        "Complete scenes of high-resolution features from overviews and acquired tiles.",
        "foveate observe complete RUN --tiles acquired --out SCENES",
        show="foveate.cli.show_observe:completed",
    ),
)  # fmt: skip

BENCH = (
    JobCommand(
        "curate", "foveate.bench.curate.job:CurateBenchJob",
        "Train on the selections of methods, test on other scenes, and compare the methods.",
        "foveate bench curate --pool images:masks --folds folder --method all --out RUN",
        show="foveate.cli.show:core_sets",
    ),
    JobCommand(
        "focus", "foveate.bench.focus.job:FocusBenchJob",
        "Look at scenes with known content, and compare looks with other methods.",
        "foveate bench focus --scenes PATCHES --model MODEL --labels classes.txt --out RUN",
        show="foveate.cli.show_focus:benched",
    ),
    JobCommand(
        "observe", "foveate.bench.observe.job:BenchJob",
        "Compare policies and completions on pairs: a table with intervals and claims.",
        "foveate bench observe PAIRS --table main --seeds 5 --out RUN",
        show="foveate.cli.show_observe:benched",
    ),
)  # fmt: skip
