"""The command tune-text from end to end, stopped and resumed, and all that it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import command
import pytest
from command import here
from patches import write_patches
from stopping import either_way

pytest.importorskip("torch")

# Runs the given commands in a process that cannot reach the hub.
WITHOUT_HUB = """
import json, sys
sys.path.insert(0, sys.argv[1])
from command import here

answers = [here(*command) for command in json.loads(sys.argv[2])]
print(json.dumps([[answer.status, answer.out, answer.err] for answer in answers]))
"""
HUB_MODELS = ("timm:resnet18", "open_clip:ViT-B-32@laion2b_s34b_b79k", "hf:openai/clip-vit-base")


EPOCHS, BATCH = 8, 12


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return write_patches(tmp_path_factory.mktemp("patches"))


def tune(patches, *more):
    return [
        "tune-text", patches / "images", "--captions", patches / "captions.csv", "--dim", "32",
        "--width", "32", "--layers", "1", "--train-batch", BATCH, "--learning-rate", "0.005", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tuned(patches, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "model"
    answer = here(*tune(patches, "--epochs", EPOCHS, "--out", out))
    assert answer.status == 0, answer.err
    assert "Images: 24 train, 6 val, 6 test; 6 different texts" in answer.out
    assert "100.0% (chance 33.3%)" in answer.out
    assert answer.out.endswith(f"Usage: --model tuned:{out}\n")
    return out


def test_a_second_run_does_nothing_and_says_so(patches, tuned):
    answer = here(*tune(patches, "--epochs", EPOCHS, "--out", tuned))
    assert answer.status == 0
    assert answer.out.startswith("Nothing to do")


def test_the_tuned_model_classifies_by_names(patches, tuned, tmp_path):
    labels = tmp_path / "labels.yaml"
    labels.write_text("bare_soil: bare soil\nDenseForest: dense forest\nopenwater: open water\n")
    answer = here(
        "classify", patches / "images", "--model", f"tuned:{tuned}", "--labels", labels,
        "--truth-from-folders", "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    assert answer.json["truth"]["accuracy"] > 0.9
    checked = here("models", "--check", f"tuned:{tuned}", "--json")
    assert checked.status == 0, checked.out
    assert checked.json["ok"]


def weights(out):
    return (out / "model" / "weights.safetensors").read_bytes()


@either_way
def test_stopped_training_resumes_to_the_same_weights(patches, tuned, tmp_path, stop):
    out = tmp_path / "stopped"
    typed = [str(x) for x in tune(patches, "--epochs", EPOCHS, "--out", out, "--json")]
    stop(typed, EPOCHS * (24 // BATCH) // 2 + 1)  # amid an epoch
    assert (out / "training" / "checkpoint.pt").exists()
    assert not (out / "model").exists()  # it was not done
    assert here(*typed).json["worked"]
    assert weights(out) == weights(tuned)
    assert not here(*typed).json["worked"]


def refused(answer, *words, status=1):
    assert answer.status == status, answer.out + answer.err
    text = answer.err.strip()
    assert text.startswith("foveate: ")
    assert "Traceback" not in text
    assert "defect" not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("tim:resnet18", ["unknown model family 'tim'", "Did you mean 'timm'?"]),
        ("timm:resnet_18", ["timm has no model 'resnet_18'", "Did you mean 'resnet18'?"]),
        ("open_clip:ViT-B32@openai", ["ViT-B-32"]),
        ("tuned:nowhere", ["'nowhere' does not contain a tuned model", "foveate tune-text"]),
    ],
)
def test_an_unknown_model_comes_with_a_suggestion(patches, tmp_path, model, words):
    refused(here("embed", patches / "images", "--model", model, "--out", tmp_path / "run"), *words)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def without_hub(patches, tmp_path_factory):
    """Answers of a process that cannot reach the hub, whatever the machine reaches."""
    root = tmp_path_factory.mktemp("hub")
    typed = [
        ["embed", str(patches / "images"), "--model", model, "--out", str(root / "run")]
        for model in HUB_MODELS
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HUB, Path(command.__file__).parent, json.dumps(typed)],
        capture_output=True, text=True, check=False,
        env=os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_ETAG_TIMEOUT": "1",
                          "HF_HOME": str(root / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = (command.Answer(*found) for found in json.loads(done.stdout))
    return dict(zip(HUB_MODELS, answers, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("model", HUB_MODELS)
def test_unreachable_hub_raises_with_hint(without_hub, model):
    refused(without_hub[model], "hub", "--weights")


def test_weights_of_another_architecture_are_refused(patches, tmp_path):
    import timm
    from safetensors.torch import save_file

    net = timm.create_model("resnet34", num_classes=0)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    for model in ("timm:resnet18", "open_clip:ViT-B-32"):
        answer = here(
            "embed", patches / "images", "--model", model, "--weights", tmp_path / "w.safetensors",
            "--out", tmp_path / "run",
        )  # fmt: skip
        refused(answer, "do not match the architecture", "parameters missing")


def test_missing_capability_names_models_that_have_it(patches, tmp_path):
    answer = here(
        "classify", patches / "images", "--labels", "soil,water", "--out", tmp_path / "run"
    )
    refused(answer, "does not have the capability 'text'", "Its capabilities: embed", "open_clip")
    answer = here("embed", patches / "images", "--tokens", "--out", tmp_path / "tokens")
    refused(answer, "does not have the capability 'tokens'")


@pytest.mark.parametrize(
    ("labels", "words"),
    [("water,,soil", "empty"), ("water,Water", "are equal"), (" ", "")],
)
def test_labels_that_are_empty_or_double_are_refused(patches, tuned, tmp_path, labels, words):
    answer = here(
        "classify", patches / "images", "--model", f"tuned:{tuned}", "--labels", labels,
        "--out", tmp_path / "run",
    )  # fmt: skip
    refused(answer, words)


def test_captions_and_images_must_fit(patches, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"1.tif": "a river", "2.tif": "a road"}))
    answer = here(
        "tune-text", patches / "images", "--captions", tmp_path / "c.json", "--out", tmp_path / "r"
    )
    refused(answer, "2 of 2 images of", "c.json are missing, for example '1.tif'")
    refused(
        here("tune-text", patches / "images", "--out", tmp_path / "r"),
        "--captions and --classes-from-folders are missing", "--classes-from-folders",
    )  # fmt: skip
    answer = here(*tune(patches, "--pair", "chance", "--out", tmp_path / "r"))
    refused(answer, "--pair 'chance'")


@pytest.mark.slow
@pytest.mark.realdata
def test_real_captions_teach_a_real_encoder_the_names_of_classes(realdata, tmp_path):
    """252 images of UC Merced: the whole set takes minutes, see benchmarks/tune_text.py."""
    images = realdata / "ucmerced" / "images"
    folders = sorted(p.name for p in images.iterdir())
    records = json.loads((realdata / "ucmerced" / "ucm_captions.json").read_text())["images"]
    kept = []
    for record in records:  # "k.tif" is image (k - 1) % 100 of class (k - 1) // 100
        folder, number = divmod(int(record["filename"].split(".")[0]) - 1, 100)
        if number < 12:
            name = f"{folders[folder]}/{folders[folder]}{number:02d}.jpg"
            texts = [s["raw"] for s in record["sentences"]]
            kept.append({"image": name, "captions": texts})
            (tmp_path / "images" / folders[folder]).mkdir(parents=True, exist_ok=True)
            (tmp_path / "images" / name).symlink_to(images / name)
    (tmp_path / "captions.json").write_text(json.dumps(kept))
    answer = here(
        "tune-text", tmp_path / "images", "--captions", tmp_path / "captions.json",
        "--model", "timm:mobilenetv2_100?pad_type=same&mean=0.5&std=0.5&size=128",
        "--weights", realdata / "mobilenetv2" / "mobilenetv2_100_tf_in1k.safetensors",
        "--train-batch", "32", "--epochs", "15", "--layers", "1", "--out", tmp_path / "run",
        "--json",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    assert answer.json["called"]["golfcourse"] == ["golf course"]
    found = answer.json["evaluation"]["test"]
    assert found["zero_shot"]["top1"] > 0.3  # of 25 images; chance is 0.048
